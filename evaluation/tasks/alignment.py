"""Alignment: are two items the same product?  K3M's second task and MBSD's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.tasks.base import Task, TaskItems, numbered
from evaluation.tasks.measures import Measured, best_f1_threshold, binary
from fusion.inference.item_encoder import TaskInput
from schema.arrays import FloatArray
from training.finetuning import Questions


@dataclass(frozen=True)
class ItemPair:
    """Two items by their ids, and whether they are the same product."""

    left: str
    right: str
    same: bool


class AlignmentTask(Task):
    """Pairs of items by late fusion: both are encoded, and the head compares their vectors.

    A pair belongs to the part of the split that has both of its items; pairs that lie across are
    not asked. ``serving.alignment`` finds the same products better, and in large catalogues; this
    task compares what encoders know of them, as the papers do.

    Args:
        pairs: labelled pairs
    """

    name = "alignment"
    title = "Alignment"
    metric = "F1"
    outputs = 1

    def __init__(self, pairs: Sequence[ItemPair]) -> None:
        self.pairs = tuple(pairs)

    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return a question for each pair of which the part has both items."""
        own = items.parts[part]
        row = {item.id: index for index, item in enumerate(own)}
        asked = [each for each in self.pairs if each.left in row and each.right in row]
        touching = sum(each.left in row or each.right in row for each in self.pairs)
        across = touching - len(asked)
        used = sorted({row[id] for each in asked for id in (each.left, each.right)})
        place = {index: position for position, index in enumerate(used)}
        sides = [[place[row[each.left]], place[row[each.right]]] for each in asked]
        return Questions(
            inputs=[TaskInput(own[index]) for index in used],
            sides=np.array(sides, dtype=np.int64).reshape(-1, 2),
            target=np.array([each.same for each in asked], dtype=np.int64),
            group=numbered([each.left for each in asked]),
            skipped={"pairs across parts of the split": across} if across else {},
        )

    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return accuracy, precision, recall, F1, ROC-AUC and PR-AUC, as in MBSD's Table 4."""
        return binary(questions.target == 1, logits[:, 0], threshold, questions.group)

    def threshold(self, logits: FloatArray, questions: Questions) -> float:
        """Return the logit from which on F1 of these questions is highest."""
        return best_f1_threshold(questions.target == 1, logits[:, 0])


def told_unknown(pairs: Iterable[ItemPair], items: TaskItems) -> str | None:
    """Return in words how many pairs name an item that no part of the split has; None if none."""
    known = {item.id for part in items.parts.values() for item in part}
    unknown = sum(each.left not in known or each.right not in known for each in pairs)
    return f"{unknown:,} pairs name an item that no part of the split has" if unknown else None


def same_products(pairs: Iterable[ItemPair]) -> dict[str, frozenset[str]]:
    """Return by item the others that are the same product, as the pairs say or imply."""
    group: dict[str, set[str]] = {}
    for pair in pairs:
        if pair.same:
            joined = group.get(pair.left, {pair.left}) | group.get(pair.right, {pair.right})
            for id in joined:
                group[id] = joined
    return {id: frozenset(joined - {id}) for id, joined in group.items()}
