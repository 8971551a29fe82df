"""Draws of queries that do not match an item, each as often as it occurs among those that do.

Negatives keep the item of a matching pair and change its query. If they were drawn uniformly over
the distinct queries, a query's frequency alone would tell whether a pair matches, and a model would
learn that instead of reading the item. Drawing them by frequency is not enough: a frequent query
matches more items, and is left out for all of these. Here the queries are weighted so that, over
all pairs, each is drawn as often as it is a positive, whatever is left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import TrueStatements
from schema.arrays import FloatArray, IntArray

MAX_DRAWS = 16
"""How often a query is drawn at each level, if it keeps turning out to match the item."""
_DRAWS_AT_ONCE = 4
MIN_ACCEPTED = 1 / 8
"""A level is not used for items that match more than the rest of its queries, by weight."""
MAX_SWEEPS = 50
"""The most iterations of matrix scaling; feasible problems take about ten."""
TOLERANCE = 1e-3
"""Matrix scaling ends when every query is drawn as often as wanted, up to this share."""
MAX_FACTOR = 100.0
"""A query's weight is at most this much above or below its frequency."""
_NEGLIGIBLE = 1e-9
_TINY = 1e-200


class Choices(ABC):
    """Which of C columns (queries) each of R rows (items, or pairs) may draw."""

    @abstractmethod
    def sum_by_row(self, values: FloatArray) -> FloatArray:
        """Sum ``values`` [C] over the columns of each row; 0 for a row that cannot be served."""

    @abstractmethod
    def sum_by_column(self, values: FloatArray) -> FloatArray:
        """Sum ``values`` [R] over the rows of each column."""


@dataclass(frozen=True)
class Listed(Choices):
    """The choices are E pairs of a row and a column, sorted by row."""

    row: IntArray
    column: IntArray
    rows: int
    columns: int

    def sum_by_row(self, values: FloatArray) -> FloatArray:
        return _sums(self.row, values[self.column], self.rows)

    def sum_by_column(self, values: FloatArray) -> FloatArray:
        return _sums(self.column, values[self.row], self.columns)


@dataclass(frozen=True)
class AllExcept(Choices):
    """A row may draw all columns of its group, except for E pairs of a row and a column.

    ``row_group`` [R] and ``column_group`` [C] number the groups from 0.
    """

    row_group: IntArray
    column_group: IntArray
    row: IntArray
    column: IntArray

    def sum_by_row(self, values: FloatArray) -> FloatArray:
        excluded = _sums(self.row, values[self.column], len(self.row_group))
        total = self._by_group(self.column_group, values)[self.row_group]
        # Excluded queries are drawn and rejected, which takes too long if they are most of them.
        return np.where(total - excluded >= MIN_ACCEPTED * total, total - excluded, 0.0)

    def sum_by_column(self, values: FloatArray) -> FloatArray:
        excluded = _sums(self.column, values[self.row], len(self.column_group))
        total = self._by_group(self.row_group, values)[self.column_group]
        # The difference of two sums that are equal up to rounding is no choice.
        return np.where(total - excluded > _NEGLIGIBLE * total, total - excluded, 0.0)

    def _by_group(self, group: IntArray, values: FloatArray) -> FloatArray:
        groups = max(self.row_group.max(initial=-1), self.column_group.max(initial=-1)) + 1
        return _sums(group, values, groups)


@dataclass(frozen=True)
class Balance:
    """Weights by which each column is drawn no more often than demanded.

    - ``weight`` [C]: a row draws one of its columns in proportion to this
    - ``share`` [R]: how often a row draws here at all
    - ``supply`` [R] and ``demand`` [C]: what is left of both
    """

    weight: FloatArray
    share: FloatArray
    supply: FloatArray
    demand: FloatArray


def balance(choices: Choices, supply: FloatArray, demand: FloatArray) -> Balance:
    """Weight the columns so that ``supply`` [R] draws of the rows meet the ``demand`` [C].

    This is matrix scaling (Sinkhorn and Knopp, 1967). A demand that cannot be met, because too few
    rows may draw the column, leaves some supply and demand over.
    """
    low = demand / MAX_FACTOR
    high = demand * MAX_FACTOR
    weight = demand
    for _ in range(MAX_SWEEPS):
        rate = _ratio(supply, choices.sum_by_row(weight))
        drawn = choices.sum_by_column(rate) * weight
        if (np.abs(drawn - demand) <= TOLERANCE * demand).all():
            break
        weight = np.clip(_ratio(demand * weight, drawn), low, high)
    # The last step is not clipped: no column is then drawn more often than demanded.
    rate = _ratio(supply, choices.sum_by_row(weight))
    weight = _ratio(demand, choices.sum_by_column(rate))
    share = np.minimum(1.0, _ratio(rate * choices.sum_by_row(weight), supply))
    rate = _ratio(supply * share, choices.sum_by_row(weight))
    drawn = choices.sum_by_column(rate) * weight
    return Balance(
        weight=weight,
        share=share,
        supply=_positive_part(supply - supply * share),
        demand=_positive_part(demand - drawn),
    )


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return the ratio, 0 where the denominator is 0, or so small that the ratio could overflow."""
    possible = denominator > _TINY
    return np.where(possible, numerator / np.where(possible, denominator, 1.0), 0.0)


def _sums(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Sum ``values`` [N] by their ``index`` [N] from 0 to ``size`` - 1."""
    return np.bincount(index, values, size).astype(np.float64)


