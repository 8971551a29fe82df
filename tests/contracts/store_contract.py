"""The tests that every graph store must pass; each implementation inherits this suite."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kg.ingest.inheritance import Inheritance, inherit
from kg.snapshot import read_snapshot
from kg.source_order import show_anew
from kg.stores.history import undo
from kg.stores.open import open_store
from kg.stores.protocol import PutReport
from kg.stores.references import SourceOrder, statement_references
from kg.stores.tables import (
    ITEM_SCHEMA,
    PLAIN_STATEMENT_SCHEMA,
    SOURCED_TRIPLE_SCHEMA,
    TRIPLE_SCHEMA,
    items_table,
    statements_table,
)
from schema.errors import DataError
from schema.mapping import VARIANT_OF
from schema.terms import (
    PREDICTION_SOURCE,
    REVIEW_SOURCE,
    TRUSTED_RANKS,
    Item,
    Provenance,
    Rank,
    statement_id,
)
from tests.contracts.rows import scan_rows, sourced, statement


def fields(item):
    """Return an item without where its fields come from."""
    return dataclasses.replace(item, provenance=None, references=())


class StoreContract:
    """Subclasses give the ``scheme`` of their URLs and a fixture ``empty_url``.

    The fixture is a function that returns the URL of an empty store each time it is called.
    ``persistent`` says whether a store that is opened again has kept its content.
    """

    scheme = ""
    persistent = True

    @pytest.fixture
    def store(self, empty_url):
        with open_store(empty_url()) as store:
            yield store

    def test_behaves_like_the_memory_store(self, empty_url):
        from tests.contracts.store_machine import check_store

        check_store(empty_url, self.persistent)

    def test_reopened_store_has_the_same_content(self, empty_url):
        url = empty_url()
        with open_store(url) as store:
            store.put(items_table([Item("a", "t")]), statements_table([statement()]))
            store.put(None, statements_table([statement("b", rank=Rank.PREDICTED)]))
            before = store.content_hash()
        if self.persistent:
            with open_store(url, create=False, read_only=True) as store:
                assert store.content_hash() == before

    def test_empty_store_has_zero_counts(self, store):
        counts = store.counts()
        assert (counts.items, counts.statements, counts.properties, counts.values) == (0, 0, 0, 0)
        assert scan_rows(store) == []
        assert sum(batch.num_rows for batch in store.items()) == 0

    def test_item_is_returned_with_all_fields(self, store):
        item = Item("a", "Ein Becher ☕", "Home > Mugs", ("/x.jpg", "/y.jpg"), "Holds 30 cl.\nBlue")
        expected = statement(row=7, time="2026-01-01", batch="b1")
        store.put(items_table([item]), statements_table([expected]))
        assert store.item("a") == (item, [expected])

    def test_snapshots_have_every_part_of_an_item(self, store):
        whole = Item("b", "t", "x > y", ("2.jpg", "http://h/1.jpg"), "Long.\n\nVery long.")
        store.put(items_table([whole, Item("a"), Item("c", description="d")]), None)
        snapshot = read_snapshot(store, details=True)
        places = range(3)
        assert snapshot.items == ["a", "b", "c"]
        assert list(map(snapshot.category_path, places)) == [(), ("x", "y"), ()]
        assert list(map(snapshot.images_of, places)) == [[], list(whole.images), []]
        assert snapshot.details is not None
        descriptions = list(map(snapshot.details.description, places))
        assert descriptions == [None, whole.description, "d"]

    def test_unknown_item_is_none(self, store):
        assert store.item("nobody") is None

    def test_put_reports_only_what_is_new(self, store):
        items = items_table([Item("a"), Item("b")])
        statements = statements_table([statement(), statement("b"), statement(property="size")])
        assert store.put(items, statements).new_statements == 3
        again = store.put(items, statements)
        assert (again.new_items, again.new_statements) == (0, 0)
        assert store.counts().statements == 3

    def test_second_batch_adds_to_the_first(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([statement()]))
        report = store.put(
            items_table([Item("b", "two")]),
            statements_table([statement(), statement("b"), statement("a", "size", "3 cm")]),
        )
        assert (report.new_items, report.new_statements) == (1, 2)
        assert {row["value"] for row in scan_rows(store)} == {"red", "3 cm"}

    def test_statements_create_unknown_items(self, store):
        assert store.put(None, statements_table([statement("z")])).new_items == 1
        assert store.item("z")[0] == Item("z")

    def test_given_fields_of_an_item_replace_old_ones(self, store):
        store.put(items_table([Item("a", "old", "c", ("i",))]), None)
        store.put(items_table([Item("a", "new")]), None)
        assert store.item("a")[0] == Item("a", "new", "c", ("i",))

    def test_newest_rank_replaces_the_old_one(self, store):
        store.put(None, statements_table([statement()]))
        store.put(None, statements_table([statement(rank=Rank.DEPRECATED, reviewer="mo")]))
        (row,) = scan_rows(store)
        assert (row["rank"], row["reviewer"]) == ("deprecated", "mo")

    @pytest.mark.parametrize("rank", [Rank.ASSERTED, Rank.ACCEPTED, Rank.REJECTED, Rank.DEPRECATED])
    def test_prediction_replaces_no_other_rank(self, store, rank):
        store.put(None, statements_table([statement(rank=rank)]))
        store.put(None, statements_table([statement(rank=Rank.PREDICTED, confidence=0.9)]))
        assert scan_rows(store)[0]["rank"] == rank

    def test_another_batch_and_row_alone_change_nothing(self, store):
        store.put(None, statements_table([statement(batch="one", row=1)]))
        store.put(None, statements_table([statement(batch="two", row=2)]))
        assert scan_rows(store)[0]["batch"] == "one"

    def test_scan_matches_every_given_field(self, store):
        rows = [statement(), statement("b"), statement("b", "colour", "blue", Rank.PREDICTED)]
        store.put(None, statements_table(rows))
        assert len(scan_rows(store, property="colour")) == 3
        assert len(scan_rows(store, item="b", value="red")) == 1
        assert [row["value"] for row in scan_rows(store, ranks=(Rank.PREDICTED,))] == ["blue"]
        assert scan_rows(store, ranks=()) == []

    def test_scans_are_ordered_by_id(self, store):
        names = [str(number) for number in range(20)]
        store.put(None, statements_table([statement(name) for name in names]))
        statement_ids = [row["id"] for row in scan_rows(store)]
        assert statement_ids == sorted(statement_ids)
        item_ids = [row["id"] for batch in store.items() for row in batch.to_pylist()]
        assert item_ids == sorted(names)

    def test_unordered_items_are_all_items(self, store):
        store.put(items_table([Item("b", "B"), Item("a", images=("1.jpg",))]), None)
        batches = list(store.unordered_items())
        found = pa.Table.from_batches(batches, ITEM_SCHEMA).sort_by("id")
        assert found.equals(pa.Table.from_batches(store.items(), ITEM_SCHEMA))

    def test_categories_are_those_of_the_items(self, store):
        store.put(items_table([Item("a", category="x > y"), Item("b")]), None)
        rows = [tuple(row.values()) for batch in store.categories() for row in batch.to_pylist()]
        assert sorted(rows) == [("a", "x > y"), ("b", None)]

    def test_streams_may_be_read_and_dropped_on_another_thread(self, store):
        store.put(
            items_table([Item("a"), Item("b")]), statements_table([statement(), statement("b")])
        )
        for batches in (store.items(), store.scan(), store.triples([Rank.ASSERTED])):
            with ThreadPoolExecutor(1) as other:
                assert other.submit(next, batches).result().num_rows == 2
            del batches

    def test_triples_are_the_statements_of_the_given_ranks(self, store):
        asserted = [statement(), statement("b"), statement("a", "size", "red")]
        predicted = statement("b", "colour", "blue", Rank.PREDICTED)
        store.put(None, statements_table([*asserted, predicted]))
        triples = [
            tuple(row.values())
            for batch in store.triples([Rank.ASSERTED])
            for row in batch.to_pylist()
        ]
        expected = [(each.item, each.property, each.value) for each in asserted]
        assert sorted(triples) == sorted(expected)
        assert sum(batch.num_rows for batch in store.triples([])) == 0

    def test_plain_statements_are_those_of_a_scan_in_any_order(self, store):
        rows = [
            statement(),
            statement("b", evidence="inherited from a"),
            statement(value="rot", language="de"),
            statement(value="blue", rank=Rank.PREDICTED),
        ]
        store.put(None, statements_table(rows))
        for ranks in (None, (Rank.ASSERTED,), ()):
            found = pa.Table.from_batches(store.plain_statements(ranks), PLAIN_STATEMENT_SCHEMA)
            expected = [
                {name: row[name] for name in PLAIN_STATEMENT_SCHEMA.names}
                for row in scan_rows(store, ranks=ranks)
            ]
            assert sorted(found.to_pylist(), key=lambda row: row["id"]) == expected

    def test_sources_are_all_that_state_or_describe_something(self, store):
        assert store.sources() == []
        predicted = statement("c", rank=Rank.PREDICTED, source="model")
        store.put(sourced([Item("a", "one")], "item's"), statements_table([predicted]))
        assert store.sources() == ["item's"]
        store.put(None, statements_table([statement(source='a "b" \\'), predicted]))
        store.put(None, statements_table([statement(source="z, é {1}", rank=Rank.PREDICTED)]))
        assert store.sources() == ['a "b" \\', "item's"]
        store.put(None, statements_table([statement(source="new")]))
        store.put(sourced([Item("a", "two")], "other's"), None)
        assert store.sources() == ['a "b" \\', "item's", "new", "other's"]
        # What was predicted before is stated now.
        store.put(None, statements_table([statement("c", source="last")]))
        assert store.sources() == ['a "b" \\', "item's", "last", "new", "other's"]
        store.retract([statement().id])
        assert store.sources() == ["item's", "last", "other's"]

    def test_sourced_triples_are_triples_with_their_provenance(self, store):
        first = statement(source="one", time="2026-01-01T00:00:00+00:00", batch="r1", row=3)
        store.put(None, statements_table([first]))
        store.put(None, statements_table([statement(source="two", batch="r2")]))
        other = [
            statement(value="rot", language="de"),
            statement(value="blue", rank=Rank.PREDICTED),
            statement("b", value="", evidence="why", source="three"),
        ]
        store.put(None, statements_table(other))
        ranks = [Rank.ASSERTED]
        found = pa.Table.from_batches(store.sourced_triples(ranks), SOURCED_TRIPLE_SCHEMA)
        expected = [
            {name: row[name] for name in SOURCED_TRIPLE_SCHEMA.names}
            for row in scan_rows(store, ranks=tuple(ranks))
            if row["language"] is None
        ]
        rows = found.sort_by("item").to_pylist()
        assert rows == sorted(expected, key=lambda row: row["item"])
        assert [row["references"] is None for row in rows] == [False, True]
        triples = pa.Table.from_batches(store.triples(ranks), TRIPLE_SCHEMA)
        assert triples.sort_by("item") == found.sort_by("item").select(TRIPLE_SCHEMA.names)

    def test_texts_in_other_languages_are_statements_of_their_own(self, store):
        texts = [
            statement(property="title", value="Lauf", language=language)
            for language in (None, "de", "en-US")
        ]
        assert store.put(None, statements_table(texts)).new_statements == 3
        assert store.put(None, statements_table(texts)).new_statements == 0
        (_, found) = store.item("a")
        assert sorted(str(each.language) for each in found) == ["None", "de", "en-US"]
        assert {row["language"] for row in scan_rows(store, value="Lauf")} == {None, "de", "en-US"}
        # Models learn from the leading language alone.
        triples = [row for batch in store.triples(list(Rank)) for row in batch.to_pylist()]
        assert triples == [{"item": "a", "property": "title", "value": "Lauf"}]
        assert store.retract([texts[1].id]) == 1
        assert {row["language"] for row in scan_rows(store, value="Lauf")} == {None, "en-US"}

    @pytest.mark.parametrize("language", ["", "d", "DE", "en_us", "not a tag"])
    def test_language_that_is_no_usual_tag_is_refused(self, store, language):
        with pytest.raises(DataError, match=r"language|tag"):
            store.put(None, statements_table([statement(language=language)]))
        assert scan_rows(store) == []

    def test_variants_inherit_once(self, store):
        variants = [statement(child, VARIANT_OF, "p") for child in ("p/s", "p/m")]
        shared = statement("p", "fabric", "wool", source="shop.csv")
        product = Item("p", "Hat", "Hats", ("https://x/1.jpg",), "Warm")
        store.put(items_table([product]), statements_table([*variants, shared]))

        assert inherit(store, "run", "now") == Inheritance(2, fields=8, statements=2)
        inherited, found = store.item("p/m")
        where = Provenance("", batch="run", evidence="inherited from p", time="now")
        assert inherited == dataclasses.replace(product, id="p/m", provenance=where)
        assert found[0].provenance == Provenance(
            "shop.csv", batch="run", evidence="inherited from p", time="now"
        )
        before = store.content_hash()
        assert inherit(store, "again", "later") == Inheritance(2)
        assert store.content_hash() == before
        store.retract([shared.id])
        assert inherit(store, "again", "later") == Inheritance(2, retracted=2)

    def test_what_a_source_says_again_replaces_what_it_said(self, store):
        night = [Item("a", "Cup", "Cups", description="old"), Item("b", "Can")]
        first = [statement(), statement("a", "size", "3"), statement("b")]
        store.put(sourced(night, "s"), statements_table(first), replaces="s", run="1")

        day = [Item("a", "Mug", "Cups"), Item("b", "Can")]
        second = [statement(value="blue"), statement("a", "size", "3"), statement("b")]
        tables = sourced(day, "s"), statements_table(second)
        report = store.put(*tables, replaces="s", run="2")

        assert report == PutReport(0, 1, changed_items=1, retracted=1)
        assert fields(store.item("a")[0]) == Item("a", "Mug", "Cups")
        assert [(row["item"], row["value"]) for row in scan_rows(store, property="colour")] in (
            [("a", "blue"), ("b", "red")],
            [("b", "red"), ("a", "blue")],
        )
        assert store.put(*tables, replaces="s", run="3") == PutReport(0, 0)

    def test_sources_side_by_side(self, store):
        for source, title, weight in (("s", "Kettle", "1 kg"), ("t", "KETTLE", "2 kg")):
            facts = [
                statement(source=source),
                statement(property="weight", value=weight, source=source),
            ]
            item = Item("a", title, category="c" if source == "s" else None)
            store.put(sourced([item], source), statements_table(facts), replaces=source)
        item, facts = store.item("a")
        assert {each.value for each in facts} == {"red", "1 kg", "2 kg"}
        assert fields(item) == Item("a", "KETTLE", "c")
        assert [each.title for each in item.references] == ["Kettle", "KETTLE"]
        assert [each.provenance.source for each in item.references] == ["s", "t"]
        (red,) = [each for each in facts if each.value == "red"]
        assert [each.provenance.source for each in red.references] == ["s", "t"]

        # What one of them no longer says is still said by the other.
        store.put(sourced([Item("a", "KETTLE")], "t"), None, replaces="t")
        assert store.retire("t", ["a"]).deleted == 0
        item, facts = store.item("a")
        assert fields(item) == Item("a", "Kettle", "c")
        assert {each.value for each in facts} == {"red", "1 kg"}
        assert all(each.provenance.source == "s" and not each.references for each in facts)

    def test_the_declared_order_of_sources_decides_what_is_shown(self, store):
        store.order = SourceOrder(("s",))
        for source, title in (("s", "Kettle"), ("t", "KETTLE")):
            store.put(sourced([Item("a", title, description=source)], source), None)
        store.put(sourced([Item("a", "Old")], "u"), None)
        assert fields(store.item("a")[0]) == Item("a", "Kettle", description="s")

    @pytest.mark.parametrize("order", [(), ("s",), ("t", "s", "r")])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_what_a_reviewer_decided_stands_before_what_sources_assert(
        self, store, order, is_first
    ):
        store.order = SourceOrder(order)
        decided = [
            statement(value="red", rank=Rank.REJECTED, source="r", reviewer="mo"),
            statement(value="blue", rank=Rank.ACCEPTED, source="r", reviewer="mo"),
        ]
        stated = [statement(value=value) for value in ("red", "blue")]
        for some in (decided, stated) if is_first else (stated, decided):
            store.put(None, statements_table(some))
        more = [statement(value=value, source="t") for value in ("red", "green")]
        store.put(None, statements_table(more))

        def shown():
            rows = scan_rows(store)
            return {row["value"]: (row["rank"], row["source"], row["reviewer"]) for row in rows}

        expected = {
            "red": ("rejected", "r", "mo"),
            "blue": ("accepted", "r", "mo"),
            "green": ("asserted", "t", None),
        }
        assert shown() == expected
        triples = [row for batch in store.triples(TRUSTED_RANKS) for row in batch.to_pylist()]
        assert sorted(row["value"] for row in triples) == ["blue", "green"]
        # Also if another order is declared, or if a source no longer makes a statement.
        store.order = SourceOrder(("s", "t"))
        assert show_anew(store, "again") == 0
        store.put(sourced([Item("a")], "s"), None, replaces="s")
        assert shown() == expected
        (red,) = scan_rows(store, value="red")
        assert [each["source"] for each in statement_references(red)] in (["r", "t"], ["t", "r"])

    def test_item_that_no_source_has_is_gone_with_its_statements(self, store):
        guess = statement(property="size", value="3", rank=Rank.PREDICTED, source="model")
        store.put(sourced([Item("a"), Item("b")], "s"), statements_table([statement(), guess]))
        report = store.retire("s", ["a", "nobody"])
        assert report == PutReport(0, 0, retracted=2, deleted=1)
        assert store.item("a") is None
        assert scan_rows(store) == []
        assert store.counts().items == 1

    def test_deleted_item_can_be_put_again(self, store):
        tables = items_table([Item("a", "t")]), statements_table([statement()])
        store.put(*tables)
        assert store.delete(["a"]) == PutReport(0, 0, retracted=1, deleted=1)
        assert store.item("a") is None
        assert store.put(*tables) == PutReport(1, 1)

    def test_a_guess_stays_beneath_what_a_source_comes_to_assert(self, store):
        guess = statement(rank=Rank.PREDICTED, source="model", confidence=0.5)
        store.put(None, statements_table([guess]))
        store.put(sourced([Item("a")], "s"), statements_table([statement()]), replaces="s")
        assert scan_rows(store)[0]["rank"] == Rank.ASSERTED
        store.put(sourced([Item("a")], "s"), None, replaces="s")
        (row,) = scan_rows(store)
        assert (row["rank"], row["confidence"], row["references"]) == ("predicted", 0.5, None)

    def test_changes_tell_what_was_written_and_can_be_written_again(self, store, empty_url):
        store.put(sourced([Item("a", "t")], "s"), statements_table([statement()]), run="1")
        store.put(sourced([Item("a", "u")], "t"), statements_table([statement("b")]), run="2")
        store.put(sourced([Item("a", "t")], "s"), None, replaces="s", run="3")
        store.retract([statement("b").id], run="4")
        store.delete(["b"], run="5")
        batches = [each.changes for each in store.changes()]
        runs = [run for batch in batches for run in pc.unique(batch["run"]).to_pylist()]
        assert runs == ["1", "2", "3", "4", "5"]
        assert all(batch["at"].null_count == 0 for batch in batches)
        assert [each.version for each in store.changes(since=2)] == [3, 4]

        with open_store("memory:") as copy:
            for batch in batches:
                copy.append(batch)
            assert copy.content_hash() == store.content_hash()
            with open_store(empty_url()) as again:
                for batch in copy.changes():
                    again.append(batch.changes)
                assert again.content_hash() == store.content_hash()

    def test_an_undone_run_leads_back(self, store):
        night = [Item("a", "Cup"), Item("b", "Can")]
        store.put(sourced(night, "s"), statements_table([statement(), statement("b")]), run="1")
        before = store.content_hash()
        day = [Item("a", "Mug"), Item("c", "Jar")]
        facts = [statement(value="blue"), statement("c")]
        store.put(sourced(day, "s"), statements_table(facts), replaces="s", run="2")
        store.retire("s", ["b"], run="2")
        after = store.content_hash()
        undo(store, "2", by="3")
        assert store.content_hash() == before
        undo(store, "3", by="4")
        assert store.content_hash() == after

    def test_a_predicted_category_shows_until_it_is_taken_back(self, store):
        store.put(sourced([Item("a", "Cup"), Item("b", "Can", "Tins")], "s"), None, run="1")
        before = store.content_hash()
        predicted = [Item("a", category="Home > Mugs"), Item("b", category="Home > Mugs")]
        store.put(sourced(predicted, PREDICTION_SOURCE), None, run="2")
        # What a source says comes before a guess, and the item is still the source's.
        assert (store.item("a")[0].category, store.item("b")[0].category) == ("Home > Mugs", "Tins")
        assert store.item("a")[0].provenance.source == "s"
        snapshots = [read_snapshot(store, predicted_categories=each) for each in (True, False)]
        assert [each.categories for each in snapshots] == [["Home > Mugs", "Tins"], [None, "Tins"]]
        undo(store, "2", by="3")
        assert store.content_hash() == before

    def test_a_reviewed_category_comes_before_what_sources_say(self, store):
        store.put(sourced([Item("a", category="Home > Mugs")], REVIEW_SOURCE), None, run="1")
        store.put(sourced([Item("a", "Cup", "Tins")], "s"), None, run="2")
        assert store.item("a")[0].category == "Home > Mugs"
        assert store.item("a")[0].provenance.source == "s"
        # Nobody supplies an item that its source no longer has.
        store.retire("s", ["a"], run="3")
        assert store.item("a") is None

    def test_retract_removes_and_counts_existing_statements(self, store):
        store.put(None, statements_table([statement(), statement("b")]))
        id = statement_id("a", "colour", "red")
        assert store.retract([id, "nothing", id]) == 1
        assert [row["item"] for row in scan_rows(store)] == ["b"]
        assert store.item("a")[1] == []

    def test_retracted_statement_can_be_put_again(self, store):
        store.put(None, statements_table([statement()]))
        store.retract([statement().id])
        assert store.put(None, statements_table([statement()])).new_statements == 1

    def test_last_duplicate_of_a_batch_is_kept(self, store):
        duplicates = [statement(source="one"), statement(source="two")]
        assert store.put(None, statements_table(duplicates)).new_statements == 1
        assert scan_rows(store)[0]["source"] == "two"

    def test_hash_changes_with_the_content(self, store):
        store.put(None, statements_table([statement(), statement("b")]))
        before = store.content_hash()
        store.put(None, statements_table([statement("c")]))
        assert store.content_hash() != before
        store.retract([statement("c").id])
        assert store.item("c") is not None

    def test_invalid_tables_are_refused_as_a_whole(self, store):
        with pytest.raises(DataError, match="lacks column"):
            store.put(None, pa.table({"id": ["x"]}))
        with pytest.raises(DataError, match="empty cells"):
            store.put(pa.table({"id": pa.array([None], pa.string())}), None)
        assert store.counts().items == 0

    def test_unusual_text_is_returned_unchanged(self, store):
        unusual = "quote ' \" back\\slash \n tab\t ; $x {y} 红 \u202e"
        store.put(None, statements_table([statement(value=unusual), statement(value=" ")]))
        assert {row["value"] for row in scan_rows(store)} == {unusual, " "}
