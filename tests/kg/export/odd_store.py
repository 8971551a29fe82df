"""A small store full of texts that are hard to export, and a home for it."""

from kg.home import Home
from kg.stores.open import open_store
from kg.stores.protocol import GraphStore
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement

ODD = "q\"uo'te \\ \n\r\t | ; , \x1f\x01 <&> 红 \u202e \U0001f600 'x' NA"


def odd_store():
    """Return a store in memory: odd texts, all ranks, complete and empty provenance."""
    store = open_store("memory:")
    items = [
        Item("a", ODD, "A > b", ("x|y;1.jpg", '/z".jpg')),
        Item("b"),
        Item("é/ü%20 x", "t", None, ("one.png",)),
        Item(ODD, " "),
    ]
    full = Provenance("s.csv", "b1", 7, None, None, "evi\ndence", None, "2026-01-01T00:00:00+00:00")
    model = Provenance("complete", "b2", None, "m/1", 0.1 + 0.2, None, None, "2026")
    facts = [
        Statement("a", "colour", ODD, Rank.ASSERTED, full),
        Statement("a", "size", "3", Rank.PREDICTED, model),
        Statement("a", "size", "4", Rank.REJECTED, Provenance("x", reviewer="mo")),
        Statement("b", "size", "3", Rank.ACCEPTED, Provenance("x")),
        Statement("b", "size", " ", Rank.DEPRECATED, Provenance("x")),
        Statement("z:z", "p:q/é", "NA", Rank.ASSERTED, Provenance("x")),
    ]
    store.put(items_table(items), statements_table(facts))
    return store


class MemoryHome(Home):
    """A home whose store is one in memory."""

    memory_store: GraphStore

    @classmethod
    def of(cls, folder, store):
        """Create a home in a folder."""
        Home.open(folder, create=True)
        home = cls(folder)
        home.memory_store = store
        return home

    def store(self, read_only=False):
        return self.memory_store


def rows(store):
    """Return all items and all statements of a store."""
    items = [
        {**row, "images": row["images"] or []}
        for batch in store.items()
        for row in batch.to_pylist()
    ]
    return items, [row for batch in store.scan() for row in batch.to_pylist()]
