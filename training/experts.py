"""Fit the experts of a home's catalogue and store them in a model folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.chosen_items import choose_items, learnable
from experts.compared_items import KEPT_OF_VALUE, MAX_ITEMS
from experts.fitting import FittedExperts, fit_experts
from experts.image_kernel import DESCRIPTOR_SIZE, MAX_IMAGES, describe
from experts.labelled_items import LabelledItems
from experts.pretrained import (
    ENCODED_TOGETHER,
    IMAGE_FOLDER,
    NO_ENCODERS,
    TEXT_FOLDER,
    Encoders,
    RememberedImages,
)
from kg.home import Home
from kg.home_models import new_folder
from kg.image_cache import ImageCache
from kg.image_files import ImageFiles
from kg.snapshot import GraphSnapshot, read_snapshot
from schema.arrays import IntArray
from schema.errors import DataError, TrainingError, UsageError
from schema.memory import keep_freed_memory
from schema.ontology import Ontology
from training.config import EXPERTS_PRESET, TrainOptions
from training.decisions import NO_DECISIONS, read_decisions
from training.inputs import (
    WITHOUT_IMAGES,
    share_not_learned,
    split_items,
    train_ontology,
    with_frequent_values,
)
from training.records import Preparing, ReportCallback, TrainingWarning, ignore_records

ENCODERS = {"text_encoder": TEXT_FOLDER, "image_encoder": IMAGE_FOLDER}
"""Options that name pretrained encoders, and where a model folder keeps these."""


@dataclass(frozen=True)
class ExpertsRun:
    """A finished fit: what was fitted, for which folder, and how long it took in seconds.

    ``unseen`` are the ids of the items that a network of the same split does not learn from.
    """

    fitted: FittedExperts
    folder: Path
    about: dict[str, Any]
    seconds: float
    unseen: frozenset[str]

    def result(self) -> dict[str, Any]:
        """Return what ``catalograph train`` prints; the metrics are those of left-out items."""
        items = len(self.fitted.items)
        return {
            "model": str(self.folder),
            "steps": 0,
            "seconds": round(self.seconds, 2),
            "items_per_second": round(items / max(self.seconds, 1e-9), 2),
            "metrics": self.about["validation"],
        }

    def ledger_entry(self) -> dict[str, Any]:
        """Return what the home's ledger says of the run."""
        about = {"preset": EXPERTS_PRESET, "size": "", "seed": self.about["seed"]}
        return {**self.result(), **about}

    def record(self, home: Home) -> None:
        """Record the run in the home's ledger."""
        with home.ledger() as ledger:
            ledger.record_training(self.ledger_entry())


def train_experts(
    home: Home,
    options: TrainOptions,
    report: ReportCallback = ignore_records,
    *,
    folder: Path | None = None,
    without: frozenset[str] = frozenset(),
    needs_images: bool = False,
) -> ExpertsRun:
    """Fit the experts on the items of the splits that they learn from, ``without`` some ids.

    They need no validation items of their own: every item is scored as if it had been left out.
    The model's ``folder`` is chosen by the options if it is not given. What a network
    ``needs_images`` for is not begun if none can be read.

    Raises UsageError if the options do not fit, TrainingError if there is nothing to learn from,
    DataError if there are images that are needed and none can be read.
    """
    began = time.monotonic()
    # Kernels are made and dropped all the time, and the kernel would clear fresh pages each time.
    keep_freed_memory()
    folder = experts_folder(home, options) if folder is None else folder
    encoders = Encoders.open(options.text_encoder, options.image_encoder)
    snapshot = read_learnable(home)
    splits = split_items(snapshot, options)
    learned = learned_places(snapshot, splits, options, without)
    whole = train_ontology(snapshot, learned, home.ontology())
    ontology = with_frequent_values(whole, report)
    if not any(spec.values for spec in ontology.properties.values()):
        raise TrainingError(
            "the experts have no statement to learn from: ingest items with properties"
        )
    chosen = _chosen(snapshot, learned, ontology, options.seed)
    items = read_labelled_items(home, snapshot, chosen, report, needs_images, encoders)
    learned_by_network = {snapshot.items[number] for number in splits["train"].tolist()}
    # Of many items it is large.
    del snapshot
    fitted = fit_experts(
        folder.name,
        ontology,
        items,
        not_learned=share_not_learned(whole, ontology),
        seed=options.seed,
        progress=lambda done, total: report(Preparing("experts", done, total)),
    )
    if len(fitted.items) < len(learned):
        report(
            TrainingWarning(
                f"the experts learn from {len(fitted.items):,} of {len(learned):,} items: rare "
                "values first, then at random, and not from items without any value. More would "
                "not fit into memory"
            )
        )
    about = {
        "preset": EXPERTS_PRESET,
        "seed": options.seed,
        "split": None if options.split is None else str(options.split),
        "learned": list(options.learned_splits),
        "terms": [],
        "step": 0,
        "items": len(fitted.items),
        "validation": left_out_hits(fitted),
        **about_encoders(options),
    }
    unseen = frozenset(fitted.items.ids) - learned_by_network
    return ExpertsRun(fitted, folder, about, time.monotonic() - began, unseen)


