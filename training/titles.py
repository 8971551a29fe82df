"""Titles as numbers of words, from which a batch's word pieces and n-grams are gathered.

A title is shown in full, without some words, without the words of values, or not at all. Whichever
words are left, their pieces and n-grams were looked up once, and not in every step.

Shapes: I items, V distinct words, B titles of a batch with T words in all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.batch import TITLE_STEP, TitleTensors, round_up
from encoders.tokenizer import CatalogTokenizer
from kg.sampling.ragged import expand_ranges
from schema.arrays import BoolArray, IntArray


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after another: row r is ``indptr[r]`` to ``indptr[r + 1]``."""

    indptr: IntArray
    values: IntArray | NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Join lists of numbers."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        indptr = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        flat = (value for row in rows for value in row)
        return cls(indptr, np.fromiter(flat, dtype=np.int64, count=int(indptr[-1])))

    def gather(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the values of ``rows`` [N], one row after another, and which of N each is of."""
        number, place = expand_ranges(self.indptr[rows], self.indptr[rows + 1])
        # In files the values may be of 32 bits, whose products would overflow.
        return self.values[place].astype(np.int64), number


@dataclass(frozen=True)
class ShownTitles:
    """The words that are shown of B titles.

    ``words`` [T] are numbers of words, one title after another; ``row`` [T] is the title of each,
    ascending; ``count`` is B.
    """

    words: IntArray
    row: IntArray
    count: int

    @property
    def lengths(self) -> IntArray:
        """The number of words of each title [B]."""
        return np.bincount(self.row, minlength=self.count)

    def only(self, rows: BoolArray) -> ShownTitles:
        """Return the same titles, with no words where ``rows`` [B] is False."""
        keep = rows[self.row]
        return ShownTitles(self.words[keep], self.row[keep], self.count)

    def replaced_by(self, other: ShownTitles, rows: BoolArray) -> ShownTitles:
        """Return the same titles, but those of ``other`` where ``rows`` [B] is True."""
        mine = self.only(~rows)
        others = other.only(rows)
        row = np.concatenate([mine.row, others.row])
        order = np.argsort(row, kind="stable")
        words = np.concatenate([mine.words, others.words])
        return ShownTitles(words[order], row[order], self.count)

    def equal(self, other: ShownTitles) -> BoolArray:
        """Return which titles have the same words as those of ``other`` [B]."""
        same = self.lengths == other.lengths
        mine = self.only(same)
        others = other.only(same)
        # Titles of the same length lie at the same places.
        same[mine.row[mine.words != others.words]] = False
        return same


@dataclass(frozen=True)
class WordTable:
    """The word pieces and n-grams of V distinct words, and those of pairs of neighbouring words.

    ``pair_keys`` [K], ascending, are ``first * V + second`` of the pairs whose n-grams
    ``pair_ngrams`` [K] are.
    """

    count: int
    pieces: Ragged
    ngrams: Ragged
    pair_keys: IntArray
    pair_ngrams: IntArray

    @classmethod
    def of(cls, tokenizer: CatalogTokenizer, words: Collection[str]) -> WordTable:
        """Look up the pieces and n-grams of distinct words, which are numbered in their order."""
        keys, ngrams = known_pairs(tokenizer, words)
        return cls(
            count=len(words),
            pieces=Ragged.of([tokenizer.word_pieces(word) for word in words]),
            ngrams=Ragged.of([tokenizer.word_ngrams(word) for word in words]),
            pair_keys=keys,
            pair_ngrams=ngrams,
        )


def known_pairs(tokenizer: CatalogTokenizer, words: Collection[str]) -> tuple[IntArray, IntArray]:
    """Return the keys [K] of the pairs of V words that are n-grams, and the numbers of these."""
    pair_ngrams = tokenizer.pair_ngrams()
    in_pairs = {word for pair in pair_ngrams for word in pair}
    # Words that differ by case alone may have the same n-grams.
    alike = defaultdict(list)
    for number, word in enumerate(words):
        form = tokenizer.ngram_form(word)
        if form in in_pairs:
            alike[form].append(number)
    pairs = {
        one * len(words) + other: ngram
        for (first, second), ngram in pair_ngrams.items()
        for one in alike.get(first, ())
        for other in alike.get(second, ())
    }
    keys = np.array(sorted(pairs), dtype=np.int64)
    return keys, np.array([pairs[key] for key in keys.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class TitleTable:
    """The titles of I items as numbers of words: in full, and after all of these blind.

    ``titles`` has 2I rows; ``words`` are the pieces and n-grams of the words.
    """

    titles: Ragged
    words: WordTable

    @classmethod
    def of(
        cls,
        tokenizer: CatalogTokenizer,
        full: Sequence[Sequence[str]],
        blind: Sequence[Sequence[str]],
    ) -> TitleTable:
        """Number the words of each item's title, and of the same without the words of values."""
        numbers: dict[str, int] = {}
        rows = [
            [numbers.setdefault(word, len(numbers)) for word in words]
            for titles in (full, blind)
            for words in titles
        ]
        return cls(Ragged.of(rows), WordTable.of(tokenizer, numbers))

    @property
    def count(self) -> int:
        """The number of items."""
        return (len(self.titles.indptr) - 1) // 2

    def full(self, items: IntArray) -> ShownTitles:
        """Return the whole titles of ``items`` [B]."""
        words, row = self.titles.gather(items)
        return ShownTitles(words, row, len(items))

    def shown(self, items: IntArray, blind: BoolArray, hidden: BoolArray) -> ShownTitles:
        """Return the titles of ``items`` [B], some of them ``blind`` [B] or ``hidden`` [B]."""
        return self.full(np.where(blind, items + self.count, items)).only(~hidden)

    def tensors(self, titles: ShownTitles, limit: int) -> TitleTensors:
        """Turn B titles into tensors, as :func:`encoders.batch.title_tensors` does."""
        ngrams, offsets = self.ngram_tensors(titles)
        return TitleTensors(self.piece_tensor(titles, limit), ngrams, offsets)

    def piece_tensor(self, titles: ShownTitles, limit: int) -> Tensor:
        """Return the word pieces of B titles, as :func:`encoders.batch.piece_tensor` does."""
        pieces, word = self.words.pieces.gather(titles.words)
        row = titles.row[word]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        keep = place < limit
        longest = int(place[keep].max(initial=0)) + 1
        padded = np.zeros((titles.count, round_up(longest, TITLE_STEP)), dtype=np.int64)
        padded[row[keep], place[keep]] = pieces[keep]
        return torch.from_numpy(padded)

    def ngram_tensors(self, titles: ShownTitles) -> tuple[Tensor, Tensor]:
        """Return the n-grams of B titles, as :func:`encoders.batch.ngram_tensors` does."""
        ngrams, word = self.words.ngrams.gather(titles.words)
        pair_ngrams, pair_row = self._pairs(titles)
        row = np.concatenate([titles.row[word], pair_row])
        # A title's pairs come after the n-grams of all of its words.
        order = np.argsort(row, kind="stable")
        lengths = np.bincount(row, minlength=titles.count)
        flat = np.concatenate([ngrams, pair_ngrams])[order]
        return torch.from_numpy(flat), torch.from_numpy(lengths.cumsum() - lengths)

    def _pairs(self, titles: ShownTitles) -> tuple[IntArray, IntArray]:
        """Return the known pairs of neighbouring words, and the title of each."""
        pair_keys = self.words.pair_keys
        if not len(pair_keys):
            return pair_keys, pair_keys
        keys = titles.words[:-1] * self.words.count + titles.words[1:]
        place = np.minimum(np.searchsorted(pair_keys, keys), len(pair_keys) - 1)
        known = (titles.row[:-1] == titles.row[1:]) & (pair_keys[place] == keys)
        return self.words.pair_ngrams[place[known]], titles.row[:-1][known]
