"""Verification of an RDF store: of its quads, of its facts, and of files that are damaged."""

import random
import shutil
import warnings

import pytest
from pyoxigraph import Literal, Quad, Store

from kg.stores import rdf_terms as terms
from kg.stores.memory import MemoryStore
from kg.stores.rdf import RdfStore
from kg.stores.rdf_graph import JOURNAL, VERSION
from kg.stores.salvage import salvage_store
from kg.stores.tables import items_table, statements_table
from kg.stores.verification import verify_store
from schema.errors import CatalographWarning
from schema.terms import Item, Rank
from tests.contracts.rows import statement

ITEMS = [Item("a", "a title", "c > d", ("1.jpg", "2.jpg")), Item("b", "another")]
STATEMENTS = [
    statement("a", "brand", "brand187", row=7, batch="b1", model="m", confidence=0.5),
    statement("b", "brand", "brand187", evidence="e", reviewer="mo", time="2026-01-01"),
    statement("b", "colour", "red", Rank.PREDICTED),
]
ITEM = terms.named_node("item", "a")
NODE = terms.named_node("statement", STATEMENTS[0].id)
SOURCE = terms.NODE_PREDICATES["source"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "graph"
    with RdfStore(folder) as store:
        store.put(items_table(ITEMS), statements_table(STATEMENTS[:2]))
        store.put(None, statements_table([*STATEMENTS[2:], statement("a", "size", "gone")]))
        store.retract([statement("a", "size", "gone").id])
    return folder


@pytest.fixture
def folder(written, tmp_path, scans_here):
    shutil.copytree(written, tmp_path / "graph")
    return tmp_path / "graph"


def verify(folder):
    return verify_store(RdfStore.store_files(folder))


def test_a_store_of_nothing_has_no_problem(tmp_path, scans_here):
    RdfStore(tmp_path / "graph").close()
    report = verify(tmp_path / "graph")
    assert (report.problems, report.items, report.statements) == ([], 0, 0)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(terms.ITEM_GRAPH, "2 items of the journal"), (terms.PROVENANCE_GRAPH, "3 statements of the")],
)
def test_a_graph_that_lost_all_rows_of_a_kind_is_found(folder, lost, expected):
    """No row is read, so no row differs."""
    quads = Store(str(graph_of(folder)))
    for quad in list(quads.quads_for_pattern(None, None, None, lost)):
        quads.remove(quad)
    quads.flush()
    del quads
    report = verify(folder)
    assert expected in " ".join(report.problems)


def graph_of(folder):
    return RdfStore.store_files(folder).graph


def test_an_intact_store_has_no_problem(written):
    report = verify(written)
    assert (report.problems, report.notes) == ([], [])
    assert (report.items, report.statements) == (2, 3)


def replaced(subject, predicate, graph, value):
    """Return a change that gives a subject another value of a predicate."""

    def change(quads):
        (old,) = quads.quads_for_pattern(subject, predicate, None, graph)
        quads.remove(old)
        quads.add(Quad(subject, predicate, value, graph))

    return change


def removed(quad):
    return lambda quads: quads.remove(quad)


def added(quad):
    return lambda quads: quads.add(quad)


FACT = Quad(
    ITEM,
    terms.named_node("property", "brand"),
    Literal("brand187"),
    terms.RANK_GRAPHS[Rank.ASSERTED],
)
OTHER_FACT = Quad(ITEM, FACT.predicate, Literal("bsand187"), FACT.graph_name)
CHANGES = {
    "another title": (
        replaced(ITEM, terms.NAME, terms.ITEM_GRAPH, Literal("a tatle")),
        "1 items differ from the journal in title (1) (a)",
    ),
    "another value": (
        replaced(NODE, terms.OBJECT, terms.PROVENANCE_GRAPH, Literal("bsand187")),
        "statements have an id that is not that of their item, property, value and language",
    ),
    "another source": (
        replaced(NODE, SOURCE, terms.PROVENANCE_GRAPH, terms.named_node("source", "t")),
        "1 statements differ from the journal in source (1)",
    ),
    "no fact": (removed(FACT), "1 statements have no fact in the graph of their rank"),
    "another fact": (added(OTHER_FACT), "1 facts have no statement, or one of another rank"),
    "a second title": (
        added(Quad(ITEM, terms.NAME, Literal("a title, too"), terms.ITEM_GRAPH)),
        "1 items or statements have quads too many or too few (a)",
    ),
    "no item": (
        removed(Quad(ITEM, terms.TYPE, terms.PRODUCT, terms.ITEM_GRAPH)),
        "1 items or statements have quads too many or too few (a)",
    ),
    "another version": (
        replaced(JOURNAL, VERSION, JOURNAL, Literal(7)),
        "shows version 7 of its journal, which ends at 2",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_behind_the_stores_back_is_found(folder, name):
    change, expected = CHANGES[name]
    quads = Store(str(graph_of(folder)))
    change(quads)
    quads.flush()
    del quads
    problems = verify(folder).problems
    assert any(expected in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def files_of(folder, pattern):
    return sorted(graph_of(folder).glob(pattern))


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("how", ["removed", "cut", "nonsense"])
def test_a_damaged_file_is_one_line_and_rebuild_repairs_it(folder, pattern, how):
    path = files_of(folder, pattern)[0]
    if how == "removed":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_bytes(random.Random(0).randbytes(path.stat().st_size))
    report = verify(folder)
    assert report.problems
    assert all("\n" not in problem for problem in report.problems)
    assert "catalograph rebuild" in report.problems[0]
    with RdfStore(folder) as store, warnings.catch_warnings():
        # Where the old graph could not be read, it is set aside with a remark.
        warnings.simplefilter("ignore", CatalographWarning)
        store.rebuild()
    assert verify(folder).problems == []


def test_what_is_left_of_a_damaged_store_is_rescued(folder):
    with RdfStore(folder, read_only=True) as store:
        before = store.content_hash()
    shutil.rmtree(folder / "journal")
    target = MemoryStore()
    report = salvage_store(RdfStore.store_files(folder), target)
    assert report.lost == []
    assert target.content_hash() == before


def test_every_altered_byte_of_a_file_is_found_even_where_only_another_index_is(folder):
    rng = random.Random(0)
    graph = graph_of(folder)
    damaged_files = RdfStore.store_files(folder).damaged_files
    for path in sorted(graph.iterdir()):
        if path.name.startswith(("LOCK", "LOG")) or not path.stat().st_size:
            continue
        data = path.read_bytes()
        for _ in range(5):
            place = rng.randrange(len(data))
            path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
            assert damaged_files(graph, "go on"), (path.name, place)
        path.write_bytes(data)
    assert damaged_files(graph, "go on") == []
    path.write_bytes(data[:-1])
    problems = verify(folder).problems
    assert any(str(path) in problem and "rebuild" in problem for problem in problems)


def test_checksums_are_of_the_files_as_they_were_published_last(folder):
    for number in range(3):
        with RdfStore(folder) as store:
            store.put(None, statements_table([statement(f"new {number}")]))
        assert verify(folder).problems == []


def test_a_publication_of_an_earlier_version_has_no_checksums(folder):
    (graph_of(folder) / "manifest.json").unlink()
    assert verify(folder).problems == []
