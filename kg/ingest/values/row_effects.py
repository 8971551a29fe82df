"""What cleaning does in each row, so that the counts of rows that are not read again are known.

An *effect* is what cleaning did to one cell, such as that a word for nothing was left out. The
effects of a row have a code: rows in which the same was done, column by column, have the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kg.ingest.values.counts import ColumnCounts
from schema.arrays import BoolArray, IntArray

NOTHING_DONE = 0
"""The code of rows in which no cell had to be changed."""
READ_AGAIN = -1
"""The code of rows that have to be read whenever their source is, since other rows decide them."""
MAX_CODES = 1 << 16
"""The most codes of a source: further rows are read again."""


@dataclass(frozen=True, slots=True)
class CellEffect:
    """What cleaning did to a cell whose column has a role.

    Attributes:
        column: the name of the column
        role: the name of its role
        missing: the words for nothing that were left out
        html, unwrapped: whether markup, or a spreadsheet's marks, were taken off
        gtins: how many GTINs were checked
    """

    column: str
    role: str
    missing: tuple[str, ...] = ()
    html: bool = False
    unwrapped: bool = False
    gtins: int = 0

    def counts(self, cells: int) -> ColumnCounts:
        """Return the counts of so many such cells."""
        missing = Counter({word: cells * number for word, number in Counter(self.missing).items()})
        return ColumnCounts(
            missing=missing,
            html=cells * self.html,
            unwrapped=cells * self.unwrapped,
            gtins=cells * self.gtins,
        )

    def document(self) -> list[Any]:
        """Return the effect as JSON can hold it."""
        missing = list(self.missing)
        return [self.column, self.role, missing, self.html, self.unwrapped, self.gtins]

    @classmethod
    def of(cls, document: Any) -> CellEffect:
        """Return the effect of a document; raises ValueError or TypeError if it is none."""
        column, role, missing, html, unwrapped, gtins = document
        return cls(str(column), str(role), tuple(map(str, missing)), html, unwrapped, int(gtins))


class EffectCodes:
    """The codes of a source's effects; that of nothing is NOTHING_DONE."""

    def __init__(self, effects: Iterable[tuple[CellEffect, ...]] = ((),)) -> None:
        self._effects = list(effects)
        self._codes = {each: code for code, each in enumerate(self._effects)}

    def __len__(self) -> int:
        return len(self._effects)

    def effects(self, code: int) -> tuple[CellEffect, ...]:
        """Return the effects in the rows of a code."""
        return self._effects[code]

    def code(self, effects: tuple[CellEffect, ...]) -> int:
        """Return the code of effects, READ_AGAIN if there are too many others."""
        found = self._codes.get(effects)
        if found is None:
            if len(self._effects) >= MAX_CODES:
                return READ_AGAIN
            found = self._codes[effects] = len(self._effects)
            self._effects.append(effects)
        return found

    def documents(self) -> list[Any]:
        """Return all effects by code, as JSON can hold them."""
        return [[each.document() for each in effects] for effects in self._effects]

    @classmethod
    def of(cls, documents: Any) -> EffectCodes:
        """Return the codes of documents; raises ValueError or TypeError if they are none."""
        every = [tuple(map(CellEffect.of, each)) for each in documents]
        if not every or every[NOTHING_DONE]:
            raise ValueError("the first code is not that of nothing")
        return cls(every)


class RowEffects:
    """What cleaning does in the rows [N] of a batch: of some, while of the others it is known.

    Attributes:
        wanted: which rows [N] are cleaned
        row_codes: the codes [N] of these rows so far
    """

    def __init__(
        self, codes: EffectCodes, wanted: BoolArray, known: Iterable[tuple[CellEffect, int]] = ()
    ) -> None:
        """``known`` are effects in the other rows, and in how many of these."""
        self.wanted = wanted
        self.row_codes = np.zeros(len(wanted), np.int32)
        self._codes = codes
        self._known: dict[tuple[str, str], ColumnCounts] = {}
        for effect, rows in known:
            key = effect.column, effect.role
            self._known.setdefault(key, ColumnCounts())
            self._known[key] += effect.counts(rows)

    def known_counts(self, column: str, role: str) -> ColumnCounts:
        """Return the counts of a column in the rows that are not cleaned, and forget them."""
        return self._known.pop((column, role), ColumnCounts())

    def add(self, rows: IntArray, effects: list[CellEffect | None], indices: IntArray) -> None:
        """Add effects to the cells of some rows [R]: ``indices`` [R] are those among the effects.

        None stands for what other rows decide.
        """
        if not (np.diff(rows) > 0).all() and len(np.unique(rows)) < len(rows):
            # Several cells of one row: their effects would have to be put together first.
            self.row_codes[rows] = READ_AGAIN
            return
        # A code and an effect as one number, which is found faster than a pair of them.
        pairs = (self.row_codes[rows].astype(np.int64) - READ_AGAIN) * len(effects) + indices
        different, places = np.unique(pairs, return_inverse=True)
        codes = [
            self._joined(pair // len(effects) + READ_AGAIN, effects[pair % len(effects)])
            for pair in different.tolist()
        ]
        self.row_codes[rows] = np.array(codes, np.int32)[places]

    def read_again(self, rows: IntArray) -> None:
        """Note that rows have to be read again whenever their source is."""
        self.row_codes[rows] = READ_AGAIN

    def _joined(self, code: int, effect: CellEffect | None) -> int:
        if code == READ_AGAIN or effect is None:
            return READ_AGAIN
        return self._codes.code((*self._codes.effects(code), effect))
