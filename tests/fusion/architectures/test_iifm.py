from typing import Any

import pytest
import torch

from fusion.architectures.iifm import InitialInteractiveFusion


def made(mode: Any) -> Any:
    return InitialInteractiveFusion(4, mode).double()


@pytest.fixture
def pair():
    return torch.randn(2, 3, 4, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)


def test_mean_is_the_mean(pair):
    torch.testing.assert_close(InitialInteractiveFusion(4, "mean")(*pair), (pair[0] + pair[1]) / 2)


def test_soft_spl_weighs_both(pair):
    fusion = made("soft-spl")
    scores = torch.cat(pair, -1) @ fusion.choose.weight.T + fusion.choose.bias
    share = scores.exp() / scores.exp().sum(-1, keepdim=True)
    torch.testing.assert_close(
        fusion(*pair), share[..., :1] * pair[0] + share[..., 1:] * pair[1], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("training", [True, False])
def test_hard_spl_takes_one_of_the_two(pair, training):
    out = made("hard-spl").train(training)(*pair)
    assert ((out == pair[0]).all(-1) | (out == pair[1]).all(-1)).all()


def test_hard_spl_takes_the_likelier_one_outside_training(pair):
    fusion = made("hard-spl").eval()
    initial = fusion.choose(torch.cat(pair, -1)).argmax(-1) == 0
    assert torch.equal(fusion(*pair), torch.where(initial[..., None], pair[0], pair[1]))


def test_hard_spls_gradient_is_that_of_the_soft_path(pair):
    fusion = made("hard-spl").train()
    torch.manual_seed(0)
    fusion(*pair).sum().backward()
    gradient = fusion.choose.bias.grad
    step = 1e-3

    def soft(move: float) -> torch.Tensor:
        torch.manual_seed(0)
        scores = fusion.choose(torch.cat(pair, -1)).detach().float() + torch.tensor([move, 0.0])
        share = torch.nn.functional.gumbel_softmax(scores, 1.0)
        return (share[..., :1] * pair[0] + share[..., 1:] * pair[1]).sum()

    assert gradient is not None
    assert gradient[0].item() == pytest.approx(
        ((soft(step) - soft(-step)) / (2 * step)).item(), rel=1e-2, abs=1e-3
    )


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="'max' is unknown: choose mean, soft-spl, hard-spl"):
        InitialInteractiveFusion(4, "max")  # type: ignore[arg-type]
