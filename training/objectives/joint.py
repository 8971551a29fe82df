"""All objectives of a step, weighed and added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, few_sizes
from fusion.architectures.bert_stream import BertFusion
from fusion.fused import FusedItems, ImageParts, Knowledge
from fusion.model import ProductModel
from training.batches import ItemView, MaskedTokens, MatchBatch, StepBatch
from training.config import Recipe
from training.objectives.contrast import of_all_processes, one_of_all
from training.objectives.gmlm import global_patch_loss, global_piece_loss
from training.objectives.link import CorruptedLinks, SoftmaxLinks
from training.objectives.matching import match_loss
from training.objectives.mlm import masked_piece_loss
from training.objectives.mpm import masked_patch_loss, raw_patches
from training.objectives.mrfr import class_loss, feature_loss
from training.objectives.sdmi import distillation_losses

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class LossReport:
    """The weighted sum and each unweighted term, by its name in lower case; a term that a step does not have is absent.

    Of a part of a batch they are its shares of the whole batch's: reports of parts add up.
    """

    total: Tensor
    terms: Terms

    def detached(self) -> LossReport:
        """The same numbers without their graph."""
        return LossReport(
            self.total.detach(), {name: term.detach() for name, term in self.terms.items()}
        )

    @staticmethod
    def added(reports: Sequence[LossReport]) -> LossReport:
        """The sum of the reports of a batch's parts."""
        terms: Terms = {}
        for report in reports:
            for name, term in report.terms.items():
                terms[name] = terms[name] + term if name in terms else term
        return LossReport(torch.stack([report.total for report in reports]).sum(), terms)


