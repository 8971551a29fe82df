"""Search behind the API: words, images, filters, and what has just changed."""

import io
import time

import pytest
from PIL import Image


@pytest.fixture
def searched(client):
    """A client of a home that the server has indexed by itself."""
    for _ in range(200):
        if client.get("/v2/search", params={"q": "mug"}).status_code == 200:
            return client
        time.sleep(0.05)
    raise AssertionError(client.get("/v2/search", params={"q": "mug"}).text)


def picture(colour):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(stream, "PNG")
    return stream.getvalue()


def items(found):
    assert found.status_code == 200, found.text
    return [each["item"] for each in found.json()["hits"]]


def test_words_and_filters_find(searched):
    found = searched.get("/v2/search", params={"q": "mug", "facets": True, "explain": True})
    assert set(items(found)) == {"1", "2", "3"}
    assert found.json()["hits"][0]["features"]["title"] > 0
    assert items(searched.get("/v2/search", params={"q": "mug", "filter": "colour=red"})) == ["1"]
    assert items(searched.get("/v2/search", params={"q": "mug", "category": "Chairs"})) == []
    assert searched.get("/v2/search", params={"q": "mug", "filter": "x"}).status_code == 400
    assert searched.get("/v2/search", params={"q": "mug", "filter": "size=1"}).status_code == 404


def test_what_was_just_written_is_found(searched):
    searched.put("/v2/items/9", json={"title": "Teal kettle"})
    # Seconds on an idle machine; a busy one may take longer.
    for _ in range(400):
        if items(searched.get("/v2/search", params={"q": "kettle"})) == ["9"]:
            break
        time.sleep(0.05)
    assert items(searched.get("/v2/search", params={"q": "kettle"})) == ["9"]


def test_an_image_finds_what_looks_like_it(searched):
    for _ in range(100):
        found = searched.post("/v2/search", files={"image": ("a.png", picture("red"))})
        if found.status_code == 200 and found.json()["hits"]:
            break
        time.sleep(0.05)
    assert items(found) == ["1"]
    assert found.json()["vectors"] == ["image"]
    form = {"q": "mug", "filter": "colour=blue"}
    assert "1" not in items(
        searched.post("/v2/search", data=form, files={"image": ("a.png", picture("red"))})
    )
    bad = searched.post("/v2/search", files={"image": ("a.svg", b"<svg/>")})
    assert bad.status_code == 422
    page = searched.post("/search", files={"image": ("a.png", picture("red"))})
    assert "1 item, most like" in page.text
    assert "looks alike" in page.text
    assert "a.svg" in searched.post("/search", files={"image": ("a.svg", b"<svg/>")}).text


def test_items_like_another_are_found(searched):
    assert set(items(searched.get("/v2/items/1/similar", params={"k": 2}))) <= {"2", "3", "4"}
    assert searched.get("/v2/items/77/similar").status_code == 404
    assert searched.get("/v2/items/1/similar", params={"by": "taste"}).status_code == 422
