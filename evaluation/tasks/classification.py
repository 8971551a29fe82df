"""Classification: which category has an item?  K3M's first task, MBSD's third, VT-BERT's second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluation.tasks.base import Task, TaskItems, numbered
from evaluation.tasks.measures import Measured, accuracy, macro_f1
from experts.category_tree import category_text
from experts.classification import restating_properties, without_restating
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import TaskInput
from schema.arrays import FloatArray
from schema.terms import CATEGORY_SEPARATOR
from training.finetuning import Questions


class ClassificationTask(Task):
    """Each item's category is hidden, with the statements that repeat it, and asked for.

    The classes are the categories of the train items. An item of another category cannot be
    answered rightly, and counts as wrong.

    Args:
        classes: the categories
        restating: properties that restate the category, which are hidden with it
    """

    name = "classification"
    title = "Classification"
    metric = "top-1"

    def __init__(self, classes: Sequence[str], restating: frozenset[str]) -> None:
        self.classes = tuple(classes)
        self.restating = restating
        self.outputs = len(self.classes)

    @classmethod
    def of(cls, train: Sequence[ItemInput]) -> ClassificationTask:
        """Take the categories of train items."""
        restating = restating_properties(
            [item.known for item in train], [item.category for item in train]
        )
        paths = (category_text(item.category) for item in train)
        return cls(sorted({path for path in paths if path}), restating)

    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return a question for each item that has a category."""
        number = {name: index for index, name in enumerate(self.classes)}
        with_category = [item for item in items.parts[part] if item.category]
        asked = with_category
        if part != "test":
            # What has no logit can have no loss; in a test it counts as wrong.
            asked = [item for item in asked if category_text(item.category) in number]
        skipped = {
            "without a category": len(items.parts[part]) - len(with_category),
            "of a category that training has not": len(with_category) - len(asked),
        }
        target = [number.get(category_text(item.category) or "", -1) for item in asked]
        return Questions(
            inputs=[TaskInput(self._hidden(item)) for item in asked],
            sides=np.arange(len(asked)).reshape(-1, 1),
            target=np.array(target, dtype=np.int64),
            group=numbered([item.id for item in asked]),
            skipped={reason: count for reason, count in skipped.items() if count},
        )

    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return top-1 and top-5 accuracy, macro-F1, and the accuracy at each higher level."""
        order = np.argsort(-logits, axis=1, kind="stable")
        best = order[:, 0]
        target = questions.target
        correct = {
            "top-1": best == target,
            "top-5": (order[:, :5] == target[:, None]).any(1),
        }
        levels = [name.split(CATEGORY_SEPARATOR) for name in self.classes]
        for depth in range(1, max(map(len, levels), default=1)):
            node = numbered([CATEGORY_SEPARATOR.join(each[:depth]) for each in levels])
            correct[f"level {depth}"] = (node[best] == node[target]) & (target >= 0)
        return accuracy(correct, questions.group).joined(macro_f1(target, best, questions.group))

    def _hidden(self, item: ItemInput) -> ItemInput:
        known = without_restating(item.known, self.restating, category_text(item.category))
        return replace(item, category=(), known=known)
