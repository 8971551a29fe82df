"""Updates: what a source says now takes the place of what it said before."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest import updates
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.ingest.updates import Gatherer
from kg.source_order import set_source_order, source_counts
from kg.stores.history import undo
from kg.stores.tables import items_table, statements_table
from schema.errors import RejectsError, UsageError
from schema.terms import Item, Statement

FIRST = "sku,title,price,colour,stock\nU1,Cup,9.90,Blue,5\nU2,Can,4.50,Red,7\nU3,Jar,3.00,Green,1\n"
SECOND = "sku,title,price,colour,stock\nU1,Cup,8.90,Blue,3\nU2,Can 2nd ed.,4.50,,7\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Home.open(tmp_path / "home", create=True, store=f"ladybug:{tmp_path / 'graph'}")


def load(home, tmp_path, text, name="nightly.csv", **options):
    path = tmp_path / name
    path.write_text(text)
    dry_run = options.pop("dry_run", False)
    return ingest(home, [path], update=UpdateOptions(**options), dry_run=dry_run)


def values(home, id):
    with home.store() as store:
        found = store.item(id)
    return {} if found is None else {each.property: each.value for each in found[1]}


def content_hash(home):
    with home.store() as store:
        return store.content_hash()


def title(home, id):
    with home.store() as store:
        found = store.item(id)
    return None if found is None else found[0].title


def test_the_next_file_of_a_source_replaces_what_it_said(home, tmp_path):
    load(home, tmp_path, FIRST)
    report = load(home, tmp_path, SECOND)
    assert values(home, "U1") == {"price": "8.90", "colour": "Blue", "stock": "3"}
    assert values(home, "U2") == {"price": "4.50", "stock": "7"}
    assert title(home, "U2") == "Can 2nd ed."
    assert values(home, "U3") == {"price": "3.00", "colour": "Green", "stock": "1"}
    assert report.as_dict()["changes"] == {
        "items": {"new": 0, "changed": 2, "unchanged": 0, "retired": 0},
        "statements": {"new": 2, "changed": 0, "retracted": 3},
    }
    assert home.ontology()["price"].cardinality == "one"
    again = load(home, tmp_path, SECOND)
    assert again.as_dict()["changes"]["items"]["unchanged"] == 2


def test_a_file_of_another_name_is_another_source(home, tmp_path):
    load(home, tmp_path, FIRST)
    load(home, tmp_path, SECOND, "other.csv")
    with home.store() as store:
        prices = {each.value for each in store.item("U1")[1] if each.property == "price"}
    assert prices == {"9.90", "8.90"}
    load(home, tmp_path, SECOND, "monday.csv", source="nightly.csv")
    assert values(home, "U1")["price"] == "8.90"


def test_sync_retires_what_is_gone(home, tmp_path):
    load(home, tmp_path, FIRST)
    report = load(home, tmp_path, SECOND, sync=True, max_retired="50%")
    assert title(home, "U3") is None
    assert report.as_dict()["changes"]["items"]["retired"] == 1
    assert any("1 items are gone from it (the first: U3)" in note for note in report.notes)


def test_sync_refuses_to_retire_too_much_and_says_how_to_go_on(home, tmp_path):
    load(home, tmp_path, FIRST)
    with pytest.raises(RejectsError, match=r"2 of the 3 items .* --max-retired 20%: none"):
        load(home, tmp_path, "".join(SECOND.splitlines(keepends=True)[:2]), sync=True)
    assert title(home, "U3") == "Jar"
    assert values(home, "U1")["price"] == "8.90"
    with pytest.raises(RejectsError, match="--max-retired 0%"):
        load(home, tmp_path, SECOND, sync=True, max_retired="0%")
    # Of a few items a share allows one.
    load(home, tmp_path, SECOND, sync=True)
    assert title(home, "U3") is None


def test_an_item_whose_row_was_rejected_is_not_gone(home, tmp_path):
    load(home, tmp_path, FIRST)
    twice = SECOND + "U3,Jar,2.00,Green,1\nU3,Jar,1.00,Green,1\n"
    path = tmp_path / "nightly.csv"
    path.write_text(twice)
    options = UpdateOptions(sync=True, max_retired="100%")
    report = ingest(home, [path], update=options, max_rejects="100%")
    assert report.rejected == 1
    assert title(home, "U3") == "Jar"


def test_nothing_is_retired_while_the_id_of_a_rejected_row_is_unknown(home, tmp_path):
    load(home, tmp_path, FIRST)
    path = tmp_path / "nightly.csv"
    path.write_text(SECOND + ",Jar,2.00,Green,1\n")
    options = UpdateOptions(sync=True, max_retired="100%")
    report = ingest(home, [path], update=options, max_rejects="100%")
    assert title(home, "U3") == "Jar"
    assert any("none was retired; mend these rows" in note for note in report.notes)


def test_what_another_source_has_too_stays(home, tmp_path):
    load(home, tmp_path, FIRST)
    load(home, tmp_path, FIRST, "other.csv")
    load(home, tmp_path, SECOND, sync=True, max_retired="100%")
    assert title(home, "U3") == "Jar"
    with home.store() as store:
        counts = {each.source: each.items for each in source_counts(store)}
    assert counts == {"other.csv": 3, "nightly.csv": 2}


def test_the_declared_order_decides_which_title_is_shown(home, tmp_path):
    load(home, tmp_path, "sku,title\nK1,Kettle\nK2,Pot\n", "master.csv")
    report = load(home, tmp_path, "sku,title\nK1,KETTLE RED 1L\nK2,Pot\n", "supplier.csv")
    assert any(note.startswith("1 items have another title") for note in report.notes)
    assert title(home, "K1") == "KETTLE RED 1L"
    assert set_source_order(home, ["master.csv"]) == 1 + 1
    assert title(home, "K1") == "Kettle"
    load(home, tmp_path, "sku,title\nK1,KETTLE RED 2L\nK2,Pot\n", "supplier.csv")
    assert title(home, "K1") == "Kettle"
    set_source_order(home, [])
    assert title(home, "K1") == "KETTLE RED 2L"
    with pytest.raises(UsageError, match="no source 'nobody'"):
        set_source_order(home, ["nobody"])


def test_a_dry_run_tells_what_the_ingest_then_does(home, tmp_path):
    load(home, tmp_path, FIRST)
    before = content_hash(home)
    options = {"sync": True, "max_retired": "100%"}
    told = load(home, tmp_path, SECOND + "U4,Lid,1.00,Red,1\n", dry_run=True, **options)
    assert content_hash(home) == before
    by_property = told.properties
    assert vars(by_property["price"])["examples"][0] == {
        "item": "U1",
        "before": "9.90",
        "after": "8.90",
    }
    assert (by_property["colour"].new, by_property["colour"].retracted) == (1, 2)
    assert by_property["title"].changed == 1
    done = load(home, tmp_path, SECOND + "U4,Lid,1.00,Red,1\n", **options)
    assert told.changes == done.changes


def test_ten_nights_equal_the_last_file_and_can_be_undone(home, tmp_path):
    first = [f"U{number},Cup {number},{number}.50,Red\n" for number in range(40)]
    rows = list(first)
    hashes = []
    runs = []
    for night in range(5):
        text = "sku,title,price,colour\n" + "".join(rows)
        report = load(home, tmp_path, text, sync=True)
        runs.append(report.run)
        with home.store() as store:
            hashes.append(store.content_hash())
        rows[night] = f"U{night},Cup {night},{night}.99,Blue\n"
        del rows[20]
        rows.append(f"N{night},New,{night},Green\n")

    fresh = Home.open(tmp_path / "fresh", create=True)
    ingest(fresh, [tmp_path / "nightly.csv"])
    with home.store() as store, fresh.store() as expected:
        assert contents(store) == contents(expected)
        for night in reversed(range(1, 5)):
            undo(store, runs[night], by=f"undo {night}")
            assert store.content_hash() == hashes[night - 1]


def contents(store):
    """Return the rows of a store without when they were written, and in which line."""
    batches = [*store.items(), *store.scan()]
    rows = [row for batch in batches for row in batch.to_pylist()]
    return [{**row, "batch": "", "time": "", "row": 0} for row in rows]


def test_rows_that_belong_together_are_put_as_a_whole(home, tmp_path, monkeypatch):
    """Long triples of one item may lie far apart, so that several batches have some of them."""
    lines = [f"{item},{name},{item}{name}\n" for name in "xyz" for item in range(30)]
    (tmp_path / "m.toml").write_text(
        '[triples]\nitem = "item"\nproperty = "property"\nvalue = "value"\n'
    )
    monkeypatch.setattr("kg.ingest.source_plan.BATCH_STATEMENTS", 10)
    monkeypatch.setattr("kg.ingest.source_plan._MIN_BATCH_ROWS", 10)
    path = tmp_path / "facts.csv"
    path.write_text("item,property,value\n" + "".join(lines))
    ingest(home, [path], mapping=str(tmp_path / "m.toml"))
    before = content_hash(home)
    again = ingest(home, [path], mapping=str(tmp_path / "m.toml"))
    assert content_hash(home) == before
    assert again.as_dict()["changes"]["statements"] == {"new": 0, "changed": 0, "retracted": 0}
    path.write_text("item,property,value\n" + "".join(lines[1:]))
    changed = ingest(home, [path], mapping=str(tmp_path / "m.toml"))
    assert changed.as_dict()["changes"]["statements"]["retracted"] == 1


def test_nothing_is_taken_back_while_a_rejected_row_may_have_said_it(home, tmp_path):
    mapping = tmp_path / "m.toml"
    mapping.write_text('[triples]\nitem = "item"\nproperty = "property"\nvalue = "value"\n')
    path = tmp_path / "facts.csv"
    head = "item,property,value\n"
    path.write_text(head + "a,size,S\na,colour,red\nb,size,M\nb,colour,blue\n")
    ingest(home, [path], mapping=str(mapping))
    path.write_text(head + "a,size,L\na,colour,red,ish\nb,size,M\n")
    report = ingest(home, [path], mapping=str(mapping), max_rejects="100%")
    assert report.rejected == 1
    assert values(home, "b") == {"size": "M", "colour": "blue"}
    with home.store() as store:
        assert {each.value for each in store.item("a")[1]} == {"S", "L", "red"}
    assert any("nothing was taken back" in note for note in report.notes)
    path.write_text(head + "a,size,L\nb,size,M\n")
    ingest(home, [path], mapping=str(mapping))
    assert (values(home, "a"), values(home, "b")) == ({"size": "L"}, {"size": "M"})


def test_nothing_is_taken_back_of_an_item_with_a_rejected_row():
    with Gatherer() as gatherer:
        whole = [Item("a"), Item("b")]
        gatherer.add(items_table(whole), statements_table([]), rejected_ids=["b", "c"])
        ((items, _),) = gatherer.gathered()
        assert gatherer.is_whole(items["id"]).to_pylist() == [True, False]


ids = st.integers(0, 12).map(str)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(ids, max_size=6), st.lists(st.tuples(ids, ids), max_size=9))),
    st.sampled_from([1, 3, 100]),
)
def test_gathered_items_are_whole(parts, at_once):
    before = updates.GATHERED_ROWS
    updates.GATHERED_ROWS = at_once
    try:
        with Gatherer() as gatherer:
            for number, (items, facts) in enumerate(parts):
                gatherer.add(
                    items_table(Item(id, f"{number}") for id in dict.fromkeys(items)),
                    statements_table(Statement(item, "p", value) for item, value in facts),
                )
            gathered = list(gatherer.gathered())
    finally:
        updates.GATHERED_ROWS = before
    last = {id: f"{number}" for number, (items, _) in enumerate(parts) for id in items}
    found: dict[str, str] = {}
    for items, _ in gathered:
        rows = {row["id"]: row["title"] for row in items.to_pylist()}
        assert not rows.keys() & found.keys()
        found |= rows
    assert found == last
    facts = [pair for _, some in gathered for pair in _pairs(some)]
    assert sorted(facts) == sorted(pair for _, some in parts for pair in some)
    mentioned = [{*items["id"].to_pylist(), *some["item"].to_pylist()} for items, some in gathered]
    assert sum(map(len, mentioned)) == len(set().union(*mentioned))


def _pairs(statements: Any) -> Any:
    return zip(statements["item"].to_pylist(), statements["value"].to_pylist(), strict=True)


def test_an_item_new_by_one_source_and_changed_by_another_is_not_unchanged(tmp_path):
    home = Home.open(tmp_path / "home", create=True)
    for name, title in (("one.csv", "Red mug"), ("two.csv", "Large red mug")):
        (tmp_path / name).write_text(f"id,title\na,{title}\n")
    report = ingest(home, [tmp_path / "one.csv", tmp_path / "two.csv"])
    changes = report.as_dict()["changes"]["items"]
    assert (changes["new"], changes["changed"], changes["unchanged"]) == (1, 1, 0)
    assert report.unchanged_items == 0
