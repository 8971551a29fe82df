from typing import Any

import numpy as np
import pytest
import torch

from encoders.tokenizer import SpecialPieces
from tests.training.conftest import TINY
from tests.training.preset_steps import preset_step
from training.batches import TokenPlaces, TrueAlternatives
from training.config import Recipe
from training.objectives.contrastive import Embeddings, contrastive_loss
from training.objectives.joint import JointObjective
from training.objectives.lpm import softmax_loss
from training.objectives.matching import match_loss
from training.objectives.mlm import cumulative_frequencies, mask_pieces, masked_piece_loss
from training.objectives.mpm import mask_patches, masked_patch_loss, masked_raw_patches, raw_patches
from training.objectives.states import StepStates

SPECIAL = SpecialPieces()
NONE = TrueAlternatives(
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, dtype=torch.int64),
)


def test_link_loss_is_the_softmax_over_the_propertys_own_values():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]])
    expected = -np.log(np.exp(2) / (np.exp(1) + np.exp(2)))
    np.testing.assert_allclose(
        softmax_loss(logits, torch.tensor([0]), torch.tensor([1]), NONE).item(), expected, rtol=1e-6
    )


def test_link_loss_leaves_other_truths_out():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    others = TrueAlternatives(torch.tensor([0]), torch.tensor([2]))
    without = softmax_loss(logits[:, :2], torch.tensor([0]), torch.tensor([1]), NONE)
    torch.testing.assert_close(
        softmax_loss(logits, torch.tensor([0]), torch.tensor([1]), others), without
    )


def test_label_smoothing_spreads_over_the_propertys_own_values():
    logits = torch.tensor([[1.0, 2.0, -torch.inf]])
    log = logits[0, :2].log_softmax(0)
    smoothed = softmax_loss(logits, torch.tensor([0]), torch.tensor([1]), NONE, smoothing=0.2)
    torch.testing.assert_close(smoothed, -(0.8 * log[1] + 0.2 * log.mean()))


def uniform(*shape):
    return np.random.default_rng(0).random(shape)


def test_masking_chooses_a_share_and_mostly_covers():
    pieces = torch.full((100, 50), 9)
    rows = torch.arange(100) < 80
    masked, chosen = mask_pieces(pieces, rows, SPECIAL, 200, uniform(3, 100, 50))
    assert not chosen[80:].any()
    assert abs(chosen[:80].float().mean() - 0.15) < 0.02
    assert abs((masked[chosen] == SPECIAL.mask).float().mean() - 0.8) < 0.05
    assert abs((masked[chosen] == 9).float().mean() - 0.1) < 0.04
    assert (masked[~chosen] == 9).all()


def test_random_pieces_follow_their_frequency_in_titles():
    """Pieces 7, 8 and 12 in the shares 1/2, 1/4 and 1/4; a special piece has none."""
    titles = [[7, 7, SPECIAL.unk], [8], [12, SPECIAL.sep]]
    cumulative = cumulative_frequencies(titles, SPECIAL, 20)
    assert cumulative is not None
    shares = np.diff(cumulative, prepend=0.0)
    expected = np.zeros(20)
    expected[[7, 8, 12]] = [0.5, 0.25, 0.25]
    np.testing.assert_allclose(shares, expected, atol=1e-15)

    numbers = uniform(3, 200, 100)
    pieces = torch.full((200, 100), 9)
    rows = torch.ones(200, dtype=torch.bool)
    masked, chosen = mask_pieces(pieces, rows, SPECIAL, 20, numbers, cumulative=cumulative)
    random = masked[chosen & (masked != 9) & (masked != SPECIAL.mask)]
    assert set(random.tolist()) == {7, 8, 12}
    drawn = torch.bincount(random, minlength=20) / len(random)
    np.testing.assert_allclose(drawn, expected, atol=0.06)


def test_the_frequencies_of_titles_without_words_are_unknown():
    assert cumulative_frequencies([[], [SPECIAL.unk]], SPECIAL, 20) is None


def test_masking_never_chooses_padding():
    masked, chosen = mask_pieces(
        torch.zeros(50, 9, dtype=torch.int64),
        torch.ones(50, dtype=torch.bool),
        SPECIAL,
        50,
        uniform(3, 50, 9),
    )
    assert not chosen.any()
    assert (masked == 0).all()


def test_masked_piece_loss_is_the_mean_negative_log_likelihood():
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    expected = -(torch.log_softmax(logits, 1)[0, 1] + torch.log_softmax(logits, 1)[1, 1]) / 2
    torch.testing.assert_close(masked_piece_loss(logits, torch.tensor([1, 1])), expected)


