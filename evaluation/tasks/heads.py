"""Tasks of a home by name, and the heads that networks have learned for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from evaluation.tasks.alignment import AlignmentTask, ItemPair
from evaluation.tasks.attributes import AttributeTask
from evaluation.tasks.base import PARTS, Task, TaskItems
from evaluation.tasks.classification import ClassificationTask
from evaluation.tasks.matching import MatchingTask
from evaluation.tasks.questions_and_answers import QuestionAnsweringTask
from evaluation.tasks.running import FittedHead, TrainedTask, answered_by_head, fit_head
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import NetworkEncoder, TextReading
from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.splits import assign_splits
from schema.errors import DataError
from schema.progress import ProgressCallback, no_progress
from serving.items import CatalogItems
from serving.loading import load_regions
from training.finetuning import FinetuningOptions, Tuned
from training.inputs import read_query_log
from training.task_heads import SavedHead, load_head, save_head


class TaskName(StrEnum):
    """The tasks that a head is trained for."""

    CLASSIFICATION = "classification"
    ALIGNMENT = "alignment"
    ATTRIBUTES = "attributes"
    MATCHING = "matching"
    QA = "qa"


@dataclass(frozen=True)
class TaskSource:
    """Where a task's questions come from: a home, a split of its items, and pairs for alignment."""

    home: Home
    split: Path | None = None
    pairs: tuple[ItemPair, ...] = ()

    def items(self, scorer: CellScorer | None = None) -> TaskItems:
        """Return the catalogue's items by the parts of the split, with pixels as images.

        A network ``scorer`` that reads regions gets these instead.
        """
        snapshot = self.home.snapshot()
        regions = None if scorer is None else load_regions(self.home, scorer)
        catalog = CatalogItems(snapshot, self.home.image_files(), regions)
        part_of = assign_splits(snapshot.items, self.split)
        parts: dict[str, list[ItemInput]] = {part: [] for part in PARTS}
        for index, id in enumerate(snapshot.items):
            if id in part_of:
                parts[part_of[id]].append(catalog[index])
        return TaskItems(parts, self.home.ontology())

    def queries(self) -> Mapping[str, Sequence[str]]:
        """Return the queries that led to each item; raises DataError if there are none."""
        snapshot = self.home.snapshot()
        log = read_query_log(self.home, snapshot)
        if log is None:
            raise DataError(
                f"the home {self.home.path} has no query log with clicks: "
                "load one with `catalograph queries FILE`"
            )
        queries: dict[str, list[str]] = {}
        for item, query in zip(log.item.tolist(), log.query.tolist(), strict=True):
            queries.setdefault(snapshot.items[item], []).append(log.texts[query])
        return queries


def build_task(name: TaskName, source: TaskSource, items: TaskItems) -> Task:
    """Return a task for the items of a home; raises DataError if the home has nothing to ask."""
    match name:
        case TaskName.CLASSIFICATION:
            return ClassificationTask.of(items.parts["train"])
        case TaskName.ALIGNMENT:
            return AlignmentTask(source.pairs)
        case TaskName.ATTRIBUTES:
            return AttributeTask()
        case TaskName.MATCHING:
            return MatchingTask(source.queries())
        case TaskName.QA:
            return QuestionAnsweringTask(items.ontology)


def reading_of(task: Task | None) -> TextReading:
    """Return how a network reads the texts of a task; retrieval, which is no task, has none."""
    return TextReading.APART if task is not None and task.asks_texts else TextReading.NONE


def learning_rate_of(scorer: CellScorer) -> float:
    """Return the rate at which a network was trained, at which it is also tuned.

    With a tenth of it, a tiny K3M had a top-1 of .76 for the sample's categories after five
    epochs, less than a head alone; with all of it, 1.
    """
    rate = scorer.about.get("recipe", {}).get("learning_rate")
    return rate if isinstance(rate, float) and rate > 0 else FinetuningOptions.encoder_rate


def finetune_network(
    scorer: CellScorer,
    task: Task,
    items: TaskItems,
    options: FinetuningOptions,
    progress: ProgressCallback = no_progress,
) -> FittedHead:
    """Train a network's head for a task, and keep it in the network's folder."""
    encoder = NetworkEncoder(scorer, reading=reading_of(task))
    fitted = fit_head(task, encoder, items, options, progress)
    about: dict[str, object] = {"seed": options.seed}
    if isinstance(task, ClassificationTask):
        about |= {"classes": list(task.classes), "restating": sorted(task.restating)}
    saved = SavedHead(
        task=task.name,
        head=fitted.head,
        tuned=options.tuned,
        reading=encoder.reading,
        threshold=fitted.threshold,
        about=about,
        network=scorer.model.state_dict() if options.tuned is Tuned.ALL else {},
    )
    save_head(scorer.path, saved)
    return fitted


def with_saved_head(
    scorer: CellScorer, name: TaskName, source: TaskSource, items: TaskItems
) -> TrainedTask:
    """Return a task that a network answers by the head in its folder.

    Raises ModelError if it has none, and DataError if the home has nothing to ask.
    """
    saved = load_head(scorer.path, name.value)
    task = build_task(name, source, items)
    if isinstance(task, ClassificationTask):
        # The classes of the training, whatever the catalogue has by now.
        task = ClassificationTask(saved.about["classes"], frozenset(saved.about["restating"]))
    return answered_by_head(task, saved.encoder(scorer), saved.head, saved.threshold)