def _positive_part(values: FloatArray) -> FloatArray:
    return np.where(values > _NEGLIGIBLE, values, 0.0)


@dataclass(frozen=True)
class Level:
    """The draws of P pairs, each of which belongs to one of R rows.

    ``queries`` [K] are numbers of queries. Row r draws one of those from ``begin[r]`` to
    ``end[r]`` in proportion to its ``weight`` [K]. A ``share`` [R] of the draws of each row is made
    here, the others at the next level.
    """

    row_of_pair: IntArray
    share: FloatArray
    begin: IntArray
    end: IntArray
    queries: IntArray
    weight: FloatArray


@dataclass(frozen=True)
class Positives:
    """P matching pairs, by number of the ``query`` [P] and of the ``item`` [P]."""

    query: IntArray
    item: IntArray


@dataclass(frozen=True)
class Remainder:
    """What other levels have left: draws of the P pairs [P], and demand for the Q queries [Q]."""

    supply: FloatArray
    demand: FloatArray

    @classmethod
    def of_all(cls, positives: Positives, queries: int) -> Remainder:
        """Return one draw for each pair, and the frequency of each query."""
        frequency = np.bincount(positives.query, minlength=queries).astype(np.float64)
        return cls(np.ones(len(positives.query)), frequency)


def group_level(
    positives: Positives,
    group: IntArray,
    clicked: IntArray,
    remainder: Remainder,
) -> tuple[Level, Remainder]:
    """Draw from the queries of the pair's ``group``, except those that the item was clicked for.

    ``group`` [I] numbers the groups of items from 0; ``clicked`` [M, 2] are pairs (query, item).
    A query that belongs to several groups is demanded in each in proportion to its pairs there.
    """
    queries = len(remainder.demand)
    items, row_of_pair = np.unique(positives.item, return_inverse=True)
    keys, column_of_pair = np.unique(
        group[positives.item] * queries + positives.query, return_inverse=True
    )
    column_group = keys // queries
    column_query = keys % queries
    frequency = np.bincount(column_of_pair, minlength=len(keys)).astype(np.float64)
    per_query = _sums(column_query, frequency, queries)
    demand = frequency * _ratio(remainder.demand, per_query)[column_query]
    supply = _sums(row_of_pair, remainder.supply, len(items))

    # The clicked pairs whose item is a row, and whose query a column of the item's group.
    row = np.minimum(np.searchsorted(items, clicked[:, 1]), len(items) - 1)
    key = group[clicked[:, 1]] * queries + clicked[:, 0]
    column = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    excluded = (items[row] == clicked[:, 1]) & (keys[column] == key)
    choices = AllExcept(group[items], column_group, row[excluded], column[excluded])
    balanced = balance(choices, supply, demand)

    begin = np.searchsorted(column_group, group[items], "left")
    end = np.searchsorted(column_group, group[items], "right")
    level = Level(
        row_of_pair=row_of_pair,
        share=balanced.share,
        begin=begin,
        end=end,
        queries=column_query,
        weight=balanced.weight,
    )
    left = _ratio(balanced.supply, supply)[row_of_pair]
    return level, Remainder(
        supply=remainder.supply * left,
        demand=_sums(column_query, balanced.demand, queries),
    )


def listed_level(
    row: IntArray,
    query: IntArray,
    remainder: Remainder,
) -> tuple[Level, Remainder]:
    """Draw from the queries that are listed for each pair.

    ``row`` [E], ascending, and ``query`` [E] are the listed combinations of pair and query.
    """
    pairs = len(remainder.supply)
    choices = Listed(row, query, pairs, len(remainder.demand))
    balanced = balance(choices, remainder.supply, remainder.demand)
    bounds = np.searchsorted(row, np.arange(pairs + 1))
    level = Level(
        row_of_pair=np.arange(pairs),
        share=balanced.share,
        begin=bounds[:-1],
        end=bounds[1:],
        queries=query,
        weight=balanced.weight[query],
    )
    return level, Remainder(balanced.supply, balanced.demand)