def test_raw_patches_are_the_images_own_pixels():
    pixels = torch.randint(0, 255, (1, 3, 8, 8), dtype=torch.uint8)
    pixels = torch.cat([pixels, 255 - pixels])
    places = TokenPlaces.of(torch.tensor([[False, True, False, False], [True, False, False, True]]))
    patches = raw_patches(pixels, 4, places)
    expected = [pixels[0, :, :4, 4:], pixels[1, :, :4, :4], pixels[1, :, 4:, 4:]]
    torch.testing.assert_close(patches, torch.stack(expected).float().flatten(1) / 255)


def test_masked_patch_loss_is_the_mean_absolute_difference():
    assert masked_patch_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.5]])).item() == 0.75


def test_patches_of_other_rows_stay():
    assert not mask_patches(
        torch.ones(2, 16, dtype=torch.bool), torch.tensor([False, False]), uniform(2, 16)
    ).any()
    there = torch.arange(1000)[None] < 900
    chosen = mask_patches(there, torch.tensor([True]), uniform(1, 1000))
    assert chosen[there].float().mean().sub(0.5).abs() < 0.1
    assert not chosen[~there].any()


def test_match_loss_is_binary_cross_entropy():
    expected = -np.log(1 / (1 + np.exp(-2.0)))
    np.testing.assert_allclose(
        match_loss(torch.tensor([2.0]), torch.tensor([1])).item(), expected, rtol=1e-6
    )


def test_contrast_ignores_pairs_that_match_as_well():
    query = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    item = query.clone()
    item[1] = query[0]
    same = torch.eye(3, dtype=torch.bool)
    pairs = Embeddings(query, item)
    with_false_negative = contrastive_loss(pairs, pairs, torch.tensor(1.0), same, same)
    same[0, 1] = same[1, 0] = True
    assert contrastive_loss(pairs, pairs, torch.tensor(1.0), same, same) < with_false_negative


def test_joint_names_its_terms_and_adds_them(batch, objective):
    report = objective(batch(np.arange(24), 1))
    assert {"lpm", "lpm_unseen", "mlm", "mpm"} <= set(report.terms)
    torch.testing.assert_close(
        report.total, sum(objective.weights[name] * term for name, term in report.terms.items())
    )


def test_joint_reaches_every_part_of_the_model_and_every_head(batch, objective):
    objective(batch(np.arange(24), 1)).total.backward()
    idle = {
        ".".join(name.split(".")[:2])
        for name, parameter in objective.named_parameters()
        if parameter.grad is None
    }
    assert idle == {"model.match_head"}


def test_an_objective_without_weight_is_not_built(model):
    objective = JointObjective(model, TINY, Recipe(weights={"mlm": 1.0, "mpm": 0.0}))
    assert list(objective.objectives) == ["mlm"]


def test_objectives_that_the_model_cannot_predict_are_listed(model):
    objective = JointObjective(model, TINY, Recipe(weights={"mlm": 1.0, "mrc": 1.0}))
    assert objective.unavailable == ["mrc"]


def test_what_several_objectives_need_is_computed_once(batch, model):
    states = StepStates(model, batch(np.arange(24), 1))
    calls = []

    def compute(given):
        calls.append(given)
        return "result"

    assert [states.once(compute), states.once(compute)] == ["result", "result"]
    assert calls == [states]
    assert states.once(masked_raw_patches) is states.once(masked_raw_patches)


@pytest.mark.parametrize("has_images", [True, False])
def test_readings_in_one_pass_equal_those_one_after_another(has_images, monkeypatch):
    step = preset_step("joint")
    objective = step.objective.eval()
    batch = step.batch
    if not has_images:
        monkeypatch.setattr(objective.model.images, "forward", lambda _: None)
    passes = []
    stream: Any = objective.model.fusion.stream
    stream.register_forward_hook(lambda *_: passes.append(1))
    together = objective(batch)
    together.total.backward()
    assert len(passes) == 1
    gradients = [None if p.grad is None else p.grad.clone() for p in objective.parameters()]

    objective.zero_grad()
    monkeypatch.setattr("training.objectives.joint.readings_of", lambda *_: frozenset())
    alone = objective(batch)
    alone.total.backward()
    assert len(passes) == 1 + (7 if has_images else 5)
    assert together.terms.keys() == alone.terms.keys()
    for term, loss in alone.terms.items():
        torch.testing.assert_close(together.terms[term], loss, rtol=1e-4, atol=1e-6)
    for gradient, parameter in zip(gradients, objective.parameters(), strict=True):
        assert (gradient is None) == (parameter.grad is None)
        if gradient is not None and parameter.grad is not None:
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5)
