import subprocess
import sys
import traceback

import pytest
from pyoxigraph import QuerySolutions, Store
from rdflib import SDO, URIRef

from kg.stores import rdf_graph
from kg.stores.open import open_store
from kg.stores.rdf import RdfStore
from kg.stores.rdf_terms import PROVENANCE_GRAPH, named_node
from kg.stores.tables import items_table, statements_table
from schema.errors import StoreDamagedError, StoreError
from schema.terms import Item, Rank, statement_id
from tests.contracts.journaled_contract import JournaledProcessContract, files_of, fill
from tests.contracts.rows import statement
from tests.contracts.sparql_contract import SparqlContract

READER_WITH_FEW_FILES = """
import resource, sys
from kg.stores.open import open_store
from schema.errors import StoreUnavailableError
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
for read_only in (True, False):
    try:
        with open_store(sys.argv[1], read_only=read_only) as store:
            store.counts()
    except StoreUnavailableError as error:
        print(error)
"""


def read_all(url):
    with open_store(url, read_only=True) as store:
        list(store.scan())
        list(store.items())
        list(store.triples([Rank.ASSERTED]))


class TestRdf(SparqlContract, JournaledProcessContract):
    scheme = "rdf"
    files = "graph.oxigraph*"
    store_class = RdfStore

    def ruin_file(self, url):
        (self.published(url) / "CURRENT").write_text("nonsense")

    def fail_to_open(self, patch, reason):
        def fail(*arguments, **options):
            raise OSError(reason)

        patch.setattr(rdf_graph, "open_for_reading", fail)

    def damage_graph(self, store):
        node = named_node("statement", statement_id("b", "colour", "red"))
        quads = store._begin().quads
        for quad in list(quads.quads_for_pattern(node, None, None, PROVENANCE_GRAPH)):
            quads.remove(quad)

    @pytest.mark.filterwarnings("ignore:Dataset.default_context:DeprecationWarning")
    def test_rdflib_reads_the_store_but_cannot_write(self, store):
        store.put(items_table([Item("a", "one")]), statements_table([statement()]))
        dataset = store.dataset()
        assert [str(name) for name in dataset.objects(None, SDO.name)] == ["one"]
        (row,) = dataset.query("SELECT ?v { ?item <urn:catalograph:property:colour> ?v }")
        assert str(row.v) == "red"
        with pytest.raises(RuntimeError, match="read-write"):
            dataset.add((URIRef("urn:x"), SDO.name, URIRef("urn:y")))

    def test_error_takes_no_answer_to_other_threads(self, store, monkeypatch):
        class Failing:
            def query(self, text):
                return Store().query("SELECT * { SERVICE <http://127.0.0.1:1/> { } }")

        monkeypatch.setattr(store._graph, "quads", Failing())
        with pytest.raises(StoreError) as caught:
            store.counts()
        error: BaseException | None = caught.value
        kept = []
        while error is not None:
            kept += [
                value
                for frame, _ in traceback.walk_tb(error.__traceback__)
                for value in frame.f_locals.values()
            ]
            error = error.__context__
        assert not any(isinstance(value, QuerySolutions) for value in kept)

    def test_too_few_file_handles_change_nothing(self, empty_url):
        url = empty_url()
        fill(url, "a")
        before = files_of(url)
        reader = subprocess.run(
            [sys.executable, "-c", READER_WITH_FEW_FILES, url],
            capture_output=True,
            text=True,
            check=True,
        )
        assert reader.stdout.count("ulimit -n") == 2
        assert files_of(url) == before

    def test_graph_of_an_earlier_version_is_read_and_continued(self, empty_url):
        url = empty_url()
        fill(url, "a")
        self.published(url).rename(self.published(url).with_name("graph.oxigraph"))
        with open_store(url, read_only=True) as store:
            assert store.counts().statements == 1
        fill(url, "b")
        assert self.published(url).name == "graph.oxigraph.1"
        with open_store(url, read_only=True) as store:
            assert store.counts().statements == 2

    def test_damaged_block_is_told_while_reading(self, empty_url):
        url = empty_url()
        fill(url, *"abc")
        for path in self.published(url).glob("*.sst"):
            data = bytearray(path.read_bytes())
            data[10] ^= 1
            path.write_bytes(data)
        with pytest.raises(StoreDamagedError, match="catalograph rebuild"):
            read_all(url)
