"""Documents of JSON: where the records are, and how they are read in flat memory."""

import json
import tracemalloc

import pytest
from hypothesis import given, settings

from kg.ingest import json_stream
from kg.ingest.files import SourceFile
from kg.ingest.readers.json_documents import READER
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Mapping
from tests.contracts.reader_contract import ReaderContract
from tests.kg.ingest.readers.reading import (
    PLAIN,
    read_source,
    rows_and_rejects,
    rows_before_damage,
    values_of,
    write,
)
from tests.kg.ingest.readers.test_jsonl import RECORDS


class TestJson(ReaderContract):
    reader = READER
    file_name = "items.json"
    broken = b'{"products": [{]}'

    def write(self, path, rows):
        texts = [json.dumps(row, indent=1) if row else "17" for row in rows]
        path.write_text('{"products": [\n' + ",\n".join(texts) + "\n]}")

    def lines(self, rows):
        lines = []
        line = 2
        for row in rows:
            lines.append(line)
            line += 1 if row is None else len(row) + 2
        return lines


def found(path):
    file = SourceFile.of(path)
    place = READER.find_records(file)
    records = list(READER.records(file, place))
    return place, values_of(records)


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_what_is_written_is_read_whatever_the_chunks(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "a.json"
    for indent in (None, 1):
        path.write_text(json.dumps(values, ensure_ascii=False, indent=indent))
        for size in (1, 7, 1 << 20):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(json_stream, "_CHUNK_CHARACTERS", size)
                records = list(READER.records(SourceFile.of(path), ""))
            assert values_of(records) == values


P = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (P, ""),
        ({"products": P}, "products"),
        ({"data": {"products": P, "total": 2}, "errors": []}, "data/products"),
        ({"categories": [{"x": 1}] * 5, "products": P}, "products"),
        ({"facets": [{"x": 1}], "stuff": P}, "stuff"),
        ({"shop": {"id": 1, "name": "Shop", "products": P}}, "shop/products"),
        ({"data": {"products": {"edges": [{"node": each} for each in P]}}}, "data/products/edges"),
        ({"categories": [{"name": "c", "products": P}] * 2}, "categories/products"),
        ([{"category": "c", "products": P}], "products"),
        ({"4711": P[0], "4712": P[1]}, "*"),
        ({"products": {"4711": P[0], "4712": P[1]}}, "products/*"),
        ({"id": 1, "title": "a", "images": [{"src": "x"}, {"src": "y"}]}, ""),
        ({"id": 1, "title": "a", "tags": ["x"]}, ""),
        ({"a/b": P}, "a~1b"),
    ],
)
def test_the_records_of_a_document_are_found(tmp_path, document, place):
    path = write(tmp_path, json.dumps(document), "a.json")
    assert found(path)[0] == place
    head = open_source(path).head
    assert head.records == place
    rows = rows_and_rejects(open_source(path).batches(PLAIN))[0]
    assert len(rows) in (1, 2, 4)


def test_the_place_of_the_records_can_be_set(tmp_path):
    path = write(tmp_path, json.dumps({"a": [{"id": 1}] * 3, "b": [{"id": 7}]}), "a.json")
    mapping = Mapping("m", id=("id",), records="b")
    assert rows_and_rejects(open_source(path, mapping).batches(mapping))[0] == [(1, "7")]
    with pytest.raises(DataError, match="no record at 'c'"):
        open_source(path, Mapping("m", id=("id",), records="c"))


def test_a_member_of_any_name_is_kept_as_the_key_of_its_record(tmp_path):
    path = write(tmp_path, json.dumps({"s1": {"t": "a"}, "s2": {"t": "b"}}), "a.json")
    assert found(path) == ("*", [{"@key": "s1", "t": "a"}, {"@key": "s2", "t": "b"}])


@pytest.mark.parametrize("separator", ["", "\n", "\n\n", " "])
def test_objects_one_after_another_are_records(tmp_path, separator):
    path = write(tmp_path, separator.join(json.dumps(each, indent=1) for each in P), "a.json")
    assert found(path) == ("", P)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"id": 1},\n{"id": 2},\n{"id" 3}]', "line 3"),
        ('[{"id": 1},\n{"id": 2},\n{"id": 3', "line 3"),
        ('[{"id": 1},\n{"id": 2}\n', "line 3"),
        ('{"a": [{"id": 1},\n{"id": 2},\n{"id": tru}]}', "line 3"),
        ('[{"id": 1},\n{"id": 2}]\nmore', "line 3"),
    ],
)
def test_damage_is_an_error_with_its_line_after_what_was_good(tmp_path, text, line):
    path = write(tmp_path, text, "a.json")
    mapping = Mapping("m", id=("id",), records="a" if text.startswith("{") else None)
    source = open_source(path, mapping)
    count, message = rows_before_damage(source.batches(mapping))
    assert count == 2
    assert line in message
    assert "\n" not in message


def test_invalid_text_costs_only_its_record(tmp_path):
    path = write(
        tmp_path, b'[{"id": 1},\n{"id": "\xff"},\n{"id": "\\ud800"},\n{"id": 4}]', "a.json"
    )
    rows, rejects = read_source(path)
    assert rows == [(1, "1"), (4, "4")]
    assert [line for line, _ in rejects] == [2, 3]


@pytest.mark.parametrize("text", ["", " ", "[]", "{}", "[1, 2]", "17", "[" * 10_000])
def test_a_document_without_records_is_one_line(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.json") as caught:
        open_source(write(tmp_path, text, "a.json"))
    assert "\n" not in str(caught.value)


def test_an_error_at_the_start_does_not_read_the_file_into_memory(tmp_path, monkeypatch):
    path = write(tmp_path, '[{"id" 1}' + ',{"id": 2}' * 1_000_000, "a.json")
    tracemalloc.start()
    with pytest.raises(DataError, match="line 1"):
        open_source(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_a_value_without_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_VALUE_CHARACTERS", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 100)
    with pytest.raises(DataError, match="a value of more than"):
        open_source(write(tmp_path, '[{"id": "' + "x" * 5000, "a.json"))


def test_memory_is_flat(tmp_path):
    line = json.dumps({"id": 1, "title": "x" * 200, "tags": ["a", "b"]})
    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write('{"products": [' + line)
        for _ in range(60_000):
            file.write("," + line)
        file.write("]}")
    tracemalloc.start()
    count = sum(1 for _ in READER.records(SourceFile.of(path), "products"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60_001
    assert peak < 12 << 20 < path.stat().st_size
