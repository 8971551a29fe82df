"""A client of the API: typed calls, pages as iterators, problems as exceptions.

    with Client("http://127.0.0.1:8000", token="cat_…") as client:
        for item in client.items(missing="colour"):
            print(item["id"], client.complete(item["id"])["completions"])

It asks again on its own what did not reach the server or was refused for now (429 and 503), as long
as doing that twice is doing it once. Documents are dictionaries as docs/api.md shows them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import requests

from schema.errors import CatalographError, UsageError

Document = dict[str, Any]
Decision = Literal["accept", "reject", "skip"]
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
RETRIED = (429, 503)
LONGEST_WAIT = 60.0
"""Seconds that a Retry-After is waited for, at most."""
_PAUSE = 0.5
PAGE = 100


class ProblemError(CatalographError):
    """The server refused a request.

    Attributes:
        status: the HTTP status
        document: the problem document (RFC 9457); with status 409 it has ``current``, the version
            that is stored
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("detail") or f"the server answered {status}"))
        self.status = status
        self.document = dict(document)


class UnreachableError(CatalographError):
    """The server cannot be reached, or did not answer in time."""


@dataclass(frozen=True)
class Versioned:
    """A document with its version, to be changed only as long as that is the stored one.

    Attributes:
        document: what is stored
        etag: the version, for ``if_match``
    """

    document: Document
    etag: str


