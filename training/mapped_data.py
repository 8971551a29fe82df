"""Training data in memory-mapped arrays, written once for a graph, an ontology and a tokenizer.

They lie in folders below that of the graph (:mod:`kg.mapped_graph`), and are removed with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.tokenizer import CatalogTokenizer
from kg.mapped_arrays import (
    ArrayWriter,
    FolderWriter,
    MappedFolder,
    MappedTexts,
    open_or_write,
    remove_unused,
)
from kg.mapped_graph import MappedGraph, digest_of
from kg.splits import SPLITS, no_train_items, splitter
from kg.stores.tables import chunks
from schema.arrays import IntArray
from schema.ontology import Ontology
from training.data import (
    TrainingData,
    candidate_ranges,
    candidates_of,
    empty_train_split,
    revealing_words,
)
from training.titles import Ragged, TitleTable, WordTable, known_pairs

if TYPE_CHECKING:
    from kg.image_cache import ImageCache

ITEMS_PER_CHUNK = 1 << 16
"""So many items are converted at a time."""
KEPT_FOLDERS = 4
"""So many vocabularies and splits of one graph keep their arrays, the latest ones."""


class MappedWords(Sequence[list[str]]):
    """The words of I titles, which are rows of ``titles`` from ``first`` on.

    ``vocabulary`` has the words by their numbers. They are read when they are asked for.
    """

    def __init__(self, titles: Ragged, vocabulary: MappedTexts, first: int, size: int) -> None:
        self.titles = titles
        self.vocabulary = vocabulary
        self.first = first
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, item: int) -> list[str]:  # type: ignore[override]
        if not 0 <= item < self.size:
            raise IndexError(f"there are {self.size} titles, and none has the number {item}")
        low, high = self.titles.indptr[self.first + item : self.first + item + 2].tolist()
        return [self.vocabulary[word] for word in self.titles.values[low:high].tolist()]


@dataclass(frozen=True)
class MappedSplits:
    """The numbers [N] of the items of each split, ascending, in files of ``folder``."""

    items: dict[str, IntArray]
    folder: MappedFolder


def map_splits(graph: MappedGraph, file: Path | None) -> MappedSplits:
    """Return the items of each split: by a hash of their ids, or as a file says.

    Raises SplitError if the file puts none of the items into train, and TrainingError if there are
    none.
    """
    find = splitter(file)

    def write(writer: FolderWriter) -> None:
        arrays = {name: writer.array(name, "<i8") for name in SPLITS}
        for first in range(0, len(graph.items), ITEMS_PER_CHUNK):
            found = [find(item) for item in graph.items[first : first + ITEMS_PER_CHUNK]]
            names = np.array([name or "" for name in found])
            for name, array in arrays.items():
                array.append(first + np.flatnonzero(names == name))

    content = None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
    folder = _open_below(graph, "split", digest_of(content), write)
    splits = {name: folder[name] for name in SPLITS}
    if not len(splits["train"]):
        if file is not None:
            raise no_train_items(file, len(graph.items))
        raise empty_train_split(len(graph.items))
    return MappedSplits(splits, folder)


def values_seen(graph: MappedGraph, train: IntArray) -> dict[str, dict[str, int]]:
    """Return how often the items ``train`` [N], ascending, have each value of each property."""
    counts = np.zeros(len(graph.pairs), np.int64)
    for first in range(0, len(graph.items), ITEMS_PER_CHUNK):
        last = min(first + ITEMS_PER_CHUNK, len(graph.items))
        low, high = np.searchsorted(train, (first, last))
        is_train = np.zeros(last - first, dtype=bool)
        is_train[train[low:high] - first] = True
        bounds = graph.indptr[first : last + 1]
        own = graph.pair[bounds[0] : bounds[-1]][np.repeat(is_train, np.diff(bounds))]
        counts += np.bincount(own, minlength=len(counts))
    seen: dict[str, dict[str, int]] = {}
    for number in np.flatnonzero(counts).tolist():
        name, value = graph.pairs[number]
        seen.setdefault(name, {})[value] = int(counts[number])
    return seen


@dataclass(frozen=True)
class MappedData:
    """Training data whose arrays lie in ``folder``."""

    data: TrainingData
    folder: MappedFolder


def map_data(
    graph: MappedGraph, ontology: Ontology, tokenizer: CatalogTokenizer, images: ImageCache
) -> MappedData:
    """Convert a graph to training data, as :func:`training.data.prepare` does a snapshot."""

    def write(writer: FolderWriter) -> None:
        _write_statements(graph, ontology, writer)
        _write_titles(graph, ontology, tokenizer, writer)

    files = tokenizer.files()
    digests = [hashlib.sha256(files[name]).hexdigest() for name in sorted(files)]
    learned = hashlib.sha256(ontology.to_toml().encode()).hexdigest()
    folder = _open_below(graph, "data", digest_of(learned, digests), write)
    titles = Ragged(folder["titles.indptr"], folder["titles"])
    vocabulary = folder.texts("words")
    count = len(graph.items)
    data = TrainingData(
        items=graph.items,
        words=MappedWords(titles, vocabulary, 0, count),
        blind=MappedWords(titles, vocabulary, count, count),
        indptr=folder["indptr"],
        property=folder["property"],
        candidate=folder["candidate"],
        ranges=candidate_ranges(ontology),
        images=images,
        category=graph.category,
        titles=TitleTable(
            titles,
            WordTable(
                count=len(vocabulary),
                pieces=Ragged(folder["pieces.indptr"], folder["pieces"]),
                ngrams=Ragged(folder["ngrams.indptr"], folder["ngrams"]),
                pair_keys=folder["pair_keys"],
                pair_ngrams=folder["pair_ngrams"],
            ),
        ),
    )
    return MappedData(data, folder)


def _write_statements(graph: MappedGraph, ontology: Ontology, writer: FolderWriter) -> None:
    """Write the statements whose values the ontology has, in CSR form."""
    candidates = candidates_of(graph.pairs, ontology)
    ranges = candidate_ranges(ontology)
    indptr = writer.array("indptr", "<i8")
    property = writer.array("property", "<i4")
    # DGL reads indices of 64 bits where they lie, and would copy others.
    candidate = writer.array("candidate", "<i8")
    indptr.append(np.zeros(1, np.int64))
    for first in range(0, len(graph.items), ITEMS_PER_CHUNK):
        bounds = graph.indptr[first : min(first + ITEMS_PER_CHUNK, len(graph.items)) + 1]
        own = candidates[graph.pair[bounds[0] : bounds[-1]]]
        kept = own >= 0
        # How many are kept before each statement, and so at the end of each item.
        before = np.concatenate([[0], kept.cumsum()])
        indptr.append(candidate.count + before[bounds[1:] - bounds[0]])
        property.append(np.searchsorted(ranges, own[kept], side="right") - 1)
        candidate.append(own[kept])


def _write_titles(
    graph: MappedGraph, ontology: Ontology, tokenizer: CatalogTokenizer, writer: FolderWriter
) -> None:
    """Write the titles in full and blind as numbers of words, and what is looked up of each word.

    The distinct words are in memory until all are known.
    """
    from schema.wording import blind_title

    revealing = revealing_words(ontology)
    titles = _RaggedWriter(writer, "titles")
    numbers: dict[str, int] = {}
    for is_blind in (False, True):
        for first in range(0, len(graph.titles), ITEMS_PER_CHUNK):
            rows = []
            for title in graph.titles[first : first + ITEMS_PER_CHUNK]:
                shown = blind_title(title, revealing) if is_blind and title else title
                words = tokenizer.words(shown) if shown else []
                rows.append([numbers.setdefault(word, len(numbers)) for word in words])
            titles.append(rows)
    keys, pair_ngrams = known_pairs(tokenizer, numbers)
    writer.array("pair_keys", "<i8").append(keys)
    writer.array("pair_ngrams", "<i8").append(pair_ngrams)
    texts = writer.texts("words")
    pieces = _RaggedWriter(writer, "pieces")
    ngrams = _RaggedWriter(writer, "ngrams")
    for part in chunks(list(numbers), ITEMS_PER_CHUNK):
        texts.append(part)
        pieces.append([tokenizer.word_pieces(word) for word in part])
        ngrams.append([tokenizer.word_ngrams(word) for word in part])


class _RaggedWriter:
    """Writes rows of numbers of 32 bits, as two arrays."""

    def __init__(self, writer: FolderWriter, name: str) -> None:
        self._values: ArrayWriter = writer.array(name, "<i4")
        self._indptr = writer.array(f"{name}.indptr", "<i8")
        self._indptr.append(np.zeros(1, np.int64))

    def append(self, rows: Sequence[Sequence[int]]) -> None:
        """Add rows at the end."""
        ragged = Ragged.of(rows)
        self._indptr.append(self._values.count + ragged.indptr[1:])
        self._values.append(ragged.values)


def _open_below(
    graph: MappedGraph, kind: str, key: str, write: Callable[[FolderWriter], None]
) -> MappedFolder:
    """Open a folder of arrays below the graph's, writing it if it is not there or damaged.

    Of those of its kind, the latest few are kept.
    """
    parent = graph.folder.folder
    opened = open_or_write(parent / f"{kind}-{key}", write)
    with suppress(OSError):
        opened.folder.touch()
        others = [each for each in parent.glob(f"{kind}-*") if each != opened.folder]
        others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
        remove_unused(others[KEPT_FOLDERS - 1 :])
    return opened
