"""What keeps the server up and its users safe: limits of bodies and rates, hosts, headers."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.options import Limits, ServeOptions
from serving.api.problems import ProblemError, problem_response

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
_KEPT_ENCODED = re.compile("%(2F|25)", re.IGNORECASE)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LINGER_SECONDS = 2.0
"""For so long a body that is refused is still read, so that its sender gets the answer."""
MAX_CLIENTS = 10_000
"""Clients whose rates are remembered; the ones not seen for longest are forgotten."""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class EncodedPathMiddleware:
    """Lets an id with a slash be one part of a path: ``%2F`` stays encoded, and so does ``%25``.

    Whoever takes an id out of a path decodes it once more (:data:`serving.api.parameters.ItemId`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw is not None and b"%" in raw:
            text = raw.decode("latin-1").partition("?")[0]
            kept = _KEPT_ENCODED.sub(r"%25\1", text)
            scope = {**scope, "path": unquote(kept, errors="replace")}
        await self._app(scope, receive, send)


class SecurityMiddleware:
    """Adds security headers, and refuses hosts and origins that are not the server's own.

    A web page elsewhere could otherwise reach a server on the user's own machine, by a name that
    it lets point there.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app = app
        self._options = options
        self._hosts = {*LOCAL_HOSTS, options.host, *options.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            status, detail = refusal
            # What follows on the connection may be no request.
            close = {"Connection": "close"} if status == 400 else None
            response = problem_response(Request(scope), status, detail, headers=close)
            await response(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            return 400, "a request has either Content-Length or Transfer-Encoding: leave one out"
        host = _without_port(headers.get("host", ""))
        if self._options.is_local and host not in self._hosts:
            return 421, (
                f"the server is not known as {host[:100]!r}: address it as {self._options.url}, or "
                "start it with --allow-host"
            )
        origin = headers.get("origin")
        if origin is None or scope["method"] in _SAFE_METHODS or origin in self._options.origins:
            return None
        if urlsplit(origin).netloc != headers.get("host"):
            return 403, (
                f"a page of {origin[:100]!r} may not change anything here: start the server with "
                "--cors to allow that"
            )
        return None


def _without_port(host: str) -> str:
    if host.endswith("]"):
        return host
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


class BodyLimitMiddleware:
    """Refuses bodies that are too large or come too slowly, before they are in memory."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = headers.get("content-type", "").startswith("multipart/form-data")
        limit = self._limits.upload if is_upload else self._limits.body
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told) > limit:
            await self._refuse(scope, receive, send, _too_large(int(told), limit))
            return
        if is_upload and (unknown := await run_in_threadpool(_unknown_caller, scope)) is not None:
            # Uploads are large, and read before the route asks who sends them.
            await self._refuse(scope, receive, send, unknown)
            return
        deadline = time.monotonic() + self._limits.body_seconds
        seen = 0
        is_whole = False
        has_started = False
        refusal: ProblemError | None = None

        async def receiving() -> Message:
            nonlocal seen, is_whole, refusal
            if is_whole:
                return await receive()
            try:
                left = deadline - time.monotonic()
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                refusal = ProblemError(
                    408,
                    f"the body did not arrive in {self._limits.body_seconds:g} s: send it faster",
                )
                raise _RefusedBody from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if seen > limit:
                    refusal = _too_large(seen, limit)
                    raise _RefusedBody
            return message

        async def sending(message: Message) -> None:
            nonlocal has_started
            # What the application makes of the refused body is not the answer.
            if refusal is None or has_started:
                has_started = True
                await send(message)

        with suppress(_RefusedBody):
            await self._app(scope, receiving, sending)
        if refusal is not None and not has_started:
            await self._refuse(scope, receive, send, refusal)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, refusal: ProblemError
    ) -> None:
        """Refuse a body, and end the connection.

        A client that still sends would not get an answer if it ended at once: so for a moment what
        it sends is read, and thrown away.
        """

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "more_body": True}
            await send(message)

        headers = {**refusal.headers, "Connection": "close"}
        response = problem_response(Request(scope), refusal.status, refusal.detail, headers=headers)
        await response(scope, receive, sending)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (message := await receive())["type"] == "http.request":
                    if not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _RefusedBody(Exception):  # noqa: N818
    """A body is not read any further."""


def _too_large(size: int, limit: int) -> ProblemError:
    return ProblemError(
        413, f"the body has {size:,} bytes or more, and {limit:,} are allowed: send less at once"
    )


def _unknown_caller(scope: Scope) -> ProblemError | None:
    """Return why it is not known who makes a request; None if it is."""
    request = Request(scope)
    scheme, _, header = request.headers.get("authorization", "").partition(" ")
    text = header.strip() if scheme.lower() == "bearer" else None
    try:
        request.app.state.authenticator.known(request, text)
    except ProblemError as refusal:
        return refusal
    return None


@dataclass
class _Bucket:
    tokens: float
    moment: float


class RateLimiter:
    """A token bucket for each client: ``burst`` requests at once, and so many a second after."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}

    def wait_of(self, client: str) -> float:
        """Count a request; return 0, or the seconds after which the next one is allowed."""
        moment = time.monotonic()
        with self._lock:
            bucket = self._buckets.pop(client, None) or _Bucket(self._burst, moment)
            earned = (moment - bucket.moment) * self._rate
            bucket = _Bucket(min(self._burst, bucket.tokens + earned), moment)
            wait = 0.0
            if bucket.tokens >= 1:
                bucket.tokens -= 1
            else:
                wait = (1 - bucket.tokens) / self._rate
            # The last seen are last.
            self._buckets[client] = bucket
            if len(self._buckets) > MAX_CLIENTS:
                self._buckets.pop(next(iter(self._buckets)))
        return wait
