"""What uvicorn leaves open of a connection: time limits, their number, and doubtful framing.

uvicorn waits for ever for the headers of a request, and for a client that does not read its answer.
Both cost a client nothing and the server a connection. What a request's length is must not be open
to two readings either: a proxy that reads it otherwise would take a part of a body for a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.api.options import Limits
from serving.api.problems import MEDIA_TYPE, RETRY_SECONDS

SPARE_FILES = 200
"""Open files that are not connections: those of the graph, the ledger and the index."""
_logger = logging.getLogger("catalograph.api")


class GuardedProtocol(H11Protocol):
    """An HTTP/1.1 connection whose client has to go on.

    Headers have to arrive in ``limits.header_seconds`` after the first byte, or after the
    connection was made; an answer has to be read in ``limits.answer_seconds``. A connection beyond
    ``limits.connections`` takes the place of the one that has been without a request for longest,
    and is refused if there is none.
    """

    limits = Limits()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._headers_timer: asyncio.TimerHandle | None = None
        self._watched: Any = None
        self._answer_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the headers of a request."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        if len(self.connections) > self.limits.connections and not self._displace_another():
            self._refuse(503, f"{self.limits.connections:,} connections are open: try again later")
            return
        self._watch_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        super().connection_lost(exc)
        self._stop_headers_timer()
        self._stop_answer_timer()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch_headers()

    def handle_events(self) -> None:
        """Handle the requests that have arrived as a whole."""
        super().handle_events()
        if not self.transport.is_closing():
            self._watch_headers()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close the connection."""
        self._refuse(400, "this is no request of HTTP/1.1: check what sends it")

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read its answer."""
        super().pause_writing()
        self._stop_answer_timer()
        self._answer_timer = self.loop.call_later(self.limits.answer_seconds, self._give_up)

    def resume_writing(self) -> None:
        """Go on with an answer."""
        self._stop_answer_timer()
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _watch_headers(self) -> None:
        """Limit the time until headers, or what is left of a body after the answer, have arrived.

        ``timeout_keep_alive_task`` limits the time between two requests.
        """
        state = self.conn.their_state
        if state is h11.SEND_BODY and not self.is_idle:
            # The time for a body that is read is limited by who reads it.
            state = h11.DONE
        if state is not self._watched:
            self._stop_headers_timer()
            self._watched = state
        is_watched = state in (h11.IDLE, h11.SEND_BODY)
        if is_watched and self._headers_timer is None and self.timeout_keep_alive_task is None:
            self._headers_timer = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._headers_timer = None
        if self._watched is h11.SEND_BODY:
            # This request has its answer already.
            self.transport.close()
            return
        seconds = self.limits.header_seconds
        self._refuse(408, f"the headers did not arrive in {seconds:g} s: send them faster")

    def _give_up(self) -> None:
        self._answer_timer = None
        self.transport.abort()

    def _displace_another(self) -> bool:
        """Close the connection that has been without a request for longest, if there is one."""
        idle = [
            each
            for each in self.connections
            if isinstance(each, GuardedProtocol) and each is not self and each.is_idle
        ]
        if not idle:
            return False
        oldest = min(idle, key=lambda each: each._idle_since)
        self.connections.discard(oldest)
        oldest.transport.close()
        return True

    def _refuse(self, status: int, detail: str) -> None:
        """Answer by a problem document, and close the connection."""
        self._stop_headers_timer()
        if self.transport.is_closing():
            return
        title = HTTPStatus(status).phrase
        document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(document).encode()
        headers = [f"content-type: {MEDIA_TYPE}", f"content-length: {len(body)}"]
        if status == 503:
            headers.append(f"retry-after: {RETRY_SECONDS}")
        if self.is_idle or not self.cycle.response_started:
            lines = [f"HTTP/1.1 {status} {title}", *headers, "connection: close", "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
        # Else an answer has begun, into which another one would be mixed.
        self.transport.close()

    def _stop_headers_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


def guarded_protocol(limits: Limits) -> type[GuardedProtocol]:
    """Return the protocol of connections with these limits."""
    return type("LimitedProtocol", (GuardedProtocol,), {"limits": limits})


def allow_connections(wanted: int) -> int:
    """Let the process have so many connections; return how many it may have.

    Beyond the system's limit of open files, connections could be neither taken nor refused.
    """
    needed = wanted + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(1, soft - SPARE_FILES)
    _logger.warning(
        "%d connections are served at once instead of %d, since %d files may be open: raise "
        "`ulimit -n`",
        allowed,
        wanted,
        soft,
    )
    return allowed
