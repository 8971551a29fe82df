"""The product model: titles, images and known triples become fused items whose cells are scored.

Shapes: B items, L title pieces, P patches, D the model's width, N cells, C' candidates in play, W
the most of them that a cell's property has, M masked tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.knowledge import KnowledgeEncoder, StringSizes
from encoders.tokenizer import SpecialPieces
from fusion.architectures.base import ItemFusion, Reading
from fusion.fused import FusedItems, ImageFeatures, ItemStates, Knowledge
from fusion.heads import MatchHead
from fusion.images import ImageReader
from fusion.link_prediction.aggregation import Triples
from fusion.link_prediction.own_candidates import OwnCandidates, own_candidates
from fusion.link_prediction.scorer import LinkScorer
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
        links: LinkScorer,
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
        # Stands in for the content of covered patches and regions.
        self.patch_mask = nn.Parameter(torch.randn(dim) * 0.02)

    def encode_image(self, batch: ItemBatch) -> ImageFeatures | None:
        """Encode the images of a batch; None if no item has one."""
        features: ImageFeatures | None = self.images(batch)
        return features

    def hide_patches(
        self, batch: ItemBatch, image: ImageFeatures, patches: Tensor
    ) -> ImageFeatures:
        """Hide the content, but not the place, of ``patches`` [B, P] bool, or of regions [B, R]."""
        return image.hide(patches, self.images.masked_tokens(batch, self.patch_mask))

    def fuse(
        self,
        batch: ItemBatch,
        image: ImageFeatures | None,
        query: Tensor | None = None,
    ) -> FusedItems:
        """Fuse the titles of ``batch`` with ``image`` and, for matching, query pieces [B, L]."""
        fused: FusedItems = self.fusion(batch, image, query)
        return fused

    def fuse_all(self, readings: Sequence[Reading]) -> list[FusedItems]:
        """Fuse several readings of items, in one pass where the architecture can."""
        return self.fusion.fuse_all(readings)

    def know(self, ids: Tensor, sizes: StringSizes | None = None) -> Knowledge:
        """Encode all properties and the candidates ``ids`` [C'], which have to be unique.

        ``sizes`` are those of all these strings, if they are known (see
        :class:`encoders.knowledge.KnowledgeEncoder`).
        """
        properties = self.knowledge.property_count
        every_property = torch.arange(properties, device=ids.device)
        # The strings of the candidates follow those of the properties.
        vectors = self.knowledge(torch.cat([every_property, ids + properties]), sizes)
        rows = torch.arange(len(ids), device=ids.device)
        row_of = ids.new_zeros(len(self.links.candidate_property)).index_copy(0, ids, rows)
        return Knowledge(vectors[:properties], ids, vectors[properties:], row_of)

    def title_positions(self, place: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of title pieces at ``place`` [M]."""
        return self.fusion.title_positions(place)

    def patch_positions(self, place: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of patches at ``place`` [M].

        Raises TypeError if the model's patches have none.
        """
        return self.images.patch_positions(place)

    def score(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Return logits [N, C'] of N cells over the candidates in play, whose ids ascend.

        The candidates of another property than the cell's have -inf. For many cells and candidates,
        :meth:`score_own` takes a fraction of the memory.
        """
        property_of_candidate = self.links.candidate_property.cpu().numpy()
        properties = np.arange(self.knowledge.property_count + 1)
        own = own_candidates(
            flow.cell_property.cpu().numpy(),
            knowledge.ids.cpu().numpy(),
            np.searchsorted(property_of_candidate, properties),
        ).to(knowledge.ids.device)
        return own.spread(self.score_own(fused, flow, knowledge, own), len(knowledge.ids))

    def score_own(
        self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge, own: OwnCandidates
    ) -> Tensor:
        """Return logits [N, W] of N cells over the candidates of their own property.

        Those past a cell's last candidate are -inf.
        """
        logits: Tensor = self.links(fused, flow, knowledge, own)
        return logits

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
        node = self.links.aggregate_triples(
            nodes=fused.node,
            items=fused.node,
            knowledge=self.know(ids),
            triples=Triples(triples.node, triples.property, row),
            triple_item=triples.node,
        )
        return ItemStates(
            item=fused.node,
            node=node,
            global_embedding=self.pooler(fused.node),
            text_embedding=fused.title_span.mean(),
            image_embedding=fused.image_span.mean(),
            title=fused.title,
            image=fused.image,
        )
