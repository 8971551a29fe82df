"""Conflicts between sources: what is shown, trained on, validated and reported."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest.ontology_diff import diff_ontology
from kg.ingest.pipeline import ingest
from kg.quality.validation import load_shapes, validate
from kg.snapshot import read_snapshot
from kg.source_conflicts import (
    by_source,
    conflicts,
    conflicts_of,
    losing_statements,
    stated_triples,
)
from kg.source_order import set_source_order
from kg.stores.memory import MemoryStore
from kg.stores.open import open_store
from kg.stores.references import SourceOrder
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology, PropertySpec
from schema.terms import TRUSTED_RANKS, Item, Provenance, Rank, Statement

MASTER = "sku,title,price,weight,colour\nU1,Cup,9.90,1.2 kg,Blue\nU2,Can,4.50,2 kg,Red\n"
SUPPLIER = "sku,title,price,weight,colour\nU1,Cup,8.90,1200 g,Blue\nU2,Can,4.50,2 kg,\n"

ONTOLOGY = Ontology(
    [
        PropertySpec("price", "decimal"),
        PropertySpec("weight", "quantity", "kg", values=("1.2 kg", "2 kg"), counts=(1, 1)),
        PropertySpec("colour", cardinality="many"),
    ]
)


def stated(
    value, source, time="2026-01-01", property="price", rank=Rank.ASSERTED, item="a", **more
):
    provenance = Provenance(source, f"run {source}", time=time, **more)
    return Statement(item, property, value, rank, provenance)


def filled(*statements, order=()):
    store = MemoryStore()
    store.order = SourceOrder(order)
    for each in statements:
        store.put(None, statements_table([each]))
    return store


def losing(store, ontology=ONTOLOGY):
    return [value for _, _, value in losing_statements(store, ontology)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Home.open(tmp_path / "home", create=True)


def load(home, tmp_path, name, text, **options):
    (tmp_path / name).write_text(text)
    return ingest(home, [tmp_path / name], **options)


def trained(home, item="U1"):
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology())
    return dict(snapshot.statements_of(snapshot.items.index(item)))


@pytest.mark.parametrize(("order", "lost"), [((), "9"), (("x", "old"), "8"), (("new",), "9")])
def test_the_declared_order_decides_and_else_the_newest(order, lost):
    store = filled(stated("8", "new", "2026-02-01"), stated("9", "old"), order=order)
    assert losing(store) == [lost]
    assert store.counts().statements == 2


def test_all_values_of_the_source_that_counts_stay():
    store = filled(stated("1", "a"), stated("2", "b"), stated("3", "b"), stated("1", "b"))
    assert losing(store) == []
    assert losing(filled(stated("1", "a"), stated("2", "b"), stated("3", "b"))) == ["1"]


def test_what_a_reviewer_accepted_comes_first_and_what_is_inherited_last():
    accepted = stated("7", "model", "2025-01-01", rank=Rank.ACCEPTED)
    inherited = stated("6", "b", "2027-01-01", evidence="inherited from p")
    assert losing(filled(accepted, stated("8", "a"), inherited, order=("b", "a"))) == ["6", "8"]
    assert losing(filled(stated("8", "a"), inherited, order=("b", "a"))) == ["6"]
    refused = stated("5", "model", "2027-01-01", rank=Rank.REJECTED)
    assert losing(filled(stated("8", "a"), refused)) == []


def test_equal_values_and_properties_with_many_are_no_conflict():
    weights = [stated("1.2 kg", "a", property="weight"), stated("1200 g", "b", property="weight")]
    colours = [stated("red", "a", property="colour"), stated("blue", "b", property="colour")]
    assert losing(filled(*weights, *colours)) == []
    assert losing(filled(*weights, stated("3 kg", "c", "2025", property="weight"))) == ["3 kg"]


def test_of_equally_new_ones_the_last_to_describe_the_item_counts():
    store = filled(stated("8", "a"), stated("9", "b"))
    for source in ("b", "a"):
        item = Item("a", f"by {source}", provenance=Provenance(source))
        store.put(items_table([item]), None)
    assert losing(store) == ["9"]


def test_a_store_with_one_source_is_not_read_again(monkeypatch):
    store = filled(stated("8", "a"), stated("9", "a"), stated("7", "m", rank=Rank.PREDICTED))
    monkeypatch.setattr(store, "sourced_triples", None)
    assert losing(store) == []
    assert len(read_snapshot(store, ontology=ONTOLOGY).triples) == 2
    assert [batch.schema.names for batch in stated_triples(store)] == [
        ["item", "property", "value"]
    ]


def reviewed(statement):
    """Return a statement as it is accepted: a model is the source of what it predicted."""
    if statement.rank in (Rank.ACCEPTED, Rank.PREDICTED):
        provenance = dataclasses.replace(statement.provenance, source="model")
        return dataclasses.replace(statement, provenance=provenance)
    return statement


sources = st.sampled_from(["a", "b", "c"])
facts = st.builds(
    stated,
    st.sampled_from(["1", "1.0", "2", "3"]),
    sources,
    st.sampled_from(["2026-01-01", "2026-01-02"]),
    st.sampled_from(["price", "colour"]),
    st.sampled_from([Rank.ASSERTED, Rank.ASSERTED, Rank.ACCEPTED, Rank.PREDICTED]),
    st.sampled_from(["x", "y", "é"]),
).map(reviewed)


@settings(max_examples=20, deadline=None)
@given(st.lists(facts, max_size=14), st.permutations(["a", "b"]), st.booleans())
def test_the_snapshot_is_the_store_without_what_loses(statements, order, is_declared):
    store = filled(*statements, order=order if is_declared else ())
    items = {row["id"]: row for batch in store.items() for row in batch.to_pylist()}
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    lost = set()
    for id, item in items.items():
        about = [row for row in rows if row["item"] == id]
        for found in conflicts_of(item, about, ONTOLOGY, store.order):
            assert found.shown
            lost |= {(id, found.property, row["value"]) for row in found.losing}
    assert set(losing_statements(store, ONTOLOGY)) == lost
    snapshot = read_snapshot(store, ontology=ONTOLOGY)
    kept = {
        (id, name, value)
        for place, id in enumerate(snapshot.items)
        for name, value in snapshot.statements_of(place)
    }
    trusted = {
        (row["item"], row["property"], row["value"]) for row in rows if row["rank"] in TRUSTED_RANKS
    }
    assert kept == {(id, name, ONTOLOGY.shown(name, value)) for id, name, value in trusted - lost}
    # Whoever states a value of an item keeps at least one.
    assert {pair[:2] for pair in kept} == {triple[:2] for triple in trusted}


def test_each_side_states_a_triple_once():
    store = filled(
        stated("8", "a"),
        stated("8", "b"),
        stated("9", "b"),
        stated("7", "m", rank=Rank.ACCEPTED),
        stated("6", "b", evidence="inherited from p"),
    )
    batches = by_source(store.sourced_triples(TRUSTED_RANKS))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert sorted((row["value"], row["stated_by"]) for row in rows) == [
        ("6", "INHERITED b"),
        ("7", "ACCEPTED"),
        ("8", "STATED a"),
        ("8", "STATED b"),
        ("9", "STATED b"),
    ]


@pytest.mark.parametrize("scheme", ["memory", "ladybug", "rdf"])
def test_every_store_finds_the_same_conflicts(tmp_path, scheme):
    with open_store("memory:" if scheme == "memory" else f"{scheme}:{tmp_path / 'graph'}") as store:
        for source, value in (("a", "1"), ("b", "2"), ("c", "1")):
            item = dataclasses.replace(Item("é", source), provenance=Provenance(source))
            store.put(
                items_table([item]),
                statements_table([stated(value, source, item="é"), stated("4", source, item="f")]),
            )
        (found,) = conflicts(store, ONTOLOGY)
        assert found.told() == "'1' in c, '2' in b"
        assert [*conflicts(store, ONTOLOGY, run="run b")]
        assert not [*conflicts(store, ONTOLOGY, run="run d")]
        store.order = SourceOrder(("b",))
        assert losing(store) == ["1"]


def test_two_sources_with_a_value_each_leave_one_value_of_each_item(home, tmp_path):
    load(home, tmp_path, "master.csv", MASTER)
    told = load(home, tmp_path, "supplier.csv", SUPPLIER, dry_run=True)
    done = load(home, tmp_path, "supplier.csv", SUPPLIER)
    assert {spec.cardinality for spec in home.ontology().properties.values()} == {"one"}
    expected = (
        "sources state 1 values differently (price 1; the first: U1, price: "
        "'8.90' in supplier.csv, '9.90' in master.csv): all are kept, and the newest is shown and "
        "trained on; `catalograph sources --order` changes that"
    )
    assert expected in told.notes
    assert expected in done.notes
    again = load(home, tmp_path, "supplier.csv", SUPPLIER)
    assert not any("differently" in note for note in again.notes)
    assert trained(home)["price"] == "8.90"
    set_source_order(home, ["master.csv"])
    assert trained(home)["price"] == "9.90"
    assert trained(home)["colour"] == "Blue"


@pytest.mark.parametrize("order", [[], ["master.csv"]])
def test_an_ingest_tells_what_contradicts_reviewers_and_their_decisions_stand(
    home, tmp_path, order
):
    load(home, tmp_path, "master.csv", MASTER)
    set_source_order(home, order)
    decided = [
        stated("7.50", "reviewer", rank=Rank.ACCEPTED, item="U1"),
        stated("Blue", "reviewer", property="colour", rank=Rank.REJECTED, item="U1"),
    ]
    with home.store() as store:
        store.put(None, statements_table(decided))
    told = load(home, tmp_path, "supplier.csv", SUPPLIER, dry_run=True)
    done = load(home, tmp_path, "supplier.csv", SUPPLIER)
    expected = [
        "sources contradict 1 values that reviewers accepted (price 1; the first: U1, price: "
        "'7.50' in the accepted values, '8.90' in supplier.csv, '9.90' in master.csv): all are "
        "kept, and the accepted one is shown and trained on; `catalograph validate` lists them",
        "sources state 1 values that reviewers rejected (colour 1; the first: U1, colour: 'Blue' "
        "in master.csv and supplier.csv): they stay rejected",
    ]
    for report in (told, done):
        assert [each for each in report.notes if "reviewers" in each] == expected
    assert trained(home)["price"] == "7.50"
    assert "colour" not in trained(home)
    # What they say again is nothing new.
    again = load(home, tmp_path, "supplier.csv", SUPPLIER + "U3,Jug,1.00,1 kg,\n")
    assert not any("reviewers" in note for note in again.notes)


def test_sources_of_one_run_count_in_their_order(home, tmp_path):
    (tmp_path / "a.csv").write_text(SUPPLIER)
    (tmp_path / "b.csv").write_text(MASTER)
    report = ingest(home, [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert sum("differently" in note for note in report.notes) == 1
    assert trained(home)["price"] == "9.90"


def test_a_source_with_several_values_of_an_item_still_has_many(home, tmp_path):
    rows = "".join(f"U{n},Cup,red\nU{n},Cup,blue\n" for n in range(5))
    mapping = tmp_path / "m.toml"
    mapping.write_text('[triples]\nitem = "sku"\nproperty = "p"\nvalue = "v"\n')
    text = "sku,p,v\n" + rows.replace("Cup", "colour")
    load(home, tmp_path, "many.csv", text, mapping=str(mapping))
    load(home, tmp_path, "one.csv", "sku,title,colour\nU1,Cup,green\n")
    assert home.ontology()["colour"].cardinality == "many"


def test_new_data_of_a_source_do_not_look_like_more_values(home, tmp_path):
    load(home, tmp_path, "master.csv", MASTER)
    for name in ("master.csv", "supplier.csv"):
        (tmp_path / name).write_text(SUPPLIER)
        report = diff_ontology(home, [tmp_path / name])
        assert [each for each in report.diff.changes if each.field == "cardinality"] == []


def test_validate_names_both_sources_and_is_content_with_equal_values(home, tmp_path):
    load(home, tmp_path, "master.csv", MASTER)
    load(home, tmp_path, "supplier.csv", SUPPLIER)
    ontology = home.ontology()
    shapes, _ = load_shapes(home, ontology)
    with home.store(read_only=True) as store:
        report = validate(store, ontology, shapes)
    assert "cardinality" not in {check for _, check, _ in report.rules}
    (finding,) = [each for each in report.results if each.check == "conflict"]
    assert (finding.item, finding.property, finding.severity) == ("U1", "price", "warning")
    assert finding.message == (
        "sources differ: '8.90' in supplier.csv, '9.90' in master.csv; "
        "that of supplier.csv is shown"
    )


def test_too_many_values_of_one_source_are_still_found(home, tmp_path):
    load(home, tmp_path, "master.csv", MASTER)
    load(home, tmp_path, "supplier.csv", SUPPLIER)
    with home.store() as store:
        store.put(None, statements_table([stated("7.90", "supplier.csv", "2999", item="U1")]))
        ontology = home.ontology()
        shapes, _ = load_shapes(home, ontology)
        report = validate(store, ontology, shapes)
    messages = [each.message for each in report.results if each.check == "cardinality"]
    assert messages == ["2 values, but the ontology allows one: '7.90', '8.90'"] or messages == [
        "2 values, but the ontology allows one: '8.90', '7.90'"
    ]


def test_a_variant_trains_on_what_its_product_does(home, tmp_path):
    text = "sku,parent,title,price\nP,,Cup,{}\nV,P,Cup red,\n"
    load(home, tmp_path, "master.csv", text.format("9.90"))
    load(home, tmp_path, "supplier.csv", text.format("8.90"))
    set_source_order(home, ["master.csv"])
    assert trained(home, "P")["price"] == "9.90"
    assert trained(home, "V").get("price") in (None, "9.90")
