"""Completion on demand: as it is stored now, or of what comes with the request."""

import io
import json

import pytest
from PIL import Image


def best(found):
    return {
        each["property"]: each["candidates"][0]["value"] if each["candidates"] else None
        for each in found.json()["completions"]
    }


def test_a_stored_item_is_completed_as_it_is_now(client):
    found = client.post("/v2/items/4/complete", json={"properties": ["colour"]})
    assert found.json()["model"] == "fake"
    before = best(found)
    client.put("/v2/items/4?source=items.csv", json={"title": "red chair", "category": "Chairs"})
    after = best(client.post("/v2/items/4/complete", json={"properties": ["colour"]}))
    assert after == {"colour": "red"}
    assert before != after


def test_a_rejected_value_is_not_offered_again(client):
    client.put("/v2/items/4?source=items.csv", json={"title": "blue chair", "category": "Chairs"})
    assert (
        best(client.post("/v2/items/4/complete", json={"properties": ["colour"]}))["colour"]
        == "blue"
    )
    client.post("/v2/proposals/2/reject")
    assert (
        best(client.post("/v2/items/4/complete", json={"properties": ["colour"]}))["colour"]
        != "blue"
    )


def test_a_new_item_is_completed_from_what_comes(client):
    found = client.post("/v2/complete", json={"title": "blue thing", "properties": ["colour"]})
    assert best(found) == {"colour": "blue"}
    assert client.post("/v2/complete", json={"properties": ["weight"]}).status_code == 404
    assert client.post("/v2/complete", json={"titel": "x"}).status_code == 422


def test_images_come_as_a_form(client):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    item = json.dumps({"title": "red", "properties": ["colour"]})
    form = {"item": item}
    found = client.post(
        "/v2/complete/with-images", data=form, files={"images": ("a.png", stream.getvalue())}
    )
    assert best(found) == {"colour": "red"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50),
        ("a.jpg", b"no image"),
    ],
)
def test_what_is_no_image_is_refused(client, name, data):
    found = client.post(
        "/v2/complete/with-images", data={"item": "{}"}, files={"images": (name, data)}
    )
    assert found.status_code == 422
    assert name in found.json()["detail"]


def test_a_form_whose_item_is_no_json_is_refused(client):
    for item in ("{", "[]", '{"top_k": 0}', "[" * 100_000):
        found = client.post(
            "/v2/complete/with-images", data={"item": item}, files={"images": ("a", b"x")}
        )
        assert found.status_code == 422


def test_another_model_is_served_between_two_requests(client, home, monkeypatch):
    other = home.models / "other"
    other.mkdir()
    monkeypatch.setattr(
        "serving.api.catalogue.find_model", lambda models, name: models / (name or "made")
    )
    changed = client.put("/v2/model", json={"name": "other"})
    assert changed.status_code == 200
    assert client.post("/v2/items/4/complete").status_code == 200
