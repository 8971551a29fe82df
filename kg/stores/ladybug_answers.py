"""Answer users' Cypher on a Ladybug graph file, in the process that this is left to."""

from __future__ import annotations

# The bindings import the last three when a value needs them, which is too late in a sandbox.
import datetime  # noqa: F401
import decimal  # noqa: F401
import uuid  # noqa: F401
from pathlib import Path
from typing import Any

import ladybug

from kg.stores.answer import Answer, Rows
from kg.stores.ladybug_database import open_database

PATH_KEYS = {"_NODES": "nodes", "_RELS": "relationships"}

# Loads the bindings, which otherwise the first Database does.
ladybug.Database.get_version()


class LadybugAnswers:
    """A graph file that is open for reading; its buffer pool takes half of ``memory`` bytes.

    Joins, sorting and results take most of their memory from the pool, but texts and lists that
    functions make do not. Raises StoreError if the file cannot be opened.
    """

    def __init__(self, path: Path, memory: int) -> None:
        self.reserved_bytes = memory // 2
        self._database = open_database(path, read_only=True, buffer_pool_bytes=self.reserved_bytes)

    def answer(self, text: str, params: dict[str, Any]) -> Answer:
        """Start to answer a query, in a connection of its own."""
        connection = ladybug.Connection(self._database)
        try:
            result: Any = connection.execute(text, params)
        except BaseException:
            connection.close()
            raise
        return Answer(result.get_column_names(), _rows(connection, result))


def _rows(connection: Any, result: Any) -> Rows:
    try:
        for row in result:
            yield [plain_value(value) for value in row]
    finally:
        # A connection keeps its share of the buffer pool until it is closed.
        connection.close()


def plain_value(value: Any) -> Any:
    """Return a value of Ladybug's without what only Ladybug needs.

    Nodes and relationships come as dictionaries that have the properties of all labels, most of
    them None, and internal ones like ``_LABEL``; paths as two lists with internal names.
    """
    if isinstance(value, list):
        return [plain_value(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == PATH_KEYS.keys():
        return {PATH_KEYS[key]: plain_value(each) for key, each in value.items()}
    if "_LABEL" in value:
        value = {
            key: each for key, each in value.items() if each is not None and not key.startswith("_")
        }
    # The keys of a map may be of any type.
    return {str(key): plain_value(each) for key, each in value.items()}
