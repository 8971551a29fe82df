"""Query matching: does a query match an item?  MBSD's QI, and with parts of an item QT and QV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.tasks.base import Task, TaskItems, item_key, numbered
from evaluation.tasks.measures import Measured, areas
from fusion.inference.item_encoder import TaskInput
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray
from training.finetuning import Questions

PER_ITEM = 6
"""Queries of an item that are asked about, and as many that it does not match."""


class MatchingTask(Task):
    """Each query that led to an item is asked about beside one that did not.

    The other query is one that led to another item, drawn as often as queries are positives, so
    that the query alone tells little of the answer. ``catalograph evaluate matching`` measures a
    network that was trained to match, with harder negatives.

    Args:
        queries: by item, the queries that led to it
        seed: of the draws, which depend on the item alone
    """

    name = "matching"
    title = "Query matching"
    metric = "ROC-AUC"
    outputs = 1
    asks_texts = True

    def __init__(self, queries: Mapping[str, Sequence[str]], seed: int = 0) -> None:
        self.queries = queries
        self.random = KeyedRandom(seed)

    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return up to ``2 * PER_ITEM`` questions for each item with a query."""
        own = items.parts[part]
        logged = [query for item in own for query in self.queries.get(item.id, ())]
        inputs = []
        target = []
        group = []
        for item in own:
            true = self.queries.get(item.id, ())
            matched = set(true)
            for number, query in enumerate(true[:PER_ITEM]):
                other = self._other(logged, matched, item_key(item.id), number)
                if other is None:
                    continue
                inputs += [TaskInput(item, query), TaskInput(item, other)]
                target += [1, 0]
                group += [item.id, item.id]
        without = sum(item.id not in self.queries for item in own)
        return Questions(
            inputs=inputs,
            sides=np.arange(len(inputs)).reshape(-1, 1),
            target=np.array(target, dtype=np.int64),
            group=numbered(group),
            skipped={"items without a query": without} if without else {},
        )

    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return ROC-AUC and PR-AUC."""
        return areas(questions.target == 1, logits[:, 0], questions.group)

    def _other(self, logged: Sequence[str], matched: set[str], key: int, number: int) -> str | None:
        """Return a query of another item of the part; None if a few draws find none."""
        draws = self.random.integers(len(logged), "other query", key, number, np.arange(8))
        return next((logged[draw] for draw in draws if logged[draw] not in matched), None)
