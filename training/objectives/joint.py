"""All objectives of a step, weighed and added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, rounded
from fusion.fused import FusedItems, ImageParts, Knowledge
from fusion.item_fusion import BertFusion
from fusion.model import ProductModel
from training.config import Recipe
from training.objectives.gmlm import global_patch_loss, global_piece_loss
from training.objectives.link import LinkPrediction
from training.objectives.matching import contrastive_loss, match_loss
from training.objectives.mlm import mask_pieces, masked_piece_loss
from training.objectives.mpm import masked_patch_loss, raw_patches
from training.objectives.mrfr import feature_loss
from training.objectives.sdmi import distillation_losses
from training.objectives.vtm import swap_titles
from training.views import MatchBatch, StepBatch


@dataclass(frozen=True)
class LossReport:
    """The weighted sum and each unweighted term, by its name in lower case; a term that a step does not have is absent."""

    total: Tensor
    terms: dict[str, Tensor]

    def detached(self) -> LossReport:
        """The same numbers without their graph."""
        return LossReport(self.total.detach(), {name: term.detach() for name, term in self.terms.items()})

    @staticmethod
    def weighted(reports: Sequence[tuple[float, LossReport]]) -> LossReport:
        """The sum of reports by their shares; a term is averaged over those that have it."""
        if len(reports) == 1:
            return reports[0][1]
        total = torch.stack([share * report.total for share, report in reports]).sum()
        shares: dict[str, float] = {}
        terms: dict[str, Tensor] = {}
        for share, report in reports:
            for name, term in report.terms.items():
                shares[name] = shares.get(name, 0.0) + share
                terms[name] = terms.get(name, torch.zeros_like(term)) + share * term
        return LossReport(total, {name: term / shares[name] for name, term in terms.items()})


class JointObjective(nn.Module):
    """Link prediction in two views, masked pieces, masked patches, query matching and contrast over one model."""

    def __init__(self, model: ProductModel, recipe: Recipe) -> None:
        super().__init__()
        self.model, self.recipe, self.link = model, recipe, LinkPrediction(recipe.label_smoothing)
        self.weights = {
            "lpm": recipe.loss_link,
            "lpm_unseen": recipe.loss_link,
            "mlm": recipe.loss_mlm,
            "mpm": recipe.loss_mpm,
            "mrfr": recipe.loss_mrfr,
            "gmlm": recipe.loss_gmlm,
            "gmrfr": recipe.loss_gmrfr,
            "vtm": recipe.loss_vtm,
            "qi": recipe.loss_qi,
            "qt": recipe.loss_qt,
            "qv": recipe.loss_qv,
            "kl": recipe.loss_kl,
            "rs": recipe.loss_rs,
            "contrastive": recipe.loss_contrastive,
        }

    def forward(self, batch: StepBatch) -> LossReport:
        """Scalar losses of one step over the items [B] of its batch."""
        knowledge = self.model.know(batch.candidates)
        image = self.model.encode_image(batch.pictures)
        terms = self._seen(batch, image, knowledge)
        unseen = self.model.fuse(batch.unseen.items, None)
        terms["lpm_unseen"] = self.link(self.model, unseen, batch.unseen.targets, knowledge)
        if batch.match is not None:
            terms.update(self._match(batch.match))
        total = sum((self.weights[name] * term for name, term in terms.items()), start=terms["lpm"].new_zeros(()))
        return LossReport(total, terms)

    def _seen(self, batch: StepBatch, image: ImageParts | None, knowledge: Knowledge) -> dict[str, Tensor]:
        view, model = batch.seen, self.model
        shown = image.hide(batch.covered, model.patch_mask) if image is not None and batch.covered.any() else image
        pieces, chosen = mask_pieces(view.items.pieces, view.masked, model.special, model.piece_head.bias.shape[0])
        fused = model.fuse(view.items.with_pieces(pieces), shown)
        terms = {"lpm": self.link(model, fused, view.targets, knowledge), **self._pieces(fused, view.items.pieces, chosen)}
        if shown is not None and fused.image is not None and batch.patches.any():
            terms |= self._patches(batch, shown.patches(fused.image.hidden), fused.node)
        if self.weights["vtm"] > 0 and image is not None:
            terms |= self._belongs(view.items, image)
        return terms

    def _pieces(self, fused: FusedItems, pieces: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """MLM, and GMLM where the model has its head, of the ``chosen`` [B, L] of a title's pieces."""
        if not chosen.any():
            return {}
        model, target = self.model, pieces[chosen]
        terms = {"mlm": masked_piece_loss(at_places(model.piece_head, fused.title.hidden, chosen), target)}
        if self.weights["gmlm"] > 0 and model.global_heads is not None:
            row, place = chosen.nonzero().unbind(1)
            positions = model.title_positions(place)
            terms["gmlm"] = global_piece_loss(model.global_heads, fused.node.index_select(0, row), positions, target)
        return terms

    def _patches(self, batch: StepBatch, states: Tensor, node: Tensor) -> dict[str, Tensor]:
        """MPM or MRFR, and GMRFR where the model has its head, of the patches to tell; ``states`` [B, P, D]."""
        model, pixels, rows = self.model, batch.pictures.pixels, batch.patches.any(1)
        if model.patch_head is None or pixels is None:
            return {}
        predicted = at_places(model.patch_head, states, batch.patches)
        target = raw_patches(pixels[rows], pixels.shape[-1] // model.size_of_patch)[batch.patches[rows]]
        terms = {}
        if self.weights["mpm"] > 0:
            terms["mpm"] = masked_patch_loss(predicted, target)
        if self.weights["mrfr"] > 0:
            terms["mrfr"] = feature_loss(predicted, target)
        if self.weights["gmrfr"] > 0 and model.global_heads is not None:
            row, place = batch.patches.nonzero().unbind(1)
            positions = model.patch_positions(place)
            terms["gmrfr"] = global_patch_loss(model.global_heads, node.index_select(0, row), positions, target)
        return terms

    def _belongs(self, items: ItemBatch, image: ImageParts) -> dict[str, Tensor]:
        """VTM: half of the pictures get another's title."""
        model, pairs = self.model, image.tokens.mask.any(1) & (items.pieces != 0).any(1)
        if model.global_heads is None or not pairs.any():
            return {}
        source, own = swap_titles(pairs)
        node = model.fuse(items.with_pieces(items.pieces.index_select(0, source)), image).node
        return {"vtm": match_loss(model.global_heads.matches(model.pooler(node))[pairs], own[pairs].float())}

    def _match(self, match: MatchBatch) -> dict[str, Tensor]:
        model, half = self.model, match.same.shape[0]
        image = model.encode_image(match.items)
        terms = self._matched(match, image)
        items = model.fuse(match.items.first(half), None if image is None else image.first(half))
        queries = model.fuse(match.items.first(half).without_titles(), None, match.query[:half])
        embed = model.match_head.embed
        terms["contrastive"] = contrastive_loss(embed(queries.node), embed(items.node), model.match_head.log_scale, match.same)
        return terms

    def _matched(self, match: MatchBatch, image: ImageParts | None) -> dict[str, Tensor]:
        """QI, QT and QV, and of pairs with both modalities what the stronger one teaches the weaker."""
        model, head = self.model, self.model.match_head
        if image is None:
            alone = head(model.fuse(match.items, None, match.query).node)
            return {"qi": match_loss(alone, match.label), "qt": match_loss(alone, match.label)}
        whole, title, picture = three_states(model, match.items, image, match.query)
        logits = [head(states) for states in (whole, title, picture)]
        terms = {name: match_loss(z, match.label) for name, z in zip(("qi", "qt", "qv"), logits, strict=True)}
        both = image.tokens.mask.any(1) & (match.items.pieces != 0).any(1)
        if self.weights["kl"] + self.weights["rs"] > 0 and both.any():
            taught = distillation_losses((title[both], logits[1][both]), (picture[both], logits[2][both]), match.label[both])
            terms |= dict(zip(("kl", "rs"), taught, strict=True))
        return terms


def three_states(model: ProductModel, items: ItemBatch, image: ImageParts, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """MBSD's three inputs: h, h^t and h^v [N, D] of N pairs; of one BERT's stream in one pass."""
    if isinstance(model.fusion, BertFusion) and model.fusion.reads_title:
        return model.fusion.three(items, image, query)
    whole, title = model.fuse(items, image, query), model.fuse(items, None, query)
    return whole.node, title.node, model.fuse(items.without_titles(), image, query).node


def at_places(head: nn.Module, hidden: Tensor, chosen: Tensor) -> Tensor:
    """``head`` of the M tokens of ``hidden`` [B, L, D] that ``chosen`` [B, L] marks: [M, ...].

    It computes a multiple of 32 of them and drops the rest, since a CPU prepares its matrix products anew for each shape.
    """
    places = chosen.flatten().nonzero()[:, 0]
    count = places.numel()
    places = torch.cat([places, places[:1].expand(rounded(count, 32) - count)])
    return head(hidden.flatten(0, 1).index_select(0, places))[:count]
