"""split: files for --split, by item and by group."""

import hashlib
import shutil
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


def test_the_card_says_what_the_catalogue_holds(ingested: Call, tmp_path: Path) -> None:
    Path("split.csv").write_text("item,split\n1,train\n2,train\n3,validation\n4,test\n")
    card = ("card", "card.md", "--split", "split.csv")
    document = ingested(*card, "--licence", "CC0 | own", "--json").json
    assert (document["items"], document["statements"], document["properties"]) == (4, 6, 2)
    assert document["modalities"] == {
        **dict.fromkeys(("description", "several images"), 0),
        "title": 3,
        "category": 4,
        "image": 1,
        "statements": 4,
    }
    (source,) = document["sources"]
    table = (tmp_path / "items.csv").read_bytes()
    assert source["sha256"] == hashlib.sha256(table).hexdigest()
    assert (source["file"], source["size"], source["items"]) == ("items.csv", len(table), 4)
    assert [part["items"] for part in document["splits"]] == [2, 1, 1]
    assert [part["title_twins"] for part in document["splits"]] == [None, 0, 0]
    page = Path("card.md").read_text()
    assert "CC0 \\| own" in page
    assert "| colour | string | 3 | 75.0% | 2 | one |" in page
    assert "| validation | 1 | 25.0% | 2 | 0 (0.0%) | 0 (0.0%) |" in page
    assert ingested(*card, "--no-images", "--json").json["splits"][2]["image_twins"] is None


def test_the_same_data_have_the_same_digest_in_any_order_and_place(
    call: Call, table: Path, tmp_path: Path
) -> None:
    header, *rows = table.read_text().splitlines()
    digests = []
    for name, lines in (
        ("a", rows),
        ("b", rows[::-1]),
        ("c", [*rows[:-1], "4,Ash chair,Chairs,,,oak"]),
    ):
        shutil.copytree(tmp_path / "images", tmp_path / name / "images")
        (tmp_path / name / "items.csv").write_text("\n".join([header, *lines]) + "\n")
        assert call("--home", f"{name}-home", "ingest", f"{name}/items.csv").code == 0
        digests.append(call("--home", f"{name}-home", "card", "c.md", "--json").json["sha256"])
    assert digests[0] == digests[1] != digests[2]
