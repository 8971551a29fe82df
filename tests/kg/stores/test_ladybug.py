import os

import ladybug
import numpy as np
import pyarrow as pa
import pytest

from kg.stores.ladybug import LadybugStore
from kg.stores.ladybug_reading import with_empty_lists
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.journaled_contract import JournaledContract


class TestLadybug(CypherContract, JournaledContract):
    scheme = "ladybug"
    files = "graph.lbug*"
    store_class = LadybugStore

    def ruin_file(self, url):
        os.truncate(self.published(url), 4096)

    def fail_to_open(self, patch, reason):
        def fail(*arguments, **options):
            raise RuntimeError(reason)

        patch.setattr(ladybug, "Database", fail)

    def damage_graph(self, store):
        store._graph._execute("MATCH (i:Item {id: 'b'})-[h:HAS]->(v:Value) DELETE h")


def test_lists_that_are_all_empty_are_sound_whatever_ladybug_left_in_memory():
    # As Ladybug makes them: the offsets of the lists, but none of the texts, which are none.
    offsets = pa.py_buffer(np.zeros(4, np.int32))
    garbage = pa.py_buffer(np.array([-229_081_600], np.int32))
    texts = pa.StringArray.from_buffers(0, garbage, pa.py_buffer(b""))
    some = pa.py_buffer(bytes([0b101]))
    lists = pa.ListArray.from_buffers(pa.list_(pa.string()), 3, [some, offsets], children=[texts])
    table = pa.table({"id": ["a", "b", "c"], "images": lists})
    with pytest.raises(pa.ArrowInvalid, match="negative offset"):
        table.validate(full=True)
    sound = with_empty_lists(table)
    sound.validate(full=True)
    assert sound["images"].to_pylist() == [[], None, []]


def test_lists_that_have_something_stay_as_they_are():
    table = pa.table({"id": ["a", "b"], "images": pa.array([["x.jpg"], None])})
    assert with_empty_lists(table).equals(table)
