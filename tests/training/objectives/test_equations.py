"""Each objective against its equation, written out with loops in float64."""

import math

import torch

from tests.training.preset_steps import preset_step
from training.batches import TrueAlternatives
from training.objectives.contrastive import Embeddings, contrastive_loss
from training.objectives.gmlm import GlobalPieceHead, global_piece_loss
from training.objectives.gmrfr import global_patch_head, global_patch_loss
from training.objectives.lpm import softmax_loss
from training.objectives.margin import margin_loss, self_adversarial_loss
from training.objectives.matching import ImageMatching, match_loss
from training.objectives.mlm import masked_piece_loss
from training.objectives.mpm import masked_patch_loss
from training.objectives.mrc import class_loss
from training.objectives.mrfr import feature_loss
from training.objectives.sdmi import ModalityReading, distillation_losses
from training.objectives.states import StepStates

torch.manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(loss, expected):
    """Equal to 12 digits, so nothing on the way was single precision."""
    assert loss.dtype == torch.float64
    assert math.isclose(float(loss), float(expected), rel_tol=1e-12, abs_tol=1e-12)


def log_softmax(row, at):
    return float(row[at]) - math.log(sum(math.exp(float(z)) for z in row))


def sigmoid(z):
    return 1 / (1 + math.exp(-float(z)))


def test_mlm():
    logits = randn(5, 7)
    target = torch.tensor([0, 3, 6, 1, 1])
    close(
        masked_piece_loss(logits, target),
        -sum(log_softmax(row, t) for row, t in zip(logits, target, strict=True)) / 5,
    )


def test_mpm_is_a_mean_over_pixels():
    one = randn(4, 6)
    other = randn(4, 6)
    close(
        masked_patch_loss(one, other),
        sum(abs(float(a - b)) for a, b in zip(one.flatten(), other.flatten(), strict=True)) / 24,
    )


def test_mrfr():
    one = randn(4, 6)
    other = randn(4, 6)
    close(
        feature_loss(one, other),
        sum(float(a - b) ** 2 for a, b in zip(one.flatten(), other.flatten(), strict=True)) / 4,
    )


def test_mrc():
    logits = randn(3, 4)
    target = randn(3, 4).softmax(1)
    rows = [
        [
            float(target[r, c]) * (math.log(target[r, c]) - log_softmax(logits[r], c))
            for c in range(4)
        ]
        for r in range(3)
    ]
    close(class_loss(logits, target), sum(map(sum, rows)) / 3)


def test_gmlm_and_gmrfr_go_through_equations_3_and_4():
    pieces = GlobalPieceHead(torch.nn.Embedding(9, 4), 6).double().requires_grad_(False)
    patches_head = global_patch_head(6, 5).double().requires_grad_(False)
    node = randn(3, 6)
    positions = randn(3, 6)

    def two_layers(predictor):
        hidden = torch.cat([node, positions], 1)
        for dense, _, norm in (predictor.first, predictor.second):
            hidden = norm(torch.nn.functional.gelu(hidden @ dense.weight.T + dense.bias))
        return hidden

    logits = two_layers(pieces.predictor) @ pieces.weight.T
    target = torch.tensor([1, 8, 0])
    close(
        global_piece_loss(pieces, node, positions, target),
        -sum(log_softmax(row, t) for row, t in zip(logits, target, strict=True)) / 3,
    )
    predicted = two_layers(patches_head)
    patches = randn(3, 5)
    close(
        global_patch_loss(patches_head, node, positions, patches),
        sum(float(x) ** 2 for x in (predicted - patches).flatten()) / 3,
    )


def test_qi_and_vtm():
    logits = randn(6)
    label = torch.tensor([1, 0, 0, 1, 1, 0])
    expected = (
        -sum(
            math.log(sigmoid(z) if y else 1 - sigmoid(z))
            for z, y in zip(logits, label, strict=True)
        )
        / 6
    )
    close(match_loss(logits, label), expected)


