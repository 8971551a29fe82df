"""Run a paper's plan on the catalogue of a home: train, fine-tune, measure, and keep what is done.

Everything is kept in one folder as it is done, so that a run that ends early goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from encoders.pretrained_image import PretrainedImages
from encoders.pretrained_text import PretrainedText
from evaluation.modality_faults import ModalityFault
from evaluation.papers.plans import PaperPlan, RowKind, Variant
from evaluation.tasks.alignment import AlignmentTask, ItemPair, same_products, told_unknown
from evaluation.tasks.base import PARTS, Task, TaskItems
from evaluation.tasks.by_completion import complete_for_task
from evaluation.tasks.classification import ClassificationTask
from evaluation.tasks.curves import Curve, curves_of
from evaluation.tasks.frozen_encoders import (
    DescriptorVectors,
    FrozenEncoder,
    StatementVectors,
    TfidfVectors,
    WithStatements,
)
from evaluation.tasks.heads import (
    TaskName,
    TaskSource,
    build_task,
    learning_rate_of,
    reading_of,
)
from evaluation.tasks.measures import Measured
from evaluation.tasks.running import TrainedTask, measure, measure_faults, train_for_task
from evaluation.tasks.same_products import LARGEST, retrieve_same_products
from evaluation.twins import Twins, read_twins
from fusion.checkpoint import ModelFolder, default_device
from fusion.inference.item_encoder import ItemEncoder, NetworkEncoder
from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.image_cache import read_pixels
from schema.errors import UsageError
from schema.files import write_atomically
from schema.manifests import MANIFEST
from schema.modalities import Modality
from training.config import TrainOptions
from training.finetuning import FinetuningOptions, Tuned
from training.records import ReportCallback, ignore_records
from training.run import train

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
PRETRAINING_SHARE = 0.5
"""Of the minutes, the share that the networks are trained in; tasks take the rest."""
LEAST_SECONDS = 2
EPOCHS = 8
SAME_PRODUCTS = "same-products"
ONLY = {"title alone": Modality.IMAGE, "image alone": Modality.TITLE}
"""What is missing in a task of which only one content modality is left."""


@dataclass(frozen=True)
class PaperOptions:
    """How a paper's experiments are run.

    ``minutes`` are for everything; ``seeds`` is the number of trainings of what the paper trains
    several times. ``text_encoder`` and ``image_encoder`` are folders of pretrained encoders of
    transformers, which make one more row, and so does ``wrapped``, a whole CLIP, ViLT, VisualBERT
    or LXMERT, which is trained further.
    """

    minutes: float = 30
    size: str = "tiny"
    seeds: int = 1
    pairs: tuple[ItemPair, ...] = ()
    split: Path | None = None
    text_encoder: Path | None = None
    image_encoder: Path | None = None
    wrapped: str | None = None


@dataclass(frozen=True)
class RowResult:
    """What was measured of a variant in a task, by seed, and what it took.

    ``untwinned`` are the same metrics of the first seed over items without a twin among the train
    items, None if these have no question.
    """

    variant: str
    task: str
    measured: tuple[Measured, ...]
    seconds: float
    untwinned: Measured | None = None

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the seeds."""
        return float(np.mean([each.values[metric] for each in self.measured]))


@dataclass(frozen=True)
class PaperResult:
    """All results of a plan, by (variant, task), its curves, and what was left out and why."""

    plan: PaperPlan
    options: PaperOptions
    rows: Mapping[tuple[str, str], RowResult]
    curves: tuple[Curve, ...]
    items: Mapping[str, int]
    questions: Mapping[str, int]
    skipped: tuple[str, ...]
    minutes: float
    twins: Twins
    training: Mapping[str, float] = field(default_factory=dict)
    """Seconds of training by variant, of all seeds together."""


Told = Callable[[str], None]
"""Is told in one line what is done next."""


