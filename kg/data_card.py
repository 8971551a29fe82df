"""The data card of a catalogue: a page that says what it holds, where it is from, how it is split.

It depends on nothing but the data, so that two people with the same data have the same page.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from kg.markdown import cell, more, row, section
from kg.quality.leaks import train_twins
from kg.splits import SPLITS, assign_splits

if TYPE_CHECKING:
    from kg.home import Home
    from kg.quality.image_fingerprints import ImageFingerprints
    from kg.snapshot import GraphSnapshot
    from kg.sources import KeptSource

LISTED = 40
"""Properties and categories that the page lists; a catalogue may have thousands."""


@dataclass(frozen=True)
class SourceFileFacts:
    """A file that the catalogue was read from; ``items`` counts those that its source describes."""

    source: str
    items: int
    file: str | None
    size: int | None
    sha256: str | None


@dataclass(frozen=True)
class PropertyFacts:
    """A property: its datatype, how many items have it, how many values, whether several each."""

    name: str
    datatype: str
    items: int
    values: int
    several: bool


@dataclass(frozen=True)
class SplitFacts:
    """A split: its items, their statements, and which have a twin in train by title and by image.

    None stands for what was not looked for: train items have no twins, and images may not have been
    compared.
    """

    name: str
    items: int
    statements: int
    title_twins: int | None
    image_twins: int | None


@dataclass(frozen=True)
class DataCard:
    """What there is to say about a catalogue's data.

    Attributes:
        name: of the catalogue
        licence: of the data, as the user states it
        items: number of items
        statements: number of trusted statements: what a model has only predicted does not count
        modalities: how many items have each modality
        categories: how many items each category has, the largest first
        properties: the most frequent first
        sources: the files that the catalogue was read from
        split: how it is split: the name and digest of a file, or the default
        splits: train, validation, test
        digest: a sha256 of the items and their trusted statements
    """

    name: str
    licence: str | None
    items: int
    statements: int
    modalities: Mapping[str, int]
    categories: Mapping[str, int]
    properties: tuple[PropertyFacts, ...]
    sources: tuple[SourceFileFacts, ...]
    split: str
    splits: tuple[SplitFacts, ...]
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as plain data, without the lists of properties and categories."""
        return {
            "name": self.name,
            "licence": self.licence,
            "items": self.items,
            "statements": self.statements,
            "properties": len(self.properties),
            "categories": len(self.categories),
            "modalities": dict(self.modalities),
            "sources": [vars(each) for each in self.sources],
            "split": self.split,
            "splits": [vars(each) for each in self.splits],
            "sha256": self.digest,
        }

    def markdown(self) -> str:
        """Return the page in Markdown."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"# Data card: {cell(self.name)}"
        yield ""
        values = sum(each.values for each in self.properties)
        yield (
            f"{self.items:,} items in {len(self.categories):,} categories, with "
            f"{self.statements:,} statements of {len(self.properties):,} properties and "
            f"{values:,} values. Licence: {cell(self.licence or 'not stated')}."
        )
        yield ""
        yield f"SHA-256 of items and statements: `{self.digest}`"
        yield from section("Sources", ("source", "items", "file", "bytes", "SHA-256"), "lrlrl")
        for source in self.sources:
            size = "" if source.size is None else f"{source.size:,}"
            sha256 = f"`{source.sha256}`" if source.sha256 else ""
            yield row(source.source, f"{source.items:,}", source.file or "", size, sha256)
        yield from section("What items have", ("", "items", "share"), "lrr")
        for name, count in self.modalities.items():
            yield row(name, f"{count:,}", self._share(count))
        columns = ("split", "items", "share", "statements", "twins by title", "twins by image")
        yield from section("Splits", columns, "lrrrrr")
        for part in self.splits:
            yield row(
                part.name,
                f"{part.items:,}",
                self._share(part.items),
                f"{part.statements:,}",
                _twins(part.title_twins, part.items),
                _twins(part.image_twins, part.items),
            )
        yield ""
        yield (
            f"Split: {cell(self.split)}. A twin has a title of the same words as a train item's, "
            "or nearly the same image."
        )
        columns = ("property", "datatype", "items", "share", "values", "per item")
        yield from section("Properties", columns, "llrrrl")
        for spec in self.properties[:LISTED]:
            share = self._share(spec.items)
            several = "several" if spec.several else "one"
            yield row(
                spec.name, spec.datatype, f"{spec.items:,}", share, f"{spec.values:,}", several
            )
        yield from more(len(self.properties) - LISTED, "properties")
        yield from section("Categories", ("category", "items", "share"), "lrr")
        for name, count in list(self.categories.items())[:LISTED]:
            yield row(name, f"{count:,}", self._share(count))
        yield from more(len(self.categories) - LISTED, "categories")

    def _share(self, count: int) -> str:
        return f"{count / max(1, self.items):.1%}"


def read_card(
    home: Home,
    snapshot: GraphSnapshot,
    *,
    licence: str | None = None,
    split_file: Path | None = None,
    fingerprints: ImageFingerprints | None = None,
) -> DataCard:
    """Read the data card of a home; ``snapshot`` is its own, with details.

    With ``fingerprints`` of the snapshot's images twins are also looked for by image. Raises
    SplitError if the split file cannot be used.
    """
    splits = assign_splits(snapshot.items, split_file)
    split = "by SHA-1 of the items' ids, 90/5/5"
    if split_file is not None:
        digest = hashlib.sha256(split_file.read_bytes()).hexdigest()
        split = f"{split_file.name} (SHA-256 {digest})"
    categories = Counter(each for each in snapshot.categories if each)
    return DataCard(
        home.path.name,
        licence,
        len(snapshot.items),
        len(snapshot.triples),
        _modalities(snapshot),
        dict(sorted(categories.items(), key=lambda pair: (-pair[1], pair[0]))),
        tuple(_properties(home, snapshot)),
        tuple(_sources(home)),
        split,
        tuple(_splits(snapshot, splits, fingerprints)),
        data_digest(snapshot),
    )


def _modalities(snapshot: GraphSnapshot) -> dict[str, int]:
    places = range(len(snapshot.items))
    details = snapshot.details
    images = [len(snapshot.images_of(place)) for place in places]
    described = (
        0 if details is None else sum(details.description(place) is not None for place in places)
    )
    return {
        "title": sum(bool(title) for title in snapshot.titles),
        "description": described,
        "category": sum(bool(category) for category in snapshot.categories),
        "image": sum(count > 0 for count in images),
        "several images": sum(count > 1 for count in images),
        "statements": int((np.diff(snapshot.indptr) > 0).sum()),
    }


def _properties(home: Home, snapshot: GraphSnapshot) -> list[PropertyFacts]:
    ontology = home.ontology()
    found = []
    for number, name in enumerate(snapshot.properties):
        rows = snapshot.triples[snapshot.triples[:, 1] == number]
        items = len(np.unique(rows[:, 0]))
        spec = ontology.properties.get(name)
        datatype = "" if spec is None else spec.datatype
        if spec is not None and spec.unit:
            datatype = f"{datatype} in {spec.unit}"
        values = len(np.unique(rows[:, 2]))
        found.append(PropertyFacts(name, datatype, items, values, len(rows) > items))
    return sorted(found, key=lambda each: (-each.items, each.name))


def _sources(home: Home) -> Iterator[SourceFileFacts]:
    """Yield the files of each source, as far as they are kept; the source alone if none is."""
    from kg.source_order import source_counts
    from kg.sources import KeptSources

    kept: Mapping[str, Sequence[KeptSource]] = KeptSources(home.sources).newest()
    with home.store(read_only=True) as store:
        counts = source_counts(store)
    for source in counts:
        files = kept.get(source.source, ())
        for file in files:
            name = PurePath(file.location).name
            yield SourceFileFacts(source.source, source.items, name, file.size, file.sha256)
        if not files:
            yield SourceFileFacts(source.source, source.items, None, None, None)


def _splits(
    snapshot: GraphSnapshot, splits: Mapping[str, str], fingerprints: ImageFingerprints | None
) -> Iterator[SplitFacts]:
    statements = np.diff(snapshot.indptr)
    inside = {
        name: np.array([splits.get(item) == name for item in snapshot.items]) for name in SPLITS
    }
    for name, items in inside.items():
        twins: dict[str, int] = {}
        if name != "train":
            found = train_twins(snapshot, inside["train"], items, fingerprints)
            twins = {kind: len(pairs) for kind, pairs in found.items()}
        yield SplitFacts(
            name,
            int(items.sum()),
            int(statements[items].sum()),
            twins.get("title"),
            twins.get("image"),
        )


def data_digest(snapshot: GraphSnapshot) -> str:
    """Return a sha256 of the data, whenever, wherever and in which order they were loaded.

    Of images it takes the files' names: their folders are another on each machine.
    """
    digest = hashlib.sha256()
    details = snapshot.details
    for place, item in enumerate(snapshot.items):
        row = [
            item,
            snapshot.titles[place],
            None if details is None else details.description(place),
            snapshot.categories[place],
            [PurePath(image).name for image in snapshot.images_of(place)],
            sorted(snapshot.statements_of(place)),
        ]
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _twins(count: int | None, items: int) -> str:
    return "" if count is None else f"{count:,} ({count / max(1, items):.1%})"
