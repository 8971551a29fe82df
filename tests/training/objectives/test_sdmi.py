import math

import pytest
import torch

from training.objectives.sdmi import bernoulli_divergence, distillation_losses


def logit(p):
    return torch.tensor([math.log(p / (1 - p))])


def by_hand(p_weak, p_strong):
    return p_weak * math.log(p_weak / p_strong) + (1 - p_weak) * math.log(
        (1 - p_weak) / (1 - p_strong)
    )


@pytest.mark.parametrize(
    ("title", "image", "label", "weak", "strong", "weight"),
    [
        (0.9, 0.6, 1.0, 0.6, 0.9, 0.3),
        (0.2, 0.7, 1.0, 0.2, 0.7, 0.5),
        (0.1, 0.8, 0.0, 0.8, 0.1, 0.7),
        (0.6, 0.3, 0.0, 0.6, 0.3, 0.3),
        (0.4, 0.2, 1.0, 0.2, 0.4, 0.0),
        (0.6, 0.9, 0.0, 0.9, 0.6, 0.0),
    ],
)
def test_the_stronger_side_teaches_where_it_is_right(title, image, label, weak, strong, weight):
    h_t = torch.ones(1, 4)
    h_v = torch.zeros(1, 4)
    kl, rs = distillation_losses((h_t, logit(title)), (h_v, logit(image)), torch.tensor([label]))
    assert float(kl) == pytest.approx(weight * by_hand(weak, strong), abs=1e-6)
    assert float(rs) == pytest.approx(weight * 1.0, abs=1e-6)


def test_only_the_weaker_side_gets_a_gradient():
    strong, weak = (
        [torch.randn(1, 4).requires_grad_(), logit(p).requires_grad_()] for p in (0.9, 0.6)
    )
    kl, rs = distillation_losses((strong[0], strong[1]), (weak[0], weak[1]), torch.ones(1))
    (kl + rs).backward()
    assert all(part.grad is None or not part.grad.any() for part in strong)
    assert all(part.grad is not None and part.grad.any() for part in weak)


def test_the_divergence_is_torchs():
    p = torch.rand(50) * 6 - 3
    q = torch.rand(50) * 6 - 3
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(logits=p), torch.distributions.Bernoulli(logits=q)
    )
    torch.testing.assert_close(bernoulli_divergence(p, q), expected)


def test_extreme_logits_stay_finite():
    z = torch.tensor([60.0, -60.0])
    kl, _ = distillation_losses(
        (torch.zeros(2, 3), z), (torch.zeros(2, 3), -z), torch.tensor([1.0, 0.0])
    )
    assert kl.isfinite()
