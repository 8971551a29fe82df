"""Every loss and every objective meets its contract, and none is missing here."""

import pytest
import torch

from tests.contracts.objective_contract import ObjectiveContract
from training.batches import StepBatch, TrueAlternatives
from training.objectives import OBJECTIVES
from training.objectives.contrastive import Embeddings, contrastive_loss
from training.objectives.gmlm import GlobalPieceHead, global_piece_loss
from training.objectives.gmrfr import global_patch_head, global_patch_loss
from training.objectives.lpm import softmax_loss
from training.objectives.margin import margin_loss, self_adversarial_loss
from training.objectives.matching import match_loss
from training.objectives.mlm import masked_piece_loss
from training.objectives.mpm import masked_patch_loss
from training.objectives.mrc import class_loss
from training.objectives.mrfr import feature_loss
from training.objectives.sdmi import ModalityReading, distillation_losses

PIECES = GlobalPieceHead(torch.nn.Embedding(9, 4), 6)
PATCHES = global_patch_head(6, 5)


class TestMlm(ObjectiveContract):
    loss = staticmethod(masked_piece_loss)

    def inputs(self, count):
        return torch.randn(count, 7), torch.randint(0, 7, (count,))


class TestMpm(ObjectiveContract):
    loss = staticmethod(masked_patch_loss)

    def inputs(self, count):
        return torch.randn(count, 12), torch.rand(count, 12)


class TestMrfr(TestMpm):
    loss = staticmethod(feature_loss)


class TestMrc(ObjectiveContract):
    loss = staticmethod(class_loss)

    def inputs(self, count):
        return torch.randn(count, 5), torch.randn(count, 5).softmax(1)


class TestGmlm(ObjectiveContract):
    def inputs(self, count):
        return torch.randn(count, 6), torch.randn(count, 6), torch.randint(0, 9, (count,))

    def loss(self, node, positions, target):
        return global_piece_loss(PIECES, node.float(), positions.float(), target)


class TestGmrfr(TestGmlm):
    def inputs(self, count):
        return torch.randn(count, 6), torch.randn(count, 6), torch.rand(count, 5)

    def loss(self, node, positions, target):
        return global_patch_loss(PATCHES, node.float(), positions.float(), target)


class TestQi(ObjectiveContract):
    loss = staticmethod(match_loss)

    def inputs(self, count):
        return torch.randn(count), torch.arange(count) % 2


class TestLpmMargin(ObjectiveContract):
    loss = staticmethod(margin_loss)

    def inputs(self, count):
        return torch.rand(count), torch.rand(count, 4)


class TestLpmNssa(TestLpmMargin):
    loss = staticmethod(self_adversarial_loss)


class TestLpm(ObjectiveContract):
    def inputs(self, count):
        return torch.randn(count, 5), torch.randint(0, 5, (count,))

    def loss(self, logits, target):
        nothing = torch.zeros(0, dtype=torch.int64)
        none = TrueAlternatives(nothing, nothing)
        return softmax_loss(logits, torch.arange(len(logits)), target, none, smoothing=0.1)


class TestKl(ObjectiveContract):
    def inputs(self, count):
        return (
            torch.randn(count),
            torch.randn(count, 3),
            torch.randn(count),
            torch.randn(count, 3),
            torch.arange(count) % 2,
        )

    def loss(self, z_t, h_t, z_v, h_v, label):
        title = ModalityReading(h_t, z_t)
        image = ModalityReading(h_v, z_v)
        losses = distillation_losses(title, image, label)
        return losses.kl + losses.rs


class TestContrastive(ObjectiveContract):
    adds_up = False

    def inputs(self, count):
        return torch.randn(count, 4), torch.randn(count, 4)

    def loss(self, query, item):
        query, item = (torch.nn.functional.normalize(part.float(), dim=1) for part in (query, item))
        pairs = Embeddings(query, item)
        same = torch.eye(len(query), dtype=torch.bool)
        return contrastive_loss(pairs, pairs, torch.tensor(1.0), same, same)


SAME_LOSS = {"lpm_unseen": "lpm", "vtm": "qi", "qt": "qi", "qv": "qi", "rs": "kl"}
"""Objectives whose loss function is another one's."""


def test_every_objective_has_a_suite_for_its_loss():
    suites = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    names = {SAME_LOSS.get(objective.name, objective.name) for objective in OBJECTIVES}
    assert names <= suites


@pytest.mark.parametrize("kind", OBJECTIVES, ids=lambda kind: kind.name)
def test_an_objective_needs_something_and_counts_nothing_in_an_empty_batch(kind):
    assert kind.needs
    assert kind.count(StepBatch()) == 0


def test_names_are_unique():
    assert len({objective.name for objective in OBJECTIVES}) == len(OBJECTIVES)
