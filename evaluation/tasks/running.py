"""Train a head for a task, and measure it where modalities are whole, missing or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.metrics import MetricEstimates
from evaluation.modality_faults import RATIOS, ModalityFault, with_faults
from evaluation.tasks.base import Task, TaskItems
from evaluation.tasks.measures import Measured
from fusion.inference.item_encoder import ItemEncoder
from fusion.task_head import TaskHead
from schema.arrays import FloatArray
from schema.progress import ProgressCallback, no_progress
from training.finetuning import FinetuningOptions, Questions, answer, finetune

Answerer = Callable[[Questions], FloatArray]
"""Returns the logits [N, C] of questions."""


@dataclass(frozen=True)
class TrainedTask:
    """A task with what answers its questions, and the logit from which on an answer is yes."""

    task: Task
    model: str
    answers: Answerer
    threshold: float


@dataclass(frozen=True)
class FittedHead:
    """A head for a task, its threshold, and what of the train items could not be asked."""

    head: TaskHead
    threshold: float
    questions: int
    skipped: dict[str, int]


def fit_head(
    task: Task,
    encoder: ItemEncoder,
    items: TaskItems,
    options: FinetuningOptions | None = None,
    progress: ProgressCallback = no_progress,
) -> FittedHead:
    """Train a head on train items, choosing the epoch and the threshold on validation items.

    Raises TrainingError if either part has no question.
    """
    train = task.questions(items, "train")
    validation = task.questions(items, "validation")
    head = finetune(encoder, task.outputs, train, validation, options, progress).head
    logits = answer(encoder, head, validation).double().numpy()
    return FittedHead(head, task.threshold(logits, validation), train.asked, train.skipped)


def answered_by_head(
    task: Task, encoder: ItemEncoder, head: TaskHead, threshold: float
) -> TrainedTask:
    """Return a task that a head answers on an encoder's vectors."""

    def answers(questions: Questions) -> FloatArray:
        return answer(encoder, head, questions).double().numpy()

    return TrainedTask(task, encoder.name, answers, threshold)


def train_for_task(
    task: Task,
    encoder: ItemEncoder,
    items: TaskItems,
    options: FinetuningOptions | None = None,
    progress: ProgressCallback = no_progress,
) -> TrainedTask:
    """Train a head as :func:`fit_head` does, and return the task that it answers."""
    fitted = fit_head(task, encoder, items, options, progress)
    return answered_by_head(task, encoder, fitted.head, fitted.threshold)


def measure(trained: TrainedTask, items: TaskItems, part: str = "test") -> Measured:
    """Measure a task on the items of a part."""
    questions = trained.task.questions(items, part)
    return trained.task.measure(trained.answers(questions), questions, trained.threshold)


@dataclass(frozen=True)
class CurvePoint:
    """A model's metrics where the share ``ratio`` of the items has a fault.

    ``titles`` and ``images`` count what was changed.
    """

    model: str
    task: str
    fault: ModalityFault
    ratio: float
    titles: int
    images: int
    measured: Measured

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "model": self.model,
            "task": self.task,
            "fault": self.fault.value,
            "ratio": self.ratio,
            "titles": self.titles,
            "images": self.images,
            "metrics": plain(self.measured.estimates()),
        }


def measure_faults(
    trained: TrainedTask,
    items: TaskItems,
    part: str = "test",
    *,
    faults: Sequence[ModalityFault] = tuple(ModalityFault),
    ratios: Sequence[float] = RATIOS,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> list[CurvePoint]:
    """Measure a task under K3M's protocol: each fault at each ratio, on the items of a part."""
    clean = measure(trained, items, part)
    points = []
    total = len(faults) * len(ratios)
    for fault in faults:
        for ratio in ratios:
            measured = clean
            titles = images = 0
            if ratio > 0:
                faulty = with_faults(items.parts[part], fault, ratio, seed)
                titles, images = faulty.titles, faulty.images
                measured = measure(trained, items.replaced(part, faulty.items), part)
            points.append(
                CurvePoint(trained.model, trained.task.name, fault, ratio, titles, images, measured)
            )
            progress(len(points), total)
    return points


def plain(estimates: MetricEstimates) -> dict[str, dict[str, float | None]]:
    """Return estimates as plain data."""
    return {name: each.as_dict() for name, each in estimates.items()}
