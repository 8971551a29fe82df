"""Updates that a careless implementation gets wrong."""

from pathlib import Path

import pytest

from kg.home import Home
from kg.ingest.inheritance import inherit
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.ingest.updates import Gatherer
from kg.source_order import bring_up_to_date, set_source_order
from kg.stores.history import undo
from kg.stores.memory import MemoryStore
from kg.stores.references import SourceOrder
from kg.stores.tables import items_table, statements_table
from schema.errors import RejectsError, UsageError
from schema.mapping import VARIANT_OF
from schema.terms import Item, Provenance
from tests.contracts.rows import sourced, statement

FAMILY = "sku,parent,name,fabric\nP,,Shirt,linen\nV,P,,\n"
MAPPING = 'id = "sku"\nparent = "parent"\ntitle = "name"\n'


@pytest.fixture
def store(monkeypatch):
    """A store in memory, which every home of the test has."""
    store = MemoryStore()

    def opened(home, read_only=False):
        names = home.source_order()
        store.order = SourceOrder(names)
        return store

    monkeypatch.setattr(Home, "store", opened)
    return store


@pytest.fixture
def home(tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.toml").write_text(MAPPING)
    return Home.open(tmp_path / "home", create=True)


def load(home, *texts, mapping=None, dry_run=False, max_rejects="100%", **options):
    """Ingest tables, given as pairs of a file's name and its text."""
    for name, text in texts:
        Path(name).write_text(text, encoding="utf-8")
    paths = [name for name, _ in texts]
    return ingest(
        home,
        paths,
        mapping=mapping,
        update=UpdateOptions(**options),
        dry_run=dry_run,
        max_rejects=max_rejects,
    )


def values(store, id):
    found = store.item(id)
    return None if found is None else {each.property: each.value for each in found[1]}


def test_variants_inherit_what_the_declared_order_shows(store):
    store.order = SourceOrder(("erp",))
    variant = [statement("v", VARIANT_OF, "p", source="erp")]
    for source, title in (("erp", "Shirt"), ("shop", "SHIRT!!")):
        store.put(sourced([Item("p", title)], source), None, replaces=source)
    store.put(sourced([Item("v")], "erp"), statements_table(variant), replaces="erp")
    inherit(store, "run", "now")
    assert store.item("v")[0].title == "Shirt"


def test_variants_and_the_ontology_follow_the_order_of_sources(store, home):
    load(home, ("erp.csv", FAMILY), mapping="m.toml")
    load(home, ("shop.csv", FAMILY.replace("Shirt", "SHIRT")), mapping="m.toml")
    assert store.item("V")[0].title == "SHIRT"
    set_source_order(home, ["erp.csv"])
    assert (store.item("P")[0].title, store.item("V")[0].title) == ("Shirt", "Shirt")


def test_variants_lose_what_a_deleted_product_stated_and_get_it_back(store, home):
    load(home, ("erp.csv", FAMILY), mapping="m.toml")
    before = store.content_hash()
    assert values(store, "V") == {VARIANT_OF: "P", "fabric": "linen"}
    store.delete(["P"], run="delete")
    bring_up_to_date(home, store, "delete")
    assert values(store, "V") == {VARIANT_OF: "P"}
    assert store.item("V")[0].title is None
    undo(store, "delete", by="undo")
    bring_up_to_date(home, store, "undo")
    assert store.content_hash() == before


def test_one_source_in_two_files_gives_the_same_again(store, home):
    files = [("a.csv", "id,title,description\nX,Cup,Holds tea\n"), ("b.csv", "id,title\nX,Mug\n")]
    load(home, *files, source="shop")
    before = store.content_hash()
    load(home, *files, source="shop", sync=True)
    assert store.content_hash() == before
    assert store.item("X")[0].description == "Holds tea"


def test_a_file_given_twice_changes_nothing(store, home):
    file = ("a.csv", "id,title,colour\nX,Cup,red\nY,Can,blue\n")
    load(home, file)
    before = store.content_hash()
    report = load(home, file, file, sync=True)
    assert store.content_hash() == before
    assert report.as_dict()["changes"]["items"] == {
        "new": 0,
        "changed": 0,
        "unchanged": 2,
        "retired": 0,
    }


def test_an_item_may_move_between_the_files_of_a_source(store, home):
    table = "id,title,colour\n"
    load(
        home,
        ("a.csv", f"{table}X,Cup,red\nY,Can,blue\n"),
        ("b.csv", f"{table}Z,Jar,red\n"),
        source="s",
    )
    report = load(
        home,
        ("a.csv", f"{table}X,Cup,red\n"),
        ("b.csv", f"{table}Z,Jar,red\nY,Can,green\n"),
        source="s",
        sync=True,
    )
    assert values(store, "Y") == {"colour": "green"}
    assert report.changes.deleted == 0


def test_gathered_rows_of_an_item_fill_each_other():
    with Gatherer() as gatherer:
        gatherer.add(
            items_table([Item("x", "Cup", images=("1.jpg",)), Item("a")]), statements_table([])
        )
        gatherer.add(
            items_table([Item("x", description="Tea"), Item("x", "Mug")]), statements_table([])
        )
        ((items, _),) = list(gatherer.gathered())
    assert [
        (row["id"], row["title"], row["description"], row["images"] or [])
        for row in items.to_pylist()
    ] == [
        ("a", None, None, []),
        ("x", "Mug", "Tea", ["1.jpg"]),
    ]


def test_an_empty_file_retires_nothing(store, home):
    load(home, ("a.csv", "id,title\nX,Cup\n"))
    with pytest.raises(RejectsError, match="1 of the 1 items"):
        load(home, ("a.csv", "id,title\n"), sync=True)
    assert store.item("X") is not None
    load(home, ("a.csv", "id,title\n"), sync=True, max_retired="100%")
    assert store.item("X") is None


def test_items_that_another_source_has_too_do_not_count_as_changed_in_the_file(store, home):
    table = "id,title\n" + "".join(f"X{number},Cup\n" for number in range(9))
    load(home, ("a.csv", table))
    load(home, ("b.csv", table))
    report = load(home, ("b.csv", "id,title\nX0,Cup\n"), sync=True, max_retired="100%")
    items = report.as_dict()["changes"]["items"]
    assert items == {"new": 0, "changed": 8, "unchanged": 1, "retired": 0}


def test_a_dry_run_sees_what_an_earlier_source_of_the_run_would_write(store, home):
    table = "id,title,colour\n"
    load(home, ("a.csv", f"{table}X,Cup,red\n"), ("b.csv", f"{table}Y,Can,red\nZ,Jar,red\n"))
    moved = [("a.csv", f"{table}X,Cup,red\nY,Can,red\n"), ("b.csv", f"{table}Z,Jar,blue\n")]
    told = load(home, *moved, sync=True, dry_run=True)
    done = load(home, *moved, sync=True)
    assert told.changes == done.changes
    assert done.changes.deleted == 0


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "a\udcff"])
def test_a_source_needs_a_name_that_can_be_printed(home, name):
    with pytest.raises(UsageError, match="--source"):
        load(home, ("a.csv", "id,title\nX,Cup\n"), source=name)


