"""The inputs of a run, from its home: snapshot, split, ontology, vocabulary, images, query log."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
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
from kg.mapped_arrays import MappedFolder, numbers_of
from kg.mapped_graph import MappedGraph, map_graph
from kg.snapshot import GraphSnapshot
from kg.splits import SPLITS, assign_splits
from schema.arrays import IntArray, are_in
from schema.errors import DataError, TrainingError, UsageError
from schema.ontology import Ontology, PropertySpec
from training.config import Recipe, TrainOptions
from training.data import ItemRegions, TrainingData, empty_train_split, prepare
from training.mapped_data import map_data, map_splits, values_seen
from training.queries import LoggedQuery, QueryLog, read_log
from training.records import Preparing, ReportCallback, TrainingWarning

WITHOUT_IMAGES = "to train without images, set image_encoder=none"
MAX_VALUES = 4_096
"""Values of a property that are learned at most, the most frequent ones. Every expert has a matrix
of values by landmarks, and every labelled cell a score of each value: a model number with 26,000
values of 30,000 items took 9 GB in the experts, one with 87,000 of 100,000 17 GB in a network.
"""
MAX_VOCABULARY_TITLES = 250_000
"""From so many titles at most a vocabulary is learned."""


@dataclass(frozen=True)
class TrainingInputs:
    """A run's inputs.

    - ``data``: the data of all items
    - ``splits``: the numbers [N] of the items of the ``train``, ``validation`` and ``test`` splits
    - ``ontology``, ``tokenizer``: learned from the train split, and stored in the model folder
    - ``log``: the query log of the train split's items; ``whole_log``: that of all items
    - ``folders``: the arrays of the data, which are not removed as long as these are open
    """

    data: TrainingData
    splits: dict[str, IntArray]
    ontology: Ontology
    tokenizer: CatalogTokenizer
    log: QueryLog | None = None
    whole_log: QueryLog | None = None
    folders: tuple[MappedFolder, ...] = ()

    @property
    def mapped_bytes(self) -> int:
        """How many bytes the arrays have that an epoch reads, images included."""
        arrays = [each for folder in self.folders[1:] for each in folder.arrays.values()]
        return sum(each.nbytes for each in [*arrays, self.data.images.array])


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
    report(Preparing("graph"))
    with home.store(read_only=True) as store:
        graph = map_graph(home, store, _learned_properties(home, start))
    splits = map_splits(graph, options.split)
    train = splits.items["train"]
    ontology = (
        start.ontology
        if start is not None
        else with_frequent_values(
            restricted_ontology(values_seen(graph, train), home.ontology()), report
        )
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
        titles = some_titles(graph, train, report)
        tokenizer = learn_vocabulary(titles, ontology, config, pieces)
    images = _read_mapped_images(home, graph, config, report)
    report(Preparing("titles"))
    mapped = map_data(graph, ontology, tokenizer, images)
    rows = logged_queries(home)
    numbers = numbers_of(graph.items, {row.item for row in rows})
    known = np.array(sorted(numbers.values()), np.int64)
    in_train = set(known[are_in(known, train)].tolist())
    train_rows = [row for row in rows if numbers.get(row.item) in in_train]
    return TrainingInputs(
        data=with_regions(mapped.data, home, config, recipe.regions),
        splits=splits.items,
        ontology=ontology,
        tokenizer=tokenizer,
        log=read_log(graph.items, train_rows),
        whole_log=read_log(graph.items, rows),
        folders=(graph.folder, splits.folder, mapped.folder),
    )


def _learned_properties(home: Home, start: ModelFolder | None) -> set[str]:
    """Return the properties whose statements a run may learn from."""
    if start is None:
        return set(home.ontology().learned())
    own = home.ontology_or_none()
    return {*start.ontology.properties, *(own.learned() if own is not None else ())}


def some_titles(graph: MappedGraph, train: IntArray, report: ReportCallback) -> list[str]:
    """Return the titles of the items ``train`` [N] that a vocabulary is learned from.

    Of more than ``MAX_VOCABULARY_TITLES`` they are so many, at even distances: counting the n-grams
    of all would take more memory than the rest of the training.
    """
    if len(train) > MAX_VOCABULARY_TITLES:
        report(
            TrainingWarning(
                f"the vocabulary is learned from {MAX_VOCABULARY_TITLES:,} of the "
                f"{len(train):,} titles of the train split"
            )
        )
        places = np.linspace(0, len(train) - 1, MAX_VOCABULARY_TITLES).astype(np.int64)
        train = train[places]
    return [graph.titles[item] for item in train.tolist()]


def _read_mapped_images(
    home: Home, graph: MappedGraph, config: ModelConfig, report: ReportCallback
) -> ImageCache:
    """Read the pixels of the images of a graph; none if the model does not read pixels."""
    if not config.reads_pixels:
        return ImageCache.without_images(len(graph.items), config.image_size)
    return read_images(home, [image or None for image in graph.images], config, report)


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
    images = read_images(home, snapshot.images, config, report)
    return with_regions(prepare(snapshot, ontology, tokenizer, images), home, config, regions)


def with_regions(
    data: TrainingData, home: Home, config: ModelConfig, regions: str = ""
) -> TrainingData:
    """Add the ``regions`` found in images, or those of the home, for a model that reads them.

    Raises DataError if they are not there.
    """
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
    rows = [row for row in logged_queries(home) if among is None or row.item in among]
    return read_log(snapshot.items, rows)


def logged_queries(home: Home) -> list[LoggedQuery]:
    """Read the rows of the home's query log."""
    with home.ledger() as ledger:
        return [
            LoggedQuery(row.query, row.item, row.clicks, row.purchases)
            for row in ledger.query_log()
        ]


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
    return restricted_ontology(seen, edited)


