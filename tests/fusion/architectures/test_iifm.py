from typing import Any

import pytest
import torch
from torch.nn.functional import gumbel_softmax

from fusion.architectures.iifm import InitialInteractiveFusion

DIM = 4


def fusion_by(mode: Any, gates: Any = "feature") -> Any:
    torch.manual_seed(1)
    return InitialInteractiveFusion(DIM, mode, gates=gates).double()


@pytest.fixture
def pair():
    torch.manual_seed(2)
    return torch.randn(2, 3, DIM).double(), torch.randn(2, 3, DIM).double()


def gates_of(fusion, pair):
    """The rectified h^0 and h^I, and their gates, from one weight matrix each."""
    u_0, u_1 = (hidden.clamp(min=0) for hidden in pair)
    joined = torch.cat([u_0, u_1], -1)
    g_0, g_1 = (
        1 / (1 + (-(joined @ weight.T + bias)).exp())
        for weight, bias in zip(
            fusion.gate.weight.split(DIM), fusion.gate.bias.split(DIM), strict=True
        )
    )
    return u_0, u_1, g_0, g_1


@pytest.mark.parametrize("gates", ["feature", "token"])
def test_mean_is_the_mean(pair, gates):
    torch.testing.assert_close(fusion_by("mean", gates)(*pair), (pair[0] + pair[1]) / 2)


def test_soft_spl_maps_both_through_a_gate_for_each_feature(pair):
    fusion = fusion_by("soft-spl")
    u_0, u_1, g_0, g_1 = gates_of(fusion, pair)
    w_0, w_1 = fusion.mix.weight.split(DIM, 1)
    expected = (g_0 * u_0) @ w_0.T + (g_1 * u_1) @ w_1.T + fusion.mix.bias
    torch.testing.assert_close(fusion(*pair), expected)


def test_hard_spl_takes_the_feature_with_the_larger_gate_outside_training(pair):
    fusion = fusion_by("hard-spl").eval()
    u_0, u_1, g_0, g_1 = gates_of(fusion, pair)
    expected = torch.where(g_0 > g_1, u_0, u_1)
    assert torch.equal(fusion(*pair), expected)
    # Not a choice for the whole token.
    assert ((g_0 > g_1).any(-1) & (g_0 < g_1).any(-1)).any()


def test_hard_spl_draws_each_feature_by_its_gates_during_training(pair):
    fusion = fusion_by("hard-spl").train()
    u_0, u_1, g_0, g_1 = gates_of(fusion, pair)
    draws = torch.stack([fusion(*pair) for _ in range(4000)])
    assert ((draws == u_0) | (draws == u_1)).all()
    differ = u_0 != u_1
    share = (draws == u_0).double().mean(0)[differ]
    expected = g_0.exp() / (g_0.exp() + g_1.exp())
    torch.testing.assert_close(share, expected[differ], rtol=0, atol=0.04)


def by_token(fusion, pair, shares):
    return shares[..., :1] * pair[0] + shares[..., 1:] * pair[1]


def test_soft_spl_by_token_weighs_both_by_a_softmax(pair):
    fusion = fusion_by("soft-spl", "token")
    scores = torch.cat(pair, -1) @ fusion.choose.weight.T + fusion.choose.bias
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    expected = by_token(fusion, pair, shares)
    torch.testing.assert_close(fusion(*pair), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_hard_spl_by_token_takes_one_of_the_two(pair, training):
    out = fusion_by("hard-spl", "token").train(training)(*pair)
    assert ((out == pair[0]).all(-1) | (out == pair[1]).all(-1)).all()


def test_hard_spl_by_token_takes_the_more_probable_one_outside_training(pair):
    fusion = fusion_by("hard-spl", "token").eval()
    takes_initial = fusion.choose(torch.cat(pair, -1)).argmax(-1) == 0
    expected = torch.where(takes_initial[..., None], pair[0], pair[1])
    assert torch.equal(fusion(*pair), expected)


def soft_sample(fusion, pair, change):
    """The sum of the soft sample, after ``change`` is added to the bias of the first score."""
    if fusion.choose is not None:
        torch.manual_seed(0)
        scores = fusion.choose(torch.cat(pair, -1)).detach().float()
        shares = gumbel_softmax(scores + torch.tensor([change, 0.0]), 1.0)
        return by_token(fusion, pair, shares).sum()
    changed = fusion_by("hard-spl")
    with torch.no_grad():
        changed.gate.bias[0] += change
        u_0, u_1, g_0, g_1 = gates_of(changed, pair)
    torch.manual_seed(0)
    shares = gumbel_softmax(torch.stack([g_0, g_1], -1).float(), 1.0)
    return (shares[..., 0] * u_0 + shares[..., 1] * u_1).sum()


@pytest.mark.parametrize("gates", ["feature", "token"])
def test_the_gradient_of_hard_spl_is_that_of_the_soft_sample(pair, gates):
    fusion = fusion_by("hard-spl", gates).train()
    torch.manual_seed(0)
    fusion(*pair).sum().backward()
    bias = fusion.choose.bias if gates == "token" else fusion.gate.bias
    step = 1e-3
    difference = soft_sample(fusion, pair, step) - soft_sample(fusion, pair, -step)
    expected = (difference / (2 * step)).item()
    assert bias.grad[0].item() == pytest.approx(expected, rel=1e-2, abs=1e-3)


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="'max' is unknown: choose mean, soft-spl, hard-spl"):
        InitialInteractiveFusion(4, "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'item' are unknown: choose feature, token"):
        InitialInteractiveFusion(4, gates="item")  # type: ignore[arg-type]