def test_lpm_by_a_softmax_leaves_other_truths_out():
    logits = randn(2, 4)
    logits[:, 3] = -torch.inf
    others = TrueAlternatives(torch.tensor([0]), torch.tensor([1]))
    first = float(logits[0, 0]) - math.log(math.exp(logits[0, 0]) + math.exp(logits[0, 2]))
    close(
        softmax_loss(logits, torch.tensor([0, 1]), torch.tensor([0, 2]), others),
        -(first + log_softmax(logits[1, :3], 2)) / 2,
    )


def test_lpm_by_a_margin():
    true = randn(3).abs()
    corrupted = randn(3, 2).abs()
    close(
        margin_loss(true, corrupted, 0.5),
        sum(max(float(true[e] - corrupted[e, n]) + 0.5, 0) for e in range(3) for n in range(2)) / 6,
    )


def test_lpm_by_nssa():
    true = randn(2)
    corrupted = randn(2, 3)
    against = 0.0
    for row in corrupted:
        weights = [math.exp(0.5 * float(z)) for z in row]
        against += (
            sum(
                w / sum(weights) * math.log(sigmoid(-float(z) - 2.0))
                for w, z in zip(weights, row, strict=True)
            )
            / 2
        )
    close(
        self_adversarial_loss(true, corrupted, 2.0, 0.5),
        -sum(math.log(sigmoid(2.0 + float(z))) for z in true) / 2 - against,
    )


def test_sdmi_is_equations_6_to_10():
    (h_t, z_t) = (randn(8, 3), randn(8))
    (h_v, z_v) = (randn(8, 3), randn(8))
    label = torch.tensor([1, 0] * 4)
    kl = rs = 0.0
    for i, y in enumerate(label.tolist()):
        p_t = sigmoid(z_t[i])
        p_v = sigmoid(z_v[i])
        strong = max(p_t, p_v) if y else min(p_t, p_v)
        weak = p_t if strong == p_v else p_v
        weight = (strong - weak if y else weak - strong) if (strong > 0.5) == bool(y) else 0.0
        kl += (
            weight
            * (weak * math.log(weak / strong) + (1 - weak) * math.log((1 - weak) / (1 - strong)))
            / 8
        )
        rs += weight * float((h_t[i] - h_v[i]).square().mean()) / 8
    losses = distillation_losses(ModalityReading(h_t, z_t), ModalityReading(h_v, z_v), label)
    close(losses.kl, kl)
    close(losses.rs, rs)


def test_contrast_is_info_nce_both_ways():
    query, item = (torch.nn.functional.normalize(randn(3, 4), dim=1) for _ in range(2))
    logits = query @ item.T * math.exp(1.5)
    expected = -sum(log_softmax(logits[i], i) + log_softmax(logits[:, i], i) for i in range(3)) / 6
    scale = torch.tensor(1.5, dtype=torch.float64)
    same = torch.eye(3, dtype=torch.bool)
    pairs = Embeddings(query, item)
    close(contrastive_loss(pairs, pairs, scale, same, same.T), expected)


def test_contrast_of_a_part_is_its_share_of_the_whole():
    query, item = (torch.nn.functional.normalize(randn(4, 4), dim=1) for _ in range(2))
    scale = torch.tensor(1.0, dtype=torch.float64)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = True
    everyone = Embeddings(query, item)
    parts = []
    for first in (0, 2):
        mine = slice(first, first + 2)
        own = Embeddings(query[mine], item[mine])
        parts.append(contrastive_loss(own, everyone, scale, same[mine], same.T[mine], first))
    close(sum(parts) / 2, contrastive_loss(everyone, everyone, scale, same, same.T))


def test_the_image_is_matched_once_for_every_pair_whose_item_has_one():
    step = preset_step("mbsd")
    states = StepStates(step.objective.eval().model, step.batch)
    pairs = states.batch.pairs
    assert pairs is not None
    assert states.query_views is not None
    seen = pairs.items.has_image.repeat(2)
    # Image rows are padded to a multiple of 8: some of them would otherwise count twice.
    assert 0 < pairs.items.image_count < len(pairs.items.image_rows)
    logits = states.model.match_head(states.query_views.image)[seen]
    loss = ImageMatching()(states)
    assert loss is not None
    torch.testing.assert_close(loss, match_loss(logits, pairs.label[seen]))
    assert ImageMatching.count(states.batch) == int(seen.sum())
