"""Files that are read with the help of other processes become what one process makes of them."""

import csv
import gzip
import json
import zipfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from PIL import Image

from kg.home import Home
from kg.ingest import pipeline
from kg.ingest.apart import Place
from kg.ingest.assemble import Origin
from kg.ingest.distributed import DistributedEngine
from kg.ingest.engine import LocalEngine
from kg.ingest.known_rows import RowMemory
from kg.ingest.pipeline import ingest
from kg.ingest.source_plan import TablePlan, plan_sources
from kg.stores.memory import MemoryStore
from schema.errors import DataError
from tests.kg.ingest.in_process import InProcessWorkers
from tests.kg.ingest.made_workbooks import MadeSheet, write_xlsx
from tests.kg.ingest.test_accounting import (
    COLUMNS,
    COUNTS,
    FEW,
    PARTS,
    RECORD_PARTS,
    RECORDS,
    ROWS,
    use_batches,
)

ORIGIN = Origin("file", "source", "run", "time")


def made_of(path, mapping, engine):
    """Return all that an engine makes of a file, batch by batch, and what it leaves behind."""
    made: list[Any] = []
    with ExitStack() as stack:
        for plan in plan_sources([path], mapping, None, stack).plans:
            memory = RowMemory()
            if isinstance(plan, TablePlan) and plan.may_know_rows:
                plan = replace(plan, memory=memory)
            engine.expect([(plan, ORIGIN)])
            with suppress(DataError):
                for batch in engine.batches(plan, ORIGIN):
                    document = vars(batch)
                    tables = ("items", "statements", "known_ids", "known_other_ids")
                    made.append(
                        {
                            name: value.to_pylist() if name in tables else value
                            for name, value in document.items()
                        }
                    )
            images = plan.images
            made += [*plan.notes(), *images.notes(), images.used_folders, images.found]
            made.append(list(plan.left_out.texts.items()))
            noted = memory.taken()
            made += [column.tolist() for column in noted.rows.columns()]
            made += [noted.codes.documents(), list(noted.columns)]
    return made


def check_same(path, mapping=None, **settings):
    """Check that workers make of a file what this process does; return the engine."""
    engine = DistributedEngine(InProcessWorkers(**settings))
    assert made_of(path, mapping, engine) == made_of(path, mapping, LocalEngine())
    return engine


NAMES = ("id", "title", "category", "colour", "ean", "code", "size", "image", "note")


def row(number):
    """Return a row of a catalogue that has most of the accidents of real ones."""
    return {
        "id": f"P{number}",
        "title": f"<b>Lamp</b> {number} &amp; shade",
        "category": "Home > Lamps" if number % 3 else "Home > NA",
        "colour": ("red", "NA", "n/a", "dark blue", "-")[number % 5],
        "ean": f"{4012345600000 + number}.0" if number % 2 else "4.01235E+12",
        "code": ("DE", "FR", "NO", "NA", "IT")[number % 5],
        "size": ("yes", "no", "XL", "3", "7.5 cm")[number % 5],
        "image": ("lamp.png", "https://x/1.jpg", "gone.png", "../out.png", "")[number % 5],
        "note": f"'00{number}" if number % 4 else "",
    }


def rows(count=40):
    """Return rows of which some come again, and some cannot be used."""
    made = [row(number) for number in range(count)]
    made.insert(9, row(2))
    made.insert(23, {**row(3), "colour": "another"})
    made.insert(30, {**row(40), "id": ""})
    made.append({"id": "Total"})
    return made


