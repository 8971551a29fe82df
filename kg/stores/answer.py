"""The answer to a query while it is read; imports nothing but the standard library."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

Rows = Generator[list[Any], None, None]
"""Rows as they are read; whoever stops before the end closes them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The names of the columns, and the rows as they are read."""

    columns: list[str]
    rows: Rows


class OpenGraph(Protocol):
    """A graph that answers the queries of users within its process, without limits or a guard."""

    reserved_bytes: int
    """Memory that the graph has set aside for itself, and limits itself."""

    def answer(self, text: str, params: dict[str, Any]) -> Answer:
        """Start to answer a query; any exception may be raised, now and while rows are read."""
        ...
