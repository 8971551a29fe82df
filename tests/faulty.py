"""Faulty servers on loopback: one that hangs, one that cuts connections, one with fixed answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer


@contextmanager
def hanging_server() -> Iterator[int]:
    """Run a server that accepts a connection and never answers; yield its port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def dripping_server() -> Iterator[int]:
    """Run a server that answers with headers without end, a byte at a time; yield its port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threading.Thread(target=_drip, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _drip(server: socket.socket) -> None:
    with suppress(OSError):
        client, _ = server.accept()
        with client:
            client.sendall(b"HTTP/1.1 200 OK\r\nX-Header: ")
            while True:
                client.sendall(b"x")
                time.sleep(0.05)


@dataclass
class CuttingProxy:
    """A proxy that forwards some bytes of each answer and then closes the connection."""

    port: int
    allowed_bytes: int
    """Bytes of an answer to forward; changing it also affects open connections."""
    is_stalling: bool = False
    """Whether the connections stay open, instead of being closed."""


@contextmanager
def cutting_proxy(server_port: int, allowed_bytes: int) -> Iterator[CuttingProxy]:
    """Run a :class:`CuttingProxy` in front of a server on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        proxy = CuttingProxy(listener.getsockname()[1], allowed_bytes)
        threading.Thread(target=_accept, args=(listener, server_port, proxy), daemon=True).start()
        yield proxy


@contextmanager
def stalling_proxy(server_port: int, allowed_bytes: int) -> Iterator[int]:
    """Run a proxy that forwards some bytes of each answer, and then nothing; yield its port."""
    with cutting_proxy(server_port, allowed_bytes) as proxy:
        proxy.is_stalling = True
        yield proxy.port


def _accept(listener: socket.socket, server_port: int, proxy: CuttingProxy) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", server_port))
            threading.Thread(target=_forward, args=(client, server, None), daemon=True).start()
            threading.Thread(target=_forward, args=(server, client, proxy), daemon=True).start()


def _forward(source: socket.socket, target: socket.socket, proxy: CuttingProxy | None) -> None:
    """Forward what arrives, as far as the proxy allows, then close both connections."""
    forwarded = 0
    with suppress(OSError):
        while data := source.recv(4096):
            left = len(data) if proxy is None else proxy.allowed_bytes - forwarded
            target.sendall(data[: max(left, 0)])
            forwarded += len(data)
            if left < len(data) and not (proxy and proxy.is_stalling):
                break
    for connection in (source, target):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def answering_server(
    status: int, content_type: str, body: bytes, pause: float = 0.0, *, is_endless: bool = False
) -> Iterator[int]:
    """Run a web server that answers every POST alike, with a pause after each byte.

    An endless answer repeats the body's last byte for ever. Yields the server's port.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if not is_endless:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                for position in range(len(body)):
                    self.wfile.write(body[position : position + 1])
                    time.sleep(pause)
                while is_endless:
                    self.wfile.write(body[-1:] * 100_000)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
