"""An RDF export that is ingested again restores items, statements, ranks and provenance."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.export.write import export
from kg.ingest.pipeline import ingest
from kg.stores.open import open_store
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement
from tests.kg.export.odd_store import MemoryHome, odd_store, rows

RDF_FORMATS = ["ttl", "nt", "nq", "jsonld"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
OPTIONAL_TEXT = st.none() | TEXT
NUMBER = st.none() | st.floats(0, 1)
TIME = st.sampled_from(["", "2026-01-01T00:00:00+00:00", "yesterday"])
PROVENANCE = st.builds(
    Provenance,
    source=TEXT,
    batch=TEXT,
    row=st.none() | st.integers(0, 2**53),
    model=OPTIONAL_TEXT,
    confidence=NUMBER,
    evidence=OPTIONAL_TEXT,
    reviewer=OPTIONAL_TEXT,
    time=TIME,
)
ITEM = st.builds(Item, TEXT, OPTIONAL_TEXT, OPTIONAL_TEXT, st.lists(TEXT, max_size=3).map(tuple))
STATEMENT = st.builds(Statement, TEXT, TEXT, TEXT, st.sampled_from(list(Rank)), PROVENANCE)


def with_addresses(store):
    """Return a copy of a store whose images are addresses, which are kept however they look."""
    items, statements = rows(store)
    for row in items:
        row["images"] = [f"https://x.org/{image}" for image in row["images"]]
    copy = open_store("memory:")
    copy.put(
        pa.Table.from_pylist(items, ITEM_SCHEMA), pa.Table.from_pylist(statements, STATEMENT_SCHEMA)
    )
    return copy


def round_trip(store, format, folder):
    """Return a new store into which the export of a store was ingested, and the report."""
    path = Path(folder) / f"out.{format}"
    target = open_store("memory:")
    export(store, format, path)
    return target, ingest(MemoryHome.of(Path(folder) / "home", target), [path])


@pytest.mark.parametrize("format", RDF_FORMATS)
def test_a_round_trip_loses_nothing(format, tmp_path):
    store = with_addresses(odd_store())
    restored, report = round_trip(store, format, tmp_path)
    assert rows(restored) == rows(store)
    assert restored.content_hash() == store.content_hash()
    assert report.mapping == "catalograph"
    assert (report.read, report.stored, report.rejected) == (11, 11, 0)
    assert (report.new_items, report.new_statements) == (5, 6)


@pytest.mark.parametrize("format", RDF_FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(items=st.lists(ITEM, max_size=4), statements=st.lists(STATEMENT, max_size=4))
def test_any_text_is_restored(format, items, statements):
    store = open_store("memory:")
    store.put(items_table(items), statements_table(statements))
    store = with_addresses(store)
    with TemporaryDirectory() as folder:
        if store.counts().items:
            assert rows(round_trip(store, format, folder)[0]) == rows(store)


def test_ingesting_it_again_adds_nothing(tmp_path):
    store = odd_store()
    export(store, "ttl", tmp_path / "out.ttl")
    report = ingest(MemoryHome.of(tmp_path / "home", store), [tmp_path / "out.ttl"])
    assert (report.new_items, report.new_statements) == (0, 0)
