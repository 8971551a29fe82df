"""All objectives of a step, weighed and added."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, rounded
from fusion.fused import ImageParts, Knowledge
from fusion.item_fusion import BertFusion
from fusion.model import ProductModel
from training.config import Recipe
from training.objectives.link import LinkPrediction
from training.objectives.matching import contrastive_loss, match_loss
from training.objectives.mlm import mask_pieces, masked_piece_loss
from training.objectives.mpm import masked_patch_loss, raw_patches
from training.objectives.sdmi import distillation_losses
from training.views import MatchBatch, StepBatch


@dataclass(frozen=True)
class LossReport:
    """The weighted sum and each unweighted term, by its name in lower case; a term that a step does not have is absent."""

    total: Tensor
    terms: dict[str, Tensor]


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
        if image is not None and batch.patches.any():
            image = image.hide(batch.patches, model.patch_mask)
        pieces, chosen = mask_pieces(view.items.pieces, view.masked, model.special, model.piece_head.bias.shape[0])
        fused = model.fuse(view.items.with_pieces(pieces), image)
        terms = {"lpm": self.link(model, fused, view.targets, knowledge)}
        if chosen.any():
            logits = at_places(model.piece_head, fused.title.hidden, chosen)
            terms["mlm"] = masked_piece_loss(logits, view.items.pieces[chosen])
        pixels = batch.pictures.pixels
        if image is not None and fused.image is not None and model.patch_head is not None and pixels is not None and batch.patches.any():
            predicted = at_places(model.patch_head, image.patches(fused.image.hidden), batch.patches)
            rows = batch.patches.any(1)
            target = raw_patches(pixels[rows], pixels.shape[-1] // model.size_of_patch)
            terms["mpm"] = masked_patch_loss(predicted, target[batch.patches[rows]])
        return terms

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
