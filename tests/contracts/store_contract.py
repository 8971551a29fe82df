"""What every graph store must do; each implementation inherits this suite."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from kg.stores.open import open_store
from kg.stores.protocol import Pattern
from kg.stores.tables import items_table, statements_table
from schema.errors import DataError
from schema.terms import Item, Provenance, Rank, Statement, statement_id


def fact(item="a", property="colour", value="red", rank=Rank.ASSERTED, **provenance):
    return Statement(item, property, value, rank, Provenance(**{"source": "s", **provenance}))


def facts(store, **pattern):
    return [row for batch in store.scan(Pattern(**pattern)) for row in batch.to_pylist()]


class StoreContract:
    """Subclasses give the ``scheme`` of a URL and a fixture ``empty``, which gives the URL of an empty store each time it is called."""

    scheme = ""
    lasting = True

    @pytest.fixture
    def store(self, empty):
        with open_store(empty()) as store:
            yield store

    def test_told_the_same_it_says_the_same_as_the_memory_store(self, empty):
        from tests.contracts.store_machine import check_machine

        check_machine(empty, self.lasting)

    def test_a_store_that_is_opened_again_holds_the_same(self, empty):
        url = empty()
        with open_store(url) as store:
            store.put(items_table([Item("a", "t")]), statements_table([fact()]))
            store.put(None, statements_table([fact("b", rank=Rank.PREDICTED)]))
            before = store.content_hash()
        if self.lasting:
            with open_store(url, create=False, read_only=True) as store:
                assert store.content_hash() == before

    def test_an_empty_store_counts_nothing(self, store):
        counts = store.counts()
        assert (counts.items, counts.statements, counts.properties, counts.values) == (0, 0, 0, 0)
        assert facts(store) == []
        assert list(store.items()) == [] or sum(b.num_rows for b in store.items()) == 0

    def test_an_item_comes_back_whole(self, store):
        item = Item("a", "Ein Becher ☕", "Home > Mugs", ("/x.jpg", "/y.jpg"))
        store.put(
            items_table([item]), statements_table([fact(row=7, time="2026-01-01", batch="b1")])
        )
        found, statements = store.item("a")
        assert found == item
        assert statements == [fact(row=7, time="2026-01-01", batch="b1")]

    def test_an_unknown_item_is_none(self, store):
        assert store.item("nobody") is None

    def test_put_says_what_is_new_and_again_nothing(self, store):
        table = (
            items_table([Item("a"), Item("b")]),
            statements_table([fact(), fact("b"), fact(property="size")]),
        )
        assert store.put(*table).new_statements == 3
        again = store.put(*table)
        assert (again.new_items, again.new_statements) == (0, 0)
        assert store.counts().statements == 3

    def test_a_second_batch_adds_to_the_first(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([fact()]))
        report = store.put(
            items_table([Item("b", "two")]),
            statements_table([fact(), fact("b"), fact("a", "size", "3 cm")]),
        )
        assert (report.new_items, report.new_statements) == (1, 2)
        assert {row["value"] for row in facts(store)} == {"red", "3 cm"}

    def test_statements_about_an_unknown_item_make_it(self, store):
        assert store.put(None, statements_table([fact("z")])).new_items == 1
        assert store.item("z")[0] == Item("z")

    def test_fields_that_are_given_win(self, store):
        store.put(items_table([Item("a", "old", "c", ("i",))]), None)
        store.put(items_table([Item("a", "new")]), None)
        assert store.item("a")[0] == Item("a", "new", "c", ("i",))

    def test_the_newest_rank_wins(self, store):
        store.put(None, statements_table([fact()]))
        store.put(None, statements_table([fact(rank=Rank.DEPRECATED, reviewer="mo")]))
        (row,) = facts(store)
        assert (row["rank"], row["reviewer"]) == ("deprecated", "mo")

    @pytest.mark.parametrize("rank", [Rank.ASSERTED, Rank.ACCEPTED, Rank.REJECTED, Rank.DEPRECATED])
    def test_a_prediction_replaces_no_other_rank(self, store, rank):
        store.put(None, statements_table([fact(rank=rank)]))
        store.put(None, statements_table([fact(rank=Rank.PREDICTED, confidence=0.9)]))
        assert facts(store)[0]["rank"] == rank

    def test_batch_row_and_time_alone_change_nothing(self, store):
        store.put(None, statements_table([fact(batch="one", row=1)]))
        store.put(None, statements_table([fact(batch="two", row=2)]))
        assert facts(store)[0]["batch"] == "one"

    def test_scan_matches_every_given_field(self, store):
        rows = [fact(), fact("b"), fact("b", "colour", "blue", Rank.PREDICTED)]
        store.put(None, statements_table(rows))
        assert len(facts(store, property="colour")) == 3
        assert len(facts(store, item="b", value="red")) == 1
        assert [row["value"] for row in facts(store, ranks=(Rank.PREDICTED,))] == ["blue"]
        assert facts(store, ranks=()) == []

    def test_scans_are_ordered_by_id(self, store):
        store.put(None, statements_table([fact(str(n)) for n in range(20)]))
        ids = [row["id"] for row in facts(store)]
        assert ids == sorted(ids)
        assert [row["id"] for b in store.items() for row in b.to_pylist()] == sorted(
            str(n) for n in range(20)
        )

    def test_a_stream_may_be_read_on_and_left_on_another_thread(self, store):
        store.put(items_table([Item("a"), Item("b")]), statements_table([fact(), fact("b")]))
        for batches in (store.items(), store.scan(), store.triples([Rank.ASSERTED])):
            with ThreadPoolExecutor(1) as other:
                assert other.submit(next, batches).result().num_rows == 2
            del batches

    def test_triples_are_the_statements_of_some_ranks(self, store):
        rows = [
            fact(),
            fact("b"),
            fact("b", "colour", "blue", Rank.PREDICTED),
            fact("a", "size", "red"),
        ]
        store.put(None, statements_table(rows))
        found = [
            tuple(row.values())
            for batch in store.triples([Rank.ASSERTED])
            for row in batch.to_pylist()
        ]
        assert sorted(found) == sorted(
            (row.item, row.property, row.value) for row in rows if row.rank == Rank.ASSERTED
        )
        assert not [row for batch in store.triples([]) for row in batch.to_pylist()]

    def test_retract_takes_out_what_is_there(self, store):
        store.put(None, statements_table([fact(), fact("b")]))
        assert (
            store.retract(
                [statement_id("a", "colour", "red"), "nothing", statement_id("a", "colour", "red")]
            )
            == 1
        )
        assert [row["item"] for row in facts(store)] == ["b"]
        assert store.item("a")[1] == []

    def test_a_retracted_statement_may_come_again(self, store):
        store.put(None, statements_table([fact()]))
        store.retract([fact().id])
        assert store.put(None, statements_table([fact()])).new_statements == 1

    def test_the_last_of_a_batchs_doubles_counts(self, store):
        report = store.put(None, statements_table([fact(source="one"), fact(source="two")]))
        assert report.new_statements == 1
        assert facts(store)[0]["source"] == "two"

    def test_the_hash_depends_on_content_not_on_order(self, store):
        store.put(None, statements_table([fact(), fact("b")]))
        before = store.content_hash()
        store.put(None, statements_table([fact("c")]))
        assert store.content_hash() != before
        store.retract([fact("c").id])
        assert store.item("c") is not None

    def test_unfit_tables_are_refused_whole(self, store):
        with pytest.raises(DataError, match="lacks column"):
            store.put(None, pa.table({"id": ["x"]}))
        with pytest.raises(DataError, match="empty cells"):
            store.put(pa.table({"id": pa.array([None], pa.string())}), None)
        assert store.counts().items == 0

    def test_odd_text_comes_back(self, store):
        odd = "quote ' \" back\\slash \n tab\t ; $x {y} 红 \u202e"
        store.put(None, statements_table([fact(value=odd), fact(value=" ")]))
        assert {row["value"] for row in facts(store)} == {odd, " "}
