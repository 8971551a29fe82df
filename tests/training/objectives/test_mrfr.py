import numpy as np
import torch

from training.objectives.mrc import class_loss
from training.objectives.mrfr import feature_loss, mask_features


def test_a_share_of_the_present_tokens_is_chosen_and_most_of_it_covered():
    torch.manual_seed(0)
    there = torch.rand(200, 100) < 0.9
    rows = torch.arange(200) < 150
    chosen, covered = mask_features(there, rows, np.random.default_rng(0).random((2, 200, 100)))
    assert not (chosen & ~there).any()
    assert not chosen[150:].any()
    assert abs(chosen[:150].sum() / there[:150].sum() - 0.15) < 0.01
    assert abs(covered.sum() / chosen.sum() - 0.8) < 0.03


def test_the_feature_loss_is_equation_1():
    predicted = torch.randn(5, 7).double()
    target = torch.randn(5, 7).double()
    expected = sum(((p - t) ** 2).sum() for p, t in zip(predicted, target, strict=True)) / 5
    torch.testing.assert_close(
        feature_loss(predicted, target).double(), expected, rtol=1e-5, atol=1e-5
    )


def test_the_class_loss_is_the_divergence_from_the_detector():
    logits = torch.randn(4, 6)
    target = torch.rand(4, 6).softmax(1)
    expected = (target * (target.log() - logits.log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(class_loss(logits, target), expected)
    assert class_loss(target.log(), target).abs() < 1e-6
