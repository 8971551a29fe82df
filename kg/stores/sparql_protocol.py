"""A client of the SPARQL 1.1 protocol: send queries and updates to an endpoint."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
import requests.auth
import urllib3
from pyoxigraph import QueryResultsFormat, RdfFormat, parse, parse_query_results

from kg.stores.protocol import QueryResult
from kg.stores.query_limits import DEFAULT_LIMITS, Deadline, QueryLimits, within_limits
from kg.stores.sparql import answer_of
from kg.stores.url import split_server_url
from schema.errors import QueryLimitError, QueryTimeoutError, StoreError

CONNECT_SECONDS = 10.0
READ_SECONDS = 300.0
JSON_RESULTS = "application/sparql-results+json"
N_TRIPLES = "application/n-triples"
BODY_BYTES_PER_BYTE = 16
"""Bytes that an endpoint may send for each byte that an answer may have in our own JSON."""


class Endpoint:
    """The address of a SPARQL endpoint, with credentials from the environment.

    Updates may have another address, in CATALOGRAPH_SPARQL_UPDATE.
    """

    def __init__(self, url: str) -> None:
        split_server_url(url, "rdf+http://HOST[:PORT]/DATASET")
        self.address = url.removeprefix("rdf+")
        self.update_address = os.environ.get("CATALOGRAPH_SPARQL_UPDATE") or self.address
        split_server_url(
            self.update_address, "CATALOGRAPH_SPARQL_UPDATE=http://HOST[:PORT]/DATASET/update"
        )
        self._session = requests.Session()
        user = os.environ.get("CATALOGRAPH_SPARQL_USERNAME")
        password = os.environ.get("CATALOGRAPH_SPARQL_PASSWORD")
        if user and password:
            # Encoded here, because requests encodes text as Latin-1.
            self._session.auth = requests.auth.HTTPBasicAuth(user.encode(), password.encode())

    def check(self) -> None:
        """Close and raise StoreError if no endpoint answers."""
        try:
            self.query("ASK {}", CONNECT_SECONDS)
        except BaseException:
            self.close()
            raise

    def query(
        self,
        text: str,
        timeout: float,
        graphs: Sequence[tuple[str, str]] = (),
        limits: QueryLimits = DEFAULT_LIMITS,
    ) -> QueryResult:
        """Run a query of any form within ``timeout`` seconds and other limits.

        ``graphs`` are parameters of the request that choose the graphs to ask.
        """
        deadline = Deadline.after(timeout)
        accept = f"{JSON_RESULTS}, {N_TRIPLES};q=0.9"

        def read_answer() -> QueryResult:
            with (
                self._translated_errors(timeout),
                self._post_query(text, timeout, graphs, accept) as response,
            ):
                body = _body(response, deadline, BODY_BYTES_PER_BYTE * limits.answer_bytes)
                if _media_type(response) == N_TRIPLES:
                    answer = answer_of(parse(body, RdfFormat.N_TRIPLES))
                else:
                    self._check_is_json(response)
                    answer = answer_of(parse_query_results(body, QueryResultsFormat.JSON))
                rows = list(within_limits(answer.rows, deadline, limits))
                return QueryResult(answer.columns, rows)

        return deadline.run(read_answer)

    def select(self, text: str) -> Iterator[Any]:
        """Yield the solutions of a SELECT query as they arrive."""
        with (
            self._translated_errors(READ_SECONDS),
            self._post_query(text, READ_SECONDS, (), JSON_RESULTS) as response,
        ):
            self._check_is_json(response)
            solutions: Any = parse_query_results(_body(response), QueryResultsFormat.JSON)
            try:
                yield from solutions
            finally:
                # pyoxigraph's solutions are not thread-safe, and an error's traceback would
                # carry them to the thread of whoever catches it.
                del solutions

    def update(self, text: str) -> None:
        """Run an update, which the server carries out as a whole or not at all."""
        with self._translated_errors(READ_SECONDS):
            response = self._session.post(
                self.update_address,
                data=text.encode(),
                # One number for both limits: a server reads a long update only as fast as it
                # parses it, so that sending may take as long as answering.
                timeout=READ_SECONDS,
                allow_redirects=False,
                headers={"Content-Type": "application/sparql-update"},
            )
            self._check_status(response)

    def close(self) -> None:
        """Release the connections."""
        self._session.close()

    def _post_query(
        self, text: str, timeout: float, graphs: Sequence[tuple[str, str]], accept: str
    ) -> requests.Response:
        """Send a query; return the response, whose body is still to be read."""
        response = self._session.post(
            self.address,
            params=list(graphs),
            data=text.encode(),
            timeout=(CONNECT_SECONDS, timeout),
            stream=True,
            # A redirected POST would become a GET without the query.
            allow_redirects=False,
            headers={"Content-Type": "application/sparql-query", "Accept": accept},
        )
        try:
            self._check_status(response, Deadline.after(timeout))
        except BaseException:
            response.close()
            raise
        return response

    def _check_status(self, response: requests.Response, deadline: Deadline | None = None) -> None:
        """Raise StoreError unless all is well; ``deadline`` is for a body that is still to come."""
        if response.status_code in (401, 403):
            raise StoreError(
                f"{self.address} refused us: "
                "check CATALOGRAPH_SPARQL_USERNAME and CATALOGRAPH_SPARQL_PASSWORD"
            )
        if not 200 <= response.status_code < 300:
            body = response.content if deadline is None else _body(response, deadline).read(4096)
            reason = " ".join(body.decode(errors="replace").split())[:160]
            raise StoreError(
                f"{self.address} answered {response.status_code} ({reason}): "
                "correct the query, or check the address"
            )

    def _check_is_json(self, response: requests.Response) -> None:
        media_type = _media_type(response)
        if media_type not in (JSON_RESULTS, "application/json"):
            raise StoreError(
                f"{self.address} answered {media_type or 'nothing'} instead of {JSON_RESULTS}: "
                "give the address of a SPARQL endpoint"
            )

    @contextmanager
    def _translated_errors(self, timeout: float) -> Iterator[None]:
        """Turn errors of requests, urllib3 and pyoxigraph into StoreErrors of one line.

        Of a network error only the type is shown: its text is long and repeats that of others.
        """
        try:
            yield
        except (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
            raise QueryTimeoutError(
                f"{self.address} did not answer within {timeout:g} s: narrow the query"
            ) from None
        except (requests.RequestException, OSError) as error:
            raise StoreError(
                f"no SPARQL endpoint answers at {self.address} ({type(error).__name__}): "
                "start it, or check the address"
            ) from None
        except _TooLargeError:
            raise QueryLimitError(
                f"the answer of {self.address} is larger than its limit: "
                "return less, or raise the limit (--max-answer)"
            ) from None
        except (urllib3.exceptions.HTTPError, SyntaxError, ValueError) as error:
            raise StoreError(
                f"{self.address} broke off its answer, or gave none ({type(error).__name__}): "
                "try again, or see the server's log"
            ) from None


class _Body(io.RawIOBase):
    """A response's body as a file, which can be read only until a deadline and up to a size."""

    def __init__(self, raw: Any, deadline: Deadline | None, most_bytes: int | None) -> None:
        self._raw = raw
        self._deadline = deadline
        self._bytes_left = most_bytes

    def readable(self) -> bool:
        """Return True: a body can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has arrived; raises TimeoutError after the deadline, ValueError after the size.

        These are what pyoxigraph lets through.
        """
        if self._deadline is not None and not self._deadline.seconds_left():
            raise TimeoutError
        # Unlike read(), which waits until the buffer is full, read1() returns what is there, so
        # that the deadline is looked at again and again.
        data: bytes = self._raw.read1(len(buffer), decode_content=True)
        if self._bytes_left is not None:
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                raise _TooLargeError
        buffer[: len(data)] = data
        return len(data)


class _TooLargeError(ValueError):
    """An endpoint sent more than an answer may have."""


def _body(
    response: requests.Response, deadline: Deadline | None = None, most_bytes: int | None = None
) -> io.BufferedReader:
    # requests' own time limit is for each read, so a server that sends one byte now and then would
    # never reach it.
    return io.BufferedReader(_Body(response.raw, deadline, most_bytes))


def _media_type(response: requests.Response) -> str:
    """Return the media type of a response, like ``text/html``, without its parameters."""
    media_type: str = response.headers.get("Content-Type", "")
    return media_type.partition(";")[0].strip().lower()