@pytest.mark.parametrize(
    "name", ["prices, may", 'a"b', "ä ☕/x?&#%", "'; DROP", "inherited from P", "-"]
)
def test_a_source_may_have_any_other_name(store, home, name):
    load(home, ("a.csv", "id,title\nX,Cup\nY,Can\n"), source=name)
    load(home, ("a.csv", "id,title\nX,Mug\n"), source=name, sync=True)
    load(home, ("b.csv", "id,title\nX,MUG\n"))
    set_source_order(home, [name])
    assert store.item("X")[0].title == "Mug"
    assert store.item("Y") is None


def test_what_an_undone_retirement_brings_back_is_as_old_as_it_was():
    with MemoryStore() as store:
        for number, (source, title) in enumerate((("s", "old"), ("t", "new"))):
            where = Provenance(source, f"{number}", time=f"2026-01-0{number + 1}")
            store.put(items_table([Item("a", title, provenance=where)]), None, run=f"{number}")
        store.retire("s", ["a"], run="2")
        where = Provenance("t", "3", time="2026-01-04")
        newest = items_table([Item("a", "newest", provenance=where)])
        store.put(newest, None, replaces="t", run="3")
        undo(store, "2", by="undo")
        found = store.item("a")
        assert found is not None
        assert [each.title for each in found[0].references] == ["old", "newest"]
        assert found[0].title == "newest"


def test_another_mapping_replaces_what_was_read_by_the_former(store, home, tmp_path):
    table = ("a.csv", "sku,parent,name,fabric\nP,,Shirt,linen\n")
    load(home, table, mapping="m.toml")
    (tmp_path / "m2.toml").write_text('id = "sku"\ntitle = "fabric"\nproperties = ["name"]\n')
    load(home, table, mapping="m2.toml")
    assert store.item("P")[0].title == "linen"
    assert values(store, "P") == {"name": "Shirt"}
    assert set(home.ontology().properties) == {"name"}
    (tmp_path / "m3.toml").write_text('id = "name"\ntitle = "fabric"\n')
    with pytest.raises(RejectsError, match="none was retired"):
        load(home, table, mapping="m3.toml", sync=True, max_retired="0%")
    assert store.item("P") is not None


def test_pages_are_a_source_whose_products_are_replaced(store, home):
    page = (
        '<html><body><script type="application/ld+json">{"@context": "https://schema.org", '
        '"@type": "Product", "sku": "J1", "name": "Cup", "color": "COLOUR"}</script></body></html>'
    )
    load(home, ("page.html", page.replace("COLOUR", "red")))
    before = store.content_hash()
    load(home, ("page.html", page.replace("COLOUR", "red")), sync=True)
    assert store.content_hash() == before
    load(home, ("page.html", page.replace("COLOUR", "blue")), sync=True)
    (item,) = [row["id"] for batch in store.items() for row in batch.to_pylist()]
    assert "blue" in values(store, item).values()
    assert "red" not in values(store, item).values()


def test_what_an_earlier_version_stored_of_a_source_is_retired_with_it(store, home):
    """Its items have no source; their statements do."""
    facts = [statement(id, "colour", "red", source="a.csv") for id in ("X", "Y")]
    other = statement("Z", "colour", "red", source="b.csv")
    items = [Item("X", "Cup"), Item("Y", "Can"), Item("Z", "Jar")]
    store.put(items_table(items), statements_table([*facts, other]))
    report = load(home, ("a.csv", "id,title,colour\nX,Cup,blue\n"), sync=True)
    assert report.changes.deleted == 1
    assert values(store, "X") == {"colour": "blue"}
    assert values(store, "Y") is None
    assert values(store, "Z") == {"colour": "red"}
