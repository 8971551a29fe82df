"""The calls of docs/api.md, run by curl against a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CALL = re.compile(r"```sh\n(curl [^\n]*)\n```\n\n(\d{3})\n\n```(\w*)\n(.*?)\n```", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A call, and what the page says of its answer."""

    line: str
    status: int
    language: str
    answer: str


def calls_of(page: str) -> list[Call]:
    """Return the calls of a page."""
    return [Call(line, int(status), kind, text) for line, status, kind, text in CALL.findall(page)]


@dataclass
class Shell:
    """Runs calls one after another.

    Attributes:
        url: the address of the server
        folder: where curl runs
    """

    url: str
    folder: Path
    known: dict[str, str] = field(default_factory=lambda: {"TOKEN": "cat_unknown"})

    def run(self, line: str) -> tuple[int, str]:
        """Run a call once the job that it is about has ended; return its status and answer."""
        if "$JOB" in line:
            self._wait()
        environment = {**os.environ, "API": self.url, **self.known}
        done = subprocess.run(
            ["sh", "-c", line + " -w '\n%{http_code} %{method} %{url}'"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        text, _, last = done.stdout.rpartition("\n")
        status, method, url = last.split(" ", 2)
        self.last = method, url.removeprefix(self.url).partition("?")[0]
        document = json.loads(text) if text.startswith("{") and "\n" not in text.strip() else {}
        if "run" in document:
            self.known["RUN"] = document["run"]
        if "arguments" in document:
            self.known["JOB"] = document["id"]
        return int(status), text.strip()

    def _wait(self) -> None:
        for _ in range(300):
            path = f"{self.url}/v2/jobs/{self.known['JOB']}"
            found = subprocess.run(["curl", "-s", path], capture_output=True, check=True)
            if json.loads(found.stdout)["status"] not in ("waiting", "running"):
                return
            time.sleep(0.05)


def shape(value: Any) -> Any:
    """Return what a document looks like: its fields, and the kinds of their values."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "null" if value is None else "number" if isinstance(value, int | float) else "text"
