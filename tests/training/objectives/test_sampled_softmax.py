"""A softmax over a sample of the candidates, compared with the one over all of them."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kg.sampling.negatives import type_constrained_candidates
from training.batches import TrueAlternatives
from training.objectives.lpm import softmax_loss

VALUES = 60
DRAWN = 12
RANGES = np.array([0, VALUES])
# Frequent values are nearly always among a batch's own, and have high logits.
POSITIVES = np.array([0, 1, 2, 3, 5, 8])
NOTHING = torch.zeros(0, dtype=torch.int64)


def logits_of_values():
    torch.manual_seed(0)
    return torch.randn(VALUES, dtype=torch.float64) + 2.0 * (torch.arange(VALUES) < 10)


def sampled_loss(logits, seed, corrected, target=3, smoothing=0.0, alternatives=()):
    drawn = type_constrained_candidates(
        RANGES, np.array([0]), POSITIVES, DRAWN, np.random.default_rng(seed)
    )
    assert drawn.log_weight is not None
    ids = torch.from_numpy(drawn.ids)
    weight = torch.from_numpy(drawn.log_weight)[None, :] if corrected else None
    columns = torch.from_numpy(np.searchsorted(drawn.ids, np.array(alternatives, dtype=np.int64)))
    others = TrueAlternatives(torch.zeros(len(alternatives), dtype=torch.int64), columns)
    column = torch.from_numpy(np.searchsorted(drawn.ids, [target]))
    cell = torch.zeros(1, dtype=torch.int64)
    return softmax_loss(logits[ids][None, :], cell, column, others, smoothing, weight)


def full_loss(logits, target=3, smoothing=0.0, alternatives=()):
    cell = torch.zeros(1, dtype=torch.int64)
    others = TrueAlternatives(
        torch.zeros(len(alternatives), dtype=torch.int64),
        torch.tensor(alternatives, dtype=torch.int64),
    )
    return softmax_loss(logits[None, :], cell, torch.tensor([target]), others, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_and_gradient_come_near_those_of_all_candidates(smoothing):
    """In the mean over many draws; without the correction they are far from them."""
    logits = logits_of_values().requires_grad_()
    alternatives = (5,)
    whole = full_loss(logits, smoothing=smoothing, alternatives=alternatives)
    (exact,) = torch.autograd.grad(whole, logits)
    errors = {}
    for corrected in (False, True):
        losses = [
            sampled_loss(logits, seed, corrected, 3, smoothing, alternatives) for seed in range(800)
        ]
        mean = torch.stack(losses).mean()
        (gradient,) = torch.autograd.grad(mean, logits)
        loss_error = float((mean - whole).detach().abs())
        errors[corrected] = (loss_error, float((gradient - exact).norm()))
    # What is left is the bias of a logarithm, and the chance of 800 draws.
    assert errors[True][0] < 0.1 * errors[False][0]
    assert errors[True][1] < 0.4 * errors[False][1]


def test_the_denominator_is_estimated_without_bias():
    """The mean of all 35 possible draws of 3 among 7 is the sum over all 10 candidates."""
    logits = logits_of_values().numpy()[:10]
    estimates = []
    for draw in itertools.combinations(range(7), 3):
        rng: Any = SimpleNamespace(choice=lambda *_, draw=draw, **__: np.array(draw))
        drawn = type_constrained_candidates(
            np.array([0, 10]), np.array([0]), np.array([2, 3, 9]), 3, rng
        )
        assert drawn.log_weight is not None
        estimates.append(np.exp(logits[drawn.ids] + drawn.log_weight).sum())
    assert np.mean(estimates) == pytest.approx(np.exp(logits).sum(), rel=1e-12)


def test_the_formula_by_hand():
    logits = torch.tensor([[1.0, 2.0, 0.5]]).double()
    weight = torch.tensor([[0.0, math.log(4.0), 0.0]], dtype=torch.float64)
    others = TrueAlternatives(torch.tensor([0]), torch.tensor([2]))
    z = math.exp(1.0) + 4 * math.exp(2.0)
    cell = torch.tensor([0])
    loss = softmax_loss(logits, cell, torch.tensor([0]), others, 0.0, weight)
    assert loss.item() == pytest.approx(-(1.0 - math.log(z)), rel=1e-12)
    smoothed = softmax_loss(logits, cell, torch.tensor([0]), others, 0.2, weight)
    spread = ((1.0 - math.log(z)) + 4 * (2.0 - math.log(z))) / 5
    expected = -0.8 * (1.0 - math.log(z)) - 0.2 * spread
    assert smoothed.item() == pytest.approx(expected, rel=1e-12)


def test_candidates_that_all_stand_for_themselves_need_no_correction():
    logits = torch.randn(3, 5)
    cell = torch.arange(3)
    target = torch.tensor([0, 4, 2])
    none = TrueAlternatives(NOTHING, NOTHING)
    plain = softmax_loss(logits, cell, target, none, 0.1)
    torch.testing.assert_close(
        softmax_loss(logits, cell, target, none, 0.1, torch.zeros(3, 5)), plain
    )
    torch.testing.assert_close(
        softmax_loss(logits, cell, target, none), F.cross_entropy(logits, target)
    )
