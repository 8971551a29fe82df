"""Every objective keeps to the contract, and none is missed."""

from pathlib import Path

import torch

from fusion.heads import GlobalHeads
from tests.contracts.objective_contract import ObjectiveContract
from training import objectives
from training.objectives.contrast import contrastive_loss
from training.objectives.gmlm import global_patch_loss, global_piece_loss
from training.objectives.link import link_loss
from training.objectives.margin import margin_loss, self_adversarial_loss
from training.objectives.matching import match_loss
from training.objectives.mlm import masked_piece_loss
from training.objectives.mpm import masked_patch_loss
from training.objectives.mrfr import class_loss, feature_loss
from training.objectives.sdmi import distillation_losses

NO_OBJECTIVES = {"__init__", "joint", "precise", "vtm"}
"""The sum of all, a helper, and VTM, which swaps titles and is then told by match_loss."""

HEADS = GlobalHeads(torch.nn.Embedding(9, 4), 6, 5)


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


class TestMrfrClasses(ObjectiveContract):
    loss = staticmethod(class_loss)

    def inputs(self, count):
        return torch.randn(count, 5), torch.randn(count, 5).softmax(1)


class TestGmlm(ObjectiveContract):
    def inputs(self, count):
        return torch.randn(count, 6), torch.randn(count, 6), torch.randint(0, 9, (count,))

    def loss(self, node, positions, target):
        return global_piece_loss(HEADS, node.float(), positions.float(), target)


class TestGmlmPatches(TestGmlm):
    def inputs(self, count):
        return torch.randn(count, 6), torch.randn(count, 6), torch.rand(count, 5)

    def loss(self, node, positions, target):
        return global_patch_loss(HEADS, node.float(), positions.float(), target)


class TestMatching(ObjectiveContract):
    loss = staticmethod(match_loss)

    def inputs(self, count):
        return torch.randn(count), torch.arange(count) % 2


class TestMargin(ObjectiveContract):
    loss = staticmethod(margin_loss)

    def inputs(self, count):
        return torch.rand(count), torch.rand(count, 4)


class TestMarginAdversarial(TestMargin):
    loss = staticmethod(self_adversarial_loss)


class TestLink(ObjectiveContract):
    def inputs(self, count):
        return torch.randn(count, 5), torch.randint(0, 5, (count,))

    def loss(self, logits, target):
        nothing = torch.zeros(0, dtype=torch.int64)
        return link_loss(
            logits, torch.arange(len(logits)), target, (nothing, nothing), smoothing=0.1
        )


class TestSdmi(ObjectiveContract):
    def inputs(self, count):
        return (
            torch.randn(count),
            torch.randn(count, 3),
            torch.randn(count),
            torch.randn(count, 3),
            torch.arange(count) % 2,
        )

    def loss(self, z_t, h_t, z_v, h_v, label):
        return sum(distillation_losses((h_t, z_t), (h_v, z_v), label))


class TestContrast(ObjectiveContract):
    adds_up = False

    def inputs(self, count):
        return torch.randn(count, 4), torch.randn(count, 4)

    def loss(self, query, item):
        query, item = (torch.nn.functional.normalize(part.float(), dim=1) for part in (query, item))
        return contrastive_loss(
            query, item, torch.tensor(1.0), torch.eye(len(query), dtype=torch.bool)
        )


def test_no_objective_is_missed():
    modules = {path.stem for path in Path(objectives.__path__[0]).glob("*.py")} - NO_OBJECTIVES
    held = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    assert {
        module for module in modules if not any(name.startswith(module) for name in held)
    } == set()