def options_of(about: Mapping[str, Any], folder: Path) -> TrainOptions:
    """Return the options by which experts were fitted, from what their ``folder`` says.

    Encoders are those in the folder, whatever it says.
    """
    split = about.get("split")
    text_encoder, image_encoder = (
        folder / place if name in about else None for name, place in ENCODERS.items()
    )
    return TrainOptions(
        preset=EXPERTS_PRESET,
        seed=about.get("seed", 0),
        split=Path(split) if split else None,
        refit="test" in about.get("learned", ()),
        text_encoder=text_encoder,
        image_encoder=image_encoder,
    )


def about_encoders(options: TrainOptions) -> dict[str, str]:
    """Return where a folder keeps the encoders that were given, by the names of their options."""
    return {name: place for name, place in ENCODERS.items() if getattr(options, name) is not None}


def experts_folder(home: Home, options: TrainOptions) -> Path:
    """Return the folder of new experts; raises UsageError if the options do not fit experts."""
    for name in ("config", "overrides", "init", "resume", "steps"):
        if getattr(options, name):
            option = "set" if name == "overrides" else name
            raise UsageError(
                f"--{option} does not fit --preset {EXPERTS_PRESET}, which is fitted in one go: "
                "leave it out"
            )
    return new_folder(home.models, options.name, EXPERTS_PRESET)


def read_learnable(home: Home) -> GraphSnapshot:
    """Read what experts and classifiers learn from: all details, and no predicted category."""
    with home.store(read_only=True) as store:
        return read_snapshot(
            store,
            ontology=home.ontology_or_none(),
            details=True,
            predicted_categories=False,
        )


def learned_places(
    snapshot: GraphSnapshot,
    splits: Mapping[str, IntArray],
    options: TrainOptions,
    without: frozenset[str],
) -> IntArray:
    """Return the places of the items that are learned from, in order, ``without`` some ids."""
    among = np.sort(np.concatenate([splits[name] for name in options.learned_splits]))
    return np.array([n for n in among.tolist() if snapshot.items[n] not in without], np.int64)


