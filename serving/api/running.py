"""Serve a catalogue until the process is asked to end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import replace

from kg.home import Home
from schema.errors import StoreUnavailableError
from serving.api.options import ServeOptions

STOP_SECONDS = 20
"""How long requests that are being answered may take when the server stops."""
KEEP_ALIVE_SECONDS = 15


def serve(
    home: Home, options: ServeOptions, started: Callable[[str], None] = lambda url: None
) -> None:
    """Serve a home; ``started`` is called with the address once the server listens.

    Ends when the process gets SIGTERM or SIGINT, after the requests that are being answered.
    Raises StoreUnavailableError if the port is taken.
    """
    # First, and before the imports, which take seconds: a port that is taken is told at once.
    listening = _listening(options)
    port = listening.getsockname()[1]
    import uvicorn

    from serving.api.app import create_app
    from serving.api.connections import allow_connections, guarded_protocol

    _log()
    connections = allow_connections(options.limits.connections)
    limits = replace(options.limits, connections=connections)
    config = uvicorn.Config(
        create_app(home, options),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        http=guarded_protocol(limits),
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
        proxy_headers=False,
        lifespan="on",
    )
    started(f"{options.url.rpartition(':')[0]}:{port}")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _listening(options: ServeOptions) -> socket.socket:
    """Return a socket that listens, so that a taken port is told in one line."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio sends at once (TCP_NODELAY) only where the protocol is named: without it, the second
    # part of each answer would wait 40 ms for the client to confirm the first.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
        listening.listen(min(options.limits.connections, 2048))
    except OSError as error:
        listening.close()
        raise StoreUnavailableError(
            f"{options.host}, port {options.port} cannot be served ({error.strerror}): choose "
            "another with --port or --host, or 0 for any free port"
        ) from None
    return listening


def _log() -> None:
    """Write the log as JSON lines on stderr."""
    from serving.api.observing import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name, level in (("catalograph", "INFO"), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
