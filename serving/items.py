"""The snapshot as completion reads it: items on demand, and which of their cells to ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, overload

from encoders.regions import RegionFiles, Regions
from fusion.inference.featurizer import ItemInput
from schema.errors import ItemNotFoundError, PropertyNotFoundError
from schema.ontology import Ontology

Cell = tuple[int, str]
"""(the item's index in the snapshot, property)."""


class Snapshot(Protocol):
    """What is read of :class:`kg.snapshot.GraphSnapshot`."""

    @property
    def items(self) -> Sequence[str]:
        """Ids."""

    @property
    def titles(self) -> Sequence[str | None]:
        """Titles."""

    @property
    def categories(self) -> Sequence[str | None]:
        """Category paths."""

    @property
    def images(self) -> Sequence[str | None]:
        """First images."""

    def statements_of(self, item: int, /) -> list[tuple[str, str]]:
        """The (property, value) pairs of the item at that index."""


class CatalogItems(Sequence[ItemInput]):
    """The snapshot's items, each made when it is asked for, so that a large catalogue is never held twice.

    An image that is a URL or is not there any more counts as missing. With ``regions`` an image is what a detector found in it.
    """

    def __init__(self, snapshot: Snapshot, regions: RegionFiles | None = None) -> None:
        self.snapshot = snapshot
        self.regions = regions

    def __len__(self) -> int:
        return len(self.snapshot.items)

    @overload
    def __getitem__(self, index: int) -> ItemInput: ...
    @overload
    def __getitem__(self, index: slice) -> list[ItemInput]: ...
    def __getitem__(self, index: int | slice) -> ItemInput | list[ItemInput]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        item = self.snapshot.items[index]
        title = self.snapshot.titles[index]
        return ItemInput(
            item, title or None, self._image(index, item), tuple(self.snapshot.statements_of(index))
        )

    def _image(self, index: int, item: str) -> Path | Regions | None:
        if self.regions is not None:
            return self.regions.read(item)
        image = self.snapshot.images[index]
        return Path(image) if image and "://" not in image and Path(image).is_file() else None


def missing_cells(
    snapshot: Snapshot,
    ontology: Ontology,
    *,
    items: Iterable[str] | None = None,
    properties: Collection[str] | None = None,
) -> Iterator[Cell]:
    """Cells without a statement whose property applies to the item's category; of all items and properties, or of those named.

    Raises ItemNotFoundError or PropertyNotFoundError on an unknown name, before the first cell.
    """
    for name in properties or ():
        ontology[name]
    chosen = range(len(snapshot.items)) if items is None else _places(snapshot, items)
    applicable = {category: ontology.applicable(category) for category in set(snapshot.categories)}
    return (
        (item, name)
        for item in chosen
        for name in _absent(applicable[snapshot.categories[item]], snapshot.statements_of(item))
        if properties is None or name in properties
    )


def _absent(names: Iterable[str], statements: Iterable[tuple[str, str]]) -> Iterator[str]:
    there = {name for name, _ in statements}
    return (name for name in names if name not in there)


def named_cells(
    snapshot: Snapshot, pairs: Iterable[tuple[str, str]], *ontologies: Ontology
) -> list[Cell]:
    """The cells that (item id, property) pairs name; the property has to be in one of the ontologies: the home's or the model's."""
    pairs = list(pairs)
    for name in dict.fromkeys(name for _, name in pairs):
        if not any(name in ontology.properties for ontology in ontologies):
            known = ", ".join(
                dict.fromkeys(known for ontology in ontologies for known in ontology.properties)
            )
            raise PropertyNotFoundError(
                f"no property {name!r} in this catalogue or its model: choose one of {known}"
            )
    return list(
        zip(
            _places(snapshot, (item for item, _ in pairs)), (name for _, name in pairs), strict=True
        )
    )


def _places(snapshot: Snapshot, ids: Iterable[str]) -> list[int]:
    place = {item: index for index, item in enumerate(snapshot.items)}
    places = []
    for item in ids:
        if item not in place:
            raise ItemNotFoundError(
                f"no item {item!r} among the catalogue's {len(place)}: ids are those of the source's id column"
            )
        places.append(place[item])
    return places