class PaperExperiment:
    """A plan on a home's catalogue.

    Args:
        home: the home; nothing in it is changed but the folder of results
        plan: what is compared
        folder: where models and results are kept
        options: how
        told: is told what is done next
        report: is told of the training's steps
    """

    def __init__(
        self,
        home: Home,
        plan: PaperPlan,
        folder: Path,
        options: PaperOptions,
        told: Told = print,
        report: ReportCallback = ignore_records,
    ) -> None:
        if options.text_encoder is not None or options.image_encoder is not None:
            plan = plan.with_row(Variant("pretrained encoders", kind=RowKind.PRETRAINED))
        if options.wrapped is not None:
            settings = (f"pretrained={options.wrapped}",)
            plan = plan.with_row(Variant("wrapped", "wrapped", settings))
        self.plan = plan
        self.folder = folder
        self.options = options
        self.told = told
        self.report = report
        # The networks are not models of the home, of which `complete` would take the newest.
        self.home = Home(home.path, home.store_url)
        self.home.models = folder / "models"
        self.home.models.mkdir(parents=True, exist_ok=True)
        self.split = options.split or folder / "split.csv"
        self.skipped: list[str] = []

    def run(self) -> PaperResult:
        """Train, measure and compare everything; what an earlier run has done is taken from it."""
        began = time.monotonic()
        items = self.items
        self._keep_options()
        tasks = self.tasks()
        rows: dict[tuple[str, str], RowResult] = {}
        curves: list[Curve] = []
        training: dict[str, float] = {}
        for variant in self.plan.variants:
            networks, seconds = self._networks(variant)
            training[variant.name] = seconds
            for name in self._tasks_of(variant):
                if name in tasks or name == SAME_PRODUCTS:
                    row, own = self._result(variant, networks, name, tasks.get(name))
                    rows[variant.name, name] = row
                    curves += own
        return PaperResult(
            self.plan,
            self.options,
            rows,
            tuple(curves),
            {part: len(items.parts[part]) for part in PARTS},
            {name: task.questions(items, "test").asked for name, task in tasks.items()},
            tuple(dict.fromkeys(self.skipped)),
            (time.monotonic() - began) / 60,
            self.twins,
            training,
        )

    def _keep_options(self) -> None:
        """Write down what the folder's results depend on.

        Raises UsageError if it holds results of something else, which would be mixed with these.
        """
        options = self.options
        every = [item for part in PARTS for item in self.items.parts[part]]
        present = {
            "minutes": options.minutes,
            "size": options.size,
            "seeds": options.seeds,
            "pairs": _digest([(each.left, each.right, each.same) for each in options.pairs]),
            "split": _digest([[item.id for item in self.items.parts[part]] for part in PARTS]),
            "items": _digest([(item.title, item.category, item.known) for item in every]),
            "text_encoder": str(options.text_encoder or ""),
            "image_encoder": str(options.image_encoder or ""),
            "wrapped": options.wrapped or "",
        }
        path = self.folder / "options.json"
        if path.is_file():
            kept = json.loads(path.read_text())
            changed = [name for name in present if kept.get(name) != present[name]]
            if changed:
                raise UsageError(
                    f"{self.folder} has results of other {', '.join(changed)}: give another --out, "
                    "or delete this folder"
                )
        write_atomically(path, json.dumps(present))

    @cached_property
    def items(self) -> TaskItems:
        """The items of the catalogue by the parts of the split, which is made if there is none."""
        if not self.split.is_file():
            ids = self.home.snapshot().items
            parts = split_by_product(ids, self.options.pairs)
            lines = [f"{id},{parts[id]}\n" for id in ids]
            write_atomically(self.split, "item,split\n" + "".join(lines))
        return self._source.items()

    @property
    def _source(self) -> TaskSource:
        return TaskSource(self.home, self.split, self.options.pairs)

    @cached_property
    def twins(self) -> Twins:
        """The test items of which the train items have one with nearly the same title or image."""
        return read_twins(
            self.home,
            [item.id for item in self.items.parts["test"]],
            [item.id for item in self.items.parts["train"]],
        )

    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the catalogue has questions for; the others are noted."""
        wanted = {table.task for table in self.plan.tables}
        unknown = told_unknown(self.options.pairs, self.items)
        if unknown is not None:
            self.skipped.append(unknown)
        tasks = {}
        for name in sorted(wanted - {SAME_PRODUCTS}):
            task = build_task(TaskName(name.partition(",")[0]), self._source, self.items)
            empty = [part for part in PARTS if not len(task.questions(self.items, part))]
            if empty:
                reason = f"{name}: no question about {', '.join(empty)} items"
                if isinstance(task, AlignmentTask):
                    reason += " (give labelled pairs with --pairs)"
                self.skipped.append(reason)
            else:
                tasks[name] = task
        if SAME_PRODUCTS in wanted and not any(each.same for each in self.options.pairs):
            self.skipped.append(f"{SAME_PRODUCTS}: no pairs of the same product (give --pairs)")
        return tasks

    def _tasks_of(self, variant: Variant) -> list[str]:
        """Return the tasks of which a table has a row of this variant."""
        names = [table.task for table in self.plan.tables if variant.name in table.rows]
        if not any(each.same for each in self.options.pairs):
            names = [name for name in names if name != SAME_PRODUCTS]
        return list(dict.fromkeys(names))

    def _networks(self, variant: Variant) -> tuple[list[Path], float]:
        """Return the folders of a variant's networks, one for each seed, and their seconds."""
        if not variant.preset:
            return [], 0.0
        seeds = self.options.seeds if variant.several_seeds else 1
        folders = []
        seconds = 0.0
        for seed in range(seeds):
            folder = self.home.models / f"{_weights_name(variant)}-{seed}"
            about = folder / "training.json"
            if not (folder / MANIFEST).is_file() or not about.is_file():
                self.told(f"training {variant.name}, seed {seed}")
                result = self._train(variant, folder.name, seed)
                write_atomically(about, json.dumps(result))
            seconds += float(json.loads(about.read_text())["seconds"])
            folders.append(folder)
        return folders, seconds

    def _train(self, variant: Variant, name: str, seed: int) -> dict[str, Any]:
        budget = max(LEAST_SECONDS / 60, self.minutes_each())
        result = train(
            self.home,
            TrainOptions(
                preset=variant.preset,
                size=self.options.size,
                overrides=variant.settings,
                minutes=budget if variant.pretrained else None,
                steps=None if variant.pretrained else 1,
                name=name,
                seed=seed,
                resume=(self.home.models / name / "checkpoints").is_dir(),
                split=self.split,
            ),
            self.report,
        )
        return {key: result[key] for key in ("steps", "seconds", "items_per_second")}

    def minutes_each(self) -> float:
        """Return the minutes that each training has."""
        trainings: dict[object, int] = {}
        for variant in self.plan.variants:
            if variant.preset and variant.pretrained:
                seeds = self.options.seeds if variant.several_seeds else 1
                trainings[variant.training] = max(seeds, trainings.get(variant.training, 0))
        return self.options.minutes * PRETRAINING_SHARE / max(1, sum(trainings.values()))

    def _result(
        self, variant: Variant, networks: Sequence[Path], name: str, task: Task | None
    ) -> tuple[RowResult, list[Curve]]:
        """Return a variant's row and curves in a task, those of an earlier run if it kept them.

        Without a ``task`` it is same-product retrieval.
        """
        kept = self.folder / "results" / f"{_slug(variant)}-{_file_name(name)}.json"
        if kept.is_file():
            return _read(kept)
        self.told(f"{variant.name}: {name}")
        began = time.monotonic()
        measured = []
        curves: list[Curve] = []
        untwinned = None
        items = self._items_of(name)
        with_curves = any(
            each.task == name and variant.name in each.rows for each in self.plan.curves
        )
        # A baseline without a network is measured once.
        for seed, network in enumerate(networks or (None,)):
            if task is None:
                measured.append(self._retrieve(variant, network))
                continue
            trained = self._train_for(variant, network, task, items, seed)
            measured.append(measure(trained, items))
            if seed == 0:
                untwinned = self._untwinned(trained, items)
            if with_curves and seed == 0:
                points = measure_faults(trained, items)
                curves = [replace(each, task=name) for each in curves_of(points, task.metric)]
        seconds = time.monotonic() - began
        row = RowResult(variant.name, name, tuple(measured), seconds, untwinned)
        _write(kept, row, curves)
        return row, curves

    def _untwinned(self, trained: TrainedTask, items: TaskItems) -> Measured | None:
        """Measure a task over the test items without a twin; None if these have no question."""
        test = items.parts["test"]
        kept = self.twins.without([item.id for item in test])
        own = [item for item, keep in zip(test, kept, strict=True) if keep]
        bare = items.replaced("test", own)
        if not len(trained.task.questions(bare, "test")):
            return None
        return measure(trained, bare)

    def _items_of(self, task: str) -> TaskItems:
        """Return the items of a task, of which one modality may be missing throughout."""
        missing = ONLY.get(task.partition(", ")[2])
        items = self.items
        if missing is None:
            return items
        for part in PARTS:
            items = items.replaced(part, [each.without(missing) for each in items.parts[part]])
        return items

    def _train_for(
        self, variant: Variant, network: Path | None, task: Task, items: TaskItems, seed: int
    ) -> TrainedTask:
        if variant.kind is RowKind.COMPLETION and network is not None:
            return complete_for_task(task, self._scorer(network))
        encoder = self._encoder(variant, network, task)
        options = FinetuningOptions(seed=seed)
        # Texts are compared by frozen vectors: in the time that is there, tuning an encoder on
        # pairs of an item and a text gained nothing (.67 against .73 in attribute prediction).
        if network is not None and not task.asks_texts:
            options = self._tuned(network, seed)
        return replace(train_for_task(task, encoder, items, options), model=variant.name)

    def _tuned(self, network: Path, seed: int) -> FinetuningOptions:
        """Return how a whole network is tuned."""
        rate = learning_rate_of(self._scorer(network))
        return FinetuningOptions(tuned=Tuned.ALL, epochs=EPOCHS, encoder_rate=rate, seed=seed)

    def _encoder(self, variant: Variant, network: Path | None, task: Task | None) -> ItemEncoder:
        if network is None:
            return self._frozen(variant)
        scorer = self._scorer(network)
        encoder: ItemEncoder = NetworkEncoder(scorer, reading=reading_of(task))
        if variant.with_statements:
            encoder = WithStatements(encoder, self._statements)
        return encoder

    def _frozen(self, variant: Variant) -> ItemEncoder:
        if variant.kind is RowKind.TFIDF:
            return FrozenEncoder(variant.name, self._tfidf)
        if variant.kind is RowKind.PRETRAINED:
            return FrozenEncoder(variant.name, *self._pretrained)
        return FrozenEncoder(variant.name, self._tfidf, self._descriptors, self._statements)

    @cached_property
    def _tfidf(self) -> TfidfVectors:
        return TfidfVectors([item.title or "" for item in self.items.parts["train"]])

    @cached_property
    def _pretrained(self) -> tuple[PretrainedText | None, PretrainedImages | None]:
        text, image = self.options.text_encoder, self.options.image_encoder
        return (
            None if text is None else PretrainedText(text),
            None if image is None else PretrainedImages(image),
        )

    @cached_property
    def _descriptors(self) -> DescriptorVectors:
        return DescriptorVectors(self.items.parts["train"])

    @cached_property
    def _statements(self) -> StatementVectors:
        return StatementVectors(self.items.parts["train"])

    def _scorer(self, folder: Path) -> CellScorer:
        return CellScorer(ModelFolder(folder), str(default_device()), read_pixels)

    def _retrieve(self, variant: Variant, network: Path | None) -> Measured:
        """Measure same-product retrieval: queries of the test part, all items as the index."""
        every = [item for part in PARTS for item in self.items.parts[part]]
        encoder = self._encoder(variant, network, None)
        if variant.supervised and network is not None:
            task = ClassificationTask.of(self.items.parts["train"])
            train_for_task(task, encoder, self.items, self._tuned(network, 0))
        found = retrieve_same_products(
            encoder, every, self.items.parts["test"], same_products(self.options.pairs)
        )
        best = found.measured.get(LARGEST) or found.measured["item"]
        whole = Measured(best.values, best.resampled, found.queries)
        for name, each in found.measured.items():
            whole = whole.joined(each.renamed(name))
        return whole


