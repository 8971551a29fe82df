"""A server on loopback that stands in for a language model, and answers as a test wants it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from experts.language_model.settings import BudgetSettings, LanguageModelSettings


@dataclass(frozen=True)
class Reply:
    """A response of the server; an endless body repeats itself."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    is_endless: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that the server got."""

    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The text of the user's message."""
        content = self.body["messages"][1]["content"]
        return content if isinstance(content, str) else content[0]["text"]

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def items(self) -> list[dict[str, Any]]:
        return self.document["items"]

    def values(self, item: Mapping[str, Any], name: str) -> list[str]:
        """Return the values that the item's property may have."""
        return item.get("values", {}).get(name) or self.document["properties"][name]["values"]


Behaviour = Callable[[Asked], Reply]


@dataclass
class StandIn:
    """The server: its port, what it was asked, and how it behaves."""

    port: int
    behaviour: Behaviour
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cells(self) -> int:
        """How many cells it was asked for."""
        return sum(len(item["ask"]) for asked in self.asked for item in asked.items)

    def settings(self, budget: BudgetSettings | None = None, **given: Any) -> LanguageModelSettings:
        """Return settings that name it, and let nobody wait long."""
        url = f"http://127.0.0.1:{self.port}/v1"
        defaults = {"timeout_seconds": 5.0, "backoff_seconds": 0.001, "parallel_requests": 2}
        return LanguageModelSettings(
            url, "stand-in", budget=budget or BudgetSettings(), **(defaults | given)
        )


@contextmanager
def stand_in(behaviour: Behaviour | None = None) -> Iterator[StandIn]:
    """Run a server for the time of the ``with`` block; it answers well if not told otherwise."""
    server = StandIn(0, behaviour or answers_well)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet for the headers and the body.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(body, dict(self.headers))
            with server.lock:
                server.asked.append(asked)
                server.at_once += 1
                server.most_at_once = max(server.most_at_once, server.at_once)
            try:
                reply = server.behaviour(asked)
            finally:
                with server.lock:
                    server.at_once -= 1
            with suppress(OSError):
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if not reply.is_endless:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                while reply.is_endless:
                    self.wfile.write(reply.body * 10_000)
            self.close_connection = reply.is_endless

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *args: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


def completion(content: str, tokens: tuple[int, int] | None = (100, 10)) -> Reply:
    """Return a chat completion that says ``content``."""
    document: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    if tokens is not None:
        document["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Reply(json.dumps(document).encode(), headers={"Content-Type": "application/json"})


def answered(answers: Sequence[Any], tokens: tuple[int, int] | None = (100, 10)) -> Reply:
    """Return a chat completion with a list of answers."""
    return completion(json.dumps({"answers": answers}), tokens)


def answers_of(asked: Asked) -> list[dict[str, Any]]:
    """Return what a good model answers: the value that stands in the title, or null."""
    return [
        {"item": item["id"], "property": name, **_found(asked, item, name)}
        for item in asked.items
        for name in item["ask"]
    ]


def _found(asked: Asked, item: Mapping[str, Any], name: str) -> dict[str, Any]:
    title = item.get("title", "")
    for value in asked.values(item, name):
        start = title.casefold().find(value.casefold())
        if start >= 0:
            span = title[start : start + len(value)]
            return {"value": value, "confidence": 0.9, "span": span, "reason": None}
    return {"value": None, "confidence": 0.5, "span": None, "reason": "not said"}


def answers_well(asked: Asked) -> Reply:
    """Answer as a good model does."""
    return answered(answers_of(asked))