class Client:
    """A client of one server; it may be used by one thread at a time.

    Args:
        url: the address of the server
        token: made by ``catalograph token add``; None on a machine of one's own
        timeout: seconds until a connection is made, and until an answer begins
        retries: how often a request is sent again that is refused for now
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no address of a server: it begins with http or https")
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._retries = retries
        self._session = requests.Session()
        # Neither a proxy nor a password of ~/.netrc is meant for the server.
        self._session.trust_env = False
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # The server

    def is_ready(self) -> bool:
        """Return whether the server can do its work."""
        try:
            return bool(self.request("GET", "/v2/health/ready", retries=0).json())
        except CatalographError:
            return False

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait until the server can do its work. Raises UnreachableError if it takes too long."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise UnreachableError(f"{self._url} is not ready after {seconds:g} s: see its log")
            time.sleep(0.1)

    def model(self) -> Document:
        """Describe the model that is served."""
        return self._get("/v2/model")

    def change_model(self, name: str | None = None) -> Document:
        """Serve another model of the home; None for the champion, or else the newest."""
        return self._send("PUT", "/v2/model", {"name": name})

    # Items

    def items(
        self,
        *,
        ids: Sequence[str] | None = None,
        category: str | None = None,
        missing: str | None = None,
        page: int = PAGE,
    ) -> Iterator[Document]:
        """Yield items in the order of their ids: of a category, or without a property."""
        params = {"id": ids, "category": category, "missing": missing, "limit": page}
        return self._pages("/v2/items", "items", params)

    def item(self, id: str) -> Versioned:
        """Return an item with its statements, and its version."""
        answer = self.request("GET", _of_item(id))
        return Versioned(answer.json(), answer.headers["ETag"])

    def create_item(self, item: Mapping[str, Any], source: str = "api") -> Document:
        """Create an item. Raises ProblemError with status 409 if there is one with its id."""
        return self._send("POST", "/v2/items", dict(item), params={"source": source})

    def put_item(
        self, id: str, item: Mapping[str, Any], *, source: str = "api", if_match: str | None = None
    ) -> Document:
        """Replace what a source says of an item, or create it.

        Raises ProblemError with status 409 if ``if_match`` is not the version that is stored.
        """
        params = {"source": source}
        return self._send("PUT", _of_item(id), dict(item), params=params, if_match=if_match)

    def delete_item(self, id: str, *, if_match: str | None = None) -> Document:
        """Delete an item with all that is stated of it."""
        return self._send("DELETE", _of_item(id), if_match=if_match)

    def history(self, id: str) -> list[Document]:
        """Return what changed an item, the oldest first."""
        found: list[Document] = self.request("GET", f"{_of_item(id)}/history").json()
        return found

    # Completion and search

    def complete(
        self,
        id: str,
        properties: Sequence[str] = (),
        *,
        top_k: int = 5,
        target_precision: float | None = None,
    ) -> Document:
        """Complete the cells of a stored item; nothing is written."""
        asked = _asked(properties, top_k, target_precision)
        return self._send("POST", f"{_of_item(id)}/complete", asked, is_safe=True)

    def complete_new(
        self,
        item: Mapping[str, Any],
        properties: Sequence[str] = (),
        *,
        images: Sequence[Path] = (),
        top_k: int = 5,
        target_precision: float | None = None,
    ) -> Document:
        """Complete an item that is not stored, perhaps with image files."""
        asked = {**item, **_asked(properties, top_k, target_precision)}
        if not images:
            return self._send("POST", "/v2/complete", asked, is_safe=True)
        files = [("images", (each.name, each.read_bytes())) for each in images]
        answer = self.request(
            "POST",
            "/v2/complete/with-images",
            data={"item": json.dumps(asked)},
            files=files,
            is_safe=True,
        )
        found: Document = answer.json()
        return found

    def search(
        self,
        text: str,
        *,
        filters: Sequence[str] = (),
        category: str | None = None,
        k: int = 10,
        facets: bool = False,
        explain: bool = False,
    ) -> Document:
        """Search for items; ``filters`` are texts as ``colour=blue``."""
        params = {
            "q": text,
            "filter": list(filters),
            "category": category,
            "k": k,
            "facets": _flag(facets),
            "explain": _flag(explain),
        }
        return self._get("/v2/search", params)

    def similar(self, id: str, *, filters: Sequence[str] = (), k: int = 10) -> Document:
        """Return the items most like another one."""
        return self._get(f"{_of_item(id)}/similar", {"filter": list(filters), "k": k})

    def match(self, text: str, item: str) -> Document:
        """Return the probability that an item matches a query."""
        return self._send("POST", "/v2/match", {"text": text, "item": item}, is_safe=True)

    def cypher(self, query: str, params: Mapping[str, Any] | None = None) -> Document:
        """Run a Cypher query that only reads."""
        document = {"query": query, "params": dict(params or {})}
        return self._send("POST", "/v2/cypher", document, is_safe=True)

    # Review

    def proposals(
        self,
        *,
        item: str | None = None,
        property: str | None = None,
        states: Sequence[str] = (),
        min_probability: float | None = None,
        order: str | None = None,
        page: int = PAGE,
    ) -> Iterator[Document]:
        """Yield proposals, first those worth a decision most."""
        params = {
            "item": item,
            "property": property,
            "state": list(states),
            "min_probability": min_probability,
            "order": order,
            "limit": page,
        }
        return self._pages("/v2/proposals", "proposals", params)

    def proposal(self, number: int) -> Versioned:
        """Return a proposal with its evidence and history, and its version."""
        answer = self.request("GET", f"/v2/proposals/{number}")
        return Versioned(answer.json(), answer.headers["ETag"])

    def decide(self, number: int, action: Decision, *, if_match: str | None = None) -> Document:
        """Accept, reject or skip a proposal.

        Raises ProblemError with status 409 and what is stored if it was decided before, or if
        ``if_match`` is not its version.
        """
        return self._send("POST", f"/v2/proposals/{number}/{action}", if_match=if_match)

    def edit(self, number: int, values: Sequence[str], *, if_match: str | None = None) -> Document:
        """Give a cell other values than those proposed."""
        document = {"values": list(values)}
        return self._send("POST", f"/v2/proposals/{number}/edit", document, if_match=if_match)

    def decide_all(
        self, action: Decision, filter: Mapping[str, Any], expected: int | None = None
    ) -> Document:
        """Decide about all open proposals of a filter, if there are as many as expected."""
        document = {"action": action, "filter": dict(filter), "expected": expected}
        return self._send("POST", "/v2/proposals/bulk", document)

    # Runs and jobs

    def runs(self, page: int = PAGE) -> Iterator[Document]:
        """Yield the runs that changed the catalogue, the newest first."""
        return self._pages("/v2/runs", "runs", {"limit": page})

    def undo(self, run: str) -> Document:
        """Take back what a run changed."""
        return self._send("POST", f"/v2/runs/{quote(run, safe='')}/undo")

    def start_job(self, kind: str, **options: Any) -> Document:
        """Start a job: complete, audit, align, index, or a report on one that has completed."""
        return self._send("POST", "/v2/jobs", {"kind": kind, **options})

    def job(self, id: str) -> Document:
        """Return a job with its progress and what came of it."""
        return self._get(f"/v2/jobs/{quote(id, safe='')}")

    def jobs(self, page: int = PAGE) -> Iterator[Document]:
        """Yield jobs, the newest first."""
        return self._pages("/v2/jobs", "jobs", {"limit": page})

    def cancel_job(self, id: str) -> Document:
        """Stop a job that waits or runs; remove one that has ended."""
        return self._send("DELETE", f"/v2/jobs/{quote(id, safe='')}")

    def wait_for_job(self, id: str, *, seconds: float = 3600.0, pause: float = 1.0) -> Document:
        """Wait until a job has ended, and return it. Raises UnreachableError after ``seconds``."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.job(id)
            if job["status"] in ("done", "failed", "cancelled"):
                return job
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"job {id} is still {job['status']} after {seconds:g} s: wait for longer"
                )
            time.sleep(pause)

    def job_report(self, id: str) -> str:
        """Return the page that a job of the kind ``report`` has written, as HTML."""
        return self.request("GET", f"/v2/jobs/{quote(id, safe='')}/report").text

    def job_results(self, id: str) -> Iterator[Document]:
        """Yield the results of a job, one for each cell, finding or pair."""
        answer = self.request("GET", f"/v2/jobs/{quote(id, safe='')}/results", stream=True)
        with answer:
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        is_safe: bool = False,
        retries: int | None = None,
        **options: Any,
    ) -> requests.Response:
        """Send a request and return the answer; what ``requests`` takes are the ``options``.

        ``is_safe`` says that a POST changes nothing, and may be sent again. Raises ProblemError if
        the server refuses it, and UnreachableError if there is no answer.
        """
        may_repeat = is_safe or method in IDEMPOTENT
        left = (self._retries if retries is None else retries) if may_repeat else 0
        pause = _PAUSE
        while True:
            try:
                answer = self._session.request(
                    method,
                    self._url + path,
                    timeout=self._timeout,
                    allow_redirects=False,
                    **options,
                )
            except requests.RequestException as error:
                # It may have been done: deleting again would be told as an error.
                if not left or not (is_safe or method in ("GET", "HEAD")):
                    reason = " ".join(str(error).split())[:200]
                    raise UnreachableError(
                        f"{self._url} did not answer ({reason}): see whether the server runs"
                    ) from None
            else:
                if answer.ok:
                    return answer
                problem = ProblemError(answer.status_code, _problem(answer))
                if answer.status_code not in RETRIED or not left:
                    raise problem
                pause = _told_pause(answer, pause)
            left -= 1
            time.sleep(pause)
            pause *= 2

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Document:
        found: Document = self.request("GET", path, params=params).json()
        return found

    def _send(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        if_match: str | None = None,
        is_safe: bool = False,
    ) -> Document:
        headers = {} if if_match is None else {"If-Match": if_match}
        answer = self.request(
            method, path, json=document, params=params, headers=headers, is_safe=is_safe
        )
        found: Document = answer.json()
        return found

    def _pages(self, path: str, name: str, params: Mapping[str, Any]) -> Iterator[Document]:
        after: str | None = None
        while True:
            page = self._get(path, {**params, "after": after})
            yield from page[name]
            after = page["next"]
            if after is None:
                return


def _of_item(id: str) -> str:
    if id in (".", ".."):
        # Clients and proxies take these out of a path, even encoded.
        raise UsageError(f"an item {id!r} has no path of its own: list it with items(ids=[{id!r}])")
    return f"/v2/items/{quote(id, safe='')}"


def _asked(properties: Sequence[str], top_k: int, target_precision: float | None) -> Document:
    return {
        "properties": list(properties),
        "top_k": top_k,
        "target_precision": target_precision,
    }


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _problem(answer: requests.Response) -> Mapping[str, Any]:
    """Return the problem document of an answer; some proxies send none."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"detail": f"{answer.status_code} {answer.reason}"}


def _told_pause(answer: requests.Response, usual: float) -> float:
    """Return the seconds after which the server wants to be asked again."""
    told = answer.headers.get("Retry-After", "")
    return min(float(told), LONGEST_WAIT) if told.isdigit() else usual
