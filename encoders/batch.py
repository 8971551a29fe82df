"""A batch of items as tensors, and the functions that turn texts into tensors.

Shapes: B items, L word pieces, G n-grams of all titles together, S pixels per side, R regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from encoders.tokenizer import CatalogTokenizer

# A CPU (oneDNN) prepares its matrix products again for every new shape, and caches about a
# thousand of them. Lengths are therefore rounded up to a multiple of these, so that batches share a
# few shapes: the bf16 loop of the joint preset made 135 items/s instead of 112.
TITLE_STEP = 8
QUERY_STEP = 4
IMAGE_STEP = 8


@dataclass(frozen=True, slots=True)
class RegionBatch:
    """Detected regions of B images, at most R per image, with F features each.

    Attributes:
        features: [B, R, F]
        boxes: x1, y1, x2, y2 as fractions of the image's sides [B, R, 4]
        mask: which regions exist [B, R]
        classes: the detector's probabilities of its C classes [B, R, C], or None
        limit: at most so many regions exist; None if that is not known
    """

    features: Tensor
    boxes: Tensor
    mask: Tensor
    classes: Tensor | None = None
    limit: int | None = None

    def to(self, device: str | torch.device) -> RegionBatch:
        """Return the same regions on another device."""
        return RegionBatch(
            features=self.features.to(device, non_blocking=True),
            boxes=self.boxes.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            classes=_moved(self.classes, device),
            limit=self.limit,
        )


@dataclass(frozen=True, slots=True)
class TitleTensors:
    """Titles of B items, as word pieces and as n-grams.

    Attributes:
        pieces: [B, L], 0 is padding
        ngrams: the n-grams of all titles, one title after another [G]
        ngram_offsets: the index at which each title's n-grams begin [B]
    """

    pieces: Tensor
    ngrams: Tensor
    ngram_offsets: Tensor


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """Titles and images of B items. Their known triples travel separately, as a message flow.

    Attributes:
        pieces: word pieces of the titles [B, L], 0 is padding
        ngrams: the n-grams of all titles, one title after another [G]
        ngram_offsets: the index at which each title's n-grams begin [B]
        pixels: [B, 3, S, S] uint8, or None if no item has an image
        has_image: [B] bool
        image_rows: the rows that have an image, ascending, and then the first ones again, up to a
            multiple of 8 or twice as many: a CPU prepares its convolutions again for each new
            shape [I']
        image_count: how many rows have an image, I
        piece_limit: at most so many pieces are present
        regions: detected regions, for models that read regions instead of pixels
    """

    pieces: Tensor
    ngrams: Tensor
    ngram_offsets: Tensor
    pixels: Tensor | None
    has_image: Tensor
    image_rows: Tensor
    image_count: int
    piece_limit: int
    regions: RegionBatch | None = None

    @staticmethod
    def of(
        titles: TitleTensors,
        pixels: Tensor | None,
        has_image: Tensor,
        regions: RegionBatch | None = None,
    ) -> ItemBatch:
        """Join the titles and the images of B items, which are on a CPU."""
        # Counted here, because on a GPU counting waits for the device.
        rows = has_image.nonzero()[:, 0]
        extra = round_up(len(rows), IMAGE_STEP) - len(rows)
        return ItemBatch(
            pieces=titles.pieces,
            ngrams=titles.ngrams,
            ngram_offsets=titles.ngram_offsets,
            pixels=pixels,
            has_image=has_image,
            image_rows=torch.cat([rows, rows[:extra]]),
            image_count=len(rows),
            piece_limit=int((titles.pieces != 0).sum()),
            regions=regions,
        )

    def __len__(self) -> int:
        return self.pieces.shape[0]

    @property
    def has_ngrams(self) -> Tensor:
        """[B] bool, True for the titles that have at least one n-gram."""
        end = self.ngram_offsets.new_full((1,), self.ngrams.shape[0])
        ends = torch.cat([self.ngram_offsets[1:], end])
        return ends > self.ngram_offsets

    def without_titles(self) -> ItemBatch:
        """Return the same items with their titles missing."""
        return replace(
            self,
            pieces=torch.zeros_like(self.pieces[:, :1]),
            ngrams=self.ngrams[:0],
            ngram_offsets=torch.zeros_like(self.ngram_offsets),
            piece_limit=0,
        )

    def repeated(self) -> ItemBatch:
        """Return the same items twice, [2B, ...], without the content of their images.

        An image is encoded once and its features are repeated afterwards, which is much cheaper.
        """
        offsets = torch.cat([self.ngram_offsets, self.ngram_offsets + self.ngrams.shape[0]])
        return ItemBatch(
            pieces=torch.cat([self.pieces, self.pieces]),
            ngrams=torch.cat([self.ngrams, self.ngrams]),
            ngram_offsets=offsets,
            pixels=None,
            has_image=torch.cat([self.has_image, self.has_image]),
            image_rows=self.image_rows[:0],
            image_count=0,
            piece_limit=2 * self.piece_limit,
        )

    def to(self, device: str | torch.device) -> ItemBatch:
        """Return the same batch on another device."""
        return ItemBatch(
            pieces=self.pieces.to(device, non_blocking=True),
            ngrams=self.ngrams.to(device, non_blocking=True),
            ngram_offsets=self.ngram_offsets.to(device, non_blocking=True),
            pixels=_moved(self.pixels, device),
            has_image=self.has_image.to(device, non_blocking=True),
            image_rows=self.image_rows.to(device, non_blocking=True),
            image_count=self.image_count,
            piece_limit=self.piece_limit,
            regions=None if self.regions is None else self.regions.to(device),
        )


def _moved(tensor: Tensor | None, device: str | torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device, non_blocking=True)


def title_tensors(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]], limit: int
) -> TitleTensors:
    """Turn B titles, given as lists of words, into tensors of at most ``limit`` pieces each."""
    ngrams, offsets = ngram_tensors(tokenizer, titles)
    return TitleTensors(piece_tensor(tokenizer, titles, limit), ngrams, offsets)


def piece_tensor(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]], limit: int
) -> Tensor:
    """Return the word pieces [B, L] of B titles given as lists of words; 0 is padding.

    L is the length of the longest title, at most ``limit``, rounded up to a multiple of 8.
    """
    return padded_rows([tokenizer.pieces(words, limit) for words in titles], TITLE_STEP)


def query_pieces(tokenizer: CatalogTokenizer, queries: Sequence[str], limit: int) -> Tensor:
    """Return the word pieces [B, L] of B queries; 0 is padding.

    A query without a single piece becomes the unknown piece, so that every row has a token.
    """
    rows = []
    for text in queries:
        pieces = tokenizer.pieces(tokenizer.words(text), limit)
        rows.append(pieces or [tokenizer.special.unk])
    return padded_rows(rows, QUERY_STEP)


def padded_rows(rows: Sequence[Sequence[int]], step: int) -> Tensor:
    """Return B lists of different lengths as a tensor [B, L], padded with 0.

    L is a multiple of ``step`` and at least 1.
    """
    longest = max((len(ids) for ids in rows), default=0)
    padded = np.zeros((len(rows), round_up(max(1, longest), step)), dtype=np.int64)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    return torch.from_numpy(padded)


def ngram_tensors(
    tokenizer: CatalogTokenizer, titles: Sequence[Sequence[str]]
) -> tuple[Tensor, Tensor]:
    """Return all n-grams [G] of B titles given as lists of words, and where each title begins [B].

    This is the layout that ``torch.nn.EmbeddingBag`` reads.
    """
    ngrams = [tokenizer.ngrams(words) for words in titles]
    lengths = np.array([len(ids) for ids in ngrams], dtype=np.int64)
    flat = np.array([ngram for ids in ngrams for ngram in ids], dtype=np.int64)
    return torch.from_numpy(flat), torch.from_numpy(lengths.cumsum() - lengths)


def round_up(count: int, step: int) -> int:
    """Round ``count`` up to a multiple of ``step``."""
    return -(-count // step) * step


def bucket_size(count: int, step: int) -> int:
    """Round ``count`` up to one of a few sizes, with little padding.

    The result is a multiple of ``step``, or for a large count of the largest power of two that is
    at most a 32nd of it: at most 3% of padding, and 32 different sizes between two powers of two.
    """
    coarse_step = 1 << max(0, count.bit_length() - 6)
    return round_up(count, max(step, coarse_step))
