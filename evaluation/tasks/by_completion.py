"""Answer attribute prediction and question answering by completion, without a head of their own.

A model that completes cells gives a probability to every value of a property. That of the value
that a question names is its answer.
"""

from __future__ import annotations

import numpy as np

from evaluation.tasks.base import Task
from evaluation.tasks.running import TrainedTask
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import FloatArray
from serving.cells import Scorer, predict, score_in_chunks
from training.finetuning import Questions

LEAST = 1e-12
"""The probability of a value that the model does not know, whose log-odds must be finite."""


def complete_for_task(task: Task, scorer: Scorer) -> TrainedTask:
    """Return a task whose questions about statements a completion model answers.

    The answers are the log-odds of the values' probabilities.
    """

    def answers(questions: Questions) -> FloatArray:
        return _log_odds(scorer, questions)

    return TrainedTask(task, f"{scorer.name}, by completion", answers, threshold=0.0)


def _log_odds(scorer: Scorer, questions: Questions) -> FloatArray:
    """Return the log-odds [N, 1] of the statements that N questions are about."""
    items: dict[str, tuple[int, ItemInput]] = {}
    cells: dict[tuple[int, str], CellQuery] = {}
    for row, (property, _) in zip(
        questions.sides[:, 0].tolist(), questions.statements, strict=True
    ):
        item = questions.inputs[row].item
        number = items.setdefault(item.id, (len(items), item))[0]
        if (row, property) not in cells and property in scorer.ontology.properties:
            known = tuple(each for each in item.known if each[0] != property)
            cells[row, property] = CellQuery(number, property, known)
    encoded = scorer.encode([item for _, item in items.values()])
    logits = score_in_chunks(scorer, encoded, list(cells.values()))
    probabilities = {}
    for (key, cell), row in zip(cells.items(), logits, strict=True):
        values = len(scorer.ontology.values_of(cell.property))
        probabilities[key] = predict(row, values).candidates
    found = np.full(len(questions), LEAST)
    for number, (property, value) in enumerate(questions.statements):
        position = scorer.ontology.position(property, value)
        key = (int(questions.sides[number, 0]), property)
        if position is not None and key in probabilities:
            found[number] = probabilities[key][position]
    found = found.clip(LEAST, 1 - LEAST)
    return np.asarray(np.log(found / (1 - found)))[:, None]
