"""Drawings of an item and its values."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kg.drawing.ego import Neighbourhood, ego_graph
from kg.drawing.render import draw_ego
from kg.image_files import ImageFiles
from schema.errors import UsageError
from schema.terms import Item, Provenance, Rank, Statement

MUG = Item("1", "A mug")
FACTS = [
    Statement("1", "colour", "red"),
    Statement("1", "size", "big", Rank.PREDICTED, Provenance("m", confidence=0.87)),
]
UNKNOWN = "\U00012031"  # a cuneiform sign


def drawn(
    path: Path,
    facts: list[Statement],
    item: Item = MUG,
    around: Neighbourhood | None = None,
) -> str:
    """Draw a graph; return the missing characters for a PNG, and the text of an SVG."""
    missing = draw_ego(ego_graph(item, facts, around), path, ImageFiles([path.parent]))
    return missing if path.suffix == ".png" else path.read_text()


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_png_is_higher_with_more_values(tmp_path: Path) -> None:
    drawn(tmp_path / "few.png", FACTS)
    drawn(tmp_path / "many.png", [Statement("1", f"p{number}", "x") for number in range(60)])
    few_width, few_height = size(tmp_path / "few.png")
    many_width, many_height = size(tmp_path / "many.png")
    assert few_width == many_width
    assert 2 * few_height < many_height < 5 * few_height


def test_an_svg_contains_values_properties_ranks_and_probabilities(tmp_path: Path) -> None:
    around = Neighbourhood({("colour", "red"): 1234}, [(Item("9", "A cup"), 1)])
    text = drawn(tmp_path / "a.svg", FACTS, around=around)
    for expected in ("red", "colour · 1,234 items", "size · 87%", "A cup", "1 shared"):
        assert expected in text
    assert "predicted" in text
    assert "asserted" in text
    assert "accepted" not in text


def test_the_same_graph_makes_the_same_svg(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.svg", FACTS) == drawn(tmp_path / "b.svg", FACTS)


def test_the_item_s_image_is_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (30, 10), (255, 0, 0)).save(tmp_path / "red.jpg")
    drawn(tmp_path / "a.png", [], Item("1", "A mug", None, (str(tmp_path / "red.jpg"),)))
    with Image.open(tmp_path / "a.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(100_000) or []}
    assert any(red > 200 and green < 40 and blue < 40 for red, green, blue in colours)  # type: ignore[misc]


@pytest.mark.parametrize("image", ["/nowhere.jpg", "https://example.com/a.jpg"])
def test_an_image_that_cannot_be_read_is_left_out(tmp_path: Path, image: str) -> None:
    assert drawn(tmp_path / "a.png", FACTS, Item("1", None, None, (image,))) == ""


@pytest.mark.parametrize(
    "value", ["$12 and $13", "\\frac", "a\nb\tc\x1b[31m", "x" * 5000, "W" * 100, "<&>"]
)
def test_any_value_can_be_drawn(tmp_path: Path, value: str) -> None:
    assert drawn(tmp_path / "a.png", [Statement("1", "p", value)]) == ""


def test_characters_that_no_font_has_are_returned(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.png", [Statement("1", "p", f"{UNKNOWN} and {UNKNOWN}")]) == UNKNOWN
    assert UNKNOWN in drawn(tmp_path / "a.svg", [Statement("1", "p", UNKNOWN)])


def test_another_file_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.bmp"):
        drawn(tmp_path / "a.bmp", FACTS)
