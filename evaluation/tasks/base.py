"""What a task is, and the items that it asks about."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.tasks.measures import Measured
from fusion.inference.featurizer import ItemInput
from schema.arrays import FloatArray, IntArray
from schema.ontology import Ontology
from training.finetuning import Questions

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class TaskItems:
    """The items of a catalogue in the parts of a split, and its ontology."""

    parts: Mapping[str, Sequence[ItemInput]]
    ontology: Ontology

    def replaced(self, part: str, items: Sequence[ItemInput]) -> TaskItems:
        """Return the same items, but for those of one part."""
        return replace(self, parts={**self.parts, part: items})


class Task(ABC):
    """A task: questions about items, and what is measured of the answers.

    Attributes:
        name: its name on the command line and in tables
        title: its name in headings
        metric: the metric that curves show
        outputs: the logits of a question: classes, or 1 for yes or no
        asks_texts: whether its inputs have texts
    """

    name: str
    title: str
    metric: str
    outputs: int
    asks_texts: bool = False

    @abstractmethod
    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return the questions about the items of one part (train, validation or test).

        They are the same for the same items, whatever has been changed about these.
        """

    @abstractmethod
    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return the metrics of ``logits`` [N, C].

        ``threshold`` is the logit from which on the answer is yes, for questions of yes or no.
        """

    def threshold(self, logits: FloatArray, questions: Questions) -> float:
        """Return the logit from which on the answer is yes, chosen on validation questions."""
        return 0.0


def numbered(names: Sequence[str]) -> IntArray:
    """Return a number from 0 on for each name [N], the same for equal names."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)


def item_key(id: str) -> int:
    """Return a number for an item by which draws are keyed, the same in every process."""
    return zlib.crc32(id.encode())
