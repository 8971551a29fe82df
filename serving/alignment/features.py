"""What describes a pair of items: the same numbers whichever of both is named first.

Shapes: N items, M pairs, F features. What cannot be told, such as how alike two prices are of which
one is missing, is NaN.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schema.arrays import FloatArray, IntArray
from schema.progress import ProgressCallback, no_progress
from schema.wording import plain_words
from serving.alignment.corpus import NEIGHBOURS, Corpus
from serving.alignment.texts import flat

PAIRS_AT_ONCE = 8192
RIVALS = ("title words", "title n-grams", "text words", "text n-grams")
"""By which cosines a pair is compared with the other pairs of its items."""
MAX_PROPERTIES = 24
"""Properties with features of their own: those that most pairs state on both sides."""
MIN_PAIRS = 20
"""Pairs that state a property on both sides, from which on it has features of its own."""
_SAME_NUMBER = 0.01
_ROUNDING = 1e-5
"""Cosines of the same texts differ by less, in whichever order they are summed."""

FloatColumn = NDArray[np.float32]


class _Columns:
    """Features by name, in order."""

    def __init__(self) -> None:
        self.columns: dict[str, FloatColumn] = {}

    def add(self, name: str, values: NDArray[np.generic] | Sequence[float]) -> None:
        self.columns[name] = np.asarray(values, np.float32)

    def add_both(self, name: str, left: FloatArray, right: FloatArray) -> None:
        """Add a number of each item as the lower and the higher one."""
        self.add(f"{name}, lower", np.fmin(left, right))
        self.add(f"{name}, higher", np.fmax(left, right))


def common_properties(corpus: Corpus, left: IntArray, right: IntArray) -> tuple[str, ...]:
    """Return the properties with features of their own, by how many of M pairs state them."""
    counts: Counter[str] = Counter()
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        ours, theirs = corpus.records[one].values, corpus.records[other].values
        counts.update(ours.keys() & theirs.keys())
    frequent = [each for each in counts.most_common(MAX_PROPERTIES) if each[1] >= MIN_PAIRS]
    return tuple(sorted(name for name, _ in frequent))


@dataclass(frozen=True)
class PairFeatures:
    """The ``names`` [F] and the ``values`` [M, F] of the features of M pairs."""

    names: list[str]
    values: NDArray[np.float32]


def pair_features(
    corpus: Corpus,
    left: IntArray,
    right: IntArray,
    properties: Sequence[str],
    progress: ProgressCallback = no_progress,
) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names [F] and the features [M, F] of pairs of rows ``left`` [M], ``right`` [M]."""
    parts = list(feature_parts(corpus, left, right, properties, progress))
    return parts[-1].names, np.concatenate([part.values for part in parts])


