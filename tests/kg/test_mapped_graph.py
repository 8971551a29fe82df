"""The graph in files: the same statements in the same order as a snapshot in memory."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg import mapped_graph
from kg.mapped_arrays import FolderWriter, open_folder
from kg.mapped_graph import MappedGraph, write_graph
from kg.snapshot import read_snapshot
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec
from schema.terms import Item, Provenance, Rank, Statement

ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=("red", "blue"), counts=(2, 2), synonyms={"red": ("rot",)}),
        PropertySpec("size", values=("1", "2"), counts=(2, 2)),
    ]
)


def mapped(store, folder, ontology=ONTOLOGY, properties=("colour", "size")):
    with FolderWriter(folder) as writer:
        write_graph(store, ontology, properties, writer)
        writer.publish()
    found = open_folder(folder)
    assert found is not None
    return MappedGraph.of(found)


def statements_in(graph):
    return [
        [graph.pairs[pair] for pair in graph.pair[graph.indptr[item] : graph.indptr[item + 1]]]
        for item in range(len(graph.items))
    ]


sources = st.builds(
    lambda source, year: Provenance(source, f"run {source}", time=f"{year}-01-01"),
    st.sampled_from(["shop", "maker"]),
    st.sampled_from([2024, 2025]),
)
facts = st.builds(
    Statement,
    st.sampled_from(["a", "b", "ä", "東"]),
    st.sampled_from(["colour", "size", "gtin"]),
    st.sampled_from(["red", "rot", "blue", "Blue", "1", "2", "2.0"]),
    st.sampled_from([Rank.ASSERTED, Rank.ACCEPTED, Rank.PREDICTED]),
    sources,
)


@settings(deadline=None, max_examples=12)
@given(st.lists(facts, max_size=15), st.integers(1, 3))
def test_it_has_what_a_snapshot_has(tmp_path_factory, facts, part):
    with open_store("memory:") as store, pytest.MonkeyPatch.context() as patched:
        patched.setattr(mapped_graph, "ITEMS_PER_PART", part)
        ids = sorted({"0", "z", *(each.item for each in facts)}, key=str.encode)
        items = [Item(id, f"title of {id}", "A > B" if id > "a" else None) for id in ids]
        store.put(items_table(items), None)
        for each in facts:
            store.put(None, statements_table([each]))
        graph = mapped(store, tmp_path_factory.mktemp("graph") / "g")
        snapshot = read_snapshot(store, ontology=ONTOLOGY, predicted_categories=False)
        assert list(graph.items) == snapshot.items
        assert list(graph.titles) == snapshot.titles
        expected = [
            # What is not learned is left out, which the snapshot has.
            [each for each in snapshot.statements_of(item) if each[0] != "gtin"]
            for item in range(len(snapshot.items))
        ]
        assert statements_in(graph) == expected
        _, categories = np.unique([c or "" for c in snapshot.categories], return_inverse=True)
        assert graph.category.tolist() == categories.tolist()


def test_an_empty_store_gives_an_empty_graph(tmp_path):
    with open_store("memory:") as store:
        graph = mapped(store, tmp_path / "g")
    assert list(graph.items) == []
    assert graph.indptr.tolist() == [0]
    assert graph.pairs == []


class BrokenStore:
    """A store that gives what no store may."""

    def __init__(self, ids, statements):
        self.ids = ids
        self.statements = statements

    def items(self):
        for ids in self.ids:
            yield batch_of(ids)

    def triples(self, ranks):
        columns = zip(*self.statements, strict=True)
        yield pa.record_batch(
            [pa.array(each) for each in columns], names=["item", "property", "value"]
        )


def batch_of(ids):
    table = items_table([Item(id) for id in ids])
    return table.to_batches()[0]


@pytest.mark.parametrize("ids", [[["b", "a"]], [["a"], ["a"]], [["a", "b"], ["ab"]]])
def test_items_out_of_order_are_refused(tmp_path, ids):
    with pytest.raises(DataError, match="order of their ids"):
        mapped(BrokenStore(ids, []), tmp_path / "g", None)
    assert not list(tmp_path.iterdir())


def test_a_statement_of_no_item_is_refused(tmp_path):
    store = BrokenStore([["a", "c"]], [("b", "colour", "red")])
    with pytest.raises(DataError, match="an item 'b', which it has not"):
        mapped(store, tmp_path / "g", None)


def test_ids_of_the_same_hash_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_graph, "_hashes", lambda ids: np.zeros(len(ids), np.uint64))
    with pytest.raises(DataError, match="number 1 and 2"):
        mapped(BrokenStore([["a", "b"]], []), tmp_path / "g", None)
