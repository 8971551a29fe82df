"""The catalogue as completion reads it: items on demand, and the cells to complete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from encoders.regions import RegionFiles, Regions
from fusion.inference.featurizer import ItemInput, LazyImage, Pixels
from kg.image_files import ImageFiles, UnreadableImages, is_address
from kg.snapshot import GraphSnapshot
from schema.errors import PropertyNotFoundError
from schema.ontology import Ontology
from serving.asking import Asking, indexes_of, plan_missing
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
        (index,) = indexes_of(self.snapshot, [item])
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
    model: Ontology | None = None,
) -> Iterator[Cell]:
    """Return the cells without a statement whose property applies to the item's category.

    Those of properties whose values are no classes are not among them. ``items`` (ids) and
    ``properties`` restrict them; if both are given, properties need not apply. What a ``model``
    does not know is not asked. :func:`serving.asking.plan_missing` says what is left out and why.
    Raises ItemNotFoundError or PropertyNotFoundError if a name is unknown.
    """
    asking = Asking(ontology, model)
    return iter(plan_missing(snapshot, asking, items=items, properties=properties).cells)


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
    indexes = indexes_of(snapshot, (item for item, _ in pairs))
    return [Cell(index, name) for index, (_, name) in zip(indexes, pairs, strict=True)]
