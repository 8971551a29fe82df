"""JSONL."""

import json

import pytest

from kg.ingest.readers.jsonl import READER
from schema.errors import DataError
from tests.contracts.reader_contract import ReaderContract
from tests.kg.ingest.readers.reading import read_source, write


class TestJsonl(ReaderContract):
    reader = READER
    file_name = "items.jsonl"
    broken = b"[]\n"

    def write(self, path, rows):
        path.write_text("".join(json.dumps(row) + "\n" if row else "{\n" for row in rows))


def test_cells_are_text_and_bad_lines_are_rejected(tmp_path):
    lines = [
        '{"id": 1, "t": ["a", "b"], "n": {"x": true, "y": 2.0}, "z": null}',
        "{",
        "[1]",
        '{"id": "\\ud800"}',
        "",
        '{"id": 2, "late": 1.5}',
    ]
    rows, rejects = read_source(write(tmp_path, "\n".join(lines), "a.jsonl"))
    assert rows == [
        (1, "1", "a\x1fb", "true", "2", None, None),
        (6, "2", None, None, None, None, "1.5"),
    ]
    assert [line for line, _ in rejects] == [2, 3, 4]
    assert "surrogate" in rejects[2][1]


def test_deeply_nested_json_is_rejected(tmp_path):
    path = write(tmp_path, json.dumps({"id": 1}) + "\n" + '{"id":' + "[" * 100_000, "a.jsonl")
    assert len(read_source(path)[1]) == 1


def test_a_file_without_objects_names_the_problem(tmp_path):
    with pytest.raises(DataError, match="no JSON object"):
        read_source(write(tmp_path, b"[]\n", "a.jsonl"))
