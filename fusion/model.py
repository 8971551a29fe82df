"""The product model: title, image and known triples to fused items, and questions about their cells to scores."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.knowledge import KnowledgeEncoder
from encoders.tokenizer import SpecialPieces
from fusion.architectures.base import ItemFusion
from fusion.fused import FusedItems, ImageFeatures, ItemStates, Knowledge
from fusion.heads import MatchHead
from fusion.images import ImageReader
from fusion.link_prediction.aggregation import Triples
from fusion.link_prediction.pykeen_interactions import InteractionHead
from fusion.link_prediction.scorer import LinkHead
from kg.message_flow import MessageFlow


class ProductModel(nn.Module):
    """Ready-made parts, joined; :mod:`fusion.build` builds them for each architecture.

    Args:
        fusion: fuses titles, images and queries.
        images: reads the images of a batch.
        knowledge: encodes properties and values.
        links: scores the values of cells.
        dim: the width D of items.
        special: numbers of the vocabulary's special pieces.
        pooler: makes the global embedding of the item node c.
    """

    def __init__(
        self,
        fusion: ItemFusion,
        images: ImageReader,
        knowledge: KnowledgeEncoder,
        links: LinkHead | InteractionHead,
        dim: int,
        special: SpecialPieces,
        pooler: nn.Module,
    ) -> None:
        super().__init__()
        self.special = special
        self.fusion = fusion
        self.images = images
        self.knowledge = knowledge
        self.links = links
        self.patch_size = images.patch_size
        self.match_head = MatchHead(dim)
        self.pooler = pooler
        self.patch_mask = nn.Parameter(torch.randn(dim) * 0.02)

    def encode_image(self, batch: ItemBatch) -> ImageFeatures | None:
        """Tokens and descriptor of the images that are there; None where no item has one."""
        return cast("ImageFeatures | None", self.images(batch))

    def fuse(
        self, batch: ItemBatch, image: ImageFeatures | None, query: Tensor | None = None
    ) -> FusedItems:
        """Fuse titles of ``batch`` with ``image`` and, for matching, with query pieces ``query`` [B, L]."""
        return cast(FusedItems, self.fusion(batch, image, query))

    def know(self, ids: Tensor) -> Knowledge:
        """Encode all properties and the candidates ``ids`` [C'], unique."""
        offset = self.knowledge.property_count
        every = torch.arange(offset, device=ids.device)
        vectors = self.knowledge(torch.cat([every, ids + offset]))
        local = ids.new_zeros(self.links.candidate_property.shape[0]).index_copy(
            0, ids, torch.arange(len(ids), device=ids.device)
        )
        return Knowledge(vectors[:offset], ids, vectors[offset:], local)

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of title pieces at ``place`` [M]."""
        return self.fusion.title_positions(place)

    def patch_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of patches at ``place`` [M]; raises TypeError where images are read without."""
        return self.images.patch_positions(place)

    def score(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Logits [N, C'] of N cells over the candidates in play; -inf where a candidate is another property's."""
        return cast(Tensor, self.links(fused, flow, knowledge))

    def score_pairs(
        self,
        fused: FusedItems,
        flow: MessageFlow,
        knowledge: Knowledge,
        cell: Tensor,
        candidate_row: Tensor,
    ) -> Tensor:
        """Return logits [...] of pairs of a cell and a candidate, of any property.

        ``cell`` [...] is the number of a cell of the flow, ``candidate_row`` [...] a row of
        ``knowledge.ids``.
        """
        return self.links.score_pairs(fused, flow, knowledge, cell, candidate_row)

    def states(self, batch: ItemBatch, triples: Triples) -> ItemStates:
        """Return all representations of B items, given their E known ``triples``.

        The nodes of the triples are items in [0, B), their values are candidates.
        """
        fused = self.fuse(batch, self.encode_image(batch))
        ids, row = triples.value.unique(return_inverse=True)
        knowledge = self.know(ids)
        node = self.links.aggregate_triples(
            fused.node,
            fused.node,
            knowledge,
            Triples(triples.node, triples.property, row),
            triples.node,
        )
        text = fused.title_span.mean()
        image = fused.image_span.mean()
        return ItemStates(
            fused.node, node, self.pooler(fused.node), text, image, fused.title, fused.image
        )
