"""One stream of BERT over query, title and picture: MBSD's order or VT-BERT's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.bert import BertEmbeddings
from encoders.packing import PackedTransformer
from encoders.tokens import ModalTokens

TEXT, VISION = 0, 1


@dataclass(frozen=True)
class StreamStates:
    """What the stream makes of B sequences.

    ``node`` h([CLS]) [B, D], the ``title``'s tokens [B, L, D] and the ``image``'s [B, P, D], and the [SEP] after each [B, D].
    """

    node: Tensor
    title: ModalTokens
    image: ModalTokens
    title_end: Tensor
    image_end: Tensor

    def mean_title(self) -> Tensor:
        """VT-BERT's text embedding e_t, Eq. 6 [B, D]: the mean over the title's tokens and their [SEP]."""
        return _mean(self.title, self.title_end)

    def mean_image(self) -> Tensor:
        """VT-BERT's image embedding e_i, Eq. 7 [B, D]: the mean over the patches and their [SEP]."""
        return _mean(self.image, self.image_end)


def _mean(tokens: ModalTokens, end: Tensor) -> Tensor:
    there = tokens.mask.any(1, keepdim=True)
    total = (tokens.hidden * tokens.mask[..., None]).sum(1) + end * there
    return total / (tokens.mask.sum(1, keepdim=True) + there).clamp(min=1)


class BertStream(nn.Module):
    """[CLS] query [SEP] title [SEP] picture [SEP], each token LayerNorm(content + position + segment), through BERT's layers.

    MBSD (3.2, 3.3) marks text and picture by two modality embeddings; VT-BERT (4.1) the same by segments, [CLS] sharing the picture's:
    ``cls_segment``. Where the tokens stand in the row says nothing to a transformer; positions and segments do. A picture's positions are
    its encoder's; ``special`` are the piece numbers of [CLS] and [SEP].
    """

    def __init__(
        self, embeddings: BertEmbeddings, transformer: PackedTransformer, special: tuple[int, int], cls_segment: int = TEXT
    ) -> None:
        super().__init__()
        self.embeddings, self.transformer = embeddings, transformer
        self.special, self.cls_segment = special, cls_segment
        self.image_end = nn.Parameter(torch.randn(embeddings.words.embedding_dim) * 0.02)

    def forward(self, title: Tensor, image: ModalTokens | None = None, query: Tensor | None = None) -> StreamStates:
        """``title`` pieces [B, L] (0 where none is), ``image`` [B, P, D], ``query`` pieces [B, Q] to the states."""
        row = self._row(title, image, query)
        return row.read(self.transformer(ModalTokens(self.embeddings.finish(row.raw), row.mask)))

    def three(self, query: Tensor, title: Tensor, image: ModalTokens) -> tuple[Tensor, Tensor, Tensor]:
        """MBSD's three inputs (Figure 4) in one pass: h, h^t and h^v [B, D] of query with item, with title alone, with picture alone.

        Query + title and query + picture together are hardly longer than query + item, so they share a row as two groups.
        """
        whole, text = self._row(title, image, query), self._row(title, None, query)
        sight = self._row(title.new_zeros(len(title), 0), image, query)
        raw, group = _stack(whole, text, sight)
        count = len(title)
        at = torch.tensor([0, text.mask.shape[1]], device=title.device).expand(2 * count, 2)
        first, second = self.transformer.read(ModalTokens(self.embeddings.finish(raw), group != 0), at, group).unbind(1)
        return first[:count], first[count:], second[count:]

    def _row(self, title: Tensor, image: ModalTokens | None, query: Tensor | None) -> _Row:
        """The sequence before its norm: a modality that is not there has no token, its [SEP] neither."""
        cls, sep = self.special
        batch, start = len(title), title.new_ones(len(title), 1)
        one = title.new_ones(batch, 1)
        raws = [self.embeddings.raw(one * cls, start * 0, self.cls_segment)]
        masks = [one.bool()]
        widths = {"cls": 1}
        for name, pieces in (("query", query), ("title", title)):
            if pieces is None:
                continue
            there = pieces != 0
            length = there.sum(1, keepdim=True)
            ends = length > 0
            places = torch.cat([start + torch.arange(pieces.shape[1], device=pieces.device), start + length], 1)
            places = places * torch.cat([there, ends], 1)
            raws.append(self.embeddings.raw(torch.cat([pieces, one * sep], 1), places, TEXT))
            masks += [there, ends]
            start = start + length + ends
            widths[name] = pieces.shape[1]
        if image is not None:
            end = self.embeddings.words.weight[sep] + self.image_end
            marked = torch.cat([image.hidden, end.expand(batch, 1, -1)], 1) + self.embeddings.segments.weight[VISION]
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
        places, at = {}, 1
        for name in ("query", "title", "image"):
            width = self.widths.get(name)
            places[name] = (at, at + (width or 0))
            at += width + 1 if width is not None else 0
        parts = {name: ModalTokens(out.hidden[:, low:high], self.mask[:, low:high]) for name, (low, high) in places.items()}
        nothing = torch.zeros_like(out.hidden[:, 0])
        ends = {name: out.hidden[:, places[name][1]] if name in self.widths else nothing for name in ("title", "image")}
        return StreamStates(out.hidden[:, 0], parts["title"], parts["image"], ends["title"], ends["image"])


def _stack(whole: _Row, *pair: _Row) -> tuple[Tensor, Tensor]:
    """Rows of the whole above rows of the pair side by side: raw [2B, S, D] and group [2B, S]."""
    beside = torch.cat([part.raw for part in pair], 1)
    groups = torch.cat([part.mask.long() * (number + 1) for number, part in enumerate(pair)], 1)
    wide = max(whole.raw.shape[1], beside.shape[1])

    def widen(tensor: Tensor) -> Tensor:
        """Pad [B, L, ...] to S places."""
        return torch.cat([tensor, tensor.new_zeros(len(tensor), wide - tensor.shape[1], *tensor.shape[2:])], 1)

    return torch.cat([widen(whole.raw), widen(beside)]), torch.cat([widen(whole.mask.long()), widen(groups)])
