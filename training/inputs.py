"""The inputs of a run, from its home: snapshot, split, ontology, vocabulary, images, query log."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from encoders.regions import open_regions
from encoders.tokenizer import CatalogTokenizer
from fusion.checkpoint import ModelFolder
from fusion.config import ModelConfig
from fusion.pretrained import Pretrained, PretrainedReader, read_pieces
from kg.home import Home
from kg.image_cache import ImageCache
from kg.snapshot import GraphSnapshot, read_snapshot
from kg.splits import assign_splits
from schema.arrays import IntArray
from schema.errors import DataError, TrainingError, UsageError
from schema.ontology import Ontology
from training.config import Recipe, TrainOptions
from training.data import ItemRegions, TrainingData, prepare
from training.queries import LoggedQuery, QueryLog, read_log
from training.records import Preparing, ReportCallback, TrainingWarning

WITHOUT_IMAGES = "to train without images, set image_encoder=none"


@dataclass(frozen=True)
class TrainingInputs:
    """A run's inputs.

    - ``data``: the data of all items
    - ``splits``: the numbers [N] of the items of the ``train``, ``validation`` and ``test`` splits
    - ``ontology``, ``tokenizer``: learned from the train split, and stored in the model folder
    - ``log``: the query log of the train split's items; ``whole_log``: that of all items
    """

    data: TrainingData
    splits: dict[str, IntArray]
    ontology: Ontology
    tokenizer: CatalogTokenizer
    log: QueryLog | None = None
    whole_log: QueryLog | None = None


def open_pretrained(recipe: Recipe) -> list[Pretrained]:
    """Open the models of transformers that a recipe starts from.

    Raises ModelError if there is no such model, and UsageError if two settings do not fit together.
    """
    names = [name.strip() for name in recipe.pretrained.split(",")]
    reader = recipe.text_pretrained.strip()
    if reader and recipe.vocabulary:
        raise UsageError(
            f"vocabulary={recipe.vocabulary} does not fit text_pretrained={reader}, which has its "
            "own: leave out one of them"
        )
    # The reader comes first, by whose vocabulary texts are read.
    readers = [PretrainedReader.open(reader)] if reader else []
    return [*readers, *(Pretrained.open(name) for name in names if name)]


def read_inputs(
    home: Home,
    options: TrainOptions,
    recipe: Recipe,
    config: ModelConfig,
    start: ModelFolder | None,
    report: ReportCallback,
    pretrained: Sequence[Pretrained] = (),
) -> TrainingInputs:
    """Read a run's inputs from its home.

    Ontology and vocabulary are those of the model folder ``start``, if there is one. Otherwise the
    ontology is learned from the train split, and so is the vocabulary, unless the recipe or a
    ``pretrained`` model provides one.

    Raises:
        TrainingError: the train split has no item or no statement.
        DataError: the model reads images, and none of the catalogue's can be read.
    """
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(
            store,
            home.cache / "snapshot",
            ontology=home.ontology_or_none(),
            predicted_categories=False,
        )
    splits = split_items(snapshot, options)
    train = splits["train"]
    ontology = (
        start.ontology if start is not None else train_ontology(snapshot, train, home.ontology())
    )
    if not any(spec.values for spec in ontology.properties.values()):
        raise TrainingError(
            "the train split has no statement to learn from: ingest items with properties"
        )
    report(Preparing("vocabulary"))
    if start is not None:
        tokenizer = start.tokenizer
    else:
        pieces = None
        if recipe.vocabulary:
            pieces = read_pieces(recipe.vocabulary)
        elif with_text := [each for each in pretrained if each.has_text(config)]:
            pieces = with_text[0].read_pieces()
        tokenizer = learn_vocabulary(snapshot, train, ontology, config, pieces)
    data = read_data(home, snapshot, ontology, tokenizer, config, report, recipe.regions)
    train_ids = {snapshot.items[i] for i in train.tolist()}
    return TrainingInputs(
        data=data,
        splits=splits,
        ontology=ontology,
        tokenizer=tokenizer,
        log=read_query_log(home, snapshot, train_ids),
        whole_log=read_query_log(home, snapshot),
    )


def read_data(
    home: Home,
    snapshot: GraphSnapshot,
    ontology: Ontology,
    tokenizer: CatalogTokenizer,
    config: ModelConfig,
    report: ReportCallback,
    regions: str = "",
) -> TrainingData:
    """Convert a snapshot to training data, with images or with the ``regions`` found in them.

    Raises DataError if a model reads images of which none can be read, or regions that are not
    there.
    """
    images = read_images(home, snapshot, config, report)
    data = prepare(snapshot, ontology, tokenizer, images)
    if config.image_encoder != "regions":
        return data
    place = Path(regions) if regions else home.regions
    if not place.exists():
        raise DataError(
            f"no regions at {place}: put the files of a detector there, or name their folder "
            "with --set regions=FOLDER"
        )
    item_regions = ItemRegions(
        files=open_regions(place),
        max_regions=config.max_regions,
        width=config.region_width,
        classes=config.region_classes,
    )
    return dataclasses.replace(data, regions=item_regions)


def read_query_log(
    home: Home,
    snapshot: GraphSnapshot,
    among: Collection[str] | None = None,
) -> QueryLog | None:
    """Read the home's query log: that of all items, or only of the ids in ``among``."""
    with home.ledger() as ledger:
        rows = [
            LoggedQuery(row.query, row.item, row.clicks, row.purchases)
            for row in ledger.query_log()
            if among is None or row.item in among
        ]
    return read_log(snapshot.items, rows)