def split_by_product(ids: Sequence[str], pairs: Sequence[ItemPair]) -> dict[str, str]:
    """Return the part of each item, by a hash: 70% train, 10% validation, 20% test.

    Items that are the same product share a part. Raises UsageError if there are too few items.
    """
    same = same_products(pairs)
    parts = {}
    for id in ids:
        first = min({id, *same.get(id, ())})
        draw = int(hashlib.sha1(first.encode(), usedforsecurity=False).hexdigest(), 16) % 1000
        edge = 0.0
        for part, share in SHARES.items():
            edge += 1000 * share
            if draw < edge:
                parts[id] = part
                break
    if set(parts.values()) != set(SHARES):
        raise UsageError(
            f"{len(ids)} items are too few for a split into train, validation and test: "
            "ingest more, or give one with --split"
        )
    return parts


def _digest(data: object) -> str:
    return hashlib.sha256(repr(data).encode()).hexdigest()


def _weights_name(variant: Variant) -> str:
    """Return a folder name, the same for variants that have the same weights."""
    _, settings, pretrained = variant.training
    if not settings and pretrained:
        return variant.preset
    return f"{variant.preset}-{zlib.crc32(repr((settings, pretrained)).encode()):08x}"


def _slug(variant: Variant) -> str:
    """Return a file name."""
    words = "".join(each if each.isalnum() else "-" for each in variant.name.lower())
    return "-".join(filter(None, words.split("-")))


