import pytest
import torch

from training.objectives.margin import margin_loss, self_adversarial_loss, transe_distance


def test_transe_is_pykeens_interaction():
    from pykeen.nn.modules import TransEInteraction

    node, known, value = torch.randn(3, 5, 8).unbind(0)
    torch.testing.assert_close(transe_distance(node, known, value), -TransEInteraction(p=2)(node, known, value))


def test_the_margin_is_k3ms():
    true, corrupted = torch.tensor([1.0, 3.0]), torch.tensor([[2.5, 1.2], [2.0, 9.0]])
    assert float(margin_loss(true, corrupted, 1.0)) == pytest.approx((0 + 0.8 + 2.0 + 0) / 4)


def test_nssa_is_pykeens():
    from pykeen.losses import NSSALoss

    true, corrupted = torch.randn(6), torch.randn(6, 4)
    theirs = NSSALoss(margin=9.0, adversarial_temperature=0.7).process_slcwa_scores(true[:, None], corrupted)
    torch.testing.assert_close(self_adversarial_loss(true, corrupted, 9.0, 0.7) / 2, theirs)


def test_a_corruption_that_is_true_counts_nothing():
    true, corrupted = torch.randn(3), torch.randn(3, 4)
    with_one = torch.cat([corrupted, torch.full((3, 1), -torch.inf)], 1)
    torch.testing.assert_close(self_adversarial_loss(true, with_one), self_adversarial_loss(true, corrupted))
