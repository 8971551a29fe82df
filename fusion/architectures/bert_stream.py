"""One stream of BERT over query, title and image: MBSD's order or VT-BERT's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.batch import ItemBatch
from encoders.bert import BertEmbeddings
from encoders.packing import PackedTransformer
from encoders.tokenizer import CatalogTokenizer
from encoders.tokens import ModalTokens
from fusion.architectures.base import ItemFusion, ModelParts, bert_of, fused_items
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageParts
from fusion.heads import Pooler
from fusion.images import image_reader

TEXT = 0
VISION = 1


@dataclass(frozen=True)
class StreamStates:
    """What the stream makes of B sequences.

    ``node`` h([CLS]) [B, D], the ``title``'s tokens [B, L, D] and the ``image``'s [B, P, D]; the spans have the [SEP] after each as well.
    """

    node: Tensor
    title: ModalTokens
    image: ModalTokens
    title_span: ModalTokens
    image_span: ModalTokens

    @property
    def image_end(self) -> Tensor:
        """The [SEP] after the image [B, D]."""
        return self.image_span.hidden[:, -1]

    def mean_title(self) -> Tensor:
        """VT-BERT's text embedding e_t, Eq. 6 [B, D]: the mean over the title's tokens and their [SEP]."""
        return self.title_span.mean()

    def mean_image(self) -> Tensor:
        """VT-BERT's image embedding e_i, Eq. 7 [B, D]: the mean over the patches and their [SEP]."""
        return self.image_span.mean()


