"""The catalogue as completion reads it: items on demand, and the cells to complete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from encoders.regions import RegionFiles, Regions
from fusion.inference.featurizer import ItemInput, LazyImage, Pixels
from kg.image_files import ImageFiles, UnreadableImages, is_address
from kg.snapshot import GraphSnapshot
from schema.errors import ItemNotFoundError, PropertyNotFoundError
from schema.ontology import Ontology
from serving.cells import Cell


@dataclass(frozen=True)
class CatalogImage(LazyImage):
    """An image of the catalogue, read only if it is one of the home's ``files``."""

    image: str
    files: ImageFiles = field(compare=False, repr=False)

    def pixels(self, size: int) -> Pixels | None:
        """Read the image as [3, size, size]; None if it cannot be read."""
        return self.files.pixels(self.image, size)


class CatalogItems(Sequence[ItemInput]):
    """The items of a snapshot, each built on access, so that a large catalogue is not held twice.

    An image counts as missing if it is a URL, or if it is not one of ``files`` or no longer exists.
    With ``regions``, an item's image is given by the regions that an object detector found in it.
    """

    def __init__(
        self, snapshot: GraphSnapshot, files: ImageFiles, regions: RegionFiles | None = None
    ) -> None:
        self.snapshot = snapshot
        self.files = files
        self.regions = regions

    def __len__(self) -> int:
        return len(self.snapshot.items)

    @overload
    def __getitem__(self, index: int) -> ItemInput: ...
    @overload
    def __getitem__(self, index: slice) -> list[ItemInput]: ...
    def __getitem__(self, index: int | slice) -> ItemInput | list[ItemInput]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return ItemInput(
            id=self.snapshot.items[index],
            title=self.snapshot.titles[index] or None,
            image=self._image(index),
            known=tuple(self.snapshot.statements_of(index)),
        )

    def named(self, item: str) -> ItemInput:
        """Return the item with this id. Raises ItemNotFoundError if there is none."""
        (index,) = _indexes_of(self.snapshot, [item])
        return self[index]

    def unreadable_images(self, indexes: Iterable[int]) -> UnreadableImages:
        """Return the images of the items at these indexes that cannot be read.

        There are none if the items' images are given by regions.
        """
        if self.regions is not None:
            return UnreadableImages(0, {})
        return self.files.unreadable(self.snapshot.images[index] for index in indexes)

    def _image(self, index: int) -> CatalogImage | Regions | None:
        if self.regions is not None:
            return self.regions.read(self.snapshot.items[index])
        image = self.snapshot.images[index]
        # Nothing is fetched from the network.
        if not image or is_address(image) or self.files.status(image) is None:
            return None
        return CatalogImage(image, self.files)


def missing_cells(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    *,
    items: Iterable[str] | None = None,
    properties: Collection[str] | None = None,
) -> Iterator[Cell]:
    """Return the cells without a statement whose property applies to the item's category.

    Those of identifiers and prose are not among them, which have no values to choose from.
    ``items`` (ids) and ``properties`` restrict them. Raises ItemNotFoundError or
    PropertyNotFoundError if a name is unknown, before the first cell is read.
    """
    # The names are checked here and not in the generator, which would raise at its first cell only.
    for name in properties or ():
        ontology[name]
    indexes = range(len(snapshot.items)) if items is None else _indexes_of(snapshot, items)
    return _missing_cells(snapshot, ontology, indexes, properties)


def _missing_cells(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    indexes: Iterable[int],
    properties: Collection[str] | None,
) -> Iterator[Cell]:
    learned = set(ontology.learned())
    applicable = {
        category: [name for name in ontology.applicable(category) if name in learned]
        for category in set(snapshot.categories)
    }
    for index in indexes:
        present = {name for name, _ in snapshot.statements_of(index)}
        for name in applicable[snapshot.categories[index]]:
            if name not in present and (properties is None or name in properties):
                yield Cell(index, name)


def named_cells(
    snapshot: GraphSnapshot, pairs: Iterable[tuple[str, str]], *ontologies: Ontology
) -> list[Cell]:
    """Return the cells that (item id, property) pairs name.

    Each property has to be in one of the ontologies, for example the home's or the model's.
    """
    pairs = list(pairs)
    available = dict.fromkeys(name for ontology in ontologies for name in ontology.properties)
    for _, name in pairs:
        if name not in available:
            raise PropertyNotFoundError(
                f"no property {name!r} in this catalogue or its model: "
                f"choose one of {', '.join(available)}"
            )
    indexes = _indexes_of(snapshot, (item for item, _ in pairs))
    return [Cell(index, name) for index, (_, name) in zip(indexes, pairs, strict=True)]


def _indexes_of(snapshot: GraphSnapshot, ids: Iterable[str]) -> list[int]:
    index_of = {item: index for index, item in enumerate(snapshot.items)}
    indexes = []
    for item in ids:
        if item not in index_of:
            raise ItemNotFoundError(
                f"no item {item!r} among the catalogue's {len(index_of)}: "
                "use the ids of the source's id column"
            )
        indexes.append(index_of[item])
    return indexes
