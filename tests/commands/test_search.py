"""index, search, similar and evaluate retrieval on a small catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.conftest import Call, assert_fails
from tests.commands.test_docs import documented_keys


@pytest.fixture
def indexed(ingested: Call) -> Call:
    """Call a command in a folder whose catalogue is indexed."""
    assert ingested("index").code == 0
    return ingested


def ids(call: Call, *words: object) -> list[str]:
    result = call("search", *words, "--json")
    assert result.code == 0, result.err
    return [hit["item"] for hit in result.json]


def test_search_before_index_says_what_to_do(ingested: Call) -> None:
    assert_fails(ingested("search", "mug"), 1, "catalograph index")
    assert_fails(ingested("similar", "1"), 1, "catalograph index")


def test_an_empty_catalogue_is_not_indexed(call: Call) -> None:
    assert call("init").code == 0
    assert_fails(call("index"), 1, "catalograph ingest")


def test_items_are_found_by_words_and_filters(indexed: Call) -> None:
    result = indexed("search", "clay mug", "--json")
    assert [set(hit) for hit in result.json] == [documented_keys("search")] * len(result.json)
    assert result.json[0]["item"] == "1"
    assert ids(indexed, "mug", "--filter", "colour=BLUE") == ["2", "3"]
    assert ids(indexed, "mug", "--category", "Chairs") == []
    assert ids(indexed, "chiar") == ["4"]
    assert "read as 'chair'" in indexed("search", "chiar").err
    assert len(ids(indexed, "mug", "-k", 1)) == 1
    assert_fails(indexed("search", "mug", "--filter", "colour"), 2, "property=value")
    assert_fails(indexed("search", "mug", "--filter", "size=1"), 2, "'size'", "colour")
    assert_fails(indexed("search", "!"), 2, "no word")


def test_facets_and_features_are_told(indexed: Call) -> None:
    found = indexed("search", "mug", "--facets", "--explain", "--json").json
    assert set(found) == {"items", "facets"}
    assert found["facets"]["colour"] == {"blue": 2, "red": 1}
    assert found["items"][0]["features"]["head"] == 1
    assert "colour: blue 2, red 1" in indexed("search", "mug", "--facets", "--explain").out


def test_similar_items_are_found(indexed: Call) -> None:
    result = indexed("similar", "1", "-k", 2, "--json").json
    assert [set(hit) for hit in result] == [documented_keys("similar")] * 2
    assert {hit["item"] for hit in result} <= {"2", "3"}
    assert_fails(indexed("similar", "404"), 2, "'404'")


def test_what_changes_is_found_at_once(indexed: Call, table: Path) -> None:
    table.write_text(table.read_text().replace("Oak chair", "Oak armchair"))
    assert indexed("ingest", table).code == 0
    result = indexed("search", "armchair", "--json")
    assert [hit["item"] for hit in result.json] == ["4"]
    assert indexed("delete", "4").code == 0
    assert ids(indexed, "armchair") == []
    report = indexed("index", "--json").json
    assert set(report) == documented_keys("index")
    # Half of so small a catalogue has changed, so that its words are learned anew.
    assert (report["items"], report["anew"]) == (3, True)
    report = indexed("index", "--json").json
    assert (report["added"], report["changed"], report["removed"], report["anew"]) == (
        0,
        0,
        0,
        False,
    )


def test_a_stale_index_is_said_to_be_stale(
    indexed: Call, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.search.index.MAX_CAUGHT_UP", 0)
    table.write_text(table.read_text().replace("Oak chair", "Oak armchair"))
    assert indexed("ingest", table).code == 0
    result = indexed("search", "mug", "--json")
    assert "the index is stale" in result.err
    assert result.code == 0


def test_weights_are_learned_and_evaluated(indexed: Call, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text(
        "query,item,rating\nclay mug,1,3\nclay mug,2,1\nclay mug,4,0\nchair,4,3\nchair,1,0\n"
    )
    learned = indexed("index", "--learn", ratings, "--json").json["learned"]
    assert (learned["queries"], learned["ratings"]) == (2, 5)
    report = indexed("evaluate", "retrieval", "--ratings", ratings, "--folds", 2, "--json").json
    assert set(report) == {
        "queries", "ratings", "rankings", "differences", "by_query", "left_out",
    }  # fmt: skip
    assert report["rankings"]["ranked"]["ndcg@10"]["value"] == 1
    assert set(report["rankings"]) == {"ranked", "BM25", "cross-validated"}
    assert_fails(indexed("index", "--learn", "clicks"), 1, "no query has")
    assert_fails(indexed("index", "--learn", "none.csv"), 2, "none.csv")
    assert_fails(indexed("index", "--text-encoder", "."), 1, "config.json")
