"""What is found, and in which order."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import DataError, ItemNotFoundError, PropertyNotFoundError, UsageError
from serving.search.encoders import Encoders
from serving.search.filters import Filters
from serving.search.searcher import Searcher
from serving.search.vectors import TextSource, encode_missing
from tests.serving.search.made import (
    ONTOLOGY,
    SHOP,
    WordEncoder,
    found,
    item,
    make_index,
    searcher_of,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    return searcher_of(tmp_path_factory.mktemp("search"))


HOSTILE = [
    '"', '""', "'", "*", "mug*", "mug AND", "NOT mug", "title:mug", "{title} : mug",
    "mug NEAR/2 red", "mug OR (", "^mug", "-mug", "mug; DROP TABLE items", "' OR 1=1 --",
    "mug\x00red", "\ud83d\ude00", "a" * 10_000, "mug " * 1_000, "%", "_", "\\",
    "\N{COMBINING ACUTE ACCENT}", "values", "rank",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_syntax_in_a_query_is_but_text(shop: Searcher, text: str) -> None:
    with suppress(UsageError):  # if it has no word
        shop.search(text)
    assert shop.items == len(SHOP)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=40) | st.lists(st.sampled_from([*HOSTILE[:24], "mug", "tv"])).map(" ".join))
def test_no_text_breaks_a_search(shop: Searcher, text: str) -> None:
    try:
        hits = shop.search(text, 5, Filters.parse(["colour=x'\"" + (text.strip() or "y")])).hits
    except UsageError:
        return
    assert hits == [] or all(0 <= hit.score <= 2 for hit in hits)


def test_what_an_item_is_comes_before_what_it_is_for(shop: Searcher) -> None:
    assert found(shop, "tv")[:2] in (["1", "9"], ["9", "1"])
    assert found(shop, "tv stand")[0] == "2"


def test_words_of_the_title_category_values_and_model_numbers_are_found(shop: Searcher) -> None:
    assert set(found(shop, "clay mugs")[:2]) == {"4", "5"}
    assert "5" in found(shop, "espresso")
    assert found(shop, "bluetooth") == ["8"]
    assert found(shop, "4006381333931") == ["1"]
    assert found(shop, "tn 2110")[0] == "3"
    assert found(shop, "陶瓷") == ["6"]
    assert found(shop, "杯") == ["6"]
    assert found(shop, "o'neil")[0] == "7"


def test_misspelled_words_are_found_and_said(shop: Searcher) -> None:
    results = shop.search("wirless hedset")
    assert results.hits[0].item == "8"
    assert results.corrected == {"wirless": "wireless", "hedset": "headset"}


def test_a_query_without_words_or_with_odd_counts_is_refused(shop: Searcher) -> None:
    for text in ("", "  ", "?!"):
        with pytest.raises(UsageError, match="no word"):
            shop.search(text)
    for count in (0, -1, 10_001):
        with pytest.raises(UsageError, match="results"):
            shop.search("mug", count)


def test_filters(shop: Searcher) -> None:
    def ids(*filters: str, category: str | None = None) -> set[str]:
        return {hit.item for hit in shop.search("mug", 10, Filters.parse(filters, category)).hits}

    assert ids() == {"4", "5", "6", "7"}
    assert ids("colour=RED") == {"4", "6"}
    assert ids("colour=red", "colour=blue") == {"4", "5", "6"}
    assert ids('colour=it\'s "odd"') == {"7"}
    assert ids("colour=red", "bluetooth=true") == set()
    assert ids(category="Kitchen > Mugs") == {"4", "5", "6"}
    assert ids(category="Kitchen") == {"4", "5", "6"}
    assert ids(category="Kitchen > M") == set()
    assert ids(category="Mugs & more") == {"7"}
    assert ids(category="%") == set()
    with pytest.raises(UsageError, match="property=value"):
        Filters.parse(["colour"])
    with pytest.raises(PropertyNotFoundError, match="no item has a property 'x'"):
        ids("x=1")


def test_facets_count_what_was_found(shop: Searcher) -> None:
    facets = {each.property: dict(each.values) for each in shop.search("stand", facets=True).facets}
    assert facets == {}
    found_facets = shop.search("mug tv stand", facets=True).facets
    counts = {each.property: dict(each.values) for each in found_facets}
    hits = shop.search("mug tv stand", 100).hits
    blacks = [hit for hit in hits if dict(SHOP[int(hit.item) - 1].statements)["colour"] == "black"]
    assert counts["colour"]["black"] == len(blacks)


def test_a_score_is_the_same_wherever_it_is_computed(shop: Searcher) -> None:
    for text in ("clay mug", "tv", "tn2110 toner"):
        hits = shop.search(text).hits
        scores = shop.score(text, [hit.item for hit in hits])
        assert [round(score, 6) for score in scores] == [hit.score for hit in hits]
    with pytest.raises(ItemNotFoundError, match="no item 'x'"):
        shop.score("mug", ["x"])


def test_similar_items(shop: Searcher) -> None:
    hits = [hit.item for hit in shop.similar("4", 3).hits]
    assert hits[0] == "5"
    assert "4" not in hits
    filtered = shop.similar("4", 10, Filters.parse(["colour=black"])).hits
    assert {hit.item for hit in filtered} <= {"1", "2", "3", "10", "11", "12"}
    with pytest.raises(ItemNotFoundError):
        shop.similar("x")


def test_the_order_does_not_depend_on_chance(tmp_path: Path) -> None:
    same = [item(str(number), "Plain mug") for number in range(300)]
    searcher = searcher_of(tmp_path, same)
    assert found(searcher, "mug", 5) == ["0", "1", "10", "100", "101"]


def test_without_an_index_it_is_said_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="catalograph index"):
        Searcher(tmp_path)


def test_vectors_find_what_words_do_not(tmp_path: Path) -> None:
    encoder = WordEncoder({"laptop": "notebook"})
    items = [item("1", "Acme notebook"), item("2", "Laptop sleeve"), item("3", "Green tea")]
    make_index(tmp_path, items)
    assert encode_missing(tmp_path, TextSource(encoder, items), items).encoded == 3
    searcher = Searcher(tmp_path, ONTOLOGY, Encoders(encoder))
    assert searcher.encoded() == 3
    assert "1" in found(searcher, "laptop")
    assert "1" not in found(Searcher(tmp_path, ONTOLOGY), "laptop")
    allowed = searcher.search("laptop", 10, Filters.parse([], "Kitchen")).hits
    assert allowed == []
    hits = searcher.search("laptop").hits
    scores = searcher.score("laptop", [hit.item for hit in hits])
    assert [round(score, 6) for score in scores] == [hit.score for hit in hits]


def test_an_index_that_changes_is_read_again(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path, SHOP[:4])
    assert found(searcher, "headset") == []
    make_index(tmp_path, SHOP, number=2)
    assert found(searcher, "headset") == ["8"]