def feature_parts(
    corpus: Corpus,
    left: IntArray,
    right: IntArray,
    properties: Sequence[str],
    progress: ProgressCallback = no_progress,
) -> Iterator[PairFeatures]:
    """Yield the features of pairs of rows ``left`` [M] and ``right`` [M], some thousand at once.

    A million items have some ten million pairs, whose features would take ten gigabytes.
    """
    rows = np.unique(np.concatenate([left, right]))
    for kind in RIVALS:
        # All at once, which takes less time than in parts.
        corpus.neighbours(kind, rows)
    for start in range(0, max(1, len(left)), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        columns = _Columns()
        cosines = _add_cosines(columns, corpus, left[part], right[part])
        _add_overlaps(columns, corpus, left[part], right[part])
        _add_codes(columns, corpus, left[part], right[part])
        _add_values(columns, corpus, left[part], right[part], properties)
        _add_rivals(columns, corpus, left[part], right[part], cosines)
        features = np.stack(list(columns.columns.values()), axis=1)
        progress(min(start + PAIRS_AT_ONCE, len(left)), len(left))
        yield PairFeatures(list(columns.columns), features)


def _add_cosines(
    columns: _Columns, corpus: Corpus, left: IntArray, right: IntArray
) -> dict[str, FloatColumn]:
    cosines = {}
    for name, weights in corpus.cosines.items():
        product = weights.of_rows(left).multiply(weights.of_rows(right))
        cosines[name] = np.asarray(product.sum(1), np.float32).ravel()
        columns.add(f"cosine of {name}", cosines[name])
    return cosines


def _add_overlaps(columns: _Columns, corpus: Corpus, left: IntArray, right: IntArray) -> None:
    """Add how much of what each item has the other has too, and what is rarest in both and one."""
    for name, weights in corpus.overlaps.items():
        ours, theirs = weights.of_rows(left), weights.of_rows(right)
        both = ours.minimum(theirs)
        our_weight, their_weight, shared = (
            np.asarray(each.sum(1), np.float64).ravel() for each in (ours, theirs, both)
        )
        every = our_weight + their_weight - shared
        with np.errstate(divide="ignore", invalid="ignore"):
            columns.add(f"overlap of {name}", np.where(every > 0, shared / every, np.nan))
            columns.add_both(
                f"contained {name}",
                np.where(our_weight > 0, shared / our_weight, np.nan),
                np.where(their_weight > 0, shared / their_weight, np.nan),
            )
        columns.add(f"rarest of shared {name}", _row_maximum(both))
        columns.add_both(
            f"rarest of other {name}", _row_maximum(ours - both), _row_maximum(theirs - both)
        )
        columns.add_both(f"number of {name}", ours.getnnz(1), theirs.getnnz(1))
        columns.add(f"number of shared {name}", both.getnnz(1))
    same = [
        corpus.first_words[one] == corpus.first_words[other] for one, other in _pairs(left, right)
    ]
    columns.add("same first word", same)


def _row_maximum(matrix: object) -> FloatArray:
    return np.asarray(matrix.max(axis=1).todense(), np.float64).ravel()  # type: ignore[attr-defined]


def _pairs(left: IntArray, right: IntArray) -> list[tuple[int, int]]:
    return list(zip(left.tolist(), right.tolist(), strict=True))


_CODE_MEASURES = ("longest found", "share found", "longest beginning")


def _add_codes(columns: _Columns, corpus: Corpus, left: IntArray, right: IntArray) -> None:
    """Add how much of each item's codes the other's text has, however it is cut into words."""
    pairs = _pairs(left, right)
    for name, all_codes in (("title", corpus.title_codes), ("text", corpus.text_codes)):
        ours = np.array([_found_codes(all_codes[a], corpus.flat_texts[b]) for a, b in pairs])
        theirs = np.array([_found_codes(all_codes[b], corpus.flat_texts[a]) for a, b in pairs])
        for column, measure in enumerate(_CODE_MEASURES):
            columns.add_both(
                f"{measure} of {name} codes",
                ours.reshape(-1, 3)[:, column],
                theirs.reshape(-1, 3)[:, column],
            )


def _found_codes(codes: frozenset[str], flat_text: str) -> tuple[float, float, float]:
    """Return the length of the longest code found in a text, the share found, and beginnings."""
    if not codes:
        return math.nan, math.nan, math.nan
    longest = 0
    found = 0
    beginning = 0.0
    for code in codes:
        if code in flat_text:
            longest = max(longest, len(code))
            found += 1
            beginning = 1.0
            continue
        # The variants of a product often share the beginning of their codes, and no more.
        for length in range(len(code) - 1, 3, -1):
            if length / len(code) <= beginning:
                break
            if code[:length] in flat_text:
                beginning = length / len(code)
                break
    return float(longest), found / len(codes), beginning


_VALUE_MEASURES = ("contained words", "equal", "one in the other", "difference")


def _add_values(
    columns: _Columns,
    corpus: Corpus,
    left: IntArray,
    right: IntArray,
    properties: Sequence[str],
) -> None:
    """Add how alike the values are that both items have of the same property."""
    own = np.full((len(left), len(properties), len(_VALUE_MEASURES)), np.nan, np.float32)
    every = np.full((len(left), 3), np.nan, np.float32)
    places = {name: place for place, name in enumerate(properties)}
    compare = _ValueComparer()
    for row, (one, other) in enumerate(_pairs(left, right)):
        ours, theirs = corpus.records[one].values, corpus.records[other].values
        shared = ours.keys() & theirs.keys()
        equal = 0
        for property in shared:
            measured = compare(ours[property], theirs[property])
            equal += measured[1] == 1
            if property in places:
                own[row, places[property]] = measured
        if shared:
            every[row] = len(shared), equal / len(shared), len(shared) - equal
    for property, place in places.items():
        for column, measure in enumerate(_VALUE_MEASURES):
            columns.add(f"{property}: {measure}", own[:, place, column])
    for column, measure in enumerate(("stated by both", "share equal", "different")):
        columns.add(f"properties {measure}", every[:, column])


class _ValueComparer:
    """Compares the values of a property that two items have, and remembers each pair of texts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, float, float, float]] = {}

    def __call__(
        self, ours: Sequence[str], theirs: Sequence[str]
    ) -> tuple[float, float, float, float]:
        """Return the measures of the most alike values."""
        return max(self._compare(one, other) for one in ours for other in theirs)

    def _compare(self, one: str, other: str) -> tuple[float, float, float, float]:
        key = (one, other) if one <= other else (other, one)
        if key not in self._known:
            self._known[key] = compare_values(*key)
        return self._known[key]


def compare_values(one: str, other: str) -> tuple[float, float, float, float]:
    """Return how alike two values are.

    The first three say whether the words of the shorter one are in the other (a share), whether
    both are equal but for case and punctuation, and whether one has the other in it. The fourth is
    the difference of their logarithms if both are positive numbers, else NaN.
    """
    our_number, their_number = _number(one), _number(other)
    if our_number is not None and their_number is not None:
        difference = abs(math.log(our_number / their_number))
        same = float(difference < _SAME_NUMBER)
        return same, same, same, difference
    our_words, their_words = set(plain_words(one)), set(plain_words(other))
    shorter = max(1, min(len(our_words), len(their_words)))
    our_flat, their_flat = flat(one.casefold()), flat(other.casefold())
    contained = our_flat in their_flat or their_flat in our_flat
    return (
        len(our_words & their_words) / shorter,
        float(our_flat == their_flat),
        float(contained),
        math.nan,
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _add_rivals(
    columns: _Columns,
    corpus: Corpus,
    left: IntArray,
    right: IntArray,
    cosines: dict[str, FloatColumn],
) -> None:
    """Add whether either item has another one that is more like it: most have one match at most."""
    for name in RIVALS:
        measured = []
        for own, partner in ((left, right), (right, left)):
            nearest = corpus.neighbours(name, own).first(NEIGHBOURS)
            is_rival = (nearest.items >= 0) & (nearest.items != partner[:, None])
            similarities = np.where(is_rival, nearest.similarities, 0)
            best = similarities.max(1)
            cosine = cosines[name]
            better = (similarities > cosine[:, None] + _ROUNDING).sum(1)
            measured.append((cosine - best, better, cosine / (best + 1e-6)))
        for column, measure in enumerate(("lead", "better rivals", "ratio")):
            columns.add_both(f"{measure} by {name}", measured[0][column], measured[1][column])
