"""Loading a query log into the ledger."""

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
