"""Sources of every kind through the whole of an ingest."""

import gzip
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from kg.home import Home
from kg.ingest import files, json_stream, records, source_plan, unpacking, xml_stream
from kg.ingest.pipeline import ingest
from kg.ingest.readers import dialect, jsonl
from kg.stores.memory import MemoryStore
from schema.errors import CatalographError, DataError
from tests.kg.ingest.made_workbooks import MadeSheet, write_xlsx
from tests.kg.ingest.readers.reading import write

ROOT = Path(__file__).parents[3]
TABLE = "sku,name,colour\nC1,Cup,blue\nC2,Can,red\n"
ITEMS = [
    {"sku": "C1", "name": "Cup", "colour": "blue"},
    {"sku": "C2", "name": "Can", "colour": "red"},
]
PAIRS = [("C1", "colour", "blue"), ("C2", "colour", "red")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    return Home.open(tmp_path / "home", create=True)


def facts(home):
    rows = [row for batch in home.store().scan() for row in batch.to_pylist()]
    return sorted((row["item"], row["property"], row["value"]) for row in rows)


def xml_of(items):
    rows = "".join(
        "<item>" + "".join(f"<g:{k}>{v}</g:{k}>" for k, v in item.items()) + "</item>"
        for item in items
    )
    return f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{rows}</channel></rss>'


FILES = {
    "a.csv": TABLE,
    "a.csv.gz": gzip.compress(TABLE.encode()),
    "a.tsv.zst": zstd.compress(TABLE.replace(",", "\t").encode()),
    "a.json": json.dumps({"total": 2, "products": ITEMS}),
    "a.jsonl": "\n".join(map(json.dumps, ITEMS)),
    "a.xml": xml_of(ITEMS),
    "a.xml.gz": gzip.compress(xml_of(ITEMS).encode()),
}


@pytest.mark.parametrize("name", [*FILES, "a.xlsx", "a.zip"])
def test_every_kind_of_file_gives_the_same_items(home, tmp_path, name):
    if name == "a.xlsx":
        rows = [list(ITEMS[0]), *(list(item.values()) for item in ITEMS)]
        path = write_xlsx(tmp_path / name, {"Items": MadeSheet(rows)})
    elif name == "a.zip":
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in/a.csv", TABLE)
    else:
        path = write(tmp_path, FILES[name], name)
    report = ingest(home, [path])
    assert (report.read, report.stored, report.items) == (2, 2, 2)
    assert facts(home) == PAIRS
    assert home.store().item("C1")[0].title == "Cup"
    # Loading it again adds nothing, so the provenance is the same.
    assert ingest(home, [path]).new_statements == 0


def test_the_tables_of_a_folder_are_one_catalogue(home, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, TABLE, "products.csv")
    write(folder, "sku,price\nC1,9.90\n", "prices.csv")
    write(folder, "left,right,label\n1,2,0\n", "pairs.csv")
    write(folder, "first,second\n1,2\n", "other.csv")
    write(folder, "query,item\nx,C1\n", "queries.csv")
    report = ingest(home, [folder])
    assert facts(home) == sorted([*PAIRS, ("C1", "price", "9.90")])
    said = "\n".join(report.notes)
    assert "other.csv (mapping 'generic' finds no id column" in said
    assert "pairs.csv (pairs of items" in said
    assert "queries.csv (a query log" in said


def test_a_folder_in_which_nothing_fits_is_an_error(home, tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, "left,right\n1,2\n", "pairs.csv")
    with pytest.raises(CatalographError, match="no id column"):
        ingest(home, [folder])


def test_a_remark_on_the_format_is_in_the_report(home, tmp_path):
    report = ingest(home, [write(tmp_path, FILES["a.jsonl"], "a.json")])
    assert any("JSON lines by its content" in note for note in report.notes)


BAD_PACKS = {
    "cut off": lambda data: data[:-20],
    "damaged": lambda data: data[:-4] + b"\0\0\0\0",
    "goes on with something else": lambda data: data + b"more",
}


@pytest.mark.parametrize("words", BAD_PACKS)
def test_an_archive_that_is_damaged_at_its_end_stores_nothing(home, tmp_path, words):
    lines = "".join(f"{number},x\n" for number in range(200_000))
    packed = gzip.compress(f"id,title\n{lines}".encode(), 1)
    path = write(tmp_path, BAD_PACKS[words](packed), "a.csv.gz")
    with pytest.raises(DataError, match=words) as caught:
        ingest(home, [path])
    assert "\n" not in str(caught.value)
    assert home.store().counts().items == 0


@pytest.mark.parametrize(
    ("name", "unit"),
    [("a.csv.gz", b"id,title\n1,x\n"), ("a.jsonl.gz", b'{"id": 1}\n')],
)
def test_a_bomb_stores_nothing_and_is_found_at_once(home, tmp_path, name, unit, monkeypatch):
    monkeypatch.setattr(unpacking, "UNCHECKED_BYTES", 8 << 20)
    bomb = gzip.compress(unit * ((32 << 20) // len(unit)), 6)
    path = write(tmp_path, bomb, name)
    started = time.monotonic()
    with pytest.raises(DataError, match="200 times its size"):
        ingest(home, [path])
    assert time.monotonic() - started < 20
    assert home.store().counts().items == 0


def zipped(**members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return target.getvalue()


INNER = zipped(a_csv="id,title\n1,x\n")
BOMBS = {
    "archive within.zip": zipped(a_zip=zipped(a_zip=INNER)),
    "twice.csv.gz": gzip.compress(gzip.compress(b"id,title\n1,x\n")),
    "members.zip": zipped(**{f"a{number}_csv": "id\n1\n" for number in range(60)}),
    "deep.json": b"[" * 1_000_000,
    "deep objects.json": b'{"products":' * 200_000,
    "deep.jsonl": b'{"id": 1, "x": ' + b"[" * 500_000 + b"]" * 500_000 + b"}\n",
    "text.json": b'[{"id": 1, "title": "' + b"x" * 3_000_000,
    "text.jsonl": b'{"id": 1, "title": "' + b"x" * 3_000_000 + b'"}\n',
    "line.csv": b"x" * 3_000_000,
    "header.csv": b"id," + b"x" * 300_000 + b"\n1,a\n",
    "laughs.xml": b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><x><i><id>&b;</id></i></x>',
    "tag.xml": b"<x><i a='" + b"x" * 3_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_store_nothing_and_are_found_at_once(home, tmp_path, name, monkeypatch):
    monkeypatch.setattr(files, "MAX_MEMBERS", 50)
    monkeypatch.setattr(json_stream, "MAX_VALUE_CHARACTERS", 1 << 20)
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(dialect, "MAX_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(xml_stream, "MAX_TAG_BYTES", 1 << 20)
    path = write(tmp_path, BOMBS[name], name)
    started = time.monotonic()
    with pytest.raises(CatalographError) as caught:
        ingest(home, [path])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.monotonic() - started < 20
    assert home.store().counts().items == 0


def test_macros_are_not_run_but_passed_over(home, tmp_path):
    write_xlsx(tmp_path / "a.xlsm", {"S": MadeSheet([["sku", "name"], ["C1", "Cup"]])})
    with zipfile.ZipFile(tmp_path / "a.xlsm", "a") as archive:
        archive.writestr("xl/vbaProject.bin", b"\xd0\xcf\x11\xe0 Sub Auto_Open() Shell")
    report = ingest(home, [tmp_path / "a.xlsm"])
    assert (report.items, home.store().item("C1")[0].title) == (1, "Cup")


def test_a_workbook_comes_from_a_pack_or_a_pipe(home, tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"S": MadeSheet([["sku", "name"], ["C1", "Cup"]])})
    data = (tmp_path / "a.xlsx").read_bytes()
    ingest(home, [write(tmp_path, gzip.compress(data), "b.xlsx.gz")])
    assert home.store().item("C1")[0].title == "Cup"
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", "--home", tmp_path / "x", "ingest", "-", "--dry-run"],
        input=data,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_what_comes_before_damage_is_stored_and_the_error_has_its_line(home, tmp_path):
    text = "[" + ",\n".join(json.dumps({"id": n, "t": "x"}) for n in range(500))
    with pytest.raises(DataError, match="line 500"):
        ingest(home, [write(tmp_path, text, "a.json")])
    assert home.store().counts().items == 500


def test_standard_input_is_ingested(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", "--home", tmp_path / "home", "--json", "ingest", "-"],
        input=gzip.compress(TABLE.encode()),
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == 2
    assert b"standard input: mapping generic" in done.stderr


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_header_alone_is_a_remark_in_every_format(home, tmp_path, name):
    path = tmp_path / name
    if name == "a.csv":
        path.write_text("id,colour\n")
    else:
        write_xlsx(path, {"S": MadeSheet([["id", "colour"]])})
    report = ingest(home, [path])
    assert (report.read, report.items) == (0, 0)
    assert f"{name}: no row: it has a header alone" in report.notes


def test_all_batches_of_records_have_the_same_of_several_ids(home, tmp_path, monkeypatch):
    monkeypatch.setattr(
        source_plan,
        "record_batches",
        lambda source, mapping, count=1: records.record_batches(source, mapping, count),
    )
    (tmp_path / "m.toml").write_text('id = ["sku", "no"]\ntitle = "t"\n')
    rows = [{"no": 7, "t": "a"}, {"sku": "A", "no": 8, "t": "b"}, {"no": 9, "sku": "C", "t": "c"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = ingest(home, [path], mapping=str(tmp_path / "m.toml"), max_rejects="50%")
    assert "the id is 'sku' in all records" in report.reasons[0]
    assert [row.reason for row in report.first_rejects] == ["empty id"]
    assert facts(home) == [("A", "no", "8"), ("C", "no", "9")]
