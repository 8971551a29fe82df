"""What hostile clients send: nothing of it is a fault, gets through, or costs much memory."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from PIL import Image
from starlette.testclient import TestClient

from serving.api.app import create_app
from tests.serving.api.conftest import made_home, wait_until_ready
from tests.serving.api.hostile import MARKUP, PATHS

# The server of this module outlives a test, and so what it has said of warnings.
pytestmark = pytest.mark.filterwarnings("ignore:.*reading version")
OPEN_ROUTES = {"/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"}
"""Routes without a token; what pages need to sign in is not below /v2."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, and images beside it."""
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def attacked(folder: Path) -> Iterator[TestClient]:
    """A client of a server that all tests of this module attack."""
    with pytest.MonkeyPatch.context() as patch:
        app = create_app(made_home(folder, patch))
        with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 5000)) as client:
            wait_until_ready(client)
            yield client


def guarded_routes(app: FastAPI) -> list[tuple[str, set[str], RouteContext]]:
    """Return path and methods of each route of the API, documented or not, that needs a token."""
    return [
        (each.path, each.methods or set(), each)
        for each in iter_route_contexts(app.routes)
        if each.path is not None
        and each.path.startswith(("/v2/", "/metrics"))
        and each.path not in OPEN_ROUTES
    ]


def with_values(path: str) -> str:
    """Return a path whose parameters have values."""
    for name, value in {"item_id": "1", "number": "1", "job": "x", "run": "x"}.items():
        path = path.replace("{" + name + "}", value)
    return path


def test_no_route_answers_without_a_good_token(serve, token, home):
    from schema.ledger_tokens import TokenRecords
    from schema.tokens import new_token

    client = serve(require_token=True)
    text, scopeless = new_token("scopeless", ())
    with home.ledger() as ledger:
        TokenRecords(ledger).add(scopeless)
    routes = [
        (method, path) for path, methods, _ in guarded_routes(client.app) for method in methods
    ]
    assert len(routes) > 25
    refused = {
        "none": ({}, 401),
        "wrong": ({"authorization": "Bearer cat_wrong"}, 401),
        "other scheme": ({"authorization": "Basic Y2F0OmNhdA=="}, 401),
        "expired": (token("admin", name="old", days=1e-9), 401),
        "without a scope": ({"authorization": f"Bearer {text}"}, 403),
    }
    for method, path in routes:
        for what, (headers, status) in refused.items():
            found = client.request(method, with_values(path), headers=headers, json={})
            # Without a body that is one, a route may say that first; but never more than that.
            assert found.status_code in (status, 422), (method, path, what, found.text)
            if found.status_code == 422:
                assert "body" in found.json()["detail"] or "query" in found.json()["detail"]


def test_every_route_asks_for_a_scope(serve):
    from serving.api.authentication import caller

    def asks(dependant):
        return dependant.call is caller or any(map(asks, dependant.dependencies))

    routes = guarded_routes(serve().app)
    assert len(routes) > 25
    assert [path for path, _, each in routes if not asks(each.dependant)] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"title": ' + b"9" * 5000 + b"}", 400),
        (b'{"title": "\xff"}', 400),
        (b"\xff\xfe", 422),
        (b'{"title": "\\ud800"}', 422),
        (b'{"\\udfff": 1}', 422),
        (b'{"top_k": NaN}', 422),
        (b'{"top_k": 1e400}', 422),
        (b'{"target_precision": -Infinity}', 422),
        (b'{"target_precision": 1e-999999}', 422),
        (b'{"title": null, "title": {}}', 422),
        (b"null", 422),
        (b"", 422),
    ],
    ids=range(14),
)
def test_what_is_no_json_is_refused(attacked, body, status):
    found = attacked.post(
        "/v2/complete", content=body, headers={"content-type": "application/json"}
    )
    assert found.status_code == status, found.text
    assert "\n" not in found.json()["detail"]


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e400", "9" * 4000, '"\\ud800"', "[" * 900], ids=range(6)
)
def test_parameters_of_a_query_are_an_answer_or_a_refusal(attacked, value):
    closing = "]" * value.count("[")
    body = '{"query": "RETURN $x AS x", "params": {"x": ' + value + closing + "}}"
    found = attacked.post("/v2/cypher", content=body, headers={"content-type": "application/json"})
    assert found.status_code in (200, 400), found.text
    assert json.loads(found.text) is not None


@pytest.mark.parametrize(
    "filter", [{"ids": [10**30]}, {"ids": [-1]}, {"item": "x" * 1001}, {"min_probability": 1e9}]
)
def test_a_filter_with_impossible_numbers_is_refused(attacked, filter):
    found = attacked.post("/v2/proposals/bulk", json={"action": "skip", "filter": filter})
    assert found.status_code == 422


def test_ten_megabytes_of_json_are_not_read(attacked):
    found = attacked.put("/v2/items/1", json={"title": "x" * 10_000_000})
    assert found.status_code == 413
    assert attacked.get("/v2/items/1").json()["title"] == "Red clay mug"


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_a_path_leads_nowhere_else(attacked, path):
    """No path of an id or name leads to a file, and none is a fault."""
    for before, after in (
        ("/v2/items/", ""),
        ("/v2/items/", "/history"),
        ("/v2/items/", "/image/0"),
        ("/v2/jobs/", "/results"),
        ("/v2/jobs/", ""),
        ("/", ""),
    ):
        found = attacked.get(before + path + after)
        assert found.status_code in (200, 404, 405, 422), (before + path + after, found.text)
        assert "root:" not in found.text
        if found.status_code == 200:
            # The dots were taken out of the path by the client: it is a list then.
            assert found.request.url.path.rstrip("/") in ("/v2/items", "/v2/jobs", "")
    undone = attacked.post(f"/v2/runs/{path}/undo")
    assert undone.status_code in (404, 405, 422)


