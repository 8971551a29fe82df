"""Link prediction on c* by an Interaction of PyKEEN's, as K3M's by TransE."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import FusedItems, Knowledge
from fusion.link_prediction.aggregation import StructureAggregation, ValueAggregation
from fusion.link_prediction.scorer import LinkScorer
from kg.message_flow import MessageFlow
from schema.errors import UsageError

BLOCK = 1 << 24
SLICES = 4
ROTATIONS = ("RotatEInteraction", "QuatEInteraction")


def transe_by_products(heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
    """-|h + r - t| of all of ``heads`` and ``relations`` [N, D] with all ``tails`` [K, D]: [N, K], by |a|^2 + |b|^2 - 2 a b."""
    with torch.autocast(heads.device.type, enabled=False):
        moved = heads + relations
        squares = moved.square().sum(1)[:, None] + tails.square().sum(1)[None] - 2 * moved @ tails.T
        return -squares.clamp(min=1e-12).sqrt()


def distmult_by_products(heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
    """<h, r, t> of all of ``heads`` and ``relations`` [N, D] with all ``tails`` [K, D]: [N, K]."""
    with torch.autocast(heads.device.type, enabled=False):
        return (heads * relations) @ tails.T


# An Interaction that is a matrix product scores all pairs sooner than it gathers the vectors of one pair in this many.
CHEAPER = 64
BY_PRODUCTS = {
    ("TransEInteraction", 2): transe_by_products,
    ("DistMultInteraction", None): distmult_by_products,
}


class Components(nn.Module):
    """What an interaction reads of a vector: itself where that is one vector of its width, else linear maps of it in the shapes asked.

    ``shapes`` are PyKEEN's, like ``("d", "dd")``; ``sizes`` says how long each letter's axis is. Complex ones pair neighbours; ``unit``
    ones are a rotation's.
    """

    def __init__(
        self,
        dim: int,
        shapes: Sequence[str],
        sizes: dict[str, int],
        paired: bool,
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.shapes = [[sizes[letter] for letter in shape] for shape in shapes]
        self.paired = paired
        plain = list(shapes) == ["d"]
        self.maps = nn.ModuleList(
            () if plain else (nn.Linear(dim, math.prod(shape), bias=False) for shape in self.shapes)
        )

    def forward(self, vectors: Tensor) -> Any:
        """``vectors`` [N, D] or [M, K, D] to a tensor, or a tuple of them where the interaction reads several."""
        if self.paired:
            pairs = vectors.unflatten(-1, (-1, 2))
            return torch.view_as_complex(
                (F.normalize(pairs, dim=-1) if self.unit else pairs).contiguous()
            )
        if not self.maps:
            return vectors
        made = tuple(
            own(vectors).view(*vectors.shape[:-1], *shape)
            for own, shape in zip(self.maps, self.shapes, strict=True)
        )
        made = tuple(F.normalize(each, dim=-1) for each in made) if self.unit else made
        return made[0] if len(made) == 1 else made


class InteractionHead(LinkScorer):
    """Scores (c*, p, v) by a PyKEEN ``interaction``; higher is truer.

    K3M's S is TransE's distance |c* + p - v|, so its score is -S.
    """

    def __init__(
        self,
        hops: tuple[StructureAggregation, ValueAggregation | None],
        interaction: nn.Module,
        candidate_property: Tensor,
        dim: int,
        reads_known: bool = True,
    ) -> None:
        super().__init__(hops, candidate_property, reads_known)
        self.interaction = cast(Any, interaction)
        sizes = {"d": dim, "e": dim, "f": dim, "k": SLICES, "s": 1}
        paired = bool(self.interaction.is_complex)
        unit = type(interaction).__name__ in ROTATIONS
        self.head = Components(dim, self.interaction.head_shape, sizes, paired)
        self.relation = Components(dim, self.interaction.relation_shape, sizes, paired, unit)
        self.tail = Components(dim, self.interaction.tail_shape, sizes, paired)
        self.by_products = BY_PRODUCTS.get(
            (type(interaction).__name__, getattr(interaction, "p", None))
        )

    def nodes(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """c* [N, D] of the flow's N cells."""
        flow = flow if self.reads_known else flow.without_triples()
        return self.cells(fused.node.index_select(0, flow.cell_item), fused, flow, knowledge)

    def forward(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Logits [N, K] of the flow's N cells over the K candidates in play; -inf for another property's."""
        nodes = self.nodes(fused, flow, knowledge).float()
        other = self.others(flow, knowledge)
        scores = nodes.new_full(other.shape, -torch.inf)
        # A property's cells against its own values alone: a score costs D times what a product does.
        for number in flow.cell_property.unique().tolist():
            cell = (flow.cell_property == number).nonzero()[:, 0]
            value = (self.candidate_property[knowledge.ids] == number).nonzero()[:, 0]
            relation = knowledge.properties[number].float()
            tails = knowledge.values[value].float()
            for part in cell.split(max(1, BLOCK // max(1, tails.numel()))):
                if self.by_products is not None:
                    block = self.by_products(nodes[part], relation[None], tails)
                else:
                    block = self._interact(nodes[part][:, None], relation[None, None], tails[None])
                scores = scores.index_put((part[:, None], value[None, :]), block)
        return scores

    def pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        pairs: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Logits [...] of pairs (cell [...], row of a candidate in play [...]), another property's candidates too."""
        cell, value = pairs
        nodes = self.nodes(fused, flow, knowledge).float()
        tails = knowledge.values.float()
        relation = knowledge.properties.index_select(0, flow.cell_property).float()
        if self.by_products is not None and len(nodes) * len(tails) <= CHEAPER * value.numel():
            every = self.by_products(nodes, relation, tails)
            # Flat, whose gradient is one addition a pair; that of two indices sorts them first.
            return (
                every.flatten()
                .index_select(0, (cell * len(tails) + value).flatten())
                .view(value.shape)
            )
        return self._interact(nodes[cell], relation[cell], tails[value])

    def _interact(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Scores [...] of vectors [..., D], in single precision: a distance of bf16 numbers has no room for a margin."""
        with torch.autocast(head.device.type, enabled=False):
            return cast(
                Tensor, self.interaction(self.head(head), self.relation(relation), self.tail(tail))
            )


def pykeen_interaction(name: str, dim: int) -> nn.Module:
    """A PyKEEN interaction by its name, like TransE, DistMult, ComplEx or RotatE, for vectors of width ``dim``.

    Raises UsageError where PyKEEN has none of that name, or one that cannot be made of a width and a norm alone.
    """
    from pykeen.nn.modules import interaction_resolver

    try:
        kind = interaction_resolver.lookup(name)
    except (KeyError, ValueError):
        known = ", ".join(sorted(interaction_resolver.options))
        raise UsageError(
            f"interaction={name!r} is none of PyKEEN's: choose among {known}"
        ) from None
    asked = inspect.signature(kind).parameters
    given = {
        key: value
        for key, value in {"p": 2, "embedding_dim": dim, "input_dim": dim}.items()
        if key in asked
    }
    try:
        # Tried on two vectors, by the CPU even where a model is built without memory.
        with torch.device("cpu"), torch.no_grad():
            made = kind(**given)
            vectors = torch.randn(2, dim)
            hops: Any = (nn.Identity(), None)
            InteractionHead(hops, made, torch.zeros(1), dim).eval()._interact(
                vectors, vectors, vectors
            )
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        raise UsageError(
            f"interaction={name!r} does not fit vectors of width {dim} ({reason}): choose TransE, DistMult, ComplEx, RotatE"
        ) from None
    return cast(nn.Module, made)
