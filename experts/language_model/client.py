"""A client of a chat-completions endpoint: one request, one answer, or the reason why not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import requests
import urllib3

from experts.language_model.settings import LanguageModelSettings, is_amount
from kg.stores.query_limits import Deadline
from schema.documents import parse_json_object
from schema.errors import QueryTimeoutError

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 8 << 20
"""Bytes of an answer that are read: the longest answers have some ten thousand tokens."""
MAX_TOLD = 160
"""Characters of an error's text that are shown."""
MAX_TOKENS = 100_000_000
_CHUNK = 1 << 16


class Failure(StrEnum):
    """Why there is no answer to a request."""

    RATE_LIMIT = "rate_limit"
    """The server is asked too often."""
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    """No server answers, or it breaks off its answer."""
    KEY_REFUSED = "key_refused"
    REDIRECTED = "redirected"
    """The server sends us elsewhere, where neither the key nor the items are to go."""
    NOT_FOUND = "not_found"
    """There is no such endpoint or model."""
    REFUSED = "refused"
    """The server does not take the request, for example because it is too long."""
    TOO_LARGE = "too_large"
    NO_COMPLETION = "no_completion"
    """The server answers something that is no chat completion, such as a web page."""


PASSING = frozenset({Failure.RATE_LIMIT, Failure.SERVER_ERROR, Failure.TIMEOUT, Failure.CONNECTION})
"""Failures after which the same request may succeed."""
LASTING = frozenset({Failure.KEY_REFUSED, Failure.REDIRECTED, Failure.NOT_FOUND})
"""Failures that every further request would meet."""
UNPAID = frozenset({Failure.RATE_LIMIT, Failure.SERVER_ERROR, *LASTING, Failure.REFUSED})
"""Failures for which no server charges: it said that it did not carry out the request."""


class CallError(Exception):
    """A request has no answer.

    ``wait`` are the seconds after which the server wants to be asked again, if it says so. The text
    is for a person, and without the API key.
    """

    def __init__(self, failure: Failure, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.failure = failure
        self.wait = wait


@dataclass(frozen=True)
class Usage:
    """The tokens that a call took."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Completion:
    """What the model wrote, and what it took; None if the server does not tell."""

    content: str
    usage: Usage | None


class Client:
    """Sends requests to an endpoint, from several threads. Redirects are never followed."""

    def __init__(self, settings: LanguageModelSettings) -> None:
        self._settings = settings
        self._key = settings.api_key()
        # Connections are used again, but never by two threads at once.
        self._idle: list[requests.Session] = []

    def complete(self, body: Mapping[str, Any]) -> Completion:
        """Return the model's answer to a request; raises CallError if there is none."""
        deadline = Deadline.after(self._settings.timeout_seconds)
        data = json.dumps(body, ensure_ascii=False).encode()
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._new_session()
        try:
            completion = deadline.run(lambda: self._complete(session, data, deadline))
        except QueryTimeoutError:
            # Its thread may still hold the session, which is not used again.
            raise self._timeout() from None
        except CallError:
            self._idle.append(session)
            raise
        self._idle.append(session)
        return completion

    def close(self) -> None:
        """Release the connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        # A proxy is for servers elsewhere.
        session.trust_env = not self._settings.is_local
        # Given as a function, so that no .netrc takes its place.
        session.auth = self._authorized
        return session

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _complete(self, session: requests.Session, data: bytes, deadline: Deadline) -> Completion:
        try:
            with session.post(
                self._settings.address,
                data=data,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=(min(CONNECT_SECONDS, deadline.timeout), deadline.timeout),
                stream=True,
                allow_redirects=False,
            ) as response:
                answer = self._read(response, deadline)
                self._check_status(response, answer)
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError):
            raise self._timeout() from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # Of a network error only the type is told: its text is long and repeats that of others.
            raise CallError(
                Failure.CONNECTION,
                f"{self._settings.address} does not answer, or breaks off ({type(error).__name__})",
            ) from None
        return self._completion(answer)

    def _read(self, response: requests.Response, deadline: Deadline) -> bytes:
        """Read the body until the deadline and up to its limit."""
        chunks = []
        left = MAX_ANSWER_BYTES
        # Unlike iter_content, read1 returns what is there, so that the clock is looked at.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            left -= len(chunk)
            if left < 0:
                raise CallError(
                    Failure.TOO_LARGE,
                    f"{self._settings.address} answers more than {MAX_ANSWER_BYTES >> 20} MiB",
                )
            if not deadline.seconds_left():
                raise TimeoutError
            chunks.append(chunk)
        return b"".join(chunks)

    def _check_status(self, response: requests.Response, body: bytes) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        match status:
            case 429:
                failure = Failure.RATE_LIMIT
            case 408:
                failure = Failure.TIMEOUT
            case 401 | 403:
                failure = Failure.KEY_REFUSED
            case 404 | 405 | 410:
                failure = Failure.NOT_FOUND
            case _ if 300 <= status < 400:
                failure = Failure.REDIRECTED
            case _ if status >= 500:
                failure = Failure.SERVER_ERROR
            case _:
                failure = Failure.REFUSED
        told = " ".join(body[:4096].decode(errors="replace").split())
        if self._key:
            # Some servers repeat the key that they refuse.
            told = told.replace(self._key, "...")
        text = f"{self._settings.address} answered {status} ({told[:MAX_TOLD]})"
        raise CallError(failure, text, _wait(response.headers.get("Retry-After")))

    def _completion(self, body: bytes) -> Completion:
        try:
            document = parse_json_object(body)
            content = document["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            content = None
            document = {}
        if not isinstance(content, str):
            raise CallError(
                Failure.NO_COMPLETION, f"{self._settings.address} answered no chat completion"
            )
        return Completion(content, _usage(document.get("usage")))

    def _timeout(self) -> CallError:
        seconds = self._settings.timeout_seconds
        return CallError(
            Failure.TIMEOUT,
            f"{self._settings.address} did not answer within {seconds:g} s (timeout_seconds)",
        )


def _usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    sent = usage.get("prompt_tokens")
    written = usage.get("completion_tokens")
    if not is_amount(sent, MAX_TOKENS) or not is_amount(written, MAX_TOKENS):
        return None
    return Usage(int(sent), int(written))


def _wait(text: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
