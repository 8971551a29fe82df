"""Who may do what, from where, how often and how much."""

import time
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from serving.api.app import create_app
from serving.api.guarding import RateLimiter
from serving.api.options import Limits, ServeOptions
from tests.serving.api.conftest import wait_until_ready


@pytest.fixture
def short_memory(monkeypatch):
    """Tokens that are remembered for a twentieth of a second, in place of a whole one."""
    monkeypatch.setattr("serving.api.authentication.REMEMBERED_SECONDS", 0.05)


def test_on_this_machine_nobody_needs_a_token_until_there_is_one(short_memory, client, token):
    assert client.get("/v2/items/1").status_code == 200
    headers = token("read")
    time.sleep(0.06)
    assert client.get("/v2/items/1").status_code == 401
    assert client.get("/v2/items/1", headers=headers).status_code == 200


def test_what_came_through_a_proxy_needs_a_token(client):
    for name in ("x-forwarded-for", "forwarded"):
        assert client.get("/v2/items/1", headers={name: "10.0.0.1"}).status_code == 401


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read", {"read"}),
        ("review", {"read", "review"}),
        ("write", {"read", "write"}),
        ("admin", {"read", "review", "write", "admin"}),
    ],
)
def test_a_scope_allows_what_it_says(serve, token, scope, allowed):
    client = serve(require_token=True)
    headers = token(scope)
    calls = {
        "read": ("GET", "/v2/items/1", None),
        "review": ("POST", "/v2/proposals/1/skip", None),
        "write": ("PUT", "/v2/items/5", {"title": "x"}),
        "admin": ("PUT", "/v2/model", {}),
    }
    for needed, (method, path, body) in calls.items():
        found = client.request(method, path, json=body, headers=headers)
        assert (found.status_code == 403) == (needed not in allowed), (needed, found.text)
        if found.status_code == 403:
            assert f"needs the scope {needed}" in found.json()["detail"]


def test_wrong_revoked_and_expired_tokens_are_refused(short_memory, serve, token, home):
    from schema.ledger_tokens import TokenRecords

    client = serve(require_token=True)
    assert client.get("/v2/items/1").headers["www-authenticate"].startswith("Bearer")
    assert client.get("/v2/items/1", headers={"authorization": "Bearer no"}).status_code == 401
    assert client.get("/v2/items/1", headers={"authorization": "Basic eA=="}).status_code == 401
    expired = client.get("/v2/items/1", headers=token("read", name="old", days=1e-9))
    assert "has expired" in expired.json()["detail"]
    headers = token("read", name="till")
    assert client.get("/v2/items/1", headers=headers).status_code == 200
    with home.ledger() as ledger:
        TokenRecords(ledger).revoke("till")
    time.sleep(0.06)
    assert "was revoked" in client.get("/v2/items/1", headers=headers).json()["detail"]


def test_another_name_or_page_gets_nowhere(client):
    assert client.get("/v2/items/1", headers={"host": "evil.example"}).status_code == 421
    found = client.put(
        "/v2/items/1", json={"title": "x"}, headers={"origin": "https://evil.example"}
    )
    assert found.status_code == 403
    own = client.put("/v2/items/1", json={"title": "x"}, headers={"origin": "http://testserver"})
    assert own.status_code == 200
    assert (
        "access-control-allow-origin"
        not in client.get("/v2/items/1", headers={"origin": "https://evil.example"}).headers
    )


def test_the_pages_of_an_origin_may_be_let_in(serve):
    client = serve(origins=("https://shop.example",))
    found = client.get("/v2/items/1", headers={"origin": "https://shop.example"})
    assert found.headers["access-control-allow-origin"] == "https://shop.example"


def test_a_body_is_refused_before_it_is_read(serve):
    client = serve(limits=Limits(body=1000))
    too_large = client.put("/v2/items/1", json={"title": "x" * 2000})
    assert too_large.status_code == 413
    assert "1,000 are allowed" in too_large.json()["detail"]

    def chunks():
        for _ in range(100):
            yield b"x" * 100

    assert client.put("/v2/items/1", content=chunks()).status_code == 413


def test_who_asks_too_often_waits(serve):
    client = serve(limits=Limits(requests_per_second=0.5, burst=3))
    codes = [client.get("/v2/items/1").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert int(client.get("/v2/items/1").headers["retry-after"]) >= 1
    assert client.get("/v2/health/live").status_code == 200


def test_a_bucket_fills_again(monkeypatch):
    moment = [100.0]
    clock = SimpleNamespace(monotonic=lambda: moment[0])
    monkeypatch.setattr("serving.api.guarding.time", clock)
    limiter = RateLimiter(2.0, 2)
    assert [limiter.wait_of("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    assert limiter.wait_of("b") == 0.0
    moment[0] += 0.5
    assert limiter.wait_of("a") == 0.0
    assert limiter.wait_of("a") == 0.5


def test_tokens_are_not_tried_one_after_another(serve):
    client = serve(require_token=True, limits=Limits(requests_per_second=0.1, burst=3))
    codes = [
        client.get("/v2/items/1", headers={"authorization": f"Bearer {number}"}).status_code
        for number in range(5)
    ]
    assert codes == [401, 401, 401, 429, 429]


def test_every_answer_has_an_id_and_security_headers(client):
    for path in ("/v2/items/1", "/nothing", "/v2/items?limit=0"):
        found = client.get(path, headers={"x-request-id": "abc-1"})
        assert found.headers["x-request-id"] == "abc-1"
        assert "default-src 'none'" in found.headers["content-security-policy"]
        if found.status_code != 200:
            assert found.headers["content-type"] == "application/problem+json"
            assert found.json()["request"] == "abc-1"
    assert (
        len(client.get("/v2/items/1", headers={"x-request-id": "a\x7fb"}).headers["x-request-id"])
        == 32
    )


def test_a_server_without_a_model_is_ready_and_says_so(home, monkeypatch):
    from schema.errors import UsageError

    def none(models, name):
        raise UsageError("there is no model: train one")

    monkeypatch.setattr("serving.api.catalogue.find_model", none)
    with TestClient(create_app(home, ServeOptions()), client=("127.0.0.1", 1)) as client:
        wait_until_ready(client)
        assert client.get("/v2/items/1").status_code == 200
        found = client.post("/v2/items/1/complete")
        assert found.status_code == 503
        assert found.headers["retry-after"]
        assert found.json()["detail"] == "there is no model: train one"
