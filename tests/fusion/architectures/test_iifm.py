from typing import Any

import pytest
import torch

from fusion.architectures.iifm import InitialInteractiveFusion


def fusion_by(mode: Any) -> Any:
    return InitialInteractiveFusion(4, mode).double()


@pytest.fixture
def pair():
    return torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)


def test_mean_is_the_mean(pair):
    torch.testing.assert_close(fusion_by("mean")(*pair), (pair[0] + pair[1]) / 2)


def test_soft_spl_weighs_both_by_a_softmax(pair):
    fusion = fusion_by("soft-spl")
    scores = torch.cat(pair, -1) @ fusion.choose.weight.T + fusion.choose.bias
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    expected = shares[..., :1] * pair[0] + shares[..., 1:] * pair[1]
    torch.testing.assert_close(fusion(*pair), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_hard_spl_takes_one_of_the_two(pair, training):
    out = fusion_by("hard-spl").train(training)(*pair)
    assert ((out == pair[0]).all(-1) | (out == pair[1]).all(-1)).all()


def test_hard_spl_takes_the_more_probable_one_outside_training(pair):
    fusion = fusion_by("hard-spl").eval()
    takes_initial = fusion.choose(torch.cat(pair, -1)).argmax(-1) == 0
    expected = torch.where(takes_initial[..., None], pair[0], pair[1])
    assert torch.equal(fusion(*pair), expected)


def test_the_gradient_of_hard_spl_is_that_of_the_soft_sample(pair):
    fusion = fusion_by("hard-spl").train()
    torch.manual_seed(0)
    fusion(*pair).sum().backward()
    gradient = fusion.choose.bias.grad
    step = 1e-3

    def soft_sum(bias_change: float) -> torch.Tensor:
        torch.manual_seed(0)
        scores = fusion.choose(torch.cat(pair, -1)).detach().float()
        scores = scores + torch.tensor([bias_change, 0.0])
        shares = torch.nn.functional.gumbel_softmax(scores, 1.0)
        return (shares[..., :1] * pair[0] + shares[..., 1:] * pair[1]).sum()

    expected = ((soft_sum(step) - soft_sum(-step)) / (2 * step)).item()
    assert gradient is not None
    assert gradient[0].item() == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="'max' is unknown: choose mean, soft-spl, hard-spl"):
        InitialInteractiveFusion(4, "max")  # type: ignore[arg-type]
