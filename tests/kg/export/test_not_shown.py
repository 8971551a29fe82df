"""Where sources differ, tables of items have what the catalogue shows, and count the rest."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.export.write import ExportReport, export
from kg.source_conflicts import conflicts_of
from kg.stores.memory import MemoryStore
from kg.stores.references import SourceOrder
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology, PropertySpec
from schema.terms import TRUSTED_RANKS, Item, Provenance, Rank, Statement

ONTOLOGY = Ontology(
    [
        PropertySpec("price", "decimal"),
        PropertySpec("weight", "quantity", "kg", values=("1.2 kg", "2 kg"), counts=(1, 1)),
        PropertySpec("colour", cardinality="many"),
    ]
)
FORMATS = ("csv-wide", "xlsx", "google-merchant", "shopify", "pykeen")


def said(value: str, source: str, property: str = "price", item: str = "a") -> Statement:
    provenance = Provenance(source, f"run {source}", time="2026-01-01")
    return Statement(item, property, value, Rank.ASSERTED, provenance)


def filled(*statements: Statement, order: tuple[str, ...] = ()) -> MemoryStore:
    store = MemoryStore()
    store.order = SourceOrder(order)
    store.put(items_table([Item("a", "Mug"), Item("b", "Cup")]), None)
    for each in statements:
        store.put(None, statements_table([each]))
    return store


def differing() -> MemoryStore:
    return filled(
        said("8.90", "supplier"),
        said("9.90", "erp"),
        said("1200 g", "supplier", "weight"),
        said("1.2 kg", "erp", "weight"),
        said("red", "supplier", "colour"),
        said("blue", "erp", "colour"),
        order=("erp",),
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def wide(
    store: MemoryStore, folder: Path, all_sources: bool = False
) -> tuple[ExportReport, dict[str, str]]:
    path = folder / "wide.csv"
    report = export(store, "csv-wide", path, ontology=ONTOLOGY, all_sources=all_sources)
    return report, rows_of(folder / "wide.csv")[0]


def test_a_wide_table_has_the_values_of_the_source_that_counts(tmp_path: Path) -> None:
    report, row = wide(differing(), tmp_path)
    assert (row["price"], row["weight"], row["colour"]) == ("9.90", "1.2 kg", "blue|red")
    assert report.statements == 4
    differ, equal = report.notes
    assert differ.startswith("1 values (price 1) differ from those of the source that is shown")
    assert equal.startswith("1 values (weight 1) say in another way")
    assert "--all-sources" in differ


def test_all_sources_are_written_if_asked_for(tmp_path: Path) -> None:
    report, row = wide(differing(), tmp_path, all_sources=True)
    assert (row["price"], row["weight"]) == ("8.90|9.90", "1.2 kg|1200 g")
    assert report.notes == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_what_is_true_leaves_it_out(tmp_path: Path, name: str) -> None:
    shown = export(differing(), name, tmp_path / "shown", ontology=ONTOLOGY)
    all_of_them = export(differing(), name, tmp_path / "all", ontology=ONTOLOGY, all_sources=True)
    assert (shown.statements, all_of_them.statements) == (4, 6)
    assert sum("left out: --all-sources" in note for note in shown.notes) == 2


@pytest.mark.parametrize("name", ["csv", "parquet", "nq", "neo4j-import"])
def test_formats_with_sources_have_all(tmp_path: Path, name: str) -> None:
    report = export(differing(), name, tmp_path / "all", ontology=ONTOLOGY)
    assert report.statements == 6
    assert report.notes == []


def test_a_price_that_two_sources_write_differently_is_a_price_of_a_feed(tmp_path: Path) -> None:
    store = filled(said("9.90 EUR", "erp"), said("9.9 EUR", "supplier"))
    path = tmp_path / "feed.tsv"
    export(store, "google-merchant", path, ontology=ONTOLOGY)
    with path.open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert row["price"] in ("9.90 EUR", "9.9 EUR")
    assert row["product_detail"] == ""


statements = st.builds(
    said,
    value=st.sampled_from(["1.2 kg", "1200 g", "2 kg", "9.90", "9.9", "blue", "0"]),
    source=st.sampled_from(["erp", "supplier", "shop"]),
    property=st.sampled_from(["price", "weight", "colour", "unknown"]),
    item=st.sampled_from(["a", "b"]),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    facts=st.lists(statements, max_size=12),
    order=st.permutations(["erp", "supplier", "shop"]).map(tuple),
    declared=st.integers(0, 3),
)
def test_a_wide_table_has_what_is_shown_and_nothing_else(
    tmp_path: Path, facts: list[Statement], order: tuple[str, ...], declared: int
) -> None:
    store = filled(*facts, order=order[:declared])
    export(store, "csv-wide", tmp_path / "wide.csv", ontology=ONTOLOGY)
    written = {
        (row["id"], name, value)
        for row in rows_of(tmp_path / "wide.csv")
        for name in ("price", "weight", "colour", "unknown")
        for value in (row.get(name) or "").split("|")
        if value
    }
    kept = [row for batch in store.scan() for row in batch.to_pylist()]
    expected = {
        (row["item"], row["property"], row["value"]) for row in kept if row["rank"] in TRUSTED_RANKS
    }
    for item in (row for batch in store.items() for row in batch.to_pylist()):
        own = [row for row in kept if row["item"] == item["id"]]
        for conflict in conflicts_of(item, own, ONTOLOGY, store.order):
            hidden = [*conflict.losing, *conflict.equal]
            expected -= {(row["item"], row["property"], row["value"]) for row in hidden}
    assert written == expected
