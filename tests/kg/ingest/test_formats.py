"""Formats are known by content where the name lies."""

import io
import json
import zipfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from kg.ingest.source import open_source
from schema.errors import DataError
from tests.kg.ingest.readers.reading import write

PRODUCT = '{"@context": "https://schema.org", "@type": "Product", "sku": "1"}'
PAGE = f'<!DOCTYPE html><script type="application/ld+json">{PRODUCT}</script>'
LINES = '{"id": 1}\n{"id": 2}\n'


def parquet():
    stream = io.BytesIO()
    pq.write_table(pa.table({"id": ["1"]}), stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("a.json", LINES, ".jsonl"),
        ("a.csv", LINES, ".jsonl"),
        ("a", LINES, ".jsonl"),
        ("a.csv", '[{"id": 1}]', ".json"),
        ("a.jsonl", '[\n {\n  "id": 1\n }\n]', ".json"),
        ("a.json", "\ufeff" + PRODUCT, ".jsonld"),
        ("a.xls", PAGE, ".html"),
        ("a.csv", PAGE, ".html"),
        ("a.xls", "id\ttitle\n1\ta\n", ".csv"),
        ("a.xlsx", "id,title\n1,a\n", ".csv"),
        ("export", "id;title\n1;a\n", ".csv"),
        ("a.dat", "id|title\n1|a\n", ".csv"),
        ("a.csv", parquet(), ".parquet"),
        ("a", "@prefix s: <https://schema.org/> .\n<urn:a> a s:Product .", ".ttl"),
    ],
)
def test_content_decides_and_says_so(tmp_path, name, content, suffix):
    source = open_source(write(tmp_path, content, name))
    assert source.file.suffix == suffix
    assert any("by its content" in remark for remark in source.remarks)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl", '{"id": 1}'),
        ("a.jsonl", '[\n{"id": 1},\n{"id": 2}\n]\n'),
        ("a.json", '{"products": [{"id": 1}]}'),
        ("a.json", '[{"id": 1}]'),
        ("a.csv", "id,title\n1,<b>a</b>\n"),
        ("a.csv", "{x},title\n1,a\n"),
        ("a.xml", "<?xml version='1.0'?><table><row><id>1</id></row></table>"),
        ("a.xhtml", f"<?xml version='1.0'?><!-- x --><html>{PAGE}</html>"),
        ("a.nt", "<urn:a> <urn:b> <urn:c> ."),
        ("a.html", PAGE),
        ("a.jsonld", PRODUCT),
        ("a.parquet", parquet()),
    ],
)
def test_a_name_that_is_right_is_not_remarked_on(tmp_path, name, content):
    source = open_source(write(tmp_path, content, name))
    # How its format is read may be said, as the dialect of delimited text is.
    assert source.remarks == tuple(f"{name}: {remark}" for remark in source.head.remarks)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_json_in_other_encodings_is_recognised(tmp_path, encoding):
    source = open_source(write(tmp_path, LINES.encode(encoding), "a.txt"))
    assert source.file.suffix == ".jsonl"
    assert source.head.rows == (("id",),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"SQLite format 3\0", "SQLite"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip"),
        (b"Rar!\x1a\x07\x01\0", "RAR"),
        (b"Obj\x01\x04", "Avro"),
        (b"\x04\x22\x4d\x18", "LZ4"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"x" * 257 + b"ustar", "tar"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a", "a.xlsx"])
def test_what_is_no_source_is_an_error_of_one_line(tmp_path, content, words, name):
    with pytest.raises(DataError, match=words) as caught:
        open_source(write(tmp_path, content, name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["word/document.xml", "mimetype"])
def test_another_kind_of_document_is_refused(tmp_path, part):
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr(part, "application/vnd.oasis.opendocument.text")
    with pytest.raises(DataError, match="no workbook"):
        open_source(tmp_path / "a.docx")


def test_unknown_content_is_refused_with_what_is_read(tmp_path):
    with pytest.raises(DataError, match=r"suffix '.pages'.*\.csv.*\.parquet"):
        open_source(write(tmp_path, "only words", "a.pages"))


def test_a_large_document_of_one_line_is_no_json_lines(tmp_path):
    content = json.dumps({"products": [{"id": n, "title": "x" * 100} for n in range(1000)]})
    assert open_source(write(tmp_path, content, "a.json")).head.records == "products"
