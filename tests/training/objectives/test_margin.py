import pytest
import torch

from training.objectives.margin import margin_loss, self_adversarial_loss


def test_the_margin_is_k3ms():
    true = torch.tensor([1.0, 3.0]).double()
    corrupted = torch.tensor([[2.5, 1.2], [2.0, 9.0]]).double()
    assert float(margin_loss(true, corrupted, 1.0)) == pytest.approx((0 + 0.8 + 2.0 + 0) / 4)


def test_nssa_is_pykeens():
    from pykeen.losses import NSSALoss

    true = torch.randn(6)
    corrupted = torch.randn(6, 4)
    theirs = NSSALoss(margin=9.0, adversarial_temperature=0.7).process_slcwa_scores(
        true[:, None], corrupted
    )
    torch.testing.assert_close(self_adversarial_loss(true, corrupted, 9.0, 0.7) / 2, theirs)


@pytest.mark.parametrize(
    ("loss", "never"), [(self_adversarial_loss, -torch.inf), (margin_loss, torch.inf)]
)
def test_a_corruption_that_is_true_counts_nothing(loss, never):
    true = torch.randn(3, requires_grad=True)
    corrupted = torch.randn(3, 4)
    with_one = torch.cat([corrupted, torch.full((3, 1), never)], 1)
    torch.testing.assert_close(loss(true, with_one), loss(true, corrupted))
    loss(true, torch.full((3, 2), never)).backward()
    assert true.grad is not None
    assert true.grad.isfinite().all()
