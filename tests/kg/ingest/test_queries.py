"""Loading a query log into the ledger."""

import json
from typing import Any
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kg.home import Home
from kg.ingest.queries import ingest_queries
from schema.errors import MappingError
from schema.ledger import QueryRow

LOG = """query,item,impressions,clicks,purchases
mug,1,5,2,1
mug,1,1,1,0
,1,1,0,0
rug,2,many,0,0
rug,2,3,,
"""


@pytest.fixture
def home(tmp_path):
    return Home.open(tmp_path / "home", create=True)


def test_a_query_log_may_be_loaded_twice(home, tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text(LOG)
    for _ in range(2):
        assert ingest_queries(home, path).as_dict() == {"read": 5, "stored": 3, "rejected": 2}
    with home.ledger() as ledger:
        assert ledger.query_log() == [QueryRow("mug", "1", 6, 3, 1), QueryRow("rug", "2", 3, 0, 0)]
        assert [row.line for row in ledger.rejects()] == [4, 5]


@pytest.mark.parametrize("count", ["9" * 30, "0" * 5000, "-1", "1.5", "²"])
def test_a_count_that_is_not_one_is_rejected(home, tmp_path, count):
    path = tmp_path / "queries.csv"
    path.write_text(f"query,item,clicks\nmug,1,{count}\n")
    assert ingest_queries(home, path).rejected == 1


def test_a_query_log_needs_its_columns(home, tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text("query,product\nmug,1\n")
    with pytest.raises(MappingError, match="no item column among query, product"):
        ingest_queries(home, path)


RECORDS: list[dict[str, Any]] = [
    *({"query": "mug", "item": {"value": "1"}, "impressions": 1, "tags": ["a"]} for _ in range(60)),
    {"query": "mug", "item": {"value": "1"}, "impressions": 2, "clicks": 3, "tags": []},
    {"query": "", "item": {"value": "1"}, "impressions": 2, "clicks": 3, "tags": None},
]


def write_log(folder, suffix):
    path = folder / f"log{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS, schema=LOG_SCHEMA), path)
        return path
    xml = "".join(f"<row>{''.join(map(element, row.items()))}</row>" for row in RECORDS)
    texts = {
        ".json": json.dumps(RECORDS),
        ".jsonl": "\n".join(map(json.dumps, RECORDS)),
        ".xml": f"<log>{xml}</log>",
    }
    path.write_text(texts[suffix])
    return path


LOG_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("item", pa.struct([("value", pa.string())])),
        ("impressions", pa.int64()),
        ("clicks", pa.int64()),
        ("tags", pa.list_(pa.string())),
    ]
)


def element(member):
    name, value = member
    text = value["value"] if isinstance(value, dict) else value
    return f"<{name}>{escape(str(text))}</{name}>"


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".xml", ".parquet"])
def test_a_log_of_records_may_have_counts_that_come_late(home, tmp_path, suffix):
    path = write_log(tmp_path, suffix)
    assert ingest_queries(home, path).as_dict() == {"read": 62, "stored": 61, "rejected": 1}
    with home.ledger() as ledger:
        assert ledger.query_log() == [QueryRow("mug", "1", 62, 3, 0)]
