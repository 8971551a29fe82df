"""Rows known from the last run are passed over, and nothing shows it but the time it takes."""

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.source_order import bring_up_to_date
from kg.sources import KeptSources
from kg.stores.history import undo
from kg.stores.memory import MemoryStore
from kg.stores.references import SourceOrder
from kg.stores.tables import statements_table
from schema.errors import CatalographError, RejectsError
from schema.terms import Provenance, Rank, Statement
from tests.kg.ingest.nights import contents

HEADER = "sku,name,country,ean,code,colour,notes,picture,weight"
MAPPING = """
id = "sku"
title = "name"
category = "notes"
images = "picture"
multi = "|"
missing = ["void"]
properties = ["country", "ean", "code number", "colour", "weight", "notes"]

[columns."code number"]
datatype = "identifier"

[columns.weight]
unit = "kg"
"""
RULED = {"header": HEADER.replace("code", "code number"), "mapping": MAPPING}
GUESSED = {"header": HEADER, "mapping": None}
PARENTS = RULED | {"mapping": MAPPING.replace('id = "sku"', 'id = "sku"\nparent = "colour"')}
TRIPLES = """
[triples]
item = "sku"
property = "country"
value = "colour"
"""
LONG_TABLE = {"header": HEADER, "mapping": TRIPLES}
RECORDS = {"header": HEADER, "mapping": None, "suffix": ".jsonl"}
FORMS = {
    "ruled": RULED,
    "guessed": GUESSED,
    "parents": PARENTS,
    "long": LONG_TABLE,
    "records": RECORDS,
}
LONG = "a text with words that is longer than most"
CELLS = {
    "name": ["Lamp", "Na", "Mug &amp; co", "<b>Cup</b>", "N/A", "Big  mug", ""],
    "country": ["DE", "FR", "NO", "NA", "IT", "none", "-", "yes", "no", ""],
    "ean": ["4012345600022", "4012345600022.0", "4012345600023", "4.01E+12", "96385074", "n/a", ""],
    "code": ["7", "1E5", "12345678", "2024.0", "7.5", '="007"', "none", "void", ""],
    "colour": ["red", "blue|red", "NA", "+", "?", "keine", "red|-", "void", ""],
    "notes": ["<p>one</p>", "a &lt; b", "<br>", "1 < 2", LONG, "x > y", "unknown", ""],
    "picture": ["https://a.example/1.jpg", "1.png", "none.png", ""],
    "weight": ["1", "2.5", "3 kg", "NA", "none", "12", ""],
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001"
)

IDS = ["a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1", "1.0", " a1", "", "NA", "Total"]
CHANGES = ["drop", "move", "add", "again", "cell"]
ids = st.sampled_from(IDS)
# Most rows are plain: one doubtful cell is enough for a row to be read again.
some_cells = [st.sampled_from([each[0]] * 7 + [each[-1]] * 3 + each) for each in CELLS.values()]
rows = st.tuples(ids, *some_cells)


@st.composite
def changed_tables(draw):
    """Return the rows of a few nights: each has most of the night before, in some other order."""
    night = draw(st.lists(rows, min_size=2, max_size=9))
    nights = [night]
    for _ in range(draw(st.integers(1, 3))):
        night = list(night)
        for change in draw(st.lists(st.sampled_from(CHANGES), max_size=3)):
            place = draw(st.integers(0, len(night)))
            row = night[place % len(night)] if night else draw(rows)
            if change == "add":
                night.insert(place, draw(rows))
            elif change == "again":
                night.insert(place, row)
            elif change == "move" and night:
                night.append(night.pop(place % len(night)))
            elif change == "drop" and night:
                night.pop(place % len(night))
            elif change == "cell" and night:
                column = draw(st.integers(1, len(CELLS)))
                cell = draw(st.sampled_from([*CELLS.values()][column - 1]))
                night[place % len(night)] = (*row[:column], cell, *row[column + 1 :])
        nights.append(night)
    return nights


PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
BETWEEN = st.sampled_from(
    """
    nothing nothing nothing other undo undo-unforgotten delete retract order accept killed damage
    again images column mapping
    """.split()
)


class Killed(BaseException):
    """What stands for the end of the process."""


