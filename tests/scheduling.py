"""Which of pytest's processes runs which files of tests, and in which order.

Each process starts a server when a test needs it, and keeps it until its end. A server that takes
seconds of processor time to start is therefore to be started by one process only. And a file that
takes long would leave the other processes idle if it came last.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

SERVERS = {
    "neo4j": "Java",
    "fuseki": "Java",
    "ray_nodes": "Ray",
    "object_store": "object store",
    "object_store_server": "object store",
}
"""By fixture: the files whose tests need fixtures of the same name here run in one process."""
SLOW = "mark.slow"
ASKS_FOR_FIXTURE = "getfixturevalue"


def fixtures_of(text: str) -> set[str]:
    """Return which servers' fixtures the tests of a file need."""
    if not any(name in text for name in SERVERS):
        return set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            names |= {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
        elif isinstance(node, ast.Call) and ASKS_FOR_FIXTURE in ast.unparse(node.func):
            names |= {str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return names & set(SERVERS)


@functools.cache
def group_of(file: Path) -> str | None:
    """Return what stands for the servers that the tests of a file need; None if for no server."""
    groups = {SERVERS[name] for name in fixtures_of(file.read_text(encoding="utf-8"))}
    return min(groups, default=None)


@functools.cache
def slow_tests(file: Path) -> int:
    """Return how many functions of a file are marked as slow."""
    return file.read_text(encoding="utf-8").count(SLOW)


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]
    """Gives files to processes: those of the same servers to one, and the longest ones first."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._length_of = functools.cache(self._length)

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the group that a test belongs to, or else its file."""
        path = str(super()._split_scope(nodeid))
        return group_of(self.config.rootpath / path) or path

    def _assign_work_unit(self, node: Any) -> None:
        """Give a process what is likely to take longest of all that is left."""
        self.workqueue.move_to_end(max(self.workqueue, key=self._length_of), last=False)
        super()._assign_work_unit(node)

    def _length(self, unit: str) -> tuple[bool, int, int]:
        """Return what units are compared by: servers first, then slow functions, then tests."""
        tests = self.workqueue[unit]
        files = {self.config.rootpath / nodeid.split("::")[0] for nodeid in tests}
        needs_server = any(group_of(file) for file in files)
        return needs_server, sum(slow_tests(file) for file in files), len(tests)
