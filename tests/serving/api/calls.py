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


def alike(answer: Any, told: Any) -> bool:
    """Return whether two documents have the same fields with values of the same kinds.

    Null, and an empty list, are of any kind: what there is depends on the home.
    """
    if answer is None or told is None:
        return True
    if isinstance(answer, dict) and isinstance(told, dict):
        names = answer.keys()
        return names == told.keys() and all(alike(answer[name], told[name]) for name in names)
    if isinstance(answer, list) and isinstance(told, list):
        return not answer or not told or alike(answer[0], told[0])
    if isinstance(answer, int | float) and isinstance(told, int | float):
        return isinstance(answer, bool) == isinstance(told, bool)
    return type(answer) is type(told)
