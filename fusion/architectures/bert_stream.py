"""The single-stream architecture: one BERT over query, title and image (MBSD, VT-BERT, baselines).

Shapes: B items, L tokens of a title, P patches, Q tokens of a query, S tokens of a whole sequence,
N pairs of a query and an item, D the model's width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import TitleEncoder
from encoders.batch import ItemBatch
from encoders.bert import BertEmbeddings
from encoders.packing import PackedTransformer
from encoders.tokenizer import CatalogTokenizer, SpecialPieces
from encoders.tokens import ModalTokens
from fusion.architectures.base import (
    MARK_PIECES,
    ItemFusion,
    ModelParts,
    build_bert,
    build_text_model,
    fused_items,
)
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageFeatures, QueryViews
from fusion.heads import Pooler
from fusion.images import build_image_reader

# Rows of the segment embedding, or of the modality embedding if the model has one of its own.
TEXT = 0
VISION = 1
# Rows of the segment embedding in a model with a modality embedding of its own: BERT's token types.
FIRST_TEXT = 0
SECOND_TEXT = 1


@dataclass(frozen=True)
class InputForm:
    """How a sequence is composed, by default as in VT-BERT.

    MBSD's release has ``image_cls=True, image_norm=False, text_types=True``.

    Attributes:
        image_cls: the image's tokens begin with a [CLS] of their own, and end without a [SEP]
        image_norm: the layer norm of the embeddings applies to the image's tokens, too
        text_types: query and title are told apart by BERT's token types, as its two sentences are
    """

    image_cls: bool = False
    image_norm: bool = True
    text_types: bool = False

    @staticmethod
    def of(config: ModelConfig) -> InputForm:
        """Return the form that a configuration has."""
        return InputForm(config.image_cls, config.image_norm, config.text_types)

    @property
    def own_modality(self) -> bool:
        """Whether the modality embedding is separate from BERT's segments."""
        return self.text_types or not self.image_norm


@dataclass(frozen=True)
class StreamStates:
    """The final states of B sequences.

    Attributes:
        node: h([CLS]) [B, D]
        title: the title's tokens [B, L, D]
        image: the image's tokens [B, P, D]
        title_span: the title's tokens and the [SEP] after them, whose mean is VT-BERT's text
            embedding e_t (its Eq. 6)
        image_span: the image's tokens and the [SEP] after them, whose mean is VT-BERT's image
            embedding e_i (its Eq. 7); the tokens alone if there is no [SEP]
    """

    node: Tensor
    title: ModalTokens
    image: ModalTokens
    title_span: ModalTokens
    image_span: ModalTokens


