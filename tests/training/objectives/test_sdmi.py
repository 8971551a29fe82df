import math

import pytest
import torch

from training.objectives.sdmi import (
    ModalityReading,
    bernoulli_divergence,
    distillation_losses,
)


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
    losses = distillation_losses(
        ModalityReading(h_t, logit(title)),
        ModalityReading(h_v, logit(image)),
        torch.tensor([label]),
    )
    assert float(losses.kl) == pytest.approx(weight * by_hand(weak, strong), abs=1e-6)
    assert float(losses.rs) == pytest.approx(weight * 1.0, abs=1e-6)


def test_only_the_weaker_side_gets_a_gradient():
    strong, weak = (
        ModalityReading(torch.randn(1, 4).requires_grad_(), logit(p).requires_grad_())
        for p in (0.9, 0.6)
    )
    losses = distillation_losses(strong, weak, torch.ones(1))
    (losses.kl + losses.rs).backward()
    for part in (strong.state, strong.logit):
        assert part.grad is None or not part.grad.any()
    for part in (weak.state, weak.logit):
        assert part.grad is not None
        assert part.grad.any()


def test_the_divergence_is_torchs():
    p = torch.rand(50) * 6 - 3
    q = torch.rand(50) * 6 - 3
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(logits=p), torch.distributions.Bernoulli(logits=q)
    )
    torch.testing.assert_close(bernoulli_divergence(p, q), expected)


def test_extreme_logits_stay_finite():
    z = torch.tensor([60.0, -60.0])
    losses = distillation_losses(
        ModalityReading(torch.zeros(2, 3), z),
        ModalityReading(torch.zeros(2, 3), -z),
        torch.tensor([1.0, 0.0]),
    )
    assert losses.kl.isfinite()
