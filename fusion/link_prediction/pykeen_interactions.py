"""Link prediction on c* by one of PyKEEN's interactions; K3M uses TransE.

Shapes: N cells, B items, P properties, C candidates, K candidates in play, W the most candidates in
play that a cell's property has, D the model's width.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.fused import FusedItems, Knowledge
from fusion.link_prediction.aggregation import StructureAggregation, ValueAggregation
from fusion.link_prediction.own_candidates import Block, OwnCandidates
from fusion.link_prediction.scorer import PRODUCT_ADVANTAGE, LinkScorer
from kg.message_flow import MessageFlow
from schema.errors import UsageError

MAX_BLOCK = 1 << 24
"""Floats of vectors that one block of scores may gather, which bounds the memory."""

SLICES = 4
"""Slices of a neural tensor network (the axis ``k`` in PyKEEN's shapes)."""

ROTATIONS = ("RotatEInteraction", "QuatEInteraction")
"""Interactions whose relations are rotations: complex numbers or quaternions of unit length."""

ProductScore = Callable[[Tensor, Tensor, Tensor], Tensor]


def transe_by_products(heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
    """Return -|h + r - t| [..., N, K] of ``heads`` [..., N, D] with all ``tails`` [..., K, D].

    ``relations`` broadcast with the heads. By |a - b|^2 = |a|^2 + |b|^2 - 2 a b, most of the work
    is one matrix product.
    """
    # Single precision: for vectors near each other the three terms nearly cancel.
    with torch.autocast(heads.device.type, enabled=False):
        moved = heads + relations
        products = moved @ tails.mT
        squares = moved.square().sum(-1)[..., None] + tails.square().sum(-1)[..., None, :]
        squares = squares - 2 * products
        # Rounding may make a square negative, and at zero the gradient of a root is infinite.
        return -squares.clamp(min=1e-12).sqrt()


def distmult_by_products(heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
    """Return <h, r, t> [..., N, K] of ``heads`` [..., N, D] with all ``tails`` [..., K, D].

    ``relations`` broadcast with the heads.
    """
    with torch.autocast(heads.device.type, enabled=False):
        return (heads * relations) @ tails.mT


def product_score(interaction: nn.Module) -> ProductScore | None:
    """Return a function that scores an interaction by a matrix product; None if there is none."""
    from pykeen.nn.modules import DistMultInteraction, TransEInteraction

    # Subclasses may score differently, so the very type has to match.
    if type(interaction) is TransEInteraction and interaction.p == 2:
        return transe_by_products
    if type(interaction) is DistMultInteraction:
        return distmult_by_products
    return None


class RepresentationMap(nn.Module):
    """Maps a vector to the representation that an interaction expects in its place.

    This is the vector itself if the interaction expects one vector of its width. Otherwise each
    expected tensor is a linear map of it.

    Args:
        dim: the width D
        shapes: PyKEEN's names of the expected shapes, such as ``("d", "dd")``
        sizes: the length of the axis that each letter in them stands for
        is_complex: pairs of neighbouring numbers make a complex vector
        is_rotation: the numbers are scaled to unit length
    """

    def __init__(
        self,
        dim: int,
        shapes: Sequence[str],
        sizes: dict[str, int],
        is_complex: bool,
        is_rotation: bool = False,
    ) -> None:
        super().__init__()
        self.is_rotation = is_rotation
        self.is_complex = is_complex
        self.shapes = [[sizes[letter] for letter in shape] for shape in shapes]
        maps: list[nn.Module] = []
        if list(shapes) != ["d"]:
            maps = [nn.Linear(dim, math.prod(shape), bias=False) for shape in self.shapes]
        self.maps = nn.ModuleList(maps)

    def forward(self, vectors: Tensor) -> Any:
        """Map ``vectors`` [N, D], or with more leading axes, to the expected tensor [N, ...].

        It is a tuple of tensors if the interaction expects several.
        """
        if self.is_complex:
            pairs = vectors.unflatten(-1, (-1, 2))
            if self.is_rotation:
                pairs = F.normalize(pairs, dim=-1)
            return torch.view_as_complex(pairs.contiguous())
        if not self.maps:
            return vectors
        representation = [
            linear(vectors).view(*vectors.shape[:-1], *shape)
            for linear, shape in zip(self.maps, self.shapes, strict=True)
        ]
        if self.is_rotation:
            representation = [F.normalize(tensor, dim=-1) for tensor in representation]
        return representation[0] if len(representation) == 1 else tuple(representation)


class InteractionHead(LinkScorer):
    """Link prediction by a PyKEEN interaction over (c*, property, value); a higher score is truer.

    K3M scores by TransE's distance S = |c* + p - v|, in which a lower score is truer. The score
    here is -S.

    Args:
        aggregate: the first hop of the structure aggregation
        aggregate_values: the second hop, or None
        interaction: an interaction of PyKEEN
        candidate_property: the property of each candidate [C]
        dim: the width D
        reads_known: False for a model that ignores the known triples of a flow
    """

    def __init__(
        self,
        aggregate: StructureAggregation,
        aggregate_values: ValueAggregation | None,
        interaction: Any,
        candidate_property: Tensor,
        dim: int,
        reads_known: bool = True,
    ) -> None:
        super().__init__(aggregate, aggregate_values, candidate_property, reads_known)
        self.interaction = interaction
        sizes = {"d": dim, "e": dim, "f": dim, "k": SLICES, "s": 1}
        is_complex = bool(interaction.is_complex)
        is_rotation = type(interaction).__name__ in ROTATIONS
        self.head = RepresentationMap(dim, interaction.head_shape, sizes, is_complex)
        self.relation = RepresentationMap(
            dim, interaction.relation_shape, sizes, is_complex, is_rotation
        )
        self.tail = RepresentationMap(dim, interaction.tail_shape, sizes, is_complex)
        self.product_score = product_score(interaction)

    def nodes(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Return c* [N, D] of the flow's N cells."""
        flow = flow if self.reads_known else flow.without_triples()
        nodes = fused.node.index_select(0, flow.cell_item)
        return self.aggregate_cells(nodes, fused, flow, knowledge)

    def forward(
        self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge, own: OwnCandidates
    ) -> Tensor:
        """Return logits [N, W] of the flow's N cells over the candidates of their own property.

        Those past a cell's last candidate are -inf.
        """
        nodes = self.nodes(fused, flow, knowledge).float()

        def score(block: Block) -> Tensor:
            heads = nodes.index_select(0, block.cells.flatten()).view(*block.cells.shape, -1)
            relations = knowledge.properties.index_select(0, block.property).float()[:, None]
            tails = knowledge.values.index_select(0, block.rows.flatten()).float()
            tails = tails.view(*block.rows.shape, -1)
            if self.product_score is not None:
                return self.product_score(heads, relations, tails)
            # Most interactions are not matrix products: they gather vectors for every score.
            at_once = max(1, MAX_BLOCK // tails.numel())
            parts = [
                self._interact(part[:, :, None], relations[:, :, None], tails[:, None])
                for part in heads.split(at_once, dim=1)
            ]
            return torch.cat(parts, 1)

        return own.scores(score)

    def score_pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        cell: Tensor,
        candidate_row: Tensor,
    ) -> Tensor:
        """Return logits [...] of pairs of a cell and a candidate, of any property."""
        nodes = self.nodes(fused, flow, knowledge).float()
        tails = knowledge.values.float()
        relations = knowledge.properties.index_select(0, flow.cell_property).float()
        all_pairs = len(nodes) * len(tails)
        if self.product_score is None or all_pairs > PRODUCT_ADVANTAGE * candidate_row.numel():
            return self._interact(nodes[cell], relations[cell], tails[candidate_row])
        scores = self.product_score(nodes, relations, tails)
        # By a flat index, whose backward pass is one addition per pair: the one of two indices
        # sorts them first.
        index = cell * len(tails) + candidate_row
        return scores.flatten().index_select(0, index.flatten()).view(candidate_row.shape)

    def _interact(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Score vectors [..., D] in single precision: [...].

        A distance between vectors in bf16 is too coarse for a margin.
        """
        with torch.autocast(head.device.type, enabled=False):
            score: Tensor = self.interaction(
                self.head(head), self.relation(relation), self.tail(tail)
            )
            return score


def pykeen_interaction(name: str, dim: int) -> nn.Module:
    """Make a PyKEEN interaction by its name, such as TransE, DistMult, ComplEx or RotatE.

    It scores vectors of width ``dim``. Raises UsageError if PyKEEN has no interaction of that name,
    or if it needs more than a width and a norm.
    """
    from pykeen.nn.modules import interaction_resolver

    try:
        kind = interaction_resolver.lookup(name)
    except (KeyError, ValueError):
        known = ", ".join(sorted(interaction_resolver.options))
        raise UsageError(
            f"interaction={name!r} is not one of PyKEEN's: choose one of {known}"
        ) from None
    options = {"p": 2, "embedding_dim": dim, "input_dim": dim}
    accepted = inspect.signature(kind).parameters
    try:
        # Score a pair of random vectors to see whether it works. This has to happen on the CPU,
        # since a model may be built on the meta device, without memory.
        with torch.device("cpu"), torch.no_grad():
            interaction = kind(**{key: options[key] for key in options if key in accepted})
            vectors = torch.randn(2, dim)
            no_aggregation: Any = nn.Identity()
            head = InteractionHead(no_aggregation, None, interaction, torch.zeros(1), dim).eval()
            head._interact(vectors, vectors, vectors)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        raise UsageError(
            f"interaction={name!r} does not fit vectors of width {dim} ({reason}): "
            "choose TransE, DistMult, ComplEx, RotatE"
        ) from None
    module: nn.Module = interaction
    return module
