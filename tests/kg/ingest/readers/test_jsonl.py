"""JSONL."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.ingest.files import SourceFile
from kg.ingest.readers import jsonl
from kg.ingest.readers.jsonl import READER
from kg.ingest.rows import Record
from schema.errors import DataError
from tests.contracts.reader_contract import ReaderContract
from tests.kg.ingest.readers.reading import read_source, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), max_size=5)


class TestJsonl(ReaderContract):
    reader = READER
    file_name = "items.jsonl"
    broken = b"[]\n"

    def write(self, path, rows):
        path.write_text("".join(json.dumps(row) + "\n" if row else "{\n" for row in rows))


def records(path):
    """Return the values of a file's records, and its rejects as (line, reason)."""
    found = list(READER.records(SourceFile.of(path), ""))
    good = [each.value for each in found if isinstance(each, Record)]
    return good, [(each.line, each.reason) for each in found if not isinstance(each, Record)]


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_what_is_written_is_read(tmp_path_factory, values, encoding, is_array):
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    text = "[\n" + ",\n".join(lines) + "\n]\n" if is_array else "\n".join(lines)
    path = tmp_path_factory.getbasetemp() / "a.jsonl"
    path.write_bytes(text.encode(encoding))
    assert records(path) == (values, [])


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
        (1, "1", "a\x1fb", "true", "2", None),
        (6, "2", None, None, None, "1.5"),
    ]
    assert [line for line, _ in rejects] == [2, 3, 4]
    assert "surrogate" in rejects[2][1]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1.10", "1.10"),
        ("20.00", "20.00"),
        ("2.0", "2"),
        ("4012345800013.0", "4012345800013"),
        ("12345678901234567890", "12345678901234567890"),
        ("9007199254740993", "9007199254740993"),
        ("1e21", "1e21"),
        ("1E-7", "1E-7"),
        ("-0", "0"),
        ("NaN", None),
        ("Infinity", None),
        ("null", None),
        ("true", "true"),
        ('""', None),
        ('"00123"', "00123"),
        ('"1.0"', "1.0"),
        ("[]", None),
        ("[1, null, [2.50]]", "1\x1f2.50"),
        ("7" * 5000, "7" * 5000),
    ],
)
def test_numbers_are_as_they_are_written(tmp_path, written, text):
    path = write(tmp_path, f'{{"id": 1, "v": {written}}}\n', "a.jsonl")
    assert read_source(path) == ([(1, "1") if text is None else (1, "1", text)], [])


def test_two_values_of_one_name_are_both_kept(tmp_path):
    path = write(tmp_path, '{"id": 1, "c": "red", "c": ["blue", "red"], "s": 1, "s": 1}', "a.jsonl")
    assert records(path)[0] == [{"id": 1, "c": ["red", "blue"], "s": 1}]


def test_two_ways_to_one_dotted_name_lose_nothing(tmp_path):
    path = write(tmp_path, '{"id": 1, "a": {"b.c": "x"}, "a.b": {"c": "y"}}', "a.jsonl")
    assert read_source(path) == ([(1, "1", "x\x1fy")], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "caf\xe9"}', "not valid UTF-8"),
        (b'{"id": 1', "not JSON"),
        (b'{"id": 1} {"id": 2}', "not JSON"),
        (b'"id"', "not a JSON object"),
        (b'{"id":' + b"[" * 100_000, "nested too deep"),
        (b'{"id":' + b"[" * 45 + b"1" + b"]" * 45 + b"}", None),
        (b'{"id":' + b"[" * 70 + b"1" + b"]" * 70 + b"}", "nested too deep"),
        (b'{"id": "\\udc00"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"id": "\\ud83d\\ude00"}', None),
        (b"\0", "not JSON"),
    ],
)
def test_a_bad_line_costs_only_itself(tmp_path, line, reason):
    path = write(tmp_path, b'{"id": 1}\n' + line + b'\n{"id": 3}', "a.jsonl")
    rows, rejects = read_source(path)
    if reason is None:
        assert (len(rows), rejects) == (3, [])
    else:
        assert [row[:2] for row in rows] == [(1, "1"), (3, "3")]
        assert [number for number, _ in rejects] == [2]
        assert reason in rejects[0][1]


def test_a_line_break_in_a_text_is_not_lost(tmp_path):
    assert read_source(write(tmp_path, '{"id": "a\tb"}', "a.jsonl")) == ([(1, "a\tb")], [])


def test_a_line_without_end_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    long = '{"id": "' + "x" * 5000 + '"}'
    path = write(tmp_path, f'{{"id": 1}}\n{long}\n{{"id": 3}}\n', "a.jsonl")
    assert read_source(path)[0] == [(1, "1"), (3, "3")]
    assert "more than" in read_source(path)[1][0][1]


def test_utf_16_that_is_cut_off_is_an_error_after_what_was_good(tmp_path):
    path = write(tmp_path, '{"id": 1}\n{"id": 2}\n'.encode("utf-16") + b"\x00\xd8", "a.jsonl")
    with pytest.raises(DataError, match="line 3: not valid UTF-16"):
        read_source(path)


def test_a_file_without_objects_names_the_problem(tmp_path):
    with pytest.raises(DataError, match="not a JSON object"):
        read_source(write(tmp_path, b"[]\n", "a.jsonl"))


def test_a_wide_record_does_not_make_a_wide_batch_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr("kg.ingest.records.MAX_BATCH_CELLS", 1000)
    lines = [json.dumps({"id": n, **{f"p{n}-{m}": 1 for m in range(50)}}) for n in range(30)]
    from kg.ingest.source import open_source
    from tests.kg.ingest.readers.reading import PLAIN

    path = write(tmp_path, "\n".join(lines), "a.jsonl")
    batches = list(open_source(path).batches(PLAIN))
    head = len(open_source(path).head.rows[0])
    assert sum(batch.table.num_rows for batch in batches) == 30
    assert max(batch.table.num_rows for batch in batches) <= 1 + 1000 // head
