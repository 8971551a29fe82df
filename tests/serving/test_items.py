from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schema.errors import ItemNotFoundError, PropertyNotFoundError
from serving.items import CatalogItems, missing_cells, named_cells

from .fakes import ONTOLOGY


@dataclass
class FakeSnapshot:
    """Three items: a mug with a colour, a lamp with nothing, one without a category."""

    items: list[str] = field(default_factory=lambda: ["m", "l", "x"])
    titles: list[str | None] = field(default_factory=lambda: ["a mug", "", None])
    categories: list[str | None] = field(default_factory=lambda: ["home > mugs", "home", None])
    images: list[str | None] = field(
        default_factory=lambda: [None, "https://shop.example/a.jpg", "/gone/b.jpg"]
    )

    def statements_of(self, item: int) -> list[tuple[str, str]]:
        return [("colour", "red")] if item == 0 else []


def test_missing_cells_are_those_that_apply_and_are_not_there():
    assert list(missing_cells(FakeSnapshot(), ONTOLOGY)) == [
        (0, "holds"),
        (0, "kind"),
        (1, "colour"),
        (1, "kind"),
        (2, "colour"),
        (2, "kind"),
    ]


def test_missing_cells_of_some_items_and_properties():
    assert list(missing_cells(FakeSnapshot(), ONTOLOGY, items=["x", "m"], properties={"kind"})) == [
        (2, "kind"),
        (0, "kind"),
    ]


def test_unknown_names_are_refused_before_the_first_cell():
    with pytest.raises(ItemNotFoundError, match="'nix'"):
        missing_cells(FakeSnapshot(), ONTOLOGY, items=["nix"])
    with pytest.raises(PropertyNotFoundError, match="'size'"):
        missing_cells(FakeSnapshot(), ONTOLOGY, properties=["size"])


def test_named_cells_may_be_known_ones():
    assert named_cells(FakeSnapshot(), [("l", "kind"), ("m", "colour")], ONTOLOGY) == [
        (1, "kind"),
        (0, "colour"),
    ]


def test_named_cells_of_no_ontology_are_refused():
    with pytest.raises(PropertyNotFoundError, match=r"'size'.*colour"):
        named_cells(FakeSnapshot(), [("m", "size")], ONTOLOGY)


def test_items_are_made_on_demand():
    items = CatalogItems(FakeSnapshot())
    assert len(items) == 3
    assert (items[0].id, items[0].title, items[0].known) == ("m", "a mug", (("colour", "red"),))
    assert [item.id for item in items[1:]] == ["l", "x"]


def test_empty_title_and_unreadable_images_are_missing(tmp_path: Path) -> None:
    there = tmp_path / "a.jpg"
    there.touch()
    items = CatalogItems(
        FakeSnapshot(images=[str(there), "https://shop.example/a.jpg", "/gone/b.jpg"])
    )
    assert [item.image for item in items] == [there, None, None]
    assert items[1].title is None
