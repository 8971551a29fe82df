from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from encoders.regions import RegionFiles
from kg.image_files import ImageFiles
from kg.snapshot import GraphSnapshot, ItemDetails
from schema.errors import ItemNotFoundError, PropertyNotFoundError
from serving.cells import Cell
from serving.items import CatalogImage, CatalogItems, missing_cells, named_cells

from .fakes import ONTOLOGY


def make_snapshot(first_image: str | None = None) -> GraphSnapshot:
    """A mug with a colour, a lamp without statements, and an item without a category."""
    return GraphSnapshot(
        items=["m", "l", "x"],
        titles=["a mug", "", None],
        categories=["home > mugs", "home", None],
        images=[first_image, "https://shop.example/a.jpg", "/gone/b.jpg"],
        properties=["colour"],
        values=["red"],
        triples=np.array([[0, 0, 0]]),
        indptr=np.array([0, 1, 1, 1]),
    )


def test_missing_cells_apply_to_the_item_and_have_no_statement():
    assert list(missing_cells(make_snapshot(), ONTOLOGY)) == [
        Cell(0, "holds"),
        Cell(0, "kind"),
        Cell(1, "colour"),
        Cell(1, "kind"),
        Cell(2, "colour"),
        Cell(2, "kind"),
    ]


def test_missing_cells_can_be_restricted_to_items_and_properties():
    cells = missing_cells(make_snapshot(), ONTOLOGY, items=["x", "m"], properties={"kind"})
    assert list(cells) == [Cell(2, "kind"), Cell(0, "kind")]


def test_unknown_names_are_refused_before_the_first_cell():
    with pytest.raises(ItemNotFoundError, match="'nix'"):
        missing_cells(make_snapshot(), ONTOLOGY, items=["nix"])
    with pytest.raises(PropertyNotFoundError, match="'size'"):
        missing_cells(make_snapshot(), ONTOLOGY, properties=["size"])


def test_named_cells_may_have_a_statement():
    cells = named_cells(make_snapshot(), [("l", "kind"), ("m", "colour")], ONTOLOGY)
    assert cells == [Cell(1, "kind"), Cell(0, "colour")]


def test_named_cells_of_an_unknown_property_are_refused():
    with pytest.raises(PropertyNotFoundError, match=r"'size'.*colour"):
        named_cells(make_snapshot(), [("m", "size")], ONTOLOGY)


def test_items_are_built_on_access():
    items = CatalogItems(make_snapshot(), ImageFiles([]))
    assert len(items) == 3
    assert (items[0].id, items[0].title, items[0].known) == ("m", "a mug", (("colour", "red"),))
    assert [item.id for item in items[1:]] == ["l", "x"]


def test_an_empty_title_and_unreadable_images_are_missing(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (4, 4), "red").save(image)
    files = ImageFiles([tmp_path])
    items = CatalogItems(make_snapshot(str(image)), files)
    assert [item.image for item in items] == [CatalogImage(str(image), files), None, None]
    assert items[1].title is None
    pixels = CatalogImage(str(image), files).pixels(2)
    assert pixels is not None
    assert pixels.tolist() == [[[255] * 2] * 2, [[0] * 2] * 2, [[0] * 2] * 2]


def test_an_item_has_its_description_its_category_and_the_images_that_can_be_read(
    tmp_path: Path,
) -> None:
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Image.new("RGB", (4, 4), "red").save(path)
    files = ImageFiles([tmp_path])
    images = [["/gone.jpg", *paths, "https://shop.example/c.jpg"], [], []]
    details = ItemDetails(pa.array(["Holds tea.", "", None]), pa.array(images))
    items = CatalogItems(replace(make_snapshot(), details=details), files)
    mug, lamp, _ = items
    assert (mug.description, mug.category) == ("Holds tea.", ("home", "mugs"))
    assert mug.images == tuple(CatalogImage(path, files) for path in paths)
    assert (lamp.description, lamp.category, lamp.images) == (None, ("home",), ())
    assert list(items.unreadable_images(range(3)).failures) == ["/gone.jpg"]


def test_an_image_outside_the_home_s_folders_is_missing_and_counted(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    Image.new("RGB", (4, 4), "red").save(image)
    items = CatalogItems(make_snapshot(str(image)), ImageFiles([tmp_path / "photos"]))
    assert items[0].image is None
    unreadable = items.unreadable_images(range(3))
    assert (unreadable.total, list(unreadable.failures)) == (2, [str(image), "/gone/b.jpg"])
    assert CatalogImage(str(image), items.files).pixels(2) is None


def test_regions_need_no_image() -> None:
    items = CatalogItems(make_snapshot("/gone/a.jpg"), ImageFiles([]), RegionFiles())
    assert not items.unreadable_images(range(3))