class Replay:
    """A home that loads nights with or without known rows; both are told to do the same."""

    def __init__(self, folder, header, mapping, suffix=".csv", *, reread, monkeypatch):
        self.folder = Path(folder)
        self.store = MemoryStore()
        self.home = Home.open(self.folder / "home", create=True)
        self.header = header
        self.suffix = suffix
        self.has_more = False
        self.mapping = None
        self.reread = reread
        self.known = 0
        self._patch = monkeypatch
        if mapping is not None:
            (self.folder / "m.toml").write_text(mapping)
            self.mapping = str(self.folder / "m.toml")
        (self.folder / "1.png").write_bytes(PNG)

    def load(self, rows, run, source="s", **update):
        """Ingest a table; return all that is said of it."""
        path = self.folder / f"{source}{self.suffix}"
        header = [*self.header.split(","), *(["extra"] if self.has_more else [])]
        rows = [(*row, "more")[: len(header)] for row in rows]
        if self.suffix == ".csv":
            lines = [",".join(map(_quoted, row)) for row in (header, *rows)]
        else:
            lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        self._patch.setattr("kg.ingest.pipeline.new_run_id", lambda: run)
        self._patch.setattr("kg.ingest.pipeline.now", lambda: run)
        self._patch.setattr(Home, "store", lambda home, read_only=False: self.store)
        options = UpdateOptions(reread=self.reread, max_retired="100%", **update)
        try:
            report = ingest(
                self.home, [path], mapping=self.mapping, update=options, max_rejects="100%"
            )
        except RejectsError as error:
            report = error.report
        except CatalographError as error:
            return type(error).__name__, str(error).replace(str(self.folder), "")
        self.known += report.known_rows
        document = report.as_dict() | {"seconds": 0}
        said = [*report.reasons, *report.notes, *map(str, report.first_rejects)]
        return document, [line.replace(str(self.folder), "") for line in said]

    def state(self):
        """Return what the home has: its graph, its journal, its rejected rows."""
        graph = {name: list(map(_comparable, rows)) for name, rows in contents(self.store).items()}
        by_run = {}
        for batch in self.store.changes():
            written = (
                json.dumps(
                    {k: v for k, v in row.items() if k not in ("at", "time")}, sort_keys=True
                )
                for row in batch.changes.to_pylist()
            )
            by_run.setdefault(batch.run, set()).update(written)
        with self.home.ledger() as ledger:
            rejects = [
                (Path(row.file).name, row.line, row.reason, row.text) for row in ledger.rejects()
            ]
        text = json.dumps(graph).replace(str(self.folder), "")
        return {
            "graph": json.loads(text),
            "journal": {
                run: {row.replace(str(self.folder), "") for row in rows}
                for run, rows in by_run.items()
            },
            "rejects": rejects,
            "declared": self.home.declared_path.exists() and self.home.declared_path.read_text(),
        }

    def do(self, what, number, others):
        """Do something between two nights."""
        run = f"between{number}"
        items = [row["id"] for row in contents(self.store)["items"]]
        statements = [row["id"] for row in contents(self.store)["statements"]]
        self._patch.setattr(Home, "store", lambda home, read_only=False: self.store)
        if what == "other":
            self.load(others, run, source="t")
        elif what == "killed":
            with self._patch.context() as patch, suppress(Killed):
                patch.setattr("kg.ingest.pipeline.SourceKeeper.keep", _kill)
                self.load(others, run)
        elif what == "column":
            self.has_more = not self.has_more
        elif what == "mapping" and self.mapping:
            path = Path(self.mapping)
            path.write_text(path.read_text().replace('"void"', '"void", "red"'))
        elif what in ("undo", "undo-unforgotten") and not self.store.is_empty():
            last = [batch.run for batch in self.store.changes() if batch.run][-1]
            undo(self.store, last, by=run)
            bring_up_to_date(self.home, self.store, run)
            if what == "undo":
                KeptSources(self.home.sources).forget(last)
        elif what == "delete":
            self.store.delete(items[:2], run=run)
            bring_up_to_date(self.home, self.store, run)
        elif what == "retract":
            self.store.retract(statements[::3], run=run)
        elif what == "order" and any(
            row["source"] == "t.csv" for row in contents(self.store)["items"]
        ):
            self.store.order = SourceOrder(("t.csv",))
        elif what == "accept" and items:
            said = Provenance(source="", reviewer="me", time="x")
            accepted = Statement(items[0], "colour", "green", Rank.ACCEPTED, said)
            self.store.put(None, statements_table([accepted]), run=run)
        elif what == "images":
            self.folder.joinpath("none.png").write_bytes(PNG)
        elif what == "damage":
            for path in self.home.sources.glob("*/*/*.arrow"):
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)


def _kill(*_):
    raise Killed


def _quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set('",') else cell


def _comparable(row):
    return {key: value for key, value in row.items() if key != "time"}


@contextmanager
def small_batches(monkeypatch, rows, texts):
    with monkeypatch.context() as patch:
        patch.setattr("kg.ingest.source_plan.BATCH_STATEMENTS", 1)
        patch.setattr("kg.ingest.source_plan._MIN_BATCH_ROWS", rows)
        patch.setattr("kg.ingest.values.columns._ENOUGH_TEXTS", texts)
        patch.setattr("kg.ingest.pipeline.BATCH_STATEMENTS", 10)
        # It follows from what is stored and declared, which are compared, and takes long.
        patch.setattr("kg.ingest.pipeline.refresh_ontology", lambda home, store: None)
        patch.setattr("kg.source_order.refresh_ontology", lambda home, store: None)
        yield patch


@settings(
    max_examples=int(os.environ.get("KNOWN_ROWS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=PHASES,
)
@given(
    st.sampled_from(list(FORMS)),
    changed_tables(),
    st.lists(BETWEEN, min_size=4, max_size=4),
    st.lists(rows, max_size=4),
    st.sampled_from([2, 3, 100]),
    st.sampled_from([3, 5_000]),
    st.booleans(),
)
def test_a_run_with_known_rows_does_what_one_without_does(
    monkeypatch, form, nights, between, others, batch_rows, texts, sync
):
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        small_batches(monkeypatch, batch_rows, texts) as patch,
    ):
        quick = Replay(one, **FORMS[form], reread=False, monkeypatch=patch)
        full = Replay(other, **FORMS[form], reread=True, monkeypatch=patch)
        for number, (night, what) in enumerate(zip(nights, between, strict=False)):
            for _ in range(2 if what == "again" else 1):
                said = quick.load(night, f"run{number}", sync=sync)
                expected = full.load(night, f"run{number}", sync=sync)
                if "is damaged" in str(said):
                    said[1][:] = [line for line in said[1] if "is damaged" not in line]
                assert said == expected
                assert quick.state() == full.state()
            for replay in (quick, full):
                replay.do(what, number, others)
        event(f"{form}: {min(quick.known, 3)} known rows")
        assert full.known == 0
