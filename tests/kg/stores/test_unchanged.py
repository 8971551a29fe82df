from hypothesis import given
from hypothesis import strategies as st

from kg.stores.memory import MemoryStore
from kg.stores.merge import PLAIN_PUT, PutBatch, PutRules, PutTables, StoredRows, changes_of
from kg.stores.tables import items_table, statements_table
from kg.stores.unchanged import COMPARED_SCHEMA, StoredTables, without_unchanged
from schema.terms import Item, Provenance, Rank, Statement

IDS = st.sampled_from("abc")
ITEMS = st.builds(
    Item,
    IDS,
    title=st.sampled_from([None, "t", "u"]),
    images=st.sampled_from([(), ("1.jpg",), ("1.jpg", "2.jpg")]),
    provenance=st.sampled_from([None, Provenance("s"), Provenance("t", batch="1")]),
)
STATEMENTS = st.builds(
    Statement,
    IDS,
    st.sampled_from(["colour", "size"]),
    st.sampled_from(["red", "\0", ""]),
    rank=st.sampled_from(list(Rank)),
    provenance=st.builds(
        Provenance,
        source=st.sampled_from(["s", "t"]),
        batch=st.sampled_from(["1", "2"]),
        confidence=st.sampled_from([None, 0.5]),
        evidence=st.sampled_from([None, "", "e"]),
    ),
)
PUTS = st.tuples(st.lists(ITEMS, max_size=4), st.lists(STATEMENTS, max_size=6))


def tables_of(put):
    return PutTables.checked(items_table(put[0]), statements_table(put[1]))


RULES = st.sampled_from([PLAIN_PUT, PutRules(replaces="s"), PutRules(replaces="t")])


@given(PUTS, PUTS, PUTS, RULES)
def test_changes_are_the_same_without_unchanged_items(earlier, first, second, rules):
    store = MemoryStore()
    for put in (earlier, first):
        store.put(items_table(put[0]), statements_table(put[1]))
    tables = tables_of(second)
    ids = set(tables.item_ids())
    items = {id: row for id, row in store._items.items() if id in ids}
    statements = {id: row for id, row in store._statements.items() if row["item"] in ids}
    compared = statements_table([]).from_pylist(list(statements.values()), schema=COMPARED_SCHEMA)

    fewer = without_unchanged(tables, StoredTables(items, compared), rules)

    stored = StoredRows(items, statements)
    expected = changes_of(PutBatch.of(tables), stored, rules)
    assert changes_of(PutBatch.of(fewer), stored, rules) == expected


def test_put_that_says_the_same_again_is_left_out_but_for_changed_items():
    rows = [Statement(item, "colour", "red") for item in "abcd"]
    known = statements_table([*rows, Statement("b", "size", "1")])
    stored = StoredTables(
        {id: items_table([Item(id)]).to_pylist()[0] for id in "abcd"},
        known.select(COMPARED_SCHEMA.names),
    )
    changed = Statement("c", "colour", "red", provenance=Provenance("another"))
    tables = tables_of(([Item("a"), Item("d", "t"), Item("e")], [*rows[:2], changed, rows[3]]))
    fewer = without_unchanged(tables, stored, PLAIN_PUT)
    # Of b, the store has a statement that is not given.
    assert fewer.items["id"].to_pylist() == ["d", "e"]
    assert fewer.statements["item"].to_pylist() == ["b", "c", "d"]
