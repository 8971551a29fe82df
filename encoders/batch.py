"""A batch of items as tensors, with presence masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from encoders.tokenizer import CatalogTokenizer


@dataclass(frozen=True, slots=True)
class RegionBatch:
    """Detected regions of B images, R at most.

    ``features`` [B, R, F], ``boxes`` [B, R, 4] in shares of the sides, ``mask`` [B, R]; ``classes`` [B, R, C] by the detector, or None.
    """

    features: Tensor
    boxes: Tensor
    mask: Tensor
    classes: Tensor | None = None

    def to(self, device: str | torch.device, non_blocking: bool = False) -> RegionBatch:
        """The same regions on another device."""
        return self.each(lambda part: part.to(device, non_blocking=non_blocking))

    def each(self, change: Callable[[Tensor], Tensor]) -> RegionBatch:
        """The same with every tensor changed."""
        classes = None if self.classes is None else change(self.classes)
        return RegionBatch(change(self.features), change(self.boxes), change(self.mask), classes)


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """Titles and images of B items; the known triples come beside it as a message flow.

    - ``pieces`` [B, L]: word pieces, 0 where there is none
    - ``ngrams`` [G], ``ngram_offsets`` [B]: n-grams of all titles, flat, and where each title's begin
    - ``pixels`` [B, 3, S, S] uint8 (S pixels a side), or None where no item has an image
    - ``has_image`` [B] bool
    - ``regions``: of the images, for a model that reads a detector's, instead of pixels
    """

    pieces: Tensor
    ngrams: Tensor
    ngram_offsets: Tensor
    pixels: Tensor | None
    has_image: Tensor
    regions: RegionBatch | None = None

    def __len__(self) -> int:
        return self.pieces.shape[0]

    @property
    def has_ngrams(self) -> Tensor:
        """[B] True where a title's n-grams are there."""
        ends = torch.cat(
            [self.ngram_offsets[1:], self.ngram_offsets.new_tensor([self.ngrams.shape[0]])]
        )
        return ends > self.ngram_offsets

    def with_pieces(self, pieces: Tensor) -> ItemBatch:
        """The same items with other word pieces [B, L]."""
        return replace(self, pieces=pieces)

    def without_titles(self) -> ItemBatch:
        """The same items with their titles missing."""
        return replace(
            self,
            pieces=torch.zeros_like(self.pieces[:, :1]),
            ngrams=self.ngrams[:0],
            ngram_offsets=torch.zeros_like(self.ngram_offsets),
        )

    def repeated(self) -> ItemBatch:
        """The same items two times over, [2B, ...], without their images' content, which is read once."""
        offsets = torch.cat([self.ngram_offsets, self.ngram_offsets + self.ngrams.shape[0]])
        pieces, ngrams, has_image = (
            torch.cat([part, part]) for part in (self.pieces, self.ngrams, self.has_image)
        )
        return ItemBatch(pieces, ngrams, offsets, None, has_image)

    def to(self, device: str | torch.device) -> ItemBatch:
        """The same batch on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name in self.__slots__
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)


def text_tensors(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]], limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of B titles given as words: pieces [B, L], n-grams [G] and their offsets [B]."""
    return piece_tensor(tokenizer, titles, limit), *ngram_tensors(tokenizer, titles)


def piece_tensor(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]], limit: int
) -> Tensor:
    """Word pieces [B, L] of B titles given as words, 0 where there is none.

    L is the longest title's, at most ``limit``, rounded up to a multiple of 8: a CPU prepares its matrix products anew for each shape.
    """
    return padded_rows([tokenizer.pieces(words, limit) for words in titles], 8)


def query_pieces(tokenizer: CatalogTokenizer, queries: Sequence[str], limit: int) -> Tensor:
    """Word pieces [N, L] of N queries, 0 where there is none; a query without any has the unknown one."""
    made = [
        tokenizer.pieces(tokenizer.words(text), limit) or [tokenizer.special.unk]
        for text in queries
    ]
    return padded_rows(made, 4)


def padded_rows(pieces: Sequence[Sequence[int]], step: int) -> Tensor:
    """Rows of different lengths as a tensor [B, L], filled up with 0; L is a multiple of ``step``."""
    padded = np.zeros(
        (len(pieces), rounded(max(map(len, pieces), default=0) or 1, step)), dtype=np.int64
    )
    for row, ids in enumerate(pieces):
        padded[row, : len(ids)] = ids
    return torch.from_numpy(padded)


def ngram_tensors(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]]
) -> tuple[Tensor, Tensor]:
    """N-grams [G] of B titles given as words, flat, and where each title's begin [B]."""
    grams = [tokenizer.ngrams(words) for words in titles]
    lengths = np.array([len(g) for g in grams], dtype=np.int64)
    flat = np.array([gram for ids in grams for gram in ids], dtype=np.int64)
    return torch.from_numpy(flat), torch.from_numpy(lengths.cumsum() - lengths)


def rounded(count: int, step: int) -> int:
    """``count`` up to a multiple of ``step``."""
    return -(-count // step) * step


def few_sizes(count: int, step: int) -> int:
    """``count`` up to a multiple of ``step``, or of a larger power of two where that is a 32nd of it at most: few sizes, little padding."""
    return rounded(count, max(step, 1 << max(0, count.bit_length() - 6)))
