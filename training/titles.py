"""Titles as numbers of words, from which a batch's word pieces and n-grams are gathered.

A title is shown in full, without some words, without the words of values, or not at all. Whichever
words are left, their pieces and n-grams were looked up once, and not in every step.

Shapes: I items, V distinct words, B titles of a batch with T words in all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.batch import TITLE_STEP, TitleTensors, round_up
from encoders.tokenizer import CatalogTokenizer
from kg.sampling.ragged import expand_ranges
from schema.arrays import BoolArray, IntArray


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after another: row r is ``indptr[r]`` to ``indptr[r + 1]``."""

    indptr: IntArray
    values: IntArray

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
        return self.values[place], number


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


class TitleTable:
    """The titles of all items, in full and blind, with the pieces and n-grams of their words.

    Args:
        tokenizer: splits words into pieces and n-grams.
        full: the words of each item's title.
        blind: the same without the words of values.
    """

    def __init__(
        self,
        tokenizer: CatalogTokenizer,
        full: Sequence[Sequence[str]],
        blind: Sequence[Sequence[str]],
    ) -> None:
        self.count = len(full)
        numbers: dict[str, int] = {}
        # A blind title follows all full ones.
        self.titles = Ragged.of(
            [
                [numbers.setdefault(word, len(numbers)) for word in words]
                for titles in (full, blind)
                for words in titles
            ]
        )
        self.pieces = Ragged.of([tokenizer.word_pieces(word) for word in numbers])
        self.ngrams = Ragged.of([tokenizer.word_ngrams(word) for word in numbers])
        self.vocabulary = len(numbers)
        # Words that differ by case alone may have the same n-grams.
        alike = defaultdict(list)
        for word, number in numbers.items():
            alike[tokenizer.ngram_form(word)].append(number)
        pairs = {
            one * len(numbers) + other: ngram
            for (first, second), ngram in tokenizer.pair_ngrams().items()
            for one in alike.get(first, ())
            for other in alike.get(second, ())
        }
        self.pair_keys = np.array(sorted(pairs), dtype=np.int64)
        self.pair_ngrams = np.array([pairs[key] for key in self.pair_keys.tolist()], dtype=np.int64)

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
        pieces, word = self.pieces.gather(titles.words)
        row = titles.row[word]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        keep = place < limit
        longest = int(place[keep].max(initial=0)) + 1
        padded = np.zeros((titles.count, round_up(longest, TITLE_STEP)), dtype=np.int64)
        padded[row[keep], place[keep]] = pieces[keep]
        return torch.from_numpy(padded)

    def ngram_tensors(self, titles: ShownTitles) -> tuple[Tensor, Tensor]:
        """Return the n-grams of B titles, as :func:`encoders.batch.ngram_tensors` does."""
        ngrams, word = self.ngrams.gather(titles.words)
        pair_ngrams, pair_row = self._pairs(titles)
        row = np.concatenate([titles.row[word], pair_row])
        # A title's pairs come after the n-grams of all of its words.
        order = np.argsort(row, kind="stable")
        lengths = np.bincount(row, minlength=titles.count)
        flat = np.concatenate([ngrams, pair_ngrams])[order]
        return torch.from_numpy(flat), torch.from_numpy(lengths.cumsum() - lengths)

    def _pairs(self, titles: ShownTitles) -> tuple[IntArray, IntArray]:
        """Return the known pairs of neighbouring words, and the title of each."""
        if not len(self.pair_keys):
            return self.pair_keys, self.pair_keys
        keys = titles.words[:-1] * self.vocabulary + titles.words[1:]
        place = np.minimum(np.searchsorted(self.pair_keys, keys), len(self.pair_keys) - 1)
        known = (titles.row[:-1] == titles.row[1:]) & (self.pair_keys[place] == keys)
        return self.pair_ngrams[place[known]], titles.row[:-1][known]
