"""Random tables of several nights: updates equal fresh ingests, dry runs tell, undo leads back.

The store is in memory, so that many small catalogues take seconds.
"""

import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.source_order import bring_up_to_date
from kg.stores.history import runs_of, undo
from kg.stores.memory import MemoryStore
from kg.stores.references import SourceOrder
from schema.errors import RejectsError
from tests.kg.ingest.nights import contents

MAPPING = """
id = "sku"
parent = "parent"
title = "name"
category = "department"
language = "en"

[languages]
columns = ["{name}-{language}"]
"""
HEADER = "sku,parent,name,name-de,department,colour,size"
FEW = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

ids = st.sampled_from("abcde")
words = st.sampled_from(["", "", "red", "blue", "x"])
rows = st.builds(
    lambda id, parent, *cells: ",".join((id, "" if parent == id else parent, *cells)),
    st.one_of(ids, ids, ids, ids, st.just("")),
    st.one_of(st.just(""), st.sampled_from("abcz")),
    *[words] * 5,
)
tables = st.lists(rows, max_size=6).map(lambda lines: "\n".join([HEADER, *lines]) + "\n")
nights = st.lists(st.tuples(st.sampled_from(["s", "t"]), tables), min_size=1, max_size=3)


class Catalogue:
    """A home in a temporary folder whose store is in memory."""

    def __init__(self, monkeypatch, order=()):
        self.store = MemoryStore()
        self.store.order = SourceOrder(tuple(order))
        self._patch = monkeypatch

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.home = Home.open(self.folder / "home", create=True)
        (self.folder / "m.toml").write_text(MAPPING)
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def load(self, night, sync=True, dry_run=False, max_retired="100%"):
        """Ingest a night's tables, whose sources are their names; return the report."""
        paths = []
        for number, (source, text) in enumerate(night):
            paths.append(self.folder / f"{source}{number}" / source)
            paths[-1].parent.mkdir(exist_ok=True)
            paths[-1] = paths[-1].with_suffix(".csv")
            paths[-1].write_text(text)
        self._patch.setattr(Home, "store", lambda home, read_only=False: self.store)
        options = UpdateOptions(sync=sync, max_retired=max_retired)
        mapping = str(self.folder / "m.toml")
        try:
            return ingest(
                self.home,
                paths,
                mapping=mapping,
                update=options,
                dry_run=dry_run,
                max_rejects="100%",
            )
        except RejectsError as error:
            return error.report

    def state(self):
        """Return what is stored, whenever it was."""
        return {
            name: [_whenever(row) for row in some] for name, some in contents(self.store).items()
        }


def _whenever(row):
    """Return a row without the time and the order in which its references arrived."""
    if row["references"] is None:
        return row
    found = json.loads(row["references"])
    kept = [{k: v for k, v in each.items() if k not in ("batch", "time", "row")} for each in found]
    return row | {"references": sorted(map(json.dumps, kept))}


@FEW
@given(st.lists(tables, min_size=2, max_size=4))
def test_the_last_night_equals_a_fresh_ingest_of_it(monkeypatch, texts):
    with Catalogue(monkeypatch) as replayed, Catalogue(monkeypatch) as fresh:
        for text in texts:
            report = replayed.load([("s", text)])
        fresh_report = fresh.load([("s", texts[-1])])
        if report.rejected:
            # An item whose row was rejected stays as it was, and nobody is retired meanwhile.
            return
        assert fresh_report.rejected == 0
        assert replayed.state() == fresh.state()


@FEW
@given(nights)
@example([("t", f"{HEADER}\n"), ("s", f"{HEADER}\na,,,,,,\n"), ("t", f"{HEADER}\na,,,,,,\n")])
def test_two_sources_end_as_their_last_nights(monkeypatch, some):
    last = dict(some)
    order = ("s.csv", "t.csv")
    with Catalogue(monkeypatch, order) as replayed, Catalogue(monkeypatch, order) as fresh:
        rejected = sum(replayed.load([night]).rejected for night in some)
        for night in last.items():
            rejected += fresh.load([night]).rejected
        if not rejected:
            assert replayed.state() == fresh.state()


@FEW
@given(st.lists(nights, min_size=2, max_size=3), st.sampled_from(["0%", "20%", "100%"]))
@example([[("s", f"{HEADER}\na,,,,,,\n")], [("s", f"{HEADER}\nb,,,,,,\n")]], "20%")
def test_a_dry_run_tells_what_the_ingest_then_does(monkeypatch, several, max_retired):
    with Catalogue(monkeypatch) as catalogue:
        for night in several:
            before = catalogue.store.content_hash()
            told = catalogue.load(night, dry_run=True, max_retired=max_retired)
            assert catalogue.store.content_hash() == before
            is_empty = catalogue.store.is_empty()
            done = catalogue.load(night, max_retired=max_retired)
            counts = ("read", "stored", "rejected", "items", "statements")
            assert [getattr(told, name) for name in counts] == [
                getattr(done, name) for name in counts
            ]
            if not is_empty:
                assert told.changes == done.changes
                document = done.as_dict()["changes"]["items"]
                assert all(count >= 0 for count in document.values()), document


@FEW
@given(st.lists(nights, min_size=1, max_size=3))
def test_the_same_again_changes_nothing_and_runs_undone_lead_back(monkeypatch, several):
    with Catalogue(monkeypatch) as catalogue:
        hashes = []
        runs = []
        for night in several:
            hashes.append(catalogue.store.content_hash())
            runs.append(catalogue.load(night).run)
            if len({source for source, _ in night}) == len(night):
                before = catalogue.store.content_hash()
                catalogue.load(night)
                assert catalogue.store.content_hash() == before
        known = {each.run for each in runs_of(catalogue.store)}
        for run, before in zip(reversed(runs), reversed(hashes), strict=True):
            if run in known:
                undo(catalogue.store, run, by=f"undo {run}")
                bring_up_to_date(catalogue.home, catalogue.store, f"undo {run}")
            assert catalogue.store.content_hash() == before