def write_table(path, delimiter=","):
    """Write the rows as delimited text, among lines that are none."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, NAMES, delimiter=delimiter)
        writer.writeheader()
        for number, each in enumerate(rows()):
            writer.writerow(each)
            if number % 11 == 5:
                stream.write(delimiter.join(NAMES) + "\n")
            if number % 13 == 7:
                stream.write(f"too{delimiter}few\n")


def write_lines(path):
    """Write the rows as JSONL, with members that only some have, and bad lines."""
    made = rows()
    made[20]["dimensions"] = {"height": {"value": 3, "unit": "cm"}, "tags": ["a", "b"]}
    lines = [json.dumps(each) for each in made]
    lines[12:12] = ["[1, 2]", "", "{", json.dumps({"name": "no id"})]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_arrow(path, write):
    """Write the rows as a table of Arrow."""
    table = pa.table({name: [each.get(name) for each in rows()] for name in NAMES})
    with path.open("wb") as stream:
        write(table, stream)


def write_ipc(table, stream):
    with pa.ipc.new_file(stream, table.schema) as file:
        file.write_table(table, max_chunksize=7)


def write_xml(path):
    """Write the rows as a feed."""
    members = (
        "".join(f"<{name}>{escape(text)}</{name}>" for name, text in each.items())
        for each in rows()
    )
    path.write_text(f"<items>{''.join(f'<item>{each}</item>' for each in members)}</items>")


def write_sheets(path):
    cells = [[each.get(name) or None for name in NAMES] for each in rows()]
    write_xlsx(path, {"Items": MadeSheet([list(NAMES), *cells])})


def write_turtle(path):
    """Write products in the vocabulary of schema.org."""
    products = (
        f'<http://x/{number}> a s:Product ; s:sku "P{number}" ; s:name "Lamp {number}" .'
        for number in range(9)
    )
    path.write_text("@prefix s: <https://schema.org/> .\n" + "\n".join(products))


def write_packed(path):
    write_table(path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    path.with_suffix("").unlink()


def write_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        for number, write in enumerate((write_table, write_lines)):
            member = path.parent / f"{number}{('.csv', '.jsonl')[number]}"
            write(member)
            archive.write(member, member.name)
            member.unlink()


FORMATS = {
    "t.csv": write_table,
    "t.tsv": lambda path: write_table(path, "\t"),
    "t.csv.gz": write_packed,
    "t.jsonl": write_lines,
    "t.json": lambda path: path.write_text(json.dumps({"products": rows()})),
    "t.parquet": lambda path: write_arrow(path, lambda table, to: pq.write_table(table, to, 7)),
    "t.arrow": lambda path: write_arrow(path, write_ipc),
    "t.xml": write_xml,
    "t.xlsx": write_sheets,
    "t.ttl": write_turtle,
    "t.zip": write_archive,
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two homes, since it takes a while to make one."""
    folder = tmp_path_factory.mktemp("homes")
    return {name: Home.open(folder / name, create=True) for name in ("here", "apart")}


@pytest.fixture
def load(tmp_path, homes, monkeypatch):
    """Ingest into a home of a name; return the report, without times, and the content."""
    Image.new("RGB", (4, 4)).save(tmp_path / "lamp.png")
    stores = {name: MemoryStore() for name in homes}
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: stores[self.path.name])
    monkeypatch.setattr(pipeline, "new_run_id", lambda: "run")
    monkeypatch.setattr(pipeline, "now", lambda: "2026-01-01T00:00:00+00:00")

    def load(name, paths, engine=None, **settings):
        home = homes[name]
        report = ingest(home, paths, engine=engine, max_rejects="100%", **settings)
        with home.ledger() as ledger:
            rejected = ledger.rejects()
        return {**vars(report), "seconds": 0.0}, rejected, stores[name].content_hash()

    return load


def apart_and_here(load, paths, workers, **settings):
    """Check that workers do what this process does; return the notes on files read alone."""
    engine = DistributedEngine(workers)
    apart = load("apart", paths, engine, **settings)
    alone = [note for note in apart[0]["notes"] if "by this machine alone" in note]
    apart[0]["notes"] = [note for note in apart[0]["notes"] if note not in alone]
    assert apart == load("here", paths, **settings)
    return alone


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats(tmp_path, monkeypatch, load, name):
    use_batches(monkeypatch, 7)
    path = tmp_path / name
    FORMATS[name](path)
    workers = InProcessWorkers()
    if name == "t.csv":
        assert not apart_and_here(load, [path], workers, dry_run=True)
    alone = apart_and_here(load, [path], workers)
    if name == "t.ttl":
        assert alone == ["read by this machine alone: t.ttl (RDF is loaded as a whole)"]
    else:
        assert not alone
        assert workers.calls or workers.streams


