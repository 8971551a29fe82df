from itertools import pairwise

import pytest

from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores.copying import copy_store
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreError
from schema.terms import Item, Rank
from tests.contracts.store_contract import fact
from tests.contracts.store_machine import whole
from tests.real_data import DATA, needs_data
from tests.servers import emptied

ITEMS = [
    Item("a", "one ☕", "c > d", ("1.jpg", "2.jpg")),
    Item("b"),
    Item("100%/ä b", "odd"),
    Item("\uffee"),
    Item("\U0001f600"),
]
FACTS = [
    fact(),
    fact(
        "b",
        "größe",
        "3 cm",
        Rank.PREDICTED,
        model="m",
        confidence=0.1 + 0.2,
        evidence='{"k": [1]}',
        row=7,
        time="2026-01-02T03:04:05Z",
    ),
    fact("100%/ä b", "p q", 'x\ny\t"z"', Rank.REJECTED, reviewer="mo", batch="b/1"),
]


@pytest.fixture
def source():
    with open_store("memory:") as store:
        store.put(items_table(ITEMS), statements_table(FACTS))
        yield store


def test_a_copy_holds_all_that_its_source_holds(source, tmp_path):
    with open_store(f"ladybug:{tmp_path}/g") as target:
        report = copy_store(source, target)
        assert whole(target) == whole(source)
    assert (report.items, report.statements, report.content_hash) == (5, 3, source.content_hash())


def go_round(*urls):
    """The content hash that every copy in the row has."""
    hashes = set()
    for one, other in pairwise(urls):
        with open_store(one, read_only=True) as first, open_store(other) as second:
            hashes.add(copy_store(first, second).content_hash)
    (found,) = hashes
    return found


def test_a_graph_goes_round_all_stores_and_comes_back_the_same(source, tmp_path, neo4j, fuseki):
    with open_store(f"ladybug:{tmp_path}/one") as first:
        copy_store(source, first)
    go_round(
        first.url,
        emptied(neo4j.url),
        f"rdf:{tmp_path}/two",
        emptied(fuseki.url),
        f"ladybug:{tmp_path}/three",
    )
    with open_store(f"ladybug:{tmp_path}/three") as last:
        assert whole(last) == whole(source)


@needs_data
def test_a_real_catalogue_goes_round_and_comes_back_the_same(tmp_path, neo4j):
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [DATA / "k3m" / "train.tsv"])
    with home.store(read_only=True) as first:
        before = first.content_hash()
    assert (
        go_round(first.url, emptied(neo4j.url), f"rdf:{tmp_path}/two", f"ladybug:{tmp_path}/three")
        == before
    )


def test_a_copy_that_was_cut_off_goes_on(source, tmp_path, monkeypatch):
    monkeypatch.setattr("kg.stores.copying.PUT_ROWS", 1)

    def cut(what, done, total):
        if what == "statements" and done == 2:
            raise KeyboardInterrupt

    with open_store(f"ladybug:{tmp_path}/g") as target:
        with pytest.raises(KeyboardInterrupt):
            copy_store(source, target, tmp_path, cut)
        puts = []
        monkeypatch.setattr(
            target,
            "put",
            lambda *tables, put=target.put: puts.append(tables) if put(*tables) else None,
        )
        copy_store(source, target, tmp_path)
        assert len(puts) == 1
        assert whole(target) == whole(source)
    assert not list(tmp_path.glob("copy-*"))


def test_a_target_that_holds_something_else_is_no_copy(source):
    with open_store("memory:") as target:
        target.put(None, statements_table([fact("stranger")]))
        with pytest.raises(StoreError, match="6 items and 4 statements, the source 5 and 3"):
            copy_store(source, target)


def test_a_bare_store_is_copied(tmp_path):
    with open_store("memory:") as empty, open_store(f"rdf:{tmp_path}/g") as target:
        assert copy_store(empty, target).statements == 0