class BertStream(nn.Module):
    """[CLS] query [SEP] title [SEP] image [SEP] through BERT.

    Every token is LayerNorm(content + position + segment). VT-BERT (4.1) distinguishes text and
    image by BERT's segments, and its [CLS] belongs to the image's. The papers order the sequence
    differently. A transformer takes no notice of that, only of positions and segments, so both
    share this order. The image's positions are those of its encoder.

    In MBSD's release the sequence is [CLS] query [SEP] title [SEP] [image CLS] image, and the
    modality embeddings of its 3.2 are two vectors m of their own:

        text   LayerNorm(word + position + type) + m_text
        image  content + position + m_image; the image's [CLS] has no position

    The type is 1 for a title that follows a query, with the [SEP] after it, and 0 otherwise.

    Args:
        embeddings: word pieces, positions and segments
        transformer: BERT's layers
        special: the ids of [CLS] and [SEP]
        cls_segment: the segment of [CLS], TEXT or VISION
        form: which of the above
        reader: a pretrained text model whose tokens take the place of the embeddings of word
            pieces, of which there are those of [CLS] and [SEP] alone; it reads query and title
            each by itself
    """

    def __init__(
        self,
        embeddings: BertEmbeddings,
        transformer: PackedTransformer,
        special: SpecialPieces,
        cls_segment: int = TEXT,
        form: InputForm = InputForm(),
        reader: TitleEncoder | None = None,
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.transformer = transformer
        self.reader = reader
        self.special = special
        self.cls_segment = cls_segment
        self.form = form
        dim = embeddings.words.embedding_dim
        # Added to the [SEP] of the image, which has no position among the words.
        self.image_end = None if form.image_cls else nn.Parameter(torch.randn(dim) * 0.02)
        self.image_cls = nn.Parameter(torch.randn(dim) * 0.02) if form.image_cls else None
        self.modality = nn.Parameter(torch.randn(2, dim) * 0.02) if form.own_modality else None

    def forward(
        self,
        title: Tensor,
        image: ModalTokens | None = None,
        query: Tensor | None = None,
        title_limit: int | None = None,
    ) -> StreamStates:
        """Encode ``title`` pieces [B, L], ``image`` tokens [B, P, D] and ``query`` pieces [B, Q].

        Piece 0 is padding. ``title_limit`` is the number of the titles' pieces, or more, if it is
        known.
        """
        sequence = self._sequence(title, image, query, title_limit)
        total = self.embeddings.dropout(sequence.total)
        return sequence.split(self.transformer(ModalTokens(total, sequence.mask, sequence.limit)))

    def encode_query_views(
        self,
        query: Tensor,
        title: Tensor,
        image: ModalTokens,
        title_limit: int | None = None,
    ) -> QueryViews:
        """Encode MBSD's three inputs (its Figure 4) in one pass.

        They are ``query`` pieces [N, Q] with ``title`` pieces [N, L] and ``image`` tokens
        [N, P, D], with the title alone, and with the image alone. The latter two together are
        hardly longer than the first one. They share a row as two groups that do not see each other,
        so there is hardly any padding. The last layer is computed for the [CLS] tokens alone, since
        nothing else of it is used. Neither changes the result.
        """
        sequence = self._sequence(title, image, query, title_limit)
        query_end = 2 + query.shape[1]
        title_end = 1 + query_end + title.shape[1]
        total, group = _stack_views(sequence, query_end, title_end)

        # [CLS] is the first token of a row, and in a row of two views also the first of the second.
        count = len(title)
        first_of_views = torch.arange(0, title_end + 1, title_end, device=title.device)
        cls_positions = first_of_views.expand(2 * count, 2)
        # The whole sequence and both views, of which each begins with [CLS] and the query.
        limit = 2 * sequence.limit + count * query_end
        tokens = ModalTokens(self.embeddings.dropout(total), group != 0, limit)
        states = self.transformer.states_at(tokens, cls_positions, group, groups=2)
        first, second = states.unbind(1)
        return QueryViews(item=first[:count], title=first[count:], image=second[count:])

    def _sequence(
        self,
        title: Tensor,
        image: ModalTokens | None,
        query: Tensor | None,
        title_limit: int | None,
    ) -> _Sequence:
        """Build the sequences before the dropout.

        A missing modality has no tokens, not even its [CLS] or [SEP].
        """
        ones = title.new_ones(len(title), 1)
        parts = [ones * self.special.cls]
        positions = [ones * 0]
        masks = [ones.bool()]
        widths = {}
        limit = len(title)
        start = ones  # the next position of each row: padding takes none
        for name, part in (("query", query), ("title", title)):
            if part is None:
                continue
            present = torch.cat([part != 0, (part != 0).any(1, keepdim=True)], 1)
            length = present[:, :-1].sum(1, keepdim=True)
            order = torch.arange(part.shape[1], device=part.device).expand_as(part)
            parts += [part, ones * self.special.sep]
            positions.append((start + torch.cat([order, length], 1)) * present)
            masks.append(present)
            start = start + present.sum(1, keepdim=True)
            widths[name] = part.shape[1]
            known = title_limit if name == "title" else None
            limit += len(title) + (part.numel() if known is None else known)

        words = self._words(parts)
        place = torch.arange(words.shape[1] - 1, device=title.device)
        # Not by assignment: a GPU would have to fetch the single number from the CPU.
        segment = torch.where(place == 0, self.cls_segment, TEXT)
        types = segment
        if self.modality is not None:
            types = torch.full_like(segment, FIRST_TEXT)
            if self.form.text_types and query is not None:
                types = torch.where(place < 2 + query.shape[1], types, SECOND_TEXT)
        totals = [
            self.embeddings.add_position_and_segment(words[:, :-1], torch.cat(positions, 1), types)
        ]
        if image is not None:
            totals.append(self._image_embeddings(image.hidden, words[:, -1:]))
            present = image.mask.any(1, keepdim=True)
            masks += [present, image.mask] if self.form.image_cls else [image.mask, present]
            widths["image"] = image.mask.shape[1]
            limit += len(title) + image.most
        total = self._normalised(totals, segment)
        return _Sequence(total, torch.cat(masks, 1), widths, limit, image_cls=self.form.image_cls)

    def _words(self, parts: list[Tensor]) -> Tensor:
        """Return the words of [CLS] and of texts with [SEP] after each, and another [SEP].

        ``parts`` are [B, 1] and [B, L] by turns; the last [SEP] is the image's.
        """
        if self.reader is None:
            # One lookup for all: the gradient of each further one would be as large as the table.
            return self.embeddings.words(torch.cat([*parts, parts[-1]], 1))
        marks = parts[::2]
        read = self.embeddings.words(torch.cat([*marks, marks[-1]], 1)).split(1, 1)
        texts: list[Tensor] = [self.reader(part).hidden for part in parts[1::2]]
        between = itertools.chain.from_iterable(zip(read, texts, strict=False))
        return torch.cat([*between, *read[len(texts) :]], 1)

    def _image_embeddings(self, image: Tensor, sep: Tensor) -> Tensor:
        """Add [CLS] or the embedded [SEP] ``sep`` [B, 1, D] to an image's tokens [B, P, D]."""
        tokens = [image]
        if self.image_cls is not None:
            tokens.insert(0, self.image_cls.expand(len(image), 1, -1))
        if self.image_end is not None:
            tokens.append(sep + self.image_end)
        return torch.cat(tokens, 1)

    def _normalised(self, totals: list[Tensor], segment: Tensor) -> Tensor:
        """Join the summed embeddings of text and image, with layer norm and modality embeddings.

        ``totals`` are those of the text [B, L, D] and, if there is one, of the image [B, P, D];
        ``segment`` [L] is TEXT or VISION.
        """
        norm = self.embeddings.norm
        if self.modality is None:
            vision = self.embeddings.segments.weight[VISION]
            return norm(torch.cat([*totals[:1], *(total + vision for total in totals[1:])], 1))
        if self.form.image_norm:
            text, *images = norm(torch.cat(totals, 1)).split([x.shape[1] for x in totals], 1)
        else:
            text, *images = [norm(totals[0]), *totals[1:]]
        marked = [
            text + self.modality.index_select(0, segment),
            *(x + self.modality[VISION] for x in images),
        ]
        return torch.cat(marked, 1)


@dataclass(frozen=True)
class _Sequence:
    """B sequences before the dropout.

    Attributes:
        total: the embeddings [B, S, D]
        mask: which tokens are present [B, S]
        widths: the number of tokens of each modality, without its [CLS] or [SEP]; absent if it is
            missing
        limit: at most so many tokens are present
        image_cls: whether the image has a [CLS] before it instead of a [SEP] after it
    """

    total: Tensor
    mask: Tensor
    widths: dict[str, int]
    limit: int
    image_cls: bool

    def split(self, encoded: ModalTokens) -> StreamStates:
        """Split the final states [B, S, D] into those of each modality."""
        bounds = {}
        start = 1
        for name in ("query", "title", "image"):
            bounds[name] = (start, start)
            if name in self.widths:
                if name == "image" and self.image_cls:
                    start += 1
                end = start + self.widths[name]
                bounds[name] = (start, end)
                start = end + 1

        def span(name: str, separators: int) -> ModalTokens:
            """Return the tokens [B, L, D] of a modality and as many ``separators`` after them."""
            low, high = bounds[name]
            part = slice(low, high + separators)
            return ModalTokens(encoded.hidden[:, part], self.mask[:, part])

        return StreamStates(
            node=encoded.hidden[:, 0],
            title=span("title", 0),
            image=span("image", 0),
            title_span=span("title", 1),
            image_span=span("image", 0 if self.image_cls else 1),
        )


def _stack_views(sequence: _Sequence, query_end: int, title_end: int) -> tuple[Tensor, Tensor]:
    """Stack the whole sequences on rows of query + title followed by query + image.

    The query with its [SEP] ends at ``query_end``, the title with its [SEP] at ``title_end``.
    Returns the embeddings [2N, S', D] and the groups [2N, S'] (see
    :class:`encoders.packing.AttentionLayout`).
    """
    total = sequence.total
    mask = sequence.mask
    length = mask.shape[1]
    text = slice(0, title_end)
    # The query is in both views; its embeddings are the same in each.
    device = mask.device
    vision = torch.cat(
        [torch.arange(query_end, device=device), torch.arange(title_end, length, device=device)]
    )

    views = torch.cat([total[:, text], total.index_select(1, vision)], 1)
    groups = torch.cat([mask[:, text].long(), mask.index_select(1, vision).long() * 2], 1)
    padding = views.shape[1] - length
    return (
        torch.cat([F.pad(total, (0, 0, 0, padding)), views]),
        torch.cat([F.pad(mask.long(), (0, padding)), groups]),
    )


class BertFusion(ItemFusion):
    """One BERT over query, title and image; the item is h([CLS]).

    Args:
        stream: the BERT
        reads_title: False for the image-only baseline (ViT), which still reads queries
    """

    def __init__(self, stream: BertStream, reads_title: bool = True) -> None:
        super().__init__()
        self.stream = stream
        self.reads_title = reads_title

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces."""
        reader = self.stream.reader
        return self.stream.embeddings.words if reader is None else reader.piece_embedding

    def forward(
        self, batch: ItemBatch, image: ImageFeatures | None, query: Tensor | None = None
    ) -> FusedItems:
        """Fuse titles [B, L] with image tokens [B, P, D] and ``query`` pieces [B, Q]."""
        title = batch.pieces if self.reads_title else torch.zeros_like(batch.pieces)
        image_tokens = None if image is None else image.tokens
        title_limit = batch.piece_limit if self.reads_title else 0
        states: StreamStates = self.stream(title, image_tokens, query, title_limit)
        return fused_items(
            states.node,
            memory=[states.title, states.image],
            title=states.title,
            image=None if image is None else states.image,
            title_span=states.title_span,
            image_span=states.image_span,
        )

    def title_positions(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of a title's pieces with numbers ``index`` [M].

        Position 0 belongs to [CLS].
        """
        return self.stream.embeddings.positions(index + 1)

    def encode_query_views(
        self, batch: ItemBatch, image: ImageFeatures, query: Tensor
    ) -> QueryViews:
        """Encode ``query`` pieces [N, Q] with title and image, title alone, and image alone."""
        return self.stream.encode_query_views(query, batch.pieces, image.tokens, batch.piece_limit)


def single_stream_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """Build one BERT, which also reads the properties and values.

    A pretrained text model reads the words before it.
    """
    reader = build_text_model(config, tokenizer)
    text = build_bert(config, tokenizer, config.fusion_layers, reader)
    stream = BertStream(
        embeddings=text.embeddings,
        transformer=text.encoder,
        special=tokenizer.special if reader is None else MARK_PIECES,
        cls_segment=VISION if config.vision_cls else TEXT,
        form=InputForm.of(config),
        reader=reader,
    )
    return ModelParts(
        fusion=BertFusion(stream, config.reads_title),
        text=text,
        images=build_image_reader(config),
        pooler=Pooler(config.dim),
    )