def train_ontology(snapshot: GraphSnapshot, train: IntArray, edited: Ontology) -> Ontology:
    """Restrict the home's ontology to the values that occur in the ``train`` items.

    A value that only held-out items have would otherwise leak into the vocabulary. Properties whose
    values are no classes, such as identifiers and prices, are left out, and so are those with
    ``learn = false``.
    """
    is_train = np.zeros(len(snapshot.items), dtype=bool)
    is_train[train] = True
    triples = snapshot.triples[is_train[snapshot.triples[:, 0]]]
    width = max(1, len(snapshot.values))
    pairs, counts = np.unique(triples[:, 1] * width + triples[:, 2], return_counts=True)
    seen: dict[str, dict[str, int]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        values = seen.setdefault(snapshot.properties[pair // width], {})
        values[snapshot.values[pair % width]] = count
    specs = []
    for name, spec in edited.properties.items():
        by_frequency = sorted(seen.get(name, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        if by_frequency and spec.is_learned:
            values_seen, counts_seen = zip(*by_frequency, strict=True)
            spellings = {
                value: others for value, others in spec.spellings.items() if value in seen[name]
            }
            restricted = dataclasses.replace(
                spec, values=values_seen, counts=counts_seen, spellings=spellings
            )
            if not restricted.is_learned:
                # Of fewer items its numbers look like too many for classes.
                restricted = dataclasses.replace(restricted, learn=True)
            specs.append(restricted)
    return Ontology(
        specs,
        categories=edited.categories,
        described=edited.described,
        threshold=edited.threshold,
    )


def split_items(snapshot: GraphSnapshot, options: TrainOptions) -> dict[str, IntArray]:
    """Return the numbers [N] of the items of each split.

    Raises TrainingError if the train split is empty.
    """
    assigned = assign_splits(snapshot.items, options.split)
    names = np.array([assigned.get(item, "") for item in snapshot.items])
    splits = {split: np.flatnonzero(names == split) for split in ("train", "validation", "test")}
    if not len(splits["train"]):
        raise TrainingError(
            f"none of this home's {len(snapshot.items)} items is in the train split: "
            "ingest more items, or choose another --split file"
        )
    return splits


def read_images(
    home: Home,
    snapshot: GraphSnapshot,
    config: ModelConfig,
    report: ReportCallback,
) -> ImageCache:
    """Read the images' pixels at the model's size; none if the model does not read pixels.

    Reports how many images cannot be read. Raises DataError if there are images and none can be.
    """
    report(Preparing("images"))
    files = home.image_files()
    images = snapshot.images if config.reads_pixels else [None] * len(snapshot.images)
    cache = ImageCache.build(
        images,
        config.image_size,
        home.cache,
        files,
        lambda done, total: report(Preparing("images", done, total)),
    )
    unreadable = files.unreadable(images)
    if unreadable.all:
        raise DataError(f"{unreadable}; {WITHOUT_IMAGES}")
    if unreadable:
        report(TrainingWarning(str(unreadable)))
    return cache


def learn_vocabulary(
    snapshot: GraphSnapshot,
    train: IntArray,
    ontology: Ontology,
    config: ModelConfig,
    pieces: Tokenizer | None,
) -> CatalogTokenizer:
    """Learn the word pieces and n-grams of the train titles, the properties and their values.

    If there are ``pieces`` already, these are used, and only the n-grams are learned.
    """
    # Words and document frequencies of held-out titles would leak into the model.
    titles = [snapshot.titles[i] or "" for i in train]
    values = [value for spec in ontology.properties.values() for value in spec.values]
    texts = [*titles, *ontology.properties, *values]
    if pieces is not None:
        return CatalogTokenizer.pretrained(pieces, texts, config.max_ngrams)
    return CatalogTokenizer.train(texts, config.vocab_size, config.max_ngrams)
