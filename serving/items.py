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

    Descriptions and images behind the first one are there if the snapshot has its details. An image
    counts as missing if it is a URL, or if it is not one of ``files`` or no longer exists. With
    ``regions``, an item's image is given by the regions that an object detector found in it.
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
        details = self.snapshot.details
        images = self.readable_images(self.snapshot.items[index], self.snapshot.images_of(index))
        return ItemInput(
            id=self.snapshot.items[index],
            title=self.snapshot.titles[index] or None,
            image=images[0] if images else None,
            known=tuple(self.snapshot.statements_of(index)),
            description=None if details is None else details.description(index),
            category=self.snapshot.category_path(index),
            more_images=images[1:],
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
        return self.files.unreadable(
            image for index in indexes for image in self.snapshot.images_of(index)
        )

    def with_more_images(self, indexes: Iterable[int], most: int) -> int:
        """Return how many of the items at these indexes have more images than that.

        There are none if the items' images are given by regions.
        """
        if self.regions is not None:
            return 0
        return sum(len(self.snapshot.images_of(index)) > most for index in indexes)

    def readable_images(
        self, item: str, images: Sequence[str]
    ) -> tuple[CatalogImage | Regions, ...]:
        """Return an item's images without those that cannot be read, so that another is first."""
        if self.regions is not None:
            regions = self.regions.read(item)
            return () if regions is None else (regions,)
        # Nothing is fetched from the network.
        return tuple(
            CatalogImage(image, self.files)
            for image in images
            if not is_address(image) and self.files.status(image) is not None
        )


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
