"""The product model: title, picture and known triples to fused items, and questions about their cells to scores."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.knowledge import KnowledgeEncoder
from fusion.fused import FusedItems, ImageParts, Knowledge
from fusion.heads import MatchHead, PatchHead, PieceHead
from fusion.item_fusion import ItemFusion
from fusion.links import LinkHead
from fusion.pictures import Pictures
from kg.message_flow import MessageFlow


class ProductModel(nn.Module):
    """Ready-made parts, joined; :mod:`fusion.build` makes them for each preset."""

    def __init__(self, fusion: ItemFusion, pictures: Pictures, knowledge: KnowledgeEncoder, links: LinkHead) -> None:
        super().__init__()
        dim = fusion.pieces.embedding_dim
        self.fusion = cast(nn.Module, fusion)
        self.pictures, self.knowledge, self.links = pictures, knowledge, links
        self.piece_head = PieceHead(fusion.pieces)
        self.patch_head = PatchHead(dim, pictures.encoder.size_of_patch)
        self.match_head = MatchHead(dim)
        self.patch_mask = nn.Parameter(torch.randn(dim) * 0.02)

    def encode_image(self, batch: ItemBatch) -> ImageParts | None:
        """Tokens and descriptor of the pictures that are there; None where no item has one."""
        return self.pictures(batch.pixels, batch.has_image)

    def fuse(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """Fuse titles of ``batch`` with ``image`` and, for matching, with query pieces ``query`` [B, L]."""
        return self.fusion(batch, image, query)

    def know(self, ids: Tensor) -> Knowledge:
        """Encode all properties and the candidates ``ids`` [C'], unique."""
        offset = self.knowledge.properties
        every = torch.arange(offset, device=ids.device)
        vectors = self.knowledge(torch.cat([every, ids + offset]))
        local = ids.new_zeros(self.links.candidate_property.shape[0]).index_copy(0, ids, torch.arange(len(ids), device=ids.device))
        return Knowledge(vectors[:offset], ids, vectors[offset:], local)

    def score(self, fused: FusedItems, flow: MessageFlow, knowledge: Knowledge) -> Tensor:
        """Logits [N, C'] of N cells over the candidates in play; -inf where a candidate is another property's."""
        return self.links(fused, flow, knowledge)
