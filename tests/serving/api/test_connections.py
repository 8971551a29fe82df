"""What only a socket shows: slow clients, doubtful framing, many connections, endless bodies."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from tests.serving.api.conftest import make_home
from tests.serving.api.made_server import RunningServer, made_server

SECONDS = 1.0
"""How long the server waits for slow clients."""
TIMEOUT = 15.0
HOST = b"Host: localhost\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\n" + HOST
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose patience is short."""
    home = make_home(tmp_path_factory.mktemp("connections"))
    with made_server(
        home.path, header_seconds=SECONDS, body_seconds=SECONDS, connections=1000
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _stays_up(server: RunningServer) -> Iterator[None]:
    yield
    assert is_live(server)
    assert "Traceback" not in server.log.read_text()


def is_live(server: RunningServer) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as client:
        client.request("GET", "/v2/health/live")
        return client.getresponse().status == 200


def connected(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)


def rest_of(connection: socket.socket) -> bytes:
    """Return all that comes until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(1 << 16):
            found += part
    except ConnectionResetError:
        pass
    return found


def exchange(server: RunningServer, sent: bytes) -> list[int]:
    """Send bytes, and return the statuses of what comes until the connection is closed."""
    with connected(server) as connection:
        with suppress(OSError):
            # It may refuse the first half before the second is sent.
            connection.sendall(sent)
        return [int(each) for each in STATUS.findall(rest_of(connection))]


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"G"])
def test_headers_that_do_not_end_are_not_waited_for(server, sent):
    began = time.monotonic()
    with connected(server) as connection:
        connection.sendall(sent)
        answer = rest_of(connection)
    assert b"408" in answer.splitlines()[0]
    assert b"headers did not arrive in 1 s" in answer
    assert SECONDS <= time.monotonic() - began < TIMEOUT


def test_a_header_now_and_then_does_not_help(server):
    began = time.monotonic()
    with connected(server) as connection:
        connection.sendall(LIVE)
        try:
            for number in range(100):
                time.sleep(0.2)
                connection.sendall(b"X-%d: 1\r\n" % number)
        except OSError:
            pass
    assert time.monotonic() - began < TIMEOUT


def test_a_body_that_drips_is_not_waited_for(server):
    head = b"PUT /v2/items/1 HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with connected(server) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        assert b" 408 " in connection.recv(1 << 16).splitlines()[0]


def test_what_is_left_of_a_body_after_the_answer_is_not_waited_for(server):
    began = time.monotonic()
    with connected(server) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\n" + HOST)
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        try:
            for _ in range(100):
                time.sleep(0.2)
                connection.sendall(b"1\r\na\r\n")
        except OSError:
            pass
    assert time.monotonic() - began < TIMEOUT


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        # Two lengths that say different things.
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LIVE, [400]),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", [400]),
        (b"Content-Length: 5, 6\r\n\r\nabcdef", [400]),
        (b"Content-Length: +5\r\n\r\nabcde", [400]),
        (b"Content-Length: -1\r\n\r\n", [400]),
        (b"Content-Length: 0x5\r\n\r\nabcde", [400]),
        (b"Content-Length: 99999999999999999999999999\r\n\r\n", [400]),
        (b"Content-Length : 5\r\n\r\nabcde", [400]),
        (b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", [400]),
        # Chunks.
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", [400]),
        (b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", [408]),
        # Lines.
        (b"X: a\rb\r\n\r\n", [400]),
        (b"X: a\0b\r\n\r\n", [400]),
        (b"X y: 1\r\n\r\n", [400]),
        (b": 1\r\n\r\n", [400]),
        (b"X: " + b"x" * 1_000_000 + b"\r\n\r\n", [400]),
        (b"X: 1\r\n" * 200_000 + b"\r\n", [400]),
    ],
    ids=range(24),
)
def test_what_can_be_read_in_two_ways_is_refused(server, sent, statuses):
    """At most one answer comes, and the connection ends: nothing is left for another request."""
    head = b"POST /v2/complete HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    assert exchange(server, head + sent) == statuses


@pytest.mark.parametrize(
    "line",
    [
        b"GET  /v2/health/live HTTP/1.1",
        b"GET /v2/health/live",
        b"GET http://evil.example/v2/health/live HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0",
        b"GET /v2/health/\xff HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
    ],
    ids=range(8),
)
def test_odd_request_lines_get_one_answer(server, line):
    found = exchange(server, line + b"\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert len(found) == 1
    assert 400 <= found[0] < 500


def test_lines_that_end_without_a_return_are_read_once(server):
    """RFC 9112 lets a server take them for lines; nothing is left over by it."""
    found = exchange(server, (LIVE + b"Connection: close\r\n\r\n").replace(b"\r\n", b"\n"))
    assert found in ([200], [400])


def test_refusals_before_the_application_are_problem_documents(server):
    with connected(server) as connection:
        connection.sendall(b"nothing\r\n\r\n")
        head, _, body = rest_of(connection).partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["status"] == 400


def test_an_endless_body_costs_no_memory(server):
    is_live(server)
    before = server.memory()
    head = b"PUT /v2/items/1 HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    sent = 0
    with connected(server) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(1024):
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert server.memory() - before < 50_000_000
    assert sent > 1_000_000


def test_a_gigabyte_that_is_announced_is_refused_at_once(server):
    head = b"PUT /v2/items/1 HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    with connected(server) as connection:
        connection.sendall(head + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_who_sends_too_much_gets_the_answer(server):
    """A client that sends before it reads would not if the server closed the connection at once."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as client:
        client.request("PUT", "/v2/items/1", body=b"x" * 10_000_000)
        found = client.getresponse()
        assert found.status == 413
        assert b"1,048,576 are allowed" in found.read()


def test_a_thousand_connections_leave_room_for_one_more(server):
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connected(server))
        assert is_live(server)


