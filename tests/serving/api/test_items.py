"""Items behind the API: read, list, create, replace and delete, each safe against the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.guarding import EncodedPathMiddleware
from serving.api.parameters import decode_cursor, encode_cursor


def test_an_item_is_returned_with_its_statements_and_version(client):
    found = client.get("/v2/items/1")
    assert found.status_code == 200
    document = found.json()
    assert document["title"] == "Red clay mug"
    assert {(each["property"], each["value"]) for each in document["statements"]} == {
        ("colour", "red"),
        ("material", "clay"),
    }
    assert found.headers["etag"] == client.get("/v2/items/1").headers["etag"]


def test_an_id_with_a_slash_is_one_part_of_the_path(client):
    assert client.get("/v2/items/a%2Fb").json()["id"] == "a/b"
    assert client.get("/v2/items/a/b").status_code == 404
    assert client.get("/v2/items", params={"id": "a/b"}).json()["items"][0]["id"] == "a/b"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_every_id_comes_out_of_a_path_as_it_went_in(id):
    import asyncio
    from urllib.parse import quote, unquote

    seen = {}

    async def nothing(*_):
        return {}

    async def app(scope, receive, send):
        seen.update(scope)

    raw = f"/v2/items/{quote(id, safe='')}".encode()
    scope = {"type": "http", "raw_path": raw, "path": unquote(raw.decode())}
    asyncio.run(EncodedPathMiddleware(app)(scope, nothing, nothing))
    rest = seen["path"].removeprefix("/v2/items/")
    assert "/" not in rest
    assert unquote(rest) == id


def test_pages_have_each_item_once(client):
    ids = []
    after = None
    for _ in range(10):
        page = client.get("/v2/items", params={"limit": 2, **({"after": after} if after else {})})
        ids += [each["id"] for each in page.json()["items"]]
        after = page.json()["next"]
        if after is None:
            break
    assert ids == ["1", "2", "3", "4", "a/b"]
    assert client.get("/v2/items", params={"limit": 101}).status_code == 422
    assert client.get("/v2/items", params={"after": "?"}).status_code == 400


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_a_cursor_is_what_it_was_made_of(text):
    assert decode_cursor(encode_cursor(text)) == text


def test_items_without_a_property_and_of_a_category_are_found(client):
    assert client.get("/v2/items?missing=material").json()["count"] == 2
    found = client.get("/v2/items?missing=material&category=Mugs").json()
    assert [each["id"] for each in found["items"]] == ["2"]
    assert client.get("/v2/items?missing=weight").json()["count"] == 5


def test_an_item_is_created_once_and_taken_back(client):
    body = {
        "id": "5",
        "title": "Jug",
        "category": "Mugs>Jugs",
        "statements": [{"property": "colour", "value": "red"}, {"property": "lid", "value": "yes"}],
    }
    made = client.post("/v2/items", json=body)
    assert made.status_code == 201
    assert made.json()["created"]
    assert made.json()["notes"] == ["the ontology has no property 'lid'"]
    stored = client.get("/v2/items/5").json()
    assert stored["category"] == "Mugs > Jugs"
    assert stored["source"] == "api"
    again = client.post("/v2/items", json=body)
    assert again.status_code == 409
    assert again.json()["current"]["title"] == "Jug"
    undone = client.post(f"/v2/runs/{made.json()['run']}/undo")
    assert undone.json()["items"]["deleted"] == 1
    assert client.get("/v2/items/5").status_code == 404


def test_a_source_replaces_what_it_said_and_nothing_else(client):
    put = client.put(
        "/v2/items/2?source=pim", json={"statements": [{"property": "lid", "value": "no"}]}
    )
    assert put.json()["changed"]
    client.put(
        "/v2/items/2?source=pim", json={"statements": [{"property": "base", "value": "cork"}]}
    )
    values = {
        (each["property"], each["value"]) for each in client.get("/v2/items/2").json()["statements"]
    }
    assert ("base", "cork") in values
    assert ("colour", "blue") in values
    assert ("lid", "no") not in values


def test_who_edits_an_older_version_gets_both(client):
    etag = client.get("/v2/items/2").headers["etag"]
    first = client.put("/v2/items/2", json={"title": "Mine"}, headers={"if-match": etag})
    assert first.status_code == 200
    second = client.put("/v2/items/2", json={"title": "Yours"}, headers={"if-match": etag})
    assert second.status_code == 409
    assert second.json()["current"]["references"][-1]["title"] == "Mine"
    assert second.headers["etag"] == client.get("/v2/items/2").headers["etag"]
    gone = client.delete("/v2/items/2", headers={"if-match": etag})
    assert gone.status_code == 409
    missing = client.put("/v2/items/9", json={"title": "x"}, headers={"if-match": etag})
    assert missing.status_code == 404


def test_a_deleted_item_comes_back(client):
    gone = client.delete("/v2/items/3")
    assert gone.json()["items"]["deleted"] == 1
    assert client.delete("/v2/items/3").status_code == 404
    client.post(f"/v2/runs/{gone.json()['run']}/undo")
    assert client.get("/v2/items/3").json()["title"] == "Clay mug"
    assert len(client.get("/v2/items/3/history").json()) > 3


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"title": "a\u0000b"}, "U+0000"),
        ({"images": ["/etc/passwd"]}, "/etc/passwd"),
        ({"images": ["../../secret.png"]}, "secret.png"),
        ({"statements": [{"property": " ", "value": "x"}]}, "empty"),
    ],
)
def test_what_cannot_be_stored_is_refused(client, body, word):
    found = client.put("/v2/items/5", json=body)
    assert found.status_code == 400
    assert word in found.json()["detail"]
    assert client.get("/v2/items/5").status_code == 404


def test_an_image_is_sent_as_pixels_alone(client):
    found = client.get("/v2/items/1/image/0")
    assert found.headers["content-type"] == "image/jpeg"
    assert found.content[:2] == b"\xff\xd8"
    assert client.get("/v2/items/1/image/1").status_code == 404
    assert client.get("/v2/items/1/image/-1").status_code == 404


def test_statements_come_with_their_provenance(client):
    said = {"statements": [{"property": "colour", "value": "blue"}]}
    client.put("/v2/items/2?source=pim", json=said)
    (colour,) = client.get("/v2/items/2/statements").json()
    assert [each["source"] for each in colour["provenance"]] == ["items.csv", "pim"]
    assert colour["provenance"][0]["row"] == 3
    assert colour["provenance"][1]["time"]
    assert client.get("/v2/items/9/statements").status_code == 404
