"""split: files for --split, by item and by group."""

from pathlib import Path

from kg.splits import read_split, split_of
from tests.commands.conftest import Call, assert_fails


def test_items_are_split_as_without_a_file_and_the_file_is_one_of_leaks(ingested: Call) -> None:
    document = ingested("split", "out.csv", "--json").json
    splits = read_split(Path("out.csv"))
    assert splits == {item: split_of(item) for item in "1234"}
    assert (document["split"], document["items"], document["groups"]) == ("out.csv", 4, 4)
    assert sum(part["items"] for part in document["parts"].values()) == 4
    assert document["parts"]["train"]["asked"] == 0.9
    assert ingested("leaks", "--split", "out.csv", "--no-images").code == 0


def test_items_that_belong_together_are_in_one_split(ingested: Call) -> None:
    Path("pairs.csv").write_text("left,right,label\n1,4,1\n1,2,0\n4,9,1\n")
    result = ingested(
        "split", "out.csv", "--by", "colour", "--pairs", "pairs.csv", "--twins", "--json"
    )
    assert result.code == 0, result.err
    document = result.json
    splits = read_split(Path("out.csv"))
    assert splits["2"] == splits["3"]
    assert splits["1"] == splits["4"]
    assert document["groups"] == 2
    assert document["largest"]["items"] == 2
    assert document["without_value"] == 1
    assert (document["pairs"], document["pairs_left_out"]) == (1, 1)
    assert document["twins"] == {"title": 0, "image": 0}


def test_what_is_amiss_is_told(ingested: Call) -> None:
    result = ingested("split", "out.csv", "--by", "colour", "--shares", "1/1/98", "--seed", "3")
    assert result.code == 0
    assert "train has no items" in result.err
    assert "1 items have no colour" in result.out
    assert "the largest group, 'blue', has 2 items" in result.out
    assert_fails(ingested("split", "out.csv", "--by", "size"), 2, "'size'", "colour, material")
    assert_fails(ingested("split", "out.csv", "--shares", "1/2"), 2, "'1/2' are no shares")
