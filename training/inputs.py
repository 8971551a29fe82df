"""What a run reads from its home: snapshot, split, ontology of the train part, vocabulary, images, query log."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.regions import open_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.checkpoint import ModelFolder
from fusion.config import ModelConfig
from fusion.pretrained import Pretrained, read_pieces
from kg.home import Home
from kg.image_cache import ImageCache
from kg.snapshot import GraphSnapshot, read_snapshot
from kg.splits import assign
from schema.errors import TrainingError
from schema.ontology import Ontology
from training.config import Recipe, TrainOptions
from training.data import ItemRegions, TrainingData, prepare
from training.queries import QueryLog, read_log
from training.run_log import Report


@dataclass(frozen=True)
class TrainingInputs:
    """What a run reads from its home: the prepared data, the items [N] of each part, and what the model folder will keep.

    ``log`` is the query log of the train part's items, ``whole_log`` that of all.
    """

    data: TrainingData
    parts: dict[str, NDArray[np.int64]]
    ontology: Ontology
    tokenizer: CatalogTokenizer
    log: QueryLog | None = None
    whole_log: QueryLog | None = None


def open_pretrained(recipe: Recipe) -> list[Pretrained]:
    """The models of transformers that a recipe starts from."""
    return [Pretrained.open(name.strip()) for name in recipe.pretrained.split(",") if name.strip()]


def read_inputs(
    home: Home,
    options: TrainOptions,
    recipe: Recipe,
    config: ModelConfig,
    start: ModelFolder | None,
    report: Report,
    weights: Sequence[Pretrained] = (),
) -> TrainingInputs:
    """Snapshot, split, ontology of the train part, vocabulary (the recipe's, or that of the pretrained ``weights``) and images."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, home.cache / "snapshot")
    parts = parts_of(snapshot, options)
    ontology = (
        start.ontology
        if start is not None
        else train_ontology(snapshot, parts["train"], home.ontology())
    )
    if not any(spec.values for spec in ontology.properties.values()):
        raise TrainingError(
            "the train part has no statement to learn from: ingest items with properties"
        )
    report({"stage": "vocabulary"})
    given = recipe.vocabulary or next((each.name for each in weights if each.kind != "vit"), "")
    tokenizer = (
        start.tokenizer
        if start is not None
        else learn_pieces(snapshot, parts["train"], ontology, config, given)
    )
    data = read_data(home, snapshot, ontology, tokenizer, config, report, recipe.regions)
    trained = {snapshot.items[i] for i in parts["train"].tolist()}
    return TrainingInputs(
        data,
        parts,
        ontology,
        tokenizer,
        home_log(home, snapshot, trained),
        home_log(home, snapshot),
    )


def read_data(
    home: Home,
    snapshot: GraphSnapshot,
    ontology: Ontology,
    tokenizer: CatalogTokenizer,
    config: ModelConfig,
    report: Report,
    regions: str = "",
) -> TrainingData:
    """The snapshot as a model sees it, its images or ``regions`` with it."""
    data = prepare(snapshot, ontology, tokenizer, read_images(home, snapshot, config, report))
    if config.image_encoder != "regions":
        return data
    files = open_regions(Path(regions) if regions else home.regions)
    return dataclasses.replace(
        data,
        regions=ItemRegions(files, config.max_regions, config.region_width, config.region_classes),
    )


def home_log(
    home: Home, snapshot: GraphSnapshot, among: Collection[str] | None = None
) -> QueryLog | None:
    """The home's query log, of all items or those ``among`` some ids."""
    with home.ledger() as ledger:
        rows = [(row.query, row.item, row.clicks, row.purchases) for row in ledger.query_log()]
    return read_log(snapshot.items, [row for row in rows if among is None or row[1] in among])


def train_ontology(snapshot: GraphSnapshot, index: NDArray[np.int64], edited: Ontology) -> Ontology:
    """The home's ontology with the vocabulary that the train part alone shows."""
    inside = np.zeros(len(snapshot.items), dtype=bool)
    inside[index] = True
    width = max(1, len(snapshot.values))
    mine = inside[snapshot.triples[:, 0]]
    pairs, counts = np.unique(
        snapshot.triples[mine, 1] * width + snapshot.triples[mine, 2], return_counts=True
    )
    seen: dict[str, dict[str, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        seen.setdefault(snapshot.properties[pair // width], {})[snapshot.values[pair % width]] = (
            count
        )
    specs = []
    for name, spec in edited.properties.items():
        ordered = sorted(seen.get(name, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        values = tuple(value for value, _ in ordered)
        numbers = tuple(number for _, number in ordered)
        specs.append(dataclasses.replace(spec, values=values, counts=numbers))
    return Ontology(
        [spec for spec in specs if spec.values],
        categories=edited.categories,
        threshold=edited.threshold,
    )


def parts_of(snapshot: GraphSnapshot, options: TrainOptions) -> dict[str, NDArray[np.int64]]:
    """The items [N] of each part of the split; raises TrainingError where none is in the train part."""
    split = assign(snapshot.items, options.split)
    named = np.array([split.get(item, "") for item in snapshot.items])
    parts = {part: np.flatnonzero(named == part) for part in ("train", "validation", "test")}
    if not len(parts["train"]):
        raise TrainingError(
            f"no item of this home's {len(snapshot.items)} is in the train part: ingest more items or give another --split"
        )
    return parts


def read_images(
    home: Home, snapshot: GraphSnapshot, config: ModelConfig, report: Report
) -> ImageCache:
    """The images' pixels at the model's size; of none where it reads none."""
    report({"stage": "images"})
    paths = (
        [None] * len(snapshot.images)
        if config.image_encoder in ("regions", "none")
        else snapshot.images
    )
    return ImageCache.build(
        paths,
        config.image_size,
        home.cache,
        lambda done, of: report({"stage": "images", "done": done, "of": of}),
    )


def learn_pieces(
    snapshot: GraphSnapshot,
    index: NDArray[np.int64],
    ontology: Ontology,
    config: ModelConfig,
    given: str,
) -> CatalogTokenizer:
    """A vocabulary of the train titles, the properties and their values; or the word pieces of ``given``."""
    titles = [snapshot.titles[i] or "" for i in index]
    texts = [
        *titles,
        *ontology.properties,
        *(value for spec in ontology.properties.values() for value in spec.values),
    ]
    if given:
        return CatalogTokenizer.pretrained(read_pieces(given), texts, config.max_ngrams)
    return CatalogTokenizer.train(texts, config.vocab_size, config.max_ngrams)