def read_labelled_items(
    home: Home,
    snapshot: GraphSnapshot,
    index: IntArray,
    report: ReportCallback = ignore_records,
    needs_images: bool = False,
    encoders: Encoders = NO_ENCODERS,
) -> LabelledItems:
    """Read the items of a snapshot at ``index`` [N], with descriptors of their images.

    ``encoders`` are to compare them beside these.
    """
    files = home.image_files()
    images: list[str] = []
    places_of: dict[int, range] = {}
    beyond = 0
    # Where few items of many are learned from, other images are not read.
    is_small = len(snapshot.items) <= MAX_ITEMS
    for place in range(len(snapshot.items)) if is_small else index.tolist():
        own = snapshot.images_of(place)
        beyond += len(own) > MAX_IMAGES
        places_of[place] = range(len(images), len(images) + len(own[:MAX_IMAGES]))
        images += own[:MAX_IMAGES]
    if beyond:
        told = f"{beyond:,} items have more than {MAX_IMAGES} images: the first ones are read"
        report(TrainingWarning(told))
    cache = ImageCache.build(
        images,
        DESCRIPTOR_SIZE,
        home.cache,
        files,
        lambda done, total: report(Preparing("images", done, total)),
    )
    unreadable = files.unreadable(images)
    if unreadable.all and needs_images:
        raise DataError(f"{unreadable}; {WITHOUT_IMAGES}")
    if unreadable:
        report(TrainingWarning(str(unreadable)))
    places = index.tolist()
    details = snapshot.details
    decided = read_decisions(home)
    there = [[image for image in places_of[place] if cache.present[image]] for place in places]
    pixels = [[np.asarray(cache.array[image]) for image in of_item] for of_item in there]
    vectors = None
    if encoders.images is not None:
        named = [images[image] for of_item in there for image in of_item]
        small = [each for of_item in pixels for each in of_item]
        vectors = _encode_images(encoders.images, named, small, files, report)
    return LabelledItems(
        ids=[snapshot.items[place] for place in places],
        titles=[snapshot.titles[place] or None for place in places],
        images=describe(pixels, vectors),
        known=[tuple(snapshot.statements_of(place)) for place in places],
        descriptions=[details.description(place) if details else None for place in places],
        categories=[snapshot.category_path(place) for place in places],
        decisions=[decided.get(snapshot.items[place], NO_DECISIONS) for place in places],
        encoders=encoders,
    )


def _encode_images(
    encoder: RememberedImages,
    images: Sequence[str],
    small: Sequence[NDArray[np.uint8]],
    files: ImageFiles,
    report: ReportCallback,
) -> NDArray[np.float32]:
    """Return the vectors [I, D] of images, read as large as the encoder wants them.

    One that cannot be read any more is taken from its ``small`` pixels.
    """
    parts = [encoder.encode([])]
    for start in range(0, len(images), ENCODED_TOGETHER):
        report(Preparing("image vectors", start, len(images)))
        part = slice(start, start + ENCODED_TOGETHER)
        read = [files.pixels(image, encoder.image_size) for image in images[part]]
        parts.append(
            encoder.encode(
                [
                    own if own is not None else less
                    for own, less in zip(read, small[part], strict=True)
                ]
            )
        )
    return np.concatenate(parts)


def _chosen(snapshot: GraphSnapshot, among: IntArray, ontology: Ontology, seed: int) -> IntArray:
    """Return the items of a snapshot that experts learn from ``among`` [N]: all, unless too many.

    They are chosen before their images are read, which takes longer than all else.
    """
    if len(among) <= MAX_ITEMS:
        return among
    known = learnable([snapshot.statements_of(place) for place in among.tolist()], ontology)
    return among[choose_items(known, MAX_ITEMS, np.random.default_rng(seed), KEPT_OF_VALUE)]


def left_out_hits(fitted: FittedExperts) -> dict[str, float]:
    """Return Hits@1 of items left out, by situation and on average over situations.

    In each situation it is averaged over properties.
    """
    by_situation: dict[str, list[float]] = {}
    for (situation, _), cells in fitted.held_out.items():
        answerable = cells.true.any(1)
        if not answerable.any():
            continue
        best = cells.logits[:, : cells.true.shape[1]].argmax(1)
        right = cells.true[np.arange(len(best)), best]
        by_situation.setdefault(situation.name, []).append(float(right[answerable].mean()))
    means = {name: round(float(np.mean(hits)), 6) for name, hits in by_situation.items()}
    mean = float(np.mean(list(means.values()))) if means else 0.0
    return {"hits@1": round(mean, 6), **means}