def test_what_looks_like_code_is_stored_as_text(attacked):
    whole = "\n".join(MARKUP)
    body = {
        "title": whole,
        "description": whole,
        "category": "A",
        "statements": [{"property": each, "value": each} for each in MARKUP],
    }
    written = attacked.put("/v2/items/hostile", json=body, params={"source": "hostile"})
    assert written.status_code == 200, written.text
    found = attacked.get("/v2/items/hostile").json()
    assert (found["title"], found["description"]) == (whole, whole)
    pairs = {(each["property"], each["value"]) for each in found["statements"]}
    assert pairs == {(each, each) for each in MARKUP}


@pytest.mark.parametrize("text", MARKUP, ids=range(len(MARKUP)))
def test_what_looks_like_code_is_looked_for_as_text(attacked, text):
    count = attacked.get("/v2/items").json()["count"]
    assert attacked.get("/v2/items", params={"id": text}).json()["count"] == 0
    assert attacked.get("/v2/items", params={"category": text}).json()["count"] == 0
    assert attacked.get("/v2/items", params={"missing": text}).json()["count"] <= count
    assert attacked.get("/v2/proposals", params={"item": text, "value": text}).json()["count"] == 0
    assert attacked.get("/v2/search", params={"q": text}).status_code in (200, 400)
    # A list may be seconds old, so it may have more by now; never less.
    assert attacked.get("/v2/items").json()["count"] >= count


def test_code_as_an_id_names_one_item(attacked):
    for text in MARKUP[4:7]:
        path = f"/v2/items/{quote(text, safe='')}"
        assert attacked.put(path, json={"title": "x"}).status_code == 200
        assert attacked.get(path).json()["id"] == text
        assert attacked.delete(path).status_code == 200
    assert attacked.get("/v2/items/1").status_code == 200


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a PNG that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """Return some kilobytes that are 60,000 times 60,000 pixels."""
    packed = zlib.compressobj(9)
    rows = packed.compress(bytes(40_000_000)) + packed.flush()
    return png(60_000, 60_000, rows)


def polyglot() -> bytes:
    """Return an image that is a page as well."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "GIF", comment=b"<script>alert(1)</script>")
    return stream.getvalue() + b"<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bomb.png", bomb()),
        ("header.png", png(60_000, 60_000)),
        ("cut.png", png(100, 100, zlib.compress(b"\0"))),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'),
        ("a.png", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><svg>&a;</svg>'),
        ("a.ps", b"%!PS\n(/etc/passwd) (r) file"),
        ("a.pdf", b"%PDF-1.4"),
        ("empty.png", b""),
        ("../../../../etc/passwd", b"root:x:0:0"),
    ],
    ids=range(9),
)
def test_what_is_no_safe_image_is_refused(attacked, name, data):
    found = attacked.post(
        "/v2/complete/with-images", data={"item": "{}"}, files={"images": (name, data)}
    )
    assert found.status_code == 422, found.text


def test_a_polyglot_is_no_more_than_its_pixels(attacked):
    found = attacked.post(
        "/v2/complete/with-images",
        data={"item": '{"title": "red"}'},
        files={"images": ("a.gif", polyglot())},
    )
    assert found.status_code == 200


def test_a_stored_polyglot_is_sent_as_pixels(attacked, folder):
    image = folder / "images" / "2.png"
    image.write_bytes(polyglot())
    written = attacked.put("/v2/items/2", json={"images": [str(image)]})
    assert written.status_code == 200, written.text
    found = attacked.get("/v2/items/2/image/0")
    assert found.headers["content-type"] == "image/jpeg", found.text
    assert b"script" not in found.content


def test_many_images_and_fields_are_refused(attacked):
    nine = [("images", (f"{number}.png", b"x")) for number in range(9)]
    found = attacked.post("/v2/complete/with-images", data={"item": "{}"}, files=nine)
    assert found.status_code == 422
    many = [("images", (f"{number}.png", b"x")) for number in range(2000)]
    found = attacked.post("/v2/complete/with-images", data={"item": "{}"}, files=many)
    assert found.status_code == 400
    fields = {f"field{number}": "x" for number in range(2000)}
    found = attacked.post("/v2/complete/with-images", data=fields, files=nine)
    assert found.status_code == 400


def test_a_stranger_uploads_nothing(serve):
    client = serve(require_token=True)
    seen = 0

    def chunks():
        nonlocal seen
        for _ in range(50):
            seen += 1
            yield b"x" * 100_000

    found = client.post(
        "/v2/complete/with-images",
        content=chunks(),
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert found.status_code == 401
    assert found.headers["connection"] == "close"


def test_headers_are_no_way_in(attacked):
    found = attacked.get(
        "/v2/items/1",
        headers={"x-original-url": "/metrics", "x-http-method-override": "DELETE"},
    )
    assert found.json()["id"] == "1"
    assert attacked.get("/v2/items/1", headers={"if-match": "x" * 5000}).status_code == 200
    late = attacked.put("/v2/items/1", json={"title": "x"}, headers={"if-match": "<b>" * 1000})
    assert late.status_code == 409
    assert len(late.json()["if_match"]) <= 200
