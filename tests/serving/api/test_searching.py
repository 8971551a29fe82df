"""The search that is served: who notices a change encodes it, and what is missing is told."""

import pytest

from kg.home import Home
from kg.item_writing import write_item
from schema.errors import DataError
from schema.terms import Item
from serving.api.searching import ServedSearch
from serving.search.index import index_home
from tests.serving.api.conftest import make_home


@pytest.mark.parametrize("noticed_by", ["maintain", "searcher"])
def test_an_item_that_has_changed_is_encoded_whoever_notices(tmp_path, monkeypatch, noticed_by):
    home = make_home(tmp_path)
    index_home(home)
    encoded = []
    monkeypatch.setattr(
        "serving.api.searching.encode_some", lambda home, encoders, ids: encoded.extend(ids)
    )
    served = ServedSearch(home)
    write_item(home, Item("9", title="Teal kettle"), [], "api")
    getattr(served, noticed_by)()
    assert encoded == ["9"]
    assert served.searcher()[0].search("kettle").hits[0].item == "9"
    served.close()


def test_why_there_is_no_index_is_told(tmp_path):
    served = ServedSearch(Home.open(tmp_path / "catalog", create=True))
    served.maintain()
    with pytest.raises(DataError, match=r"^there is no index yet: .*catalograph ingest"):
        served.searcher()
    served.close()
