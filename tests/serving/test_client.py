"""The client against a real server, and against one that fails."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from schema.errors import UsageError
from serving.client import Client, ProblemError, UnreachableError
from tests.serving.api.conftest import make_home
from tests.serving.api.made_server import made_server


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a real server."""
    home = make_home(tmp_path_factory.mktemp("client"))
    with made_server(home.path) as server, Client(server.url) as found:
        found.wait_until_ready()
        yield found


def test_pages_are_gone_through(client):
    assert [each["id"] for each in client.items(page=2)] == ["1", "2", "3", "4", "a/b"]
    assert [each["id"] for each in client.items(category="Mugs", missing="material")] == ["2"]
    assert len(list(client.proposals(page=1))) == 3


def test_an_item_is_written_read_and_deleted(client):
    assert client.create_item({"id": "ä/ö", "title": "New"})["created"]
    stored = client.item("ä/ö")
    assert stored.document["title"] == "New"
    client.put_item("ä/ö", {"title": "Newer"}, if_match=stored.etag)
    with pytest.raises(ProblemError, match="has changed since") as caught:
        client.put_item("ä/ö", {"title": "Other"}, if_match=stored.etag)
    assert caught.value.status == 409
    assert caught.value.document["current"]["title"] == "Newer"
    assert [each["what"] for each in client.history("ä/ö")]
    gone = client.delete_item("ä/ö")
    with pytest.raises(ProblemError, match="no item 'ä/ö'"):
        client.item("ä/ö")
    assert client.undo(gone["run"])["items"]
    assert client.item("ä/ö").document["title"] == "Newer"
    client.delete_item("ä/ö")


def test_items_are_completed_and_found(client, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    client.wait_until_ready()
    assert client.model()["name"] == "fake"
    assert client.complete("4", ["colour"])["completions"][0]["property"] == "colour"
    new = client.complete_new({"title": "red"}, ["colour"], images=[tmp_path / "a.png"])
    assert new["completions"][0]["candidates"][0]["value"] == "red"
    assert client.complete_new({"title": "red"}, ["colour"])["completions"]
    assert client.search("clay mug", filters=["colour=red"])["hits"][0]["item"] == "1"
    assert client.similar("1", k=2)["hits"]
    assert client.cypher("RETURN $x AS x", {"x": 1})["rows"] == [[1]]


def test_proposals_are_decided(client):
    proposal = client.proposal(1)
    done = client.decide(1, "accept", if_match=proposal.etag)
    assert done["changed"] == 1
    with pytest.raises(ProblemError) as caught:
        client.decide(1, "reject")
    assert caught.value.document["current"]["status"] == "accepted"
    assert client.edit(3, ["green"])["changed"] == 1
    assert client.decide_all("skip", {"property": "colour"}, expected=1)["changed"] == 1
    assert next(client.runs())["kind"]


def test_jobs_are_followed(client):
    job = client.wait_for_job(client.start_job("index")["id"], seconds=120, pause=0.1)
    assert job["status"] == "done", job
    assert [each["id"] for each in client.jobs()] == [job["id"]]
    with pytest.raises(ProblemError) as caught:
        list(client.job_results(job["id"]))
    assert caught.value.status == 409


def test_what_has_no_path_is_told(client):
    with pytest.raises(UsageError, match="no path of its own"):
        client.item("..")
    with pytest.raises(UsageError, match="no address"):
        Client("localhost:8000")


@contextmanager
def failing(*answers: tuple[int, dict[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Serve answers, one after another, the last one again and again; yield what was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.command)
            if status == 0:
                self.connection.close()
                return
            body = json.dumps({"detail": f"answer {status}", "changed": 1}).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the client waits for, without waiting.

    The other threads of the tests sleep as always: the client's name for the module is replaced,
    not the function that all share.
    """
    found: list[float] = []
    clock = SimpleNamespace(sleep=found.append, monotonic=time.monotonic)
    monkeypatch.setattr("serving.client.time", clock)
    return found


@pytest.mark.parametrize("status", [429, 503])
def test_what_is_refused_for_now_is_asked_again(pauses, status):
    with failing((status, {"Retry-After": "7"}), (status, {}), (200, {})) as (url, asked):
        assert Client(url).model()["changed"] == 1
    assert len(asked) == 3
    assert pauses == [7.0, 14.0]


def test_a_decision_is_not_sent_again(pauses):
    with failing((503, {"Retry-After": "1"}), (200, {})) as (url, asked):
        with pytest.raises(ProblemError, match="answer 503"):
            Client(url).decide(1, "accept")
        assert asked == ["POST"]
        assert Client(url).complete("1")["changed"] == 1
    assert pauses == []


def test_a_deletion_that_may_have_been_done_is_not_sent_again(pauses):
    with failing((0, {}), (200, {})) as (url, asked):
        with pytest.raises(UnreachableError, match="did not answer"):
            Client(url).delete_item("1")
        assert asked == ["DELETE"]


def test_it_gives_up_after_some_tries(pauses):
    with failing((503, {"Retry-After": "9999"})) as (url, asked):
        with pytest.raises(ProblemError):
            Client(url, retries=2).model()
        assert len(asked) == 3
    assert pauses == [60.0, 60.0]
    with pytest.raises(UnreachableError, match="see whether the server runs"):
        Client("http://127.0.0.1:9", retries=1).model()


def test_a_token_goes_to_the_server_alone():
    with failing((302, {"Location": "http://127.0.0.1:9/"})) as (url, asked):
        client = Client(url, "cat_secret")
        answer = client.request("GET", "/v2/model")
        assert answer.status_code == 302
        assert answer.request.headers["Authorization"] == "Bearer cat_secret"
    assert asked == ["GET"]
