"""Images of an item and its values."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from kg.drawing.ego import Neighbourhood, ego
from kg.drawing.render import draw_ego, short, width, wrapped
from schema.errors import UsageError
from schema.terms import Item, Provenance, Rank, Statement

FACTS = [
    Statement("1", "colour", "red"),
    Statement("1", "size", "big", Rank.PREDICTED, Provenance("m", confidence=0.87)),
]
UNKNOWN = "\U00012031"  # a cuneiform sign


def drawn(
    path: Path,
    facts: list[Statement],
    item: Item = Item("1", "A mug"),
    around: Neighbourhood | None = None,
) -> str:  # noqa: B008
    missing = draw_ego(ego(item, facts, around), path)
    return missing if path.suffix == ".png" else path.read_text()


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_png_is_higher_the_more_values_there_are(tmp_path: Path) -> None:
    drawn(tmp_path / "few.png", FACTS)
    drawn(tmp_path / "many.png", [Statement("1", f"p{number}", "x") for number in range(60)])
    (few_wide, few_high) = size(tmp_path / "few.png")
    (wide, high) = size(tmp_path / "many.png")
    assert few_wide == wide
    assert 2 * few_high < high < 5 * few_high


def test_an_svg_says_values_properties_ranks_and_probability(tmp_path: Path) -> None:
    text = drawn(
        tmp_path / "a.svg",
        FACTS,
        around=Neighbourhood({("colour", "red"): 1234}, [(Item("9", "A cup"), 1)]),
    )
    assert all(
        word in text
        for word in (
            "red",
            "colour · 1,234 items",
            "size · 87%",
            "predicted",
            "asserted",
            "A cup",
            "1 shared",
        )
    )
    assert "accepted" not in text


def test_the_same_graph_makes_the_same_svg(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.svg", FACTS) == drawn(tmp_path / "b.svg", FACTS)


def test_a_image_stands_in_the_middle(tmp_path: Path) -> None:
    Image.new("RGB", (30, 10), (255, 0, 0)).save(tmp_path / "red.jpg")
    drawn(tmp_path / "a.png", [], Item("1", "A mug", None, (str(tmp_path / "red.jpg"),)))
    with Image.open(tmp_path / "a.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(100_000) or []}
    assert any(red > 200 and green < 40 and blue < 40 for red, green, blue in colours)  # type: ignore[misc]


@pytest.mark.parametrize("image", ["/nowhere.jpg", "https://example.com/a.jpg"])
def test_a_image_that_cannot_be_read_is_left_out(tmp_path: Path, image: str) -> None:
    assert drawn(tmp_path / "a.png", FACTS, Item("1", None, None, (image,))) == ""


@pytest.mark.parametrize(
    "value", ["$12 and $13", "\\frac", "a\nb\tc\x1b[31m", "x" * 5000, "W" * 100, "<&>"]
)
def test_any_value_can_be_drawn(tmp_path: Path, value: str) -> None:
    assert drawn(tmp_path / "a.png", [Statement("1", "p", value)]) == ""


def test_characters_that_no_font_has_are_named(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.png", [Statement("1", "p", f"{UNKNOWN} and {UNKNOWN}")]) == UNKNOWN
    assert UNKNOWN in drawn(tmp_path / "a.svg", [Statement("1", "p", UNKNOWN)])


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.bmp"):
        drawn(tmp_path / "a.bmp", FACTS)


def test_lines_break_at_words_and_end_in_an_ellipsis() -> None:
    assert wrapped("one two three four", 8, 3) == ["one two", "three", "four"]
    assert wrapped("one two three four", 8, 2) == ["one two", "three f…"]
    assert wrapped("abcdefghij", 4, 3) == ["abcd", "efgh", "ij"]
    assert wrapped("", 4, 3) == [""]


def test_wide_characters_count_twice() -> None:
    assert width("红a") == 3
    assert short("红红红红", 6) == "红红…"