@dataclass(frozen=True)
class Drawn:
    """Queries [N], and how many levels would have come ``after`` [N] that of each draw."""

    query: IntArray
    after: IntArray


class QueryDraws:
    """Draws queries from one of several chains of levels.

    Each pair draws at the first level of its chain whose share it falls into. If all its draws are
    rejected, it draws at the next level, and after the last one evenly from all queries of that
    level.

    Args:
        positives: the P pairs.
        clicked: the pairs (query, item) that are not drawn.
        chains: the levels of each chain.
    """

    def __init__(
        self,
        positives: Positives,
        clicked: TrueStatements,
        chains: Sequence[Sequence[Level]],
    ) -> None:
        self.positives = positives
        self.clicked = clicked
        # All levels in one table, so that all pairs of a batch are drawn at once.
        levels = [level for chain in chains for level in chain]
        rows = np.cumsum([0, *(len(level.share) for level in levels)])
        places = np.cumsum([0, *(len(level.queries) for level in levels)])
        self._row_of_pair = np.stack(
            [level.row_of_pair + first for level, first in zip(levels, rows[:-1], strict=True)]
        )
        self._begin = np.concatenate(
            [level.begin + first for level, first in zip(levels, places[:-1], strict=True)]
        )
        self._end = np.concatenate(
            [level.end + first for level, first in zip(levels, places[:-1], strict=True)]
        )
        self._share = np.concatenate([level.share for level in levels])
        self._queries = np.concatenate([level.queries for level in levels])
        weights = np.concatenate([level.weight for level in levels])
        self._cumulative = np.concatenate([[0.0], weights.cumsum()])
        self._low = self._cumulative[self._begin]
        self._size = self._cumulative[self._end] - self._low
        self._length = np.array([len(chain) for chain in chains])
        self._first = self._length.cumsum() - self._length

    def __call__(self, chain: IntArray, position: IntArray, random: KeyedRandom) -> Drawn:
        """Draw a query for each of the pairs at ``position`` [N], from its ``chain`` [N].

        If a pair's item was clicked for every query that is drawn, the last one is returned.
        """
        query = self.positives.query[position]
        item = self.positives.item[position]
        steps = int(self._length.max())
        leaves = random.uniform("level", position[:, None], np.arange(steps))
        after = self._length[chain] - 1
        row = np.zeros(len(position), np.int64)
        waiting = np.arange(len(position))
        for step in range(steps):
            level = self._first[chain[waiting]] + step
            row[waiting] = self._row_of_pair[level, position[waiting]]
            # What even the last level cannot place must be drawn somewhere.
            stays = (after[waiting] == 0) | (leaves[waiting, step] < self._share[row[waiting]])
            drawing = waiting[stays & (self._size[row[waiting]] > 0)]
            for block in range(0, MAX_DRAWS, _DRAWS_AT_ONCE):
                if not len(drawing):
                    break
                keys = (position[drawing, None], step, np.arange(block, block + _DRAWS_AT_ONCE))
                drawn = self._by_weight(row[drawing], random.uniform("query", *keys))
                drawing = self._keep(query, item, drawing, drawn)
            waiting = waiting[self.clicked.contains(query[waiting], item[waiting])]
            waiting = waiting[after[waiting] > 0]
            after[waiting] -= 1
            if not len(waiting):
                break
        waiting = np.flatnonzero(self.clicked.contains(query, item))
        if len(waiting):
            uniform = random.uniform("any query", position[waiting, None], np.arange(MAX_DRAWS))
            drawn = self._evenly(row[waiting], uniform)
            self._keep(query, item, waiting, drawn)
        return Drawn(query, after)

    def _by_weight(self, row: IntArray, uniform: FloatArray) -> IntArray:
        """Draw queries [N, D] for rows [N], given random numbers [N, D] in [0, 1)."""
        point = self._low[row, None] + uniform * self._size[row, None]
        place = np.searchsorted(self._cumulative, point, side="right") - 1
        return self._queries[np.clip(place, self._begin[row, None], self._end[row, None] - 1)]

    def _evenly(self, row: IntArray, uniform: FloatArray) -> IntArray:
        begin = self._begin[row, None]
        return self._queries[begin + (uniform * (self._end[row, None] - begin)).astype(np.int64)]

    def _keep(self, query: IntArray, item: IntArray, rows: IntArray, drawn: IntArray) -> IntArray:
        """Set ``query`` of the ``rows`` to the first of ``drawn`` [N, D] that was not clicked.

        Returns the rows without any; their query is the last one drawn.
        """
        usable = ~self.clicked.contains(drawn, item[rows, None])
        found = usable.any(1)
        choice = np.where(found, usable.argmax(1), drawn.shape[1] - 1)
        query[rows] = drawn[np.arange(len(rows)), choice]
        return rows[~found]
