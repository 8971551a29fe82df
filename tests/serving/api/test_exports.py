"""Files of the catalogue: in other forms, and a source's own with what was accepted."""

import csv
import io
import json

import pytest

from tests.serving.api.conftest import ITEMS


def test_accepted_values_are_in_the_sources_own_file(client):
    before = client.get("/v2/export", params={"format": "source"})
    assert before.content.decode() == ITEMS
    client.post("/v2/proposals/1/accept")
    after = client.get("/v2/export", params={"format": "source", "source": "items.csv"})
    assert 'filename="items.csv"' in after.headers["content-disposition"]
    assert after.content.decode() == ITEMS.replace(
        "2,Blue mug,Mugs,,blue,\n", "2,Blue mug,Mugs,,blue,clay\n"
    )
    assert isinstance(json.loads(after.headers["catalograph-notes"]), list)


@pytest.mark.parametrize(
    ("format", "begin"),
    [
        ("xlsx", b"PK"),
        ("jsonld", b"{"),
        ("ttl", b"@prefix"),
        ("shopify", b"Handle"),
        ("csv", b"id"),
    ],
)
def test_a_file_has_its_form(client, format, begin):
    found = client.get("/v2/export", params={"format": format})
    assert found.status_code == 200, found.text
    assert found.content.startswith(begin)
    assert found.headers["x-content-type-options"] == "nosniff"


def test_a_table_has_each_item_once(client):
    found = client.get("/v2/export").content.decode("utf-8-sig")
    assert [row["id"] for row in csv.DictReader(io.StringIO(found))] == ["1", "2", "3", "4", "a/b"]


def test_what_cannot_be_written_is_told(client):
    unknown = client.get("/v2/export", params={"format": "source", "source": "../../etc/passwd"})
    assert unknown.status_code == 400
    assert client.get("/v2/export", params={"format": "exe"}).status_code == 422


def test_the_overview_offers_them(client):
    page = client.get("/").text
    assert 'href="/v2/export?format=source&amp;source=items.csv"' in page