def test_a_thousand_requests_at_once_are_answered(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(900)]
        for each in clients:
            each.sendall(LIVE + b"Connection: close\r\n\r\n")
        answers = [rest_of(each) for each in clients]
    assert {each.split()[1] for each in answers} == {b"200"}


def test_a_client_that_goes_away_disturbs_nobody(server):
    """In the middle of the headers, of the body, and of the answer."""
    body = json.dumps({"title": "Other"}).encode()
    head = (
        b"PUT /v2/items/3 HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    for sent in (head[:20], head + body[:5], head + body, LIVE + b"\r\n"):
        with connected(server) as connection:
            connection.sendall(sent)
    deadline = time.monotonic() + TIMEOUT
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as client:
        client.request("GET", "/v2/items/3")
        found = json.loads(client.getresponse().read())
        while found["references"][-1:] == [] and time.monotonic() < deadline:
            time.sleep(0.1)
            client.request("GET", "/v2/items/3")
            found = json.loads(client.getresponse().read())
    # What arrived as a whole was done, although nobody waited for the answer.
    assert found["references"][-1]["title"] == "Other"


def test_an_answer_is_sent_at_once(server):
    """Not after the 40 ms in which the system would wait for the client to confirm a part of it."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as client:
        seconds = []
        for _ in range(20):
            began = time.monotonic()
            client.request("GET", "/v2/health/live")
            client.getresponse().read()
            seconds.append(time.monotonic() - began)
    assert min(seconds[1:]) < 0.03


def test_many_slow_clients_do_not_keep_others_out(server):
    stop = threading.Event()

    def drip() -> None:
        with connected(server) as connection:
            while not stop.wait(0.2):
                try:
                    connection.sendall(b"G")
                except OSError:
                    return

    threads = [threading.Thread(target=drip) for _ in range(50)]
    for each in threads:
        each.start()
    try:
        began = time.monotonic()
        assert all(is_live(server) for _ in range(10))
        assert time.monotonic() - began < TIMEOUT
    finally:
        stop.set()
        for each in threads:
            each.join()
