"""What is exported as RDF comes back: items, statements, ranks and provenance."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.export.write import export
from kg.ingest.pipeline import ingest
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement
from tests.kg.export.odd_store import MemoryHome, odd_store, rows

RDF_FORMATS = ["ttl", "nt", "nq", "jsonld"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
MAYBE = st.none() | TEXT
NUMBER = st.none() | st.floats(0, 1)
TIME = st.sampled_from(["", "2026-01-01T00:00:00+00:00", "yesterday"])
PROVENANCE = st.builds(
    Provenance, TEXT, TEXT, st.none() | st.integers(0, 2**53), MAYBE, NUMBER, MAYBE, MAYBE, TIME
)
ITEM = st.builds(Item, TEXT, MAYBE, MAYBE, st.lists(TEXT, max_size=3).map(tuple))
STATEMENT = st.builds(Statement, TEXT, TEXT, TEXT, st.sampled_from(list(Rank)), PROVENANCE)


def back(store, format, folder):
    """What a store holds into which another's export was ingested, and the report."""
    path = Path(folder) / f"out.{format}"
    target = open_store("memory:")
    export(store, format, path)
    return target, ingest(MemoryHome.of(Path(folder) / "home", target), [path])


@pytest.mark.parametrize("format", RDF_FORMATS)
def test_a_round_trip_loses_nothing(format, tmp_path):
    found, report = back(odd_store(), format, tmp_path)
    assert rows(found) == rows(odd_store())
    assert found.content_hash() == odd_store().content_hash()
    assert report.mapping == "catalograph"
    assert (
        report.read,
        report.stored,
        report.rejected,
        report.new_items,
        report.new_statements,
    ) == (11, 11, 0, 5, 6)


@pytest.mark.parametrize("format", RDF_FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items=st.lists(ITEM, max_size=4), statements=st.lists(STATEMENT, max_size=4))
def test_any_text_comes_back(format, items, statements):
    store = open_store("memory:")
    store.put(items_table(items), statements_table(statements))
    with TemporaryDirectory() as folder:
        if store.counts().items:
            assert rows(back(store, format, folder)[0]) == rows(store)


def test_ingesting_it_again_adds_nothing(tmp_path):
    store = odd_store()
    export(store, "ttl", tmp_path / "out.ttl")
    report = ingest(MemoryHome.of(tmp_path / "home", store), [tmp_path / "out.ttl"])
    assert (report.new_items, report.new_statements) == (0, 0)
