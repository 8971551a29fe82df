"""A server as a process: it says why it does not start, ends gracefully, survives a kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from kg.home import Home
from schema.errors import CatalographError
from schema.ledger_proposals import ProposalRecords
from serving.client import Client
from serving.review.agreement import disagreements
from tests.serving.api.conftest import make_home
from tests.serving.api.made_server import ROOT, made_server, running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with proposals, and without a model."""
    return make_home(tmp_path_factory.mktemp("processes"))


def catalograph(home: Home, *words: str) -> list[str]:
    """Return a command."""
    return [sys.executable, "cli.py", "--home", str(home.path), *words]


def refused(home: Home, *words: str) -> str:
    """Return what a command says that does not start."""
    done = subprocess.run(
        catalograph(home, *words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_it_says_why_it_does_not_start(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refused(home, "serve", "--port", port)
    assert port in line
    assert "choose another" in line
    assert "catalograph token add" in refused(home, "serve", "--host", "0.0.0.0", "--port", "0")


def is_refused(port: int) -> bool:
    """Return whether nobody is let in."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_that_runs_is_answered_before_it_ends(home):
    body = json.dumps({"title": "Late"}).encode()
    head = (
        b"PUT /v2/items/late HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with (
        running(catalograph(home, "serve", "--port", "0"), home.path.parent / "log") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection,
    ):
        connection.sendall(head + body[:5])
        with Client(server.url) as client:
            client.wait_until_ready()
        os.kill(server.process_id, signal.SIGTERM)
        deadline = time.monotonic() + 15
        while not is_refused(server.port):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Nobody else is let in, and who is in may finish.
        connection.sendall(body[5:])
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200")
    with home.store(read_only=True) as store:
        assert store.item("late")[0].title == "Late"
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(home):
    made: list[str] = []
    decided: list[int] = []

    def create(url: str) -> None:
        with Client(url, retries=0) as client:
            try:
                for number in range(1000):
                    client.create_item({"id": f"kill-{number}", "title": f"Item {number}"})
                    made.append(f"kill-{number}")
            except CatalographError:
                return

    def decide(url: str) -> None:
        with Client(url, retries=0) as client:
            try:
                for number in (1, 2, 3):
                    client.decide(number, "accept")
                    decided.append(number)
            except CatalographError:
                return

    with made_server(home.path) as server:
        threads = [threading.Thread(target=each, args=(server.url,)) for each in (create, decide)]
        for each in threads:
            each.start()
        deadline = time.monotonic() + 60
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.001)
        server.kill()
        for each in threads:
            each.join()
    assert len(made) >= 4
    with made_server(home.path) as server, Client(server.url) as client:
        client.wait_until_ready()
        for id in made:
            assert client.item(id).document["title"].startswith("Item")
        for number in decided:
            assert client.proposal(number).document["status"] == "accepted"
        # And it goes on where it was.
        assert client.create_item({"id": "after", "title": "After"})["created"]
    with home.store(read_only=True) as store, home.ledger() as ledger:
        assert list(disagreements(store, ProposalRecords(ledger))) == []
