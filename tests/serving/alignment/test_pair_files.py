"""Files of pairs: what is read, what is left out and counted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.errors import SourceNotFoundError, UsageError
from serving.alignment.aligning import known_sides
from serving.alignment.pair_files import read_labelled_pairs, read_matching_pairs, read_pairs
from serving.alignment.records import Side


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_repeated_and_contradictory_rows_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path, "left,right,label\na,b,1\nb,a,1\na,c,0\nc,a,1\nd,e,yes\na,c,0\nf,g,distinct\n"
    )
    file = read_labelled_pairs(path)
    assert file.pairs == (("a", "b"), ("d", "e"), ("f", "g"))
    assert file.labels == (True, True, False)
    assert (file.repeated, file.contradictory) == (2, 1)
    assert len(list(file.notes())) == 2
    # Asked pairs keep every row, whatever the labels say.
    assert len(read_pairs(path)) == 7


def test_pairs_that_another_file_has_are_left_out_whichever_item_is_first(tmp_path: Path) -> None:
    file = read_labelled_pairs(written(tmp_path, "left,right,label\na,b,1\nc,d,0\n"))
    (tmp_path / "other").mkdir()
    other = read_labelled_pairs(written(tmp_path / "other", "left,right,label\nb,a,0\n"))
    assert file.without(other).pairs == (("c", "d"),)
    assert file.without(other).labels == (False,)


def test_matching_pairs_are_those_with_label_1_or_all_without_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "left,right,label\n1,2,1\n1,3,0\n")
    assert read_matching_pairs(path) == [("1", "2")]
    path = written(tmp_path, "left,right\n1,2\n1,3\n")
    assert read_matching_pairs(path) == [("1", "2"), ("1", "3")]


@pytest.mark.parametrize("rows", ["1,2,1\n1,3,\n", "1,2,1\n1,3\n"])
def test_a_missing_label_is_no_match_but_refused(tmp_path: Path, rows: str) -> None:
    path = written(tmp_path, f"left,right,label\n{rows}")
    with pytest.raises(UsageError, match=r"line 3: '' is no label: write 1"):
        read_matching_pairs(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("left,right,label\na,b,2\n", "line 2: '2' is no label"),
        ("left,right,label\na,,1\n", "line 2: an id is empty"),
        ("left,right,label\na,a,1\n", "paired with itself"),
        ("left,right,label\n", "has no pair"),
        ("left,label\na,1\n", "it needs left,right,label"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_labelled_pairs(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="left,right"):
        read_pairs(tmp_path / "none.csv")


def test_columns_without_an_item_in_common_are_two_catalogues() -> None:
    learned = known_sides([("a", "x"), ("b", "y")])
    assert learned == {"a": Side.LEFT, "b": Side.LEFT, "x": Side.RIGHT, "y": Side.RIGHT}
    # What is asked later adds items; one that changes sides has none.
    asked = known_sides([("a", "z"), ("x", "w")], learned)
    assert asked == {**learned, "z": Side.RIGHT, "w": Side.RIGHT, "x": Side.EITHER}
    # One catalogue: an item stands in both columns, in training or in what is asked.
    assert known_sides([("a", "b"), ("b", "c")]) == {}
    assert known_sides([("a", "b")], {}) == {}