class JointObjective(nn.Module):
    """Every objective over one model; each step computes those of its stage: ``weights``, all above 0."""

    def __init__(
        self, model: ProductModel, recipe: Recipe, weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        corrupted = CorruptedLinks(recipe.link == "nssa", recipe.margin, recipe.temperature)
        self.link = SoftmaxLinks(recipe.label_smoothing) if recipe.link == "softmax" else corrupted
        self.weights = {
            name: weight
            for name, weight in (recipe.weights if weights is None else weights).items()
            if weight > 0
        }

    def forward(self, batch: StepBatch, shares: Mapping[str, float] | None = None) -> LossReport:
        """Scalar losses of a batch of items, pieces [B, L]; ``shares`` says which share of the whole batch's each term is, all if None."""
        model = self.model
        terms = Terms()
        knowledge = None if batch.candidates is None else model.know(batch.candidates)
        if batch.seen is not None and batch.masked is not None and batch.own is not None:
            terms |= self._seen(batch.seen, batch.masked, batch.own, knowledge)
        if batch.unseen is not None:
            terms |= self._linked(
                "lpm_unseen", batch.unseen, model.fuse(batch.unseen.items, None), knowledge
            )
        if batch.match is not None:
            terms |= self._match(batch.match)
        terms = {
            name: term if shares is None else term * shares[name]
            for name, term in terms.items()
            if name in self.weights
        }
        return LossReport(
            sum(
                (self.weights[name] * term for name, term in terms.items()),
                start=model.patch_mask.sum() * 0.0,
            ),
            terms,
        )

    def _seen(
        self, view: ItemView, masked: MaskedTokens, own: Tensor, knowledge: Knowledge | None
    ) -> Terms:
        model = self.model
        image = self.model.encode_image(view.items)
        shown = image
        if image is not None and masked.covered.any():
            shown = image.hide(masked.covered, model.patch_mask)
        fused = model.fuse(view.items, shown)
        terms = self._linked("lpm", view, fused, knowledge) | self._pieces(fused, masked)
        if shown is not None and fused.image is not None and masked.patches.any():
            terms |= self._patches(
                view.items, masked.patches, shown.patches(fused.image.hidden), fused.node
            )
        if "vtm" in self.weights and model.global_heads is not None and own[0].any():
            matches = model.global_heads.matches(model.pooler(fused.node))
            terms["vtm"] = match_loss(matches[own[0]], own[1][own[0]].float())
        return terms

    def _linked(
        self, name: str, view: ItemView, fused: FusedItems, knowledge: Knowledge | None
    ) -> Terms:
        if view.links is None or knowledge is None or not view.links.cell.numel():
            return {}
        return {name: self.link(self.model, fused, view.links, knowledge)}

    def _pieces(self, fused: FusedItems, masked: MaskedTokens) -> Terms:
        """MLM, and GMLM where the model has its head, of the chosen ones of a title's pieces [B, L]."""
        if not masked.chosen.any():
            return {}
        model = self.model
        target = masked.pieces[masked.chosen]
        terms = Terms()
        if "mlm" in self.weights:
            terms["mlm"] = masked_piece_loss(
                at_places(model.piece_head, fused.title.hidden, masked.chosen), target
            )
        if "gmlm" in self.weights and model.global_heads is not None:
            row, place = masked.chosen.nonzero().unbind(1)
            positions = model.title_positions(place)
            terms["gmlm"] = global_piece_loss(
                model.global_heads, fused.node.index_select(0, row), positions, target
            )
        return terms

    def _patches(self, items: ItemBatch, patches: Tensor, states: Tensor, node: Tensor) -> Terms:
        """MPM, MRFR or region classes, and GMRFR where the model has its head, of the ``patches`` to tell; ``states`` [B, P, D]."""
        model = self.model
        terms = Terms()
        if items.regions is not None and model.region_head is not None:
            if "mrfr" in self.weights:
                terms["mrfr"] = feature_loss(
                    at_places(model.region_head, states, patches), items.regions.features[patches]
                )
            if (
                "mrc" in self.weights
                and model.region_head.classes is not None
                and items.regions.classes is not None
            ):
                terms["mrc"] = class_loss(
                    at_places(model.region_head.classes, states, patches),
                    items.regions.classes[patches],
                )
        if model.patch_head is None or items.pixels is None:
            return terms
        rows = patches.any(1)
        target = raw_patches(items.pixels[rows], items.pixels.shape[-1] // model.size_of_patch)[
            patches[rows]
        ]
        if self.weights.keys() & {"mpm", "mrfr"}:
            predicted = at_places(model.patch_head, states, patches)
            terms |= {
                "mpm": masked_patch_loss(predicted, target),
                "mrfr": feature_loss(predicted, target),
            }
        if "gmrfr" in self.weights and model.global_heads is not None:
            row, place = patches.nonzero().unbind(1)
            terms["gmrfr"] = global_patch_loss(
                model.global_heads, node.index_select(0, row), model.patch_positions(place), target
            )
        return terms

    def _match(self, match: MatchBatch) -> Terms:
        """QI, QT, QV with SDMI, and the contrast of the N positive pairs."""
        model = self.model
        terms = Terms()
        image = model.encode_image(match.items)
        if self.weights.keys() & {"qi", "qt", "qv", "kl", "rs"}:
            terms |= self._matched(
                match.items.repeated(), None if image is None else image.repeated(), match
            )
        if "contrastive" in self.weights:
            embed = model.match_head.embed
            count = len(match.items)
            item = embed(model.fuse(match.items, image).node)
            query = embed(model.fuse(match.items.without_titles(), None, match.query[:count]).node)
            every = of_all_processes(item), of_all_processes(query)
            same = match.same[0], match.same[1]
            terms["contrastive"] = one_of_all(
                query, item, *every, model.match_head.log_scale, same, match.first
            )
        return terms

    def _matched(self, items: ItemBatch, image: ImageParts | None, match: MatchBatch) -> Terms:
        """QI, QT and QV, and of pairs with both modalities what the stronger one teaches the weaker."""
        model = self.model
        head = self.model.match_head
        if image is None:
            alone = match_loss(head(model.fuse(items, None, match.query).node), match.label)
            return {"qi": alone, "qt": alone}
        whole, title, sight = three_states(model, items, image, match.query)
        logits = [head(states) for states in (whole, title, sight)]
        terms = {
            name: match_loss(z, match.label)
            for name, z in zip(("qi", "qt", "qv"), logits, strict=True)
        }
        both = match.both.repeat(2)
        if self.weights.keys() & {"kl", "rs"} and both.any():
            taught = distillation_losses(
                (title[both], logits[1][both]), (sight[both], logits[2][both]), match.label[both]
            )
            terms |= dict(zip(("kl", "rs"), taught, strict=True))
        return terms


def three_states(
    model: ProductModel, items: ItemBatch, image: ImageParts, query: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """MBSD's three inputs: h, h^t and h^v [N, D] of N pairs; of one BERT's stream in one pass."""
    if isinstance(model.fusion, BertFusion) and model.fusion.reads_title:
        return model.fusion.encode_query_views(items, image, query)
    whole = model.fuse(items, image, query)
    title = model.fuse(items, None, query)
    return whole.node, title.node, model.fuse(items.without_titles(), image, query).node


def at_places(head: nn.Module, hidden: Tensor, chosen: Tensor) -> Tensor:
    """``head`` of the M tokens of ``hidden`` [B, L, D] that ``chosen`` [B, L] marks: [M, ...].

    It computes a multiple of 32 of them and drops the rest, since a CPU prepares its matrix products anew for each shape.
    """
    places = chosen.flatten().nonzero()[:, 0]
    count = places.numel()
    places = torch.cat([places, places[:1].expand(few_sizes(count, 32) - count)])
    return head(hidden.flatten(0, 1).index_select(0, places))[:count]
