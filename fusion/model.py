"""The product model: title, picture and known triples to fused items, and questions about their cells to scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch, rounded
from encoders.descriptors import ImageDescriptors
from encoders.image import ResidualStem
from encoders.knowledge import KnowledgeEncoder
from encoders.text import NgramBag, TextEncoder
from encoders.tokens import ModalTokens
from fusion.fused import FusedItems, ImageParts, Knowledge
from fusion.heads import MatchHead, PatchHead, PieceHead
from fusion.links import LinkHead
from fusion.single_stream import SingleStream
from kg.message_flow import MessageFlow


class ProductModel(nn.Module):
    """Ready-made parts, joined; see :mod:`fusion.build` for the sizes.

    ``candidate_property`` [C] says which property each candidate value belongs to.
    """

    def __init__(
        self,
        text: TextEncoder,
        ngrams: NgramBag,
        stem: ResidualStem,
        descriptors: ImageDescriptors,
        knowledge: KnowledgeEncoder,
        stream: SingleStream,
        links: LinkHead,
    ) -> None:
        super().__init__()
        dim = text.pieces.embedding_dim
        self.text, self.ngrams, self.stem, self.descriptors = text, ngrams, stem, descriptors
        self.knowledge, self.stream, self.links = knowledge, stream, links
        self.piece_head = PieceHead(text.pieces)
        self.patch_head = PatchHead(dim, stem.size_of_patch)
        self.match_head = MatchHead(dim)
        self.patch_mask = nn.Parameter(torch.randn(dim) * 0.02)

    def encode_image(self, batch: ItemBatch) -> ImageParts | None:
        """Tokens and descriptor of the pictures that are there; None where no item has one."""
        rows = batch.has_image.nonzero()[:, 0]
        # Batch norm cannot learn from one picture, so a training step takes it for absent.
        if batch.pixels is None or rows.numel() < (2 if self.training else 1):
            return None
        count = rows.numel()
        # Some pictures twice make up a round number, since a CPU prepares its convolutions anew for each shape.
        pixels = batch.pixels[torch.cat([rows, rows[: min(count, rounded(count, 8) - count)]])]
        tokens = self.stem(pixels).hidden[:count]
        with torch.autocast(pixels.device.type, enabled=False):
            described = self.descriptors(pixels)[:count]
        hidden = tokens.new_zeros(len(batch), *tokens.shape[1:]).index_copy(0, rows, tokens)
        descriptor = described.new_zeros(len(batch), described.shape[1]).index_copy(0, rows, described)
        return ImageParts(ModalTokens(hidden, batch.has_image[:, None].expand(hidden.shape[:2])), descriptor, batch.has_image)

    def fuse(self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None) -> FusedItems:
        """Fuse titles of ``batch`` with ``image`` and, for matching, with query pieces ``query`` [B, L]."""
        grams = self.ngrams(batch.ngrams, batch.ngram_offsets)
        bag = ModalTokens(grams[:, None], batch.has_ngrams[:, None])
        asked = None if query is None else self.text(query)
        return self.stream(self.text(batch.pieces), bag, image, asked)

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
