"""Records as rows of a table."""

from typing import Any

import pytest

from kg.ingest.flatten import Flattener
from kg.ingest.readers.base import Reader
from kg.ingest.records import RecordReader
from kg.ingest.rows import Record
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Head, parse_mapping
from schema.rejects import RejectedRow
from tests.kg.ingest.readers.reading import rows_before_damage, write

MAPPING = parse_mapping(
    'id = "id"\nignore = ["log"]\n[variants]\nlist = "variants"\nid = ["sku"]', "m"
)


class MadeReader(RecordReader):
    """Yields what it is given, and at last raises it."""

    suffixes = (".made",)

    def __init__(self, *records):
        self._records = records

    def records(self, file, path):
        for record in self._records:
            if isinstance(record, DataError):
                raise record
            yield record


@pytest.fixture
def file(tmp_path):
    return open_source(write(tmp_path, "id\n1\n", "a.csv")).file


def deep(levels):
    value: dict[str, Any] = {"a": "x"}
    for _ in range(levels):
        value = {"a": value}
    return value


VALUE = {
    "@id": "1",
    "spec": [{"name": "Colour", "value": "Red"}, {"name": "Weight", "value": 3, "unit": "kg"}],
    "title": {"en": "Cup", "de": "Tasse"},
    "brand": {"name": "Ton"},
    "log": {"by": "me"},
    "variants": [{"sku": "a"}, {"sku": "b"}],
}


def test_cells_are_those_of_an_ingest(file):
    reader: Reader = MadeReader(Record(3, VALUE), Record(7, {"id": 2}))
    head = reader.head(file)
    (batch,) = reader.batches(file, head, MAPPING, 100)
    first, second = (
        {name: text for name, text in row.items() if text is not None}
        for row in batch.table.to_pylist()
    )
    assert batch.lines.tolist() == [3, 7]
    assert first == {
        "id": "1",
        "Colour": "Red",
        "Weight": "3 kg",
        "title": "Cup\x1fTasse",
        "brand.name": "Ton",
        "variants.sku": "a\x1fb",
    }
    assert second == {"id": "2"}
    rows = Flattener(parse_mapping('id = "id"\nignore = ["log"]', "m")).rows([Record(3, VALUE)])
    assert {column.name for column in rows.columns} == set(first)


def test_a_batch_has_the_columns_of_the_head_and_of_its_records(file):
    reader = MadeReader(*(Record(n, {"id": n, f"p{n // 3}": "x"}) for n in range(9)))
    batches = list(reader.batches(file, Head("a", (("id", "p0"),), named=True), MAPPING, 3))
    names = [set(batch.table.column_names) for batch in batches]
    assert names == [{"id", "p0"}, {"id", "p0", "p1"}, {"id", "p0", "p2"}]


def test_records_that_cannot_be_rows_are_rejected_in_their_order(file):
    reader = MadeReader(
        Record(1, {"id": 1}),
        Record(2, deep(60)),
        RejectedRow("f", 3, "bad"),
        Record(4, deep(60)),
        Record(5, {"id": 5}),
    )
    (batch,) = reader.batches(file, reader.head(file), MAPPING, 100)
    assert batch.lines.tolist() == [1, 5]
    assert [(row.line, row.reason[:10], row.text) for row in batch.rejects] == [
        (2, "nested too", "x"),
        (3, "bad", ""),
        (4, "nested too", "x"),
    ]
    assert batch.rows_read == 5


def test_damage_is_an_error_after_what_was_good(file):
    reader = MadeReader(Record(1, {"id": 1}), Record(2, {"id": 2}), DataError("line 3: broken"))
    batches = reader.batches(file, reader.head(file), MAPPING, 100)
    assert rows_before_damage(batches) == (2, "line 3: broken")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([RejectedRow("f", 3, "no object")], r"no record .*line 3: no object"),
        ([Record(4, deep(60))], "no record .*line 4: nested too deep"),
        ([Record(4, {"id": None})], "no record"),
        ([], "no record"),
        ([RejectedRow("f", 3, "no object"), DataError("line 9: broken")], "line 9: broken"),
    ],
)
def test_a_file_without_records_says_why(file, records, words):
    with pytest.raises(DataError, match=words):
        MadeReader(*records).head(file)
