"""How well a model completes: every known cell of the items is hidden in turn and asked for."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import METRICS, Line, Outcomes, realistic_ranks, summarise
from evaluation.settings import Setting, catalogue_words, shown
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import DataError
from schema.ontology import Ontology
from serving.calibration import Calibration
from serving.cells import Scorer, probabilities, score_in_chunks, situation_of

_ITEMS_AT_ONCE = 128

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluationReport:
    """Metrics of one model in one setting, a line a property and their macro mean, with 95% intervals over items."""

    model: str
    setting: Setting
    items: int
    cells: dict[str, int]
    properties: dict[str, Line]
    macro: Line

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        lines = {
            name: {
                "cells": self.cells[name],
                **{metric: estimate.as_dict() for metric, estimate in line.items()},
            }
            for name, line in self.properties.items()
        }
        setting = {
            "title": self.setting.title,
            "image": "yes" if self.setting.image else "no",
            "known": self.setting.known,
        }
        macro = {metric: estimate.as_dict() for metric, estimate in self.macro.items()}
        return {
            "model": self.model,
            "setting": setting,
            "items": self.items,
            "cells": sum(self.cells.values()),
            "macro": macro,
            "properties": lines,
        }

    def as_rows(self) -> list[list[str]]:
        """A table to print: the heading, a row a property, the macro mean; the interval is that of Hits@1."""
        rows = [["property", "cells", "Hits@1", "95% interval", "Hits@3", "Hits@10", "MRR", "ECE"]]
        rows += [_row(name, self.cells[name], line) for name, line in self.properties.items()]
        return [*rows, _row("macro", sum(self.cells.values()), self.macro)]


def evaluate_completion(
    scorer: Scorer, items: Sequence[ItemInput], ontology: Ontology, setting: Setting, **options: Any
) -> EvaluationReport:
    """One setting of :func:`evaluate_settings`."""
    return evaluate_settings(scorer, items, ontology, [setting], **options)[0]


def evaluate_settings(
    scorer: Scorer,
    items: Sequence[ItemInput],
    ontology: Ontology,
    settings: Iterable[Setting],
    *,
    also: Iterable[str] = (),
    draws: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[EvaluationReport]:
    """Reports in the order of ``settings``; those that differ in the known statements alone share one reading of titles and images.

    ``ontology`` is the catalogue's: it says which properties count and which words blinding removes, ``also`` adds further words.
    A value that the model does not know has an infinite rank. ``progress`` is told (items read, items to read).
    """
    wanted = list(dict.fromkeys(settings))
    if not any(name in ontology.properties for item in items for name, _ in item.known):
        raise DataError(
            f"none of the {len(items)} items has a statement to hide: evaluate a part of the catalogue that has some"
        )
    words = catalogue_words(ontology, also)
    runs = [_Run(scorer, ontology, setting) for setting in wanted]
    readings = [
        list(group) for _, group in itertools.groupby(sorted(runs, key=_reading), key=_reading)
    ]
    for number, group in enumerate(readings):
        for start in range(0, len(items), _ITEMS_AT_ONCE):
            part = shown(items[start : start + _ITEMS_AT_ONCE], group[0].setting, words)
            encoded = scorer.encode(part)
            for run in group:
                run.add(encoded, part, start)
            if progress is not None:
                progress(number * len(items) + start + len(part), len(readings) * len(items))
    return [run.report(len(items), draws, seed) for run in runs]


def _reading(run: _Run) -> tuple[str, bool]:
    return run.setting.title, run.setting.image


class _Run:
    """Gathers the outcomes of one setting."""

    def __init__(self, scorer: Scorer, ontology: Ontology, setting: Setting) -> None:
        self.scorer = scorer
        self.setting = setting
        self.calibration = Calibration(scorer.calibration)
        self.parts: dict[str, list[Outcomes]] = {name: [] for name in ontology.properties}
        known = scorer.ontology.properties
        self.place = {
            name: {value: row for row, value in enumerate(known[name].values)}
            for name in self.parts
            if name in known
        }

    def add(self, encoded: Any, items: Sequence[ItemInput], offset: int) -> None:
        """Ask for every known cell of encoded ``items``, the first of which is number ``offset``."""
        asked: dict[str, list[CellQuery]] = defaultdict(list)
        for cell in self._cells(items):
            asked[cell.property].append(cell)
        scorable = [cell for name, cells in asked.items() if self.place.get(name) for cell in cells]
        scores = iter(score_in_chunks(self.scorer, encoded, scorable))
        for name, cells in asked.items():
            logits = (
                np.stack(list(itertools.islice(scores, len(cells))))
                if self.place.get(name)
                else None
            )
            self.parts[name].append(self._outcomes(name, cells, logits, items, offset))

    def _cells(self, items: Sequence[ItemInput]) -> Iterator[CellQuery]:
        for index, item in enumerate(items):
            for name in dict.fromkeys(name for name, _ in item.known):
                if name in self.parts:
                    given = (
                        tuple(pair for pair in item.known if pair[0] != name)
                        if self.setting.known == "all"
                        else ()
                    )
                    yield CellQuery(index, name, given)

    def _outcomes(
        self,
        name: str,
        cells: list[CellQuery],
        logits: NDArray[np.float32] | None,
        items: Sequence[ItemInput],
        offset: int,
    ) -> Outcomes:
        """Ranks of all true values and the best candidates of N cells with ``logits`` [N, V], None where the model lacks the property."""
        number = np.array([cell.item + offset for cell in cells])
        truths = [
            list(dict.fromkeys(value for own, value in items[cell.item].known if own == name))
            for cell in cells
        ]
        pair_cell = np.repeat(np.arange(len(cells)), [len(values) for values in truths])
        rank = np.full(len(pair_cell), np.inf)
        if logits is None:
            return Outcomes(
                number[pair_cell], rank, number[:0], np.zeros(0), np.zeros(0, dtype=bool)
            )
        true = np.array([self.place[name].get(value, -1) for values in truths for value in values])
        found = true >= 0
        mask = np.zeros(logits.shape, dtype=bool)
        mask[pair_cell[found], true[found]] = True
        rank[found] = realistic_ranks(logits[pair_cell[found]], true[found], mask[pair_cell[found]])
        best = logits.argmax(1)
        confidence = np.array(
            [self._confidence(cell, row, items) for cell, row in zip(cells, logits, strict=True)]
        )
        return Outcomes(
            number[pair_cell], rank, number, confidence, mask[np.arange(len(cells)), best]
        )

    def _confidence(
        self, cell: CellQuery, logits: NDArray[np.float32], items: Sequence[ItemInput]
    ) -> float:
        item = items[cell.item]
        temperature = self.calibration.temperature(
            situation_of(item.title, item.image, bool(cell.known)), cell.property
        )
        return float(probabilities(logits, temperature).max())

    def report(self, items: int, draws: int, seed: int) -> EvaluationReport:
        """The metrics of all that was added."""
        outcomes = {
            name: Outcomes.concatenate(parts) for name, parts in self.parts.items() if parts
        }
        lines, macro = summarise(outcomes, items, draws=draws, seed=seed)
        cells = {name: len(np.unique(outcome.item)) for name, outcome in outcomes.items()}
        return EvaluationReport(self.scorer.name, self.setting, items, cells, lines, macro)


def _row(name: str, cells: int, line: Line) -> list[str]:
    values = {metric: f"{line[metric].value:.3f}" for metric in METRICS}
    first = line["hits@1"]
    interval = f"{first.low:.3f}–{first.high:.3f}"
    return [
        name,
        str(cells),
        values["hits@1"],
        interval,
        values["hits@3"],
        values["hits@10"],
        values["mrr"],
        values["ece"],
    ]
