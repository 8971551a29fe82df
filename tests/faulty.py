"""Faulty servers on loopback for tests: one that never answers, one that drops the line, and one that answers what it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def hanging() -> Iterator[int]:
    """The port of a server that takes a connection and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def cutting(port: int, size: int) -> Iterator[tuple[int, list[int]]]:
    """The port of a proxy before another, which passes ``size`` bytes of each answer on and then drops the line, and a list of one number.

    The number may be set to another size for the connections that follow.
    """
    sizes = [size]
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threading.Thread(target=_accept, args=(server, port, sizes), daemon=True).start()
        yield server.getsockname()[1], sizes


def _accept(server: socket.socket, port: int, sizes: list[int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            behind = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_pass, args=(client, behind, None), daemon=True).start()
            threading.Thread(target=_pass, args=(behind, client, sizes), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, sizes: list[int] | None) -> None:
    """Pass on what comes, at most the first of ``sizes`` bytes, then drop both lines."""
    done = 0
    with suppress(OSError):
        while data := source.recv(4096):
            left = len(data) if sizes is None else sizes[0] - done
            target.sendall(data[: max(left, 0)])
            done += len(data)
            if left < len(data):
                break
    for line in (source, target):
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()


@contextmanager
def answering(status: int, kind: str, body: bytes, pause: float = 0.0) -> Iterator[int]:
    """The port of a web server that answers every POST alike, with a pause after each byte."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                for place in range(len(body)):
                    self.wfile.write(body[place : place + 1])
                    time.sleep(pause)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
