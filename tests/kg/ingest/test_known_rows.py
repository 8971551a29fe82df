"""Rows known from the last run are passed over, and nothing shows it but the time it takes."""

import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
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
FORMS: dict[str, Any] = {
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
    "ean": ["4006381333931", "4006381333931.0", "4012345600023", "4.01E+12", "96385074", "n/a", ""],
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
    nothing nothing nothing other undo delete retract order accept killed damage
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
        by_run: dict[Any, Any] = {}
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
        elif what == "undo" and not self.store.is_empty():
            last = [batch.run for batch in self.store.changes() if batch.run][-1]
            undo(self.store, last, by=run)
            bring_up_to_date(self.home, self.store, run)
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


def _kill(keeper, *_):
    keeper.discard()
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
    max_examples=int(os.environ.get("KNOWN_ROWS_EXAMPLES", "15")),
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


TABLE = "id,title,country,price\n" + "".join(f"{n},Mug {n},DE,{n}.50\n" for n in range(20))


@pytest.fixture(params=["memory", "ladybug"])
def home(tmp_path, monkeypatch, request):
    if request.param == "memory":
        store = MemoryStore()
        monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    return Home.open(tmp_path / "home", create=True)


def load(home, text, name="items.csv", **options):
    path = home.path.parent / name
    path.write_text(text)
    update = UpdateOptions(max_retired="100%", **options)
    return ingest(home, [path], update=update, max_rejects="100%")


def changes(report):
    return report.as_dict()["changes"]


def test_only_new_and_changed_rows_are_read(home):
    assert load(home, TABLE).known_rows == 0
    again = load(home, TABLE)
    assert (again.known_rows, again.read, again.stored, again.items) == (20, 20, 20, 20)
    assert again.statements == 40
    assert changes(again)["items"] == {"new": 0, "changed": 0, "unchanged": 20, "retired": 0}

    changed = load(
        home,
        "id,title,country,price\nnew,Cup,FR,1\n" + TABLE.split("\n", 1)[1].replace("3.50", "3.99"),
    )
    # 3 and 13
    assert changed.known_rows == 18
    assert changes(changed)["items"] == {"new": 1, "changed": 2, "unchanged": 18, "retired": 0}
    assert load(home, TABLE, reread=True).known_rows == 0
    # What was read is known nevertheless.
    assert load(home, TABLE).known_rows == 20


def test_rows_of_items_that_anybody_touched_are_read_again(home):
    load(home, TABLE)
    with home.store() as store:
        store.delete(["3", "4"], run="deleted")
        _, facts = store.item("5")
        store.retract([facts[0].id])
    report = load(home, TABLE)
    assert changes(report)["items"]["new"] == 2
    with home.store(read_only=True) as store:
        assert store.counts().statements == 40
    if isinstance(store, MemoryStore):
        assert report.known_rows == 17
    else:
        # Of which item the statement was is not known there.
        assert report.known_rows == 0
    assert load(home, TABLE).known_rows == 20


def test_another_source_touches_only_the_items_that_it_changes(home):
    load(home, TABLE)
    load(home, "id,title,price\n7,Mug 7,7.50\nother,Cup,1\n", name="other.csv")
    assert load(home, TABLE).known_rows == 19


def test_rows_whose_cells_others_decide_are_read_again(home):
    rows = "id,title,country\n" + "".join(
        f"{n},Mug {n},{c}\n" for n, c in enumerate(["DE", "FR", "IT", "NA"])
    )
    load(home, rows)
    with home.store(read_only=True) as store:
        assert [each.value for each in store.item("3")[1]] == ["NA"]
    # Without the other countries it is a word for nothing.
    report = load(home, "id,title,country\n0,Mug 0,red\n1,Mug 1,blue\n2,Mug 2,a b\n3,Mug 3,NA\n")
    assert report.known_rows == 0
    with home.store(read_only=True) as store:
        assert store.item("3")[1] == []
    assert load(home, "id,title,country\n0,Mug 0,red\n3,Mug 3,NA\n").known_rows == 1


def test_known_rows_show_what_a_word_of_a_changed_row_is(home):
    countries = ["DE", "FR", "IT", "ES"]
    rows = [f"{n},Mug {n},{country}" for n, country in enumerate(countries)]
    load(home, "\n".join(["id,title,country", *rows]) + "\n")
    report = load(home, "\n".join(["id,title,country", *rows, "4,Mug 4,NA"]) + "\n")
    assert report.known_rows == 4
    with home.store(read_only=True) as store:
        assert [each.value for each in store.item("4")[1]] == ["NA"]


def test_what_was_done_in_known_rows_is_said_again(home):
    rows = "id,title,colour,ean\n" + "".join(f"{n},Mug {n},N/A,4006381333931\n" for n in range(9))
    rows += "9,Mug &amp; Cup,red,4012345600023\n"
    first = load(home, rows)
    again = load(home, rows)
    # The faulty number is an example of its kind.
    assert again.known_rows == 9
    assert again.notes == first.notes
    assert any("9 cells left out as missing" in note for note in first.notes)
    assert any("1 of 10 GTINs in ean are faulty" in note for note in first.notes)


def test_images_beside_the_source_are_looked_up_again(home):
    rows = "id,title,image\n1,Mug,a.png\n2,Cup,https://shop.example/b.png\n"
    load(home, rows)
    home.path.parent.joinpath("a.png").write_bytes(PNG)
    report = load(home, rows)
    assert (report.known_rows, report.images) == (1, 1)
    with home.store(read_only=True) as store:
        assert store.item("1")[0].images


def test_rejected_rows_are_listed_anew_and_their_items_not_retired(home):
    rows = TABLE + "3,Another,FR,1\n,No id,FR,1\n"
    load(home, rows)
    report = load(home, rows, sync=True)
    assert (report.known_rows, report.rejected) == (20, 2)
    with home.ledger() as ledger:
        assert [row.run for row in ledger.rejects()] == [report.run] * 2
    gone = load(home, TABLE.replace("7,Mug 7,DE,7.50\n", ""), sync=True)
    assert (gone.known_rows, changes(gone)["items"]["retired"]) == (19, 1)


def test_what_is_kept_of_other_code_is_not_used(home, monkeypatch):
    load(home, TABLE)
    monkeypatch.setattr("kg.ingest.recall.reading_version", lambda: "another")
    assert load(home, TABLE).known_rows == 0
    monkeypatch.setattr("kg.ingest.recall.reading_version", lambda: "")
    assert load(home, TABLE).known_rows == 0
    assert load(home, TABLE).known_rows == 0


@pytest.mark.parametrize("name", ["items.csv", "items.jsonl"])
def test_what_is_damaged_is_said_and_all_is_read(home, name):
    text = TABLE if name == "items.csv" else RECORD_LINES
    count = load(home, text, name).read
    (path,) = home.sources.glob("*/*/*.arrow")
    data = path.read_bytes()
    for damaged in (data[:-100], data[: len(data) // 2] + b"x" + data[len(data) // 2 + 1 :], b""):
        (path,) = (
            each for each in home.sources.glob("*/*/*.arrow") if each.parent == _newest(home, name)
        )
        path.write_bytes(damaged)
        report = load(home, text, name)
        assert report.known_rows == 0
        assert any("is damaged" in note and "all rows are read" in note for note in report.notes)
        assert load(home, text, name).known_rows == count


def _newest(home, name):
    (kept,) = KeptSources(home.sources).newest()[name]
    return kept.folder


RECORD_LINES = "".join(
    json.dumps({"id": f"p{n}", "title": f"Mug {n}", "sizes": ["S", "M"]}) + "\n" for n in range(20)
)


LONG_LINES = "".join(f"p{n % 5},size {n},{n}\n" for n in range(20))
LONG_LINES = f"item,property,value\n{LONG_LINES}"
PARENT_LINES = "".join(f"v{n},Mug {n},p\n" for n in range(19))
PARENT_LINES = f"id,title,parent\np,Mug,\n{PARENT_LINES}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("records.jsonl", RECORD_LINES),
        ("long.csv", LONG_LINES),
        ("parents.csv", PARENT_LINES),
    ],
)
def test_the_same_file_of_any_form_is_not_read_again(home, name, text):
    first = load(home, text, name)
    before = home_hash(home)
    again = load(home, text, name, sync=True)
    assert (first.known_rows, again.known_rows) == (0, first.read)
    assert (again.items, again.statements) == (first.items, first.statements)
    assert changes(again)["items"]["unchanged"] == first.items
    assert home_hash(home) == before
    other = load(home, text.replace("18", "x"), name)
    assert other.known_rows == 0
    assert changes(other)["statements"]["new"]


def home_hash(home):
    with home.store(read_only=True) as store:
        return store.content_hash()


def test_files_of_one_source_are_read_together(home):
    paths = [home.path.parent / name for name in ("a.csv", "b.csv")]
    for number, path in enumerate(paths):
        path.write_text(f"id,title\n{number},Mug\n")
    for _ in range(2):
        report = ingest(home, paths, update=UpdateOptions("feed"))
        assert (report.known_rows, report.items) == (0, 2)
    # What was last read of the source is not one file.
    assert load(home, "id,title\n0,Mug\n", "a.csv", source="feed").known_rows == 0
    assert load(home, "id,title\n0,Mug\n", "c.csv", source="feed").known_rows == 1


def test_a_journal_that_was_put_back_knows_no_rows(tmp_path):
    home = Home.open(tmp_path / "home", create=True)
    load(home, TABLE)
    shutil.copytree(home.path / "graph", tmp_path / "before")
    load(home, TABLE.replace("Mug", "Cup"))
    shutil.rmtree(home.path / "graph")
    shutil.copytree(tmp_path / "before", home.path / "graph")
    report = load(home, TABLE.replace("Mug", "Cup"))
    assert report.known_rows == 0
    assert changes(report)["items"]["changed"] == 20


def test_a_dry_run_reads_everything_and_keeps_nothing(home):
    load(home, TABLE)
    path = home.path.parent / "items.csv"
    kept = sorted(home.sources.glob("*/*"))
    assert ingest(home, [path], dry_run=True).known_rows == 0
    assert sorted(home.sources.glob("*/*")) == kept
