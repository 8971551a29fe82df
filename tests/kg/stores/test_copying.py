from itertools import pairwise

import pytest

from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores.copying import copy_store
from kg.stores.history import runs_of
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreDamagedError, StoreError
from schema.terms import Item, Rank
from tests.contracts.rows import statement
from tests.contracts.store_machine import all_rows
from tests.real_data import DATA, needs_data
from tests.servers import emptied

ITEMS = [
    Item("a", "one ☕", "c > d", ("1.jpg", "2.jpg")),
    Item("b"),
    Item("100%/ä b", "odd"),
    Item("\uffee"),
    Item("\U0001f600"),
]
STATEMENTS = [
    statement(),
    statement(
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
    statement("100%/ä b", "p q", 'x\ny\t"z"', Rank.REJECTED, reviewer="mo", batch="b/1"),
]


@pytest.fixture
def source():
    with open_store("memory:") as store:
        store.put(items_table(ITEMS), statements_table(STATEMENTS))
        yield store


def test_copy_has_all_that_its_source_has(source, tmp_path):
    with open_store(f"ladybug:{tmp_path}/g") as target:
        report = copy_store(source, target)
        assert all_rows(target) == all_rows(source)
    assert (report.items, report.statements, report.content_hash) == (5, 3, source.content_hash())


def test_a_statement_with_another_id_is_not_copied(source, tmp_path):
    (row, *_) = source._statements.values()
    row["value"] = "rad"
    with (
        open_store(f"ladybug:{tmp_path}/g") as target,
        pytest.raises(StoreDamagedError, match=f"{row['id']}.*verify"),
    ):
        copy_store(source, target)


def copy_along(*urls):
    """Copy the first store to the second and so on; return the content hash of all copies."""
    hashes = set()
    for source_url, target_url in pairwise(urls):
        with open_store(source_url, read_only=True) as source, open_store(target_url) as target:
            hashes.add(copy_store(source, target).content_hash)
    (content_hash,) = hashes
    return content_hash


def test_graph_is_unchanged_after_a_round_through_all_stores(source, tmp_path, neo4j, fuseki):
    with open_store(f"ladybug:{tmp_path}/one") as first:
        copy_store(source, first)
    copy_along(
        first.url,
        emptied(neo4j.url),
        f"rdf:{tmp_path}/two",
        emptied(fuseki.url),
        f"ladybug:{tmp_path}/three",
    )
    with open_store(f"ladybug:{tmp_path}/three") as last:
        assert all_rows(last) == all_rows(source)


@needs_data
def test_real_catalogue_is_unchanged_after_a_round(tmp_path, neo4j):
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [DATA / "k3m" / "train.tsv"])
    with home.store(read_only=True) as first:
        before = first.content_hash()
    urls = [first.url, emptied(neo4j.url), f"rdf:{tmp_path}/two", f"ladybug:{tmp_path}/three"]
    assert copy_along(*urls) == before


def test_interrupted_copy_of_a_history_resumes_where_it_was(source, tmp_path):
    source.put(items_table([Item("b", "later")]), None, run="two")
    source.retract([STATEMENTS[0].id], run="three")

    def interrupt(done, total):
        if done == total:
            raise KeyboardInterrupt

    with open_store(f"ladybug:{tmp_path}/g") as target:
        with pytest.raises(KeyboardInterrupt):
            copy_store(source, target, tmp_path, interrupt)
        assert len(list(target.changes())) == 1
        assert copy_store(source, target, tmp_path).versions == 3
        assert all_rows(target) == all_rows(source)
        told = [(each.run, each.at, each.changes.num_rows) for each in target.changes()]
        assert told == [(each.run, each.at, each.changes.num_rows) for each in source.changes()]
        assert [each.run for each in runs_of(target)] == ["", "two", "three"]


def test_interrupted_copy_resumes_where_it_was(source, tmp_path, monkeypatch):
    monkeypatch.setattr("kg.stores.copying.PUT_ROWS", 1)

    def interrupt(done, total):
        assert total == 8
        if done == 7:
            raise KeyboardInterrupt

    with open_store(f"ladybug:{tmp_path}/g") as target:
        # It has something already, and so no room for the history.
        target.put(items_table(ITEMS[:1]), None)
        with pytest.raises(KeyboardInterrupt):
            copy_store(source, target, tmp_path, interrupt)
        calls = []
        put = target.put

        def counted_put(items, statements):
            calls.append((items, statements))
            return put(items, statements)

        monkeypatch.setattr(target, "put", counted_put)
        copy_store(source, target, tmp_path)
        assert len(calls) == 1
        assert all_rows(target) == all_rows(source)
    assert not list(tmp_path.glob("copy-*"))


def test_target_with_other_content_is_reported(source):
    with open_store("memory:") as target:
        target.put(None, statements_table([statement("stranger")]))
        with pytest.raises(StoreError, match="6 items and 4 statements, the source 5 and 3"):
            copy_store(source, target)


def test_empty_store_can_be_copied(tmp_path):
    with open_store("memory:") as empty, open_store(f"rdf:{tmp_path}/g") as target:
        assert copy_store(empty, target).statements == 0