def _file_name(task: str) -> str:
    return task.replace(", ", "-").replace(" ", "-")


def _write(path: Path, row: RowResult, curves: Sequence[Curve]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "variant": row.variant,
        "task": row.task,
        "seconds": row.seconds,
        "measured": [_plain(each) for each in row.measured],
        "untwinned": None if row.untwinned is None else _plain(row.untwinned),
        "curves": [vars(each) for each in curves],
    }
    write_atomically(path, json.dumps(document))


def _plain(measured: Measured) -> dict[str, Any]:
    return {
        "values": dict(measured.values),
        "resampled": {name: list(map(float, one)) for name, one in measured.resampled.items()},
        "questions": measured.questions,
    }


def _measured_of(document: dict[str, Any]) -> Measured:
    resampled = {name: np.array(one) for name, one in document["resampled"].items()}
    return Measured(document["values"], resampled, document["questions"])


def _read(path: Path) -> tuple[RowResult, list[Curve]]:
    document = json.loads(path.read_text())
    measured = tuple(map(_measured_of, document["measured"]))
    untwinned = document["untwinned"]
    curves = [_curve_of(each) for each in document["curves"]]
    row = RowResult(
        document["variant"],
        document["task"],
        measured,
        document["seconds"],
        None if untwinned is None else _measured_of(untwinned),
    )
    return row, curves


def _curve_of(document: dict[str, Any]) -> Curve:
    numbers = {name: tuple(document[name]) for name in ("ratios", "values", "low", "high")}
    fault = ModalityFault(document["fault"])
    return Curve(document["model"], document["task"], fault, **numbers)