def test_what_later_rows_show_of_a_column_is_known_to_the_blocks_after_them(tmp_path, monkeypatch):
    # One "NA" among words is nothing; beside codes it is Namibia.
    codes = "red NA NA DE FR IT ES SE PL DK NA NA".split()
    path = tmp_path / "t.csv"
    path.write_text("id,country\n" + "".join(f"P{at},{each}\n" for at, each in enumerate(codes)))
    use_batches(monkeypatch, 2)
    engine = check_same(path)
    assert engine.again
    assert engine.taken


def test_a_repetition_is_found_wherever_its_first_row_is(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    cells = [f"P{number},t{number}" for number in range(9)]
    path.write_text("\n".join(["id,title", *cells, "P0,t0", "P1,other", "P9,t9", "P9,t10"]) + "\n")
    use_batches(monkeypatch, 2)
    engine = check_same(path)
    assert engine.again
    assert engine.taken


def test_damage_comes_after_all_rows_before_it(tmp_path, monkeypatch):
    use_batches(monkeypatch, 7)
    path = tmp_path / "t.jsonl"
    each = ({"id": f"P{number}", "title": "x" * 99} for number in range(200))
    lines = "".join(json.dumps(record) + "\n" for record in each)
    path.write_bytes(lines.encode("utf-16") + b"\x00\xdc\n\x00")
    engine = check_same(path)
    assert engine.taken > 10


def test_images_that_only_this_machine_sees_are_found(tmp_path, monkeypatch, load):
    use_batches(monkeypatch, 7)
    write_table(tmp_path / "t.csv")
    monkeypatch.setattr(Place, "is_here", lambda self: False)
    engine = check_same(tmp_path / "t.csv", seen=lambda place: False)
    assert engine.again


def test_small_files_are_read_as_a_whole_and_known_ones_by_blocks(tmp_path, monkeypatch):
    """Rows of the last run are passed over by the workers, unless something has touched them."""
    use_batches(monkeypatch, 7)
    paths = [tmp_path / "t.csv", tmp_path / "u.csv"]
    colours = ("dark blue", "red", "green")
    lines = [f"P{number},Lamp {number},{colours[number % 3]}\n" for number in range(30)]
    paths[0].write_text("".join(["id,title,colour\n", *lines]))
    # What another source writes of an item would be a reason to read its row again.
    paths[1].write_text(paths[0].read_text().replace("P", "Q"))
    homes = {name: Home.open(tmp_path / name, create=True) for name in ("here", "apart")}
    known = []
    for night in range(3):
        reports = {}
        workers = InProcessWorkers()
        for name, home in homes.items():
            engine = DistributedEngine(workers) if name == "apart" else None
            reports[name] = ingest(home, paths, engine=engine, max_rejects="100%")
        assert reports["apart"].known_rows == reports["here"].known_rows
        assert reports["apart"].changes == reports["here"].changes
        assert bool(workers.streams) == (night == 0)
        if night == 1:
            paths[0].write_text(paths[0].read_text().replace("dark blue", "light blue"))
        known.append(reports["here"].known_rows)
    assert known == [0, 60, 50]


@pytest.mark.parametrize("kind", PARTS)
@FEW
@given(rows=ROWS, count=COUNTS)
def test_tables(tmp_path, monkeypatch, kind, rows, count):
    table = tmp_path / "t.csv"
    table.write_text("\n".join([",".join(COLUMNS), *(",".join(row) for row in rows)]) + "\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text('delimiter = ","\nheader = 1\n' + PARTS[kind])
    use_batches(monkeypatch, count)
    check_same(table, str(mapping))


@pytest.mark.parametrize("kind", RECORD_PARTS)
@FEW
@given(made=RECORDS, count=COUNTS)
def test_records(tmp_path, monkeypatch, kind, made, count):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [*made, {"id": "p9"}]))
    mapping = tmp_path / "m.toml"
    mapping.write_text(RECORD_PARTS[kind])
    use_batches(monkeypatch, count)
    check_same(path, str(mapping))
