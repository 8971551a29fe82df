"""The SPARQL 1.1 protocol: queries and updates sent to an endpoint, and what its errors mean."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
import requests.auth
import urllib3
from pyoxigraph import QueryResultsFormat, RdfFormat, parse, parse_query_results

from kg.stores.protocol import QueryResult
from kg.stores.sparql import plain_rows
from kg.stores.url import server_parts
from schema.errors import QueryTimeoutError, StoreError

CONNECT = 10.0
READ = 300.0
JSON = "application/sparql-results+json"
TRIPLES = "application/n-triples"


class Endpoint:
    """An address that takes queries and, there or elsewhere, updates; who asks is in the environment."""

    def __init__(self, url: str) -> None:
        server_parts(url, "rdf+http://HOST[:PORT]/DATASET")
        self.address = url.removeprefix("rdf+")
        self.update_address = os.environ.get("CATALOGRAPH_SPARQL_UPDATE") or self.address
        server_parts(
            self.update_address, "CATALOGRAPH_SPARQL_UPDATE=http://HOST[:PORT]/DATASET/update"
        )
        self._session = requests.Session()
        user = os.environ.get("CATALOGRAPH_SPARQL_USERNAME")
        password = os.environ.get("CATALOGRAPH_SPARQL_PASSWORD")
        if user and password:
            self._session.auth = requests.auth.HTTPBasicAuth(user.encode(), password.encode())

    def greet(self) -> None:
        """Raise StoreError, with nothing left open, where no endpoint answers."""
        try:
            self.ask("ASK {}", CONNECT)
        except BaseException:
            self.close()
            raise

    def ask(self, text: str, timeout: float, graphs: Sequence[tuple[str, str]] = ()) -> QueryResult:
        """A query's answer as rows, whatever its form, within ``timeout`` seconds."""
        with (
            self._said(timeout),
            self._query(text, timeout, graphs, f"{JSON}, {TRIPLES};q=0.9") as response,
        ):
            body = io.BufferedReader(_Body(response.raw, time.monotonic() + timeout))
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind == TRIPLES:
                return plain_rows(parse(body, RdfFormat.N_TRIPLES))
            self._expect(kind)
            return plain_rows(parse_query_results(body, QueryResultsFormat.JSON))

    def select(self, text: str) -> Iterator[Any]:
        """The solutions of a SELECT, read as they come."""
        with self._said(READ), self._query(text, READ, (), JSON) as response:
            self._expect(response.headers.get("Content-Type", "").partition(";")[0].strip().lower())
            solutions: Any = parse_query_results(
                io.BufferedReader(_Body(response.raw)), QueryResultsFormat.JSON
            )
            try:
                yield from solutions
            finally:
                # They bear no other thread, and an error would take them along to whoever asked.
                del solutions

    def update(self, text: str) -> None:
        """Carry out an update, whole or not at all."""
        with self._said(READ):
            # A server reads a long update as slowly as it parses it, so that sending may take as long as an answer.
            self._check(
                self._session.post(
                    self.update_address,
                    data=text.encode(),
                    timeout=READ,
                    allow_redirects=False,
                    headers={"Content-Type": "application/sparql-update"},
                )
            )

    def close(self) -> None:
        """Release the connections."""
        self._session.close()

    def _query(
        self, text: str, timeout: float, graphs: Sequence[tuple[str, str]], accept: str
    ) -> requests.Response:
        response = self._session.post(
            self.address,
            params=list(graphs),
            data=text.encode(),
            timeout=(CONNECT, timeout),
            stream=True,
            allow_redirects=False,
            headers={"Content-Type": "application/sparql-query", "Accept": accept},
        )
        try:
            self._check(response)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, response: requests.Response) -> None:
        if response.status_code in (401, 403):
            raise StoreError(
                f"{self.address} refused us: check CATALOGRAPH_SPARQL_USERNAME and CATALOGRAPH_SPARQL_PASSWORD"
            )
        if not 200 <= response.status_code < 300:
            said = " ".join(response.text.split())[:160]
            raise StoreError(
                f"{self.address} answered {response.status_code} ({said}): correct the query, or check the address"
            )

    def _expect(self, kind: str) -> None:
        if kind not in (JSON, "application/json"):
            raise StoreError(
                f"{self.address} answered {kind or 'nothing'} instead of {JSON}: name a SPARQL endpoint's address"
            )

    @contextmanager
    def _said(self, timeout: float) -> Iterator[None]:
        """Turn what goes wrong on the way into our errors, a line each."""
        try:
            yield
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
            raise QueryTimeoutError(
                f"{self.address} did not answer within {timeout:g} s: narrow the query"
            ) from None
        except (requests.RequestException, OSError) as error:
            reason = type(error).__name__
            raise StoreError(
                f"no SPARQL endpoint answers at {self.address} ({reason}): start it, or check the address"
            ) from None
        except (urllib3.exceptions.HTTPError, SyntaxError, ValueError) as error:
            reason = type(error).__name__
            raise StoreError(
                f"{self.address} broke off its answer, or gave none ({reason}): ask again, or see the server's log"
            ) from None


class _Body(io.RawIOBase):
    """A response's body as a file, which is over at a time."""

    def __init__(self, raw: Any, until: float | None = None) -> None:
        self._raw = raw
        self._until = until

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there next; raises TimeoutError past the time."""
        if self._until is not None and time.monotonic() > self._until:
            raise TimeoutError
        data: bytes = self._raw.read1(len(buffer), decode_content=True)
        buffer[: len(data)] = data
        return len(data)