def restricted_ontology(seen: Mapping[str, Mapping[str, int]], edited: Ontology) -> Ontology:
    """Restrict the home's ontology to values that were ``seen`` so often, by property."""
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
    return _with_specs(edited, specs)


def with_frequent_values(
    ontology: Ontology, report: ReportCallback, most: int | None = None
) -> Ontology:
    """Return what is learned of an ontology: so many values of a property at most, and say so.

    They are its most frequent ones, by default :data:`MAX_VALUES`.
    """
    most = MAX_VALUES if most is None else most
    specs = []
    for spec in ontology.properties.values():
        if spec.is_learned and len(spec.values) > most:
            # The vocabulary has the most frequent values first.
            values = spec.values[:most]
            counts = spec.counts[:most]
            report(
                TrainingWarning(
                    f"{spec.name}: the {most:,} most frequent of its {len(spec.values):,} values "
                    f"are learned, which {sum(counts) / sum(spec.counts):.0%} of its statements "
                    "have; more would not fit into memory"
                )
            )
            spellings = {each: spec.spellings[each] for each in values if each in spec.spellings}
            spec = dataclasses.replace(spec, values=values, counts=counts, spellings=spellings)
        specs.append(spec)
    return _with_specs(ontology, specs)


def _with_specs(ontology: Ontology, specs: Sequence[PropertySpec]) -> Ontology:
    """Return what a model is told of an ontology, with other properties or values."""
    return Ontology(
        specs,
        categories=ontology.categories,
        described=ontology.described,
        threshold=ontology.threshold,
    )


def share_not_learned(whole: Ontology, learned: Ontology) -> dict[str, float]:
    """Return the share of statements, by property, whose values :func:`with_frequent_values` cut.

    Properties of which it has cut none are left out.
    """
    return {
        name: 1 - sum(learned[name].counts) / sum(spec.counts)
        for name, spec in whole.properties.items()
        if len(learned[name].values) < len(spec.values)
    }


def split_items(snapshot: GraphSnapshot, options: TrainOptions) -> dict[str, IntArray]:
    """Return the numbers [N] of the items of each split.

    Raises TrainingError if the train split is empty.
    """
    assigned = assign_splits(snapshot.items, options.split)
    names = np.array([assigned.get(item, "") for item in snapshot.items])
    splits = {split: np.flatnonzero(names == split) for split in SPLITS}
    if not len(splits["train"]):
        raise empty_train_split(len(snapshot.items))
    return splits


def read_images(
    home: Home,
    images: Sequence[str | None],
    config: ModelConfig,
    report: ReportCallback,
) -> ImageCache:
    """Read the images' pixels at the model's size; none if the model does not read pixels.

    Reports how many images cannot be read. Raises DataError if there are images and none can be.
    """
    report(Preparing("images"))
    files = home.image_files()
    if not config.reads_pixels:
        return ImageCache.without_images(len(images), config.image_size)
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
    titles: Sequence[str],
    ontology: Ontology,
    config: ModelConfig,
    pieces: Tokenizer | None,
) -> CatalogTokenizer:
    """Learn the word pieces and n-grams of the train titles, the properties and their values.

    Words and document frequencies of held-out titles would leak into the model. If there are
    ``pieces`` already, these are used, and only the n-grams are learned.
    """
    values = [value for spec in ontology.properties.values() for value in spec.values]
    texts = [*titles, *ontology.properties, *values]
    if pieces is not None:
        return CatalogTokenizer.pretrained(pieces, texts, config.max_ngrams)
    return CatalogTokenizer.train(texts, config.vocab_size, config.max_ngrams)