class BertStream(nn.Module):
    """[CLS] query [SEP] title [SEP] image [SEP], each token LayerNorm(content + position + segment), through BERT's layers.

    MBSD (3.2, 3.3) marks text and image by two modality embeddings; VT-BERT (4.1) the same by segments, [CLS] sharing the image's:
    ``cls_segment``. Where the tokens stand in the row says nothing to a transformer; positions and segments do. An image's positions are
    its encoder's; ``special`` are the piece numbers of [CLS] and [SEP].
    """

    def __init__(
        self,
        embeddings: BertEmbeddings,
        transformer: PackedTransformer,
        special: tuple[int, int],
        cls_segment: int = TEXT,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.transformer = transformer
        self.special = special
        self.cls_segment = cls_segment
        self.image_end = nn.Parameter(torch.randn(embeddings.words.embedding_dim) * 0.02)

    def forward(
        self, title: Tensor, image: ModalTokens | None = None, query: Tensor | None = None
    ) -> StreamStates:
        """``title`` pieces [B, L] (0 where none is), ``image`` [B, P, D], ``query`` pieces [B, Q] to the states."""
        row = self._row(title, image, query)
        return row.read(self.transformer(ModalTokens(self.embeddings.finish(row.raw), row.mask)))

    def encode_query_views(
        self, query: Tensor, title: Tensor, image: ModalTokens
    ) -> tuple[Tensor, Tensor, Tensor]:
        """MBSD's three inputs (Figure 4) in one pass: h, h^t and h^v [B, D] of query with item, with title alone, with image alone.

        Query + title and query + image together are hardly longer than query + item, so they share a row as two groups.
        """
        row = self._row(title, image, query)
        asked = 2 + query.shape[1]
        told = 3 + query.shape[1] + title.shape[1]
        raw, group = _beside(row, asked, told)
        count = len(title)
        at = torch.tensor([0, told], device=title.device).expand(2 * count, 2)
        first, second = self.transformer.read(
            ModalTokens(self.embeddings.finish(raw), group != 0), at, group
        ).unbind(1)
        return first[:count], first[count:], second[count:]

    def _row(self, title: Tensor, image: ModalTokens | None, query: Tensor | None) -> _Row:
        """The sequence before its norm: a modality that is not there has no token, its [SEP] neither."""
        own = self.embeddings
        (cls, sep) = self.special
        one = title.new_ones(len(title), 1)
        pieces = [one * cls]
        places = [one * 0]
        masks = [one.bool()]
        widths = {}
        start = one
        for name, part in (("query", query), ("title", title)):
            if part is None:
                continue
            there = torch.cat([part != 0, (part != 0).any(1, keepdim=True)], 1)
            length = there[:, :-1].sum(1, keepdim=True)
            order = torch.cat(
                [torch.arange(part.shape[1], device=part.device).expand_as(part), length], 1
            )
            pieces += [part, one * sep]
            places.append((start + order) * there)
            masks.append(there)
            start = start + there.sum(1, keepdim=True)
            widths[name] = part.shape[1]
        # One lookup, the image's [SEP] included: each would have a gradient as large as the table.
        words = own.words(torch.cat([*pieces, one * sep], 1))
        segment = torch.full((words.shape[1] - 1,), TEXT, device=title.device)
        segment[0] = self.cls_segment
        raws = [own.placed(words[:, :-1], torch.cat(places, 1), segment)]
        if image is not None:
            marked = (
                torch.cat([image.hidden, words[:, -1:] + self.image_end], 1)
                + own.segments.weight[VISION]
            )
            raws.append(marked)
            masks += [image.mask, image.mask.any(1, keepdim=True)]
            widths["image"] = image.mask.shape[1]
        return _Row(torch.cat(raws, 1), torch.cat(masks, 1), widths)


@dataclass(frozen=True)
class _Row:
    """A sequence [B, S, D] before its norm, which tokens are there [B, S], and how wide each part is without its [SEP]."""

    raw: Tensor
    mask: Tensor
    widths: dict[str, int]

    def read(self, out: ModalTokens) -> StreamStates:
        """Cut what the transformer gives into the parts."""
        places = {}
        at = 1
        for name in ("query", "title", "image"):
            width = self.widths.get(name)
            places[name] = (at, at + (width or 0))
            at += width + 1 if width is not None else 0

        def cut(name: str, ends: int) -> ModalTokens:
            low, high = places[name]
            return ModalTokens(out.hidden[:, low : high + ends], self.mask[:, low : high + ends])

        return StreamStates(
            out.hidden[:, 0], cut("title", 0), cut("image", 0), cut("title", 1), cut("image", 1)
        )


def _beside(row: _Row, asked: int, told: int) -> tuple[Tensor, Tensor]:
    """Rows of the whole above rows of query + title beside query + image: raw [2B, S, D] and group [2B, S].

    The query ends at ``asked`` and the title at ``told``; both are in the same places whatever follows.
    """
    text = slice(0, told)
    sight = torch.cat([torch.arange(asked), torch.arange(told, row.mask.shape[1])]).to(
        row.mask.device
    )
    beside = torch.cat([row.raw[:, text], row.raw.index_select(1, sight)], 1)
    groups = torch.cat([row.mask[:, text].long(), row.mask.index_select(1, sight).long() * 2], 1)
    wide = beside.shape[1] - row.mask.shape[1]
    return torch.cat([F.pad(row.raw, (0, 0, 0, wide)), beside]), torch.cat(
        [F.pad(row.mask.long(), (0, wide)), groups]
    )


class BertFusion(ItemFusion):
    """One BERT over query, title and image; the item is h([CLS]). One that reads no titles sees images alone (ViT)."""

    def __init__(self, stream: BertStream, reads_title: bool = True) -> None:
        super().__init__()
        self.stream = stream
        self.reads_title = reads_title

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.stream.embeddings.words

    def forward(
        self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None
    ) -> FusedItems:
        """Titles [B, L], image tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        title = batch.pieces if self.reads_title else torch.zeros_like(batch.pieces)
        states = self.stream(title, None if image is None else image.tokens, query)
        spans = states.title_span, states.image_span
        return fused_items(
            states.node,
            [states.title, states.image],
            states.title,
            None if image is None else states.image,
            spans,
        )

    def title_positions(self, place: Tensor) -> Tensor:
        """The position embeddings [M, D] of a title's pieces at ``place`` [M]; [CLS] has the first."""
        return self.stream.embeddings.positions(place + 1)

    def encode_query_views(
        self, batch: ItemBatch, image: ImageParts, query: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """MBSD's h, h^t and h^v [B, D] of ``query`` [B, Q] with title and image, title alone and image alone, in one pass."""
        return self.stream.encode_query_views(query, batch.pieces, image.tokens)


def single_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """One BERT, which also reads properties and values: MBSD's, VT-BERT's, and the baselines' of one stream."""
    text = bert_of(config, tokenizer, config.fusion_layers)
    special = (tokenizer.special.cls, tokenizer.special.sep)
    stream = BertStream(
        text.embeddings, text.encoder, special, VISION if config.vision_cls else TEXT
    )
    return ModelParts(
        BertFusion(stream, config.reads_title), text, image_reader(config), Pooler(config.dim)
    )
