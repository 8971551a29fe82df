"""What the rows of a graph differ in from those of its journal, in words."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kg.stores.fingerprints import Difference, Fingerprints, Keys
from kg.stores.graph_scan import Content
from kg.stores.journal import JournalBatch
from kg.stores.scan_process import Limits, OpenScan, run_scan
from kg.stores.scan_tasks import MAX_EXAMPLES, Found, WriteRows, records_of
from schema.terms import statement_id

DETAILED_KEYS = 1000
"""Rows of each kind of difference that are looked at; more are only counted."""
NAMES = {
    Content.ITEMS: "items",
    Content.STATEMENTS: "statements",
    Content.SECOND_COPY: "statements, as they are read from their values,",
}

Raw = dict[str, Any]
"""A row whose texts are bytes, since damaged ones need not be UTF-8."""
RowsByKey = dict[int, Raw]


@dataclass(frozen=True)
class RowDifferences:
    """Differences by content, and the graph in which they were found."""

    differences: dict[Content, Difference]
    open_scan: OpenScan
    graph: Path
    limits: Limits

    def findings(self, batches: Iterable[pa.Table]) -> Iterator[tuple[Found, str]]:
        """Yield what differs, in words, given the batches of the journal.

        Raises GraphUnreadableError.
        """
        keys = {content: each.first(DETAILED_KEYS) for content, each in self.differences.items()}
        in_graph = self._graph_rows(keys)
        in_journal = _journal_rows(batches, keys)
        for content, difference in self.differences.items():
            yield from _in_words(NAMES[content], difference, in_journal[content], in_graph[content])

    def _graph_rows(self, keys: dict[Content, Keys]) -> dict[Content, RowsByKey]:
        with tempfile.TemporaryDirectory(prefix="catalograph-") as name:
            task = WriteRows(Path(name), keys)
            run_scan(self.open_scan, self.graph, task, self.limits)
            with Fingerprints() as prints:
                return {content: _by_key(prints, content, task.rows(content)) for content in keys}


def graph_texts(open_scan: OpenScan, graph: Path, keys: Keys, limits: Limits) -> tuple[str, ...]:
    """Return the first of the graph's values that have some keys."""
    with tempfile.TemporaryDirectory(prefix="catalograph-") as name:
        task = WriteRows(Path(name), {Content.VALUES: keys[:MAX_EXAMPLES]})
        run_scan(open_scan, graph, task, limits)
        return tuple(_readable(raw["text"]) for raw in raw_rows(task.rows(Content.VALUES)))


def _journal_rows(
    batches: Iterable[pa.Table], keys: dict[Content, Keys]
) -> dict[Content, RowsByKey]:
    """Return the newest rows that have some keys, by content."""
    items: RowsByKey = {}
    statements: RowsByKey = {}
    item_keys = keys.get(Content.ITEMS, np.empty(0, np.uint64))
    statement_keys = np.concatenate(
        [each for content, each in keys.items() if content is not Content.ITEMS]
        or [np.empty(0, np.uint64)]
    )
    with Fingerprints() as prints:
        for changes in batches:
            batch = JournalBatch.from_table(changes)
            items |= _wanted(prints, Content.ITEMS, batch.items, item_keys)
            statements |= _wanted(prints, Content.STATEMENTS, batch.statements, statement_keys)
            _remove(prints, statements, batch.retracted, statement_keys)
            _remove(prints, items, batch.deleted, item_keys)
    return {content: items if content is Content.ITEMS else statements for content in keys}


def _remove(prints: Fingerprints, rows: RowsByKey, ids: Sequence[str], wanted: Keys) -> None:
    keys = prints.texts(pa.array(ids, pa.string()))["key"]
    for key in keys[np.isin(keys, wanted)].tolist():
        rows.pop(key, None)


def _wanted(prints: Fingerprints, content: Content, rows: pa.Table, keys: Keys) -> RowsByKey:
    is_wanted = np.isin(records_of(prints, content, rows)["key"], keys)
    return _by_key(prints, content, rows.filter(pa.array(is_wanted)))


def _by_key(prints: Fingerprints, content: Content, rows: pa.Table) -> RowsByKey:
    keys = records_of(prints, content, rows)["key"].tolist()
    return dict(zip(keys, raw_rows(rows), strict=True))


def raw_rows(rows: pa.Table) -> list[Raw]:
    """Return rows with their texts as bytes."""
    fields = []
    for field in rows.schema:
        if field.type == pa.string():
            fields.append(field.with_type(pa.binary()))
        elif field.type == pa.list_(pa.string()):
            fields.append(field.with_type(pa.list_(pa.binary())))
        else:
            fields.append(field)
    raw: list[Raw] = rows.cast(pa.schema(fields)).to_pylist()
    return raw


def _in_words(
    name: str, difference: Difference, in_journal: RowsByKey, in_graph: RowsByKey
) -> Iterator[tuple[Found, str]]:
    """Yield what differs between the rows of a journal and of its graph."""
    yield _found(difference.missing, in_journal), f"{name} of the journal are not in the graph"
    yield _found(difference.extra, in_graph), f"{name} of the graph are not in the journal"
    yield _found(difference.repeated, in_graph), f"{name} are in the graph more than once"
    columns = Counter(
        column
        for key in difference.changed[:DETAILED_KEYS].tolist()
        if key in in_journal and key in in_graph
        for column, value in in_journal[key].items()
        if (value or None) != (in_graph[key][column] or None)
    )
    listed = ", ".join(f"{column} ({count:,})" for column, count in columns.items())
    yield _found(difference.changed, in_graph), f"{name} differ from the journal in {listed}"
    misnamed = [
        _readable(raw["id"]) for raw in in_graph.values() if "item" in raw and _is_misnamed(raw)
    ]
    yield (
        Found(len(misnamed), tuple(misnamed[:MAX_EXAMPLES])),
        f"{name} have an id that is not that of their item, property, value and language",
    )


def _found(keys: Keys, rows: RowsByKey) -> Found:
    first = [rows[key] for key in keys[:MAX_EXAMPLES].tolist() if key in rows]
    return Found(len(keys), tuple(_readable(raw["id"]) for raw in first))


def _is_misnamed(raw: Raw) -> bool:
    item, name, value = (
        (raw[column] or b"").decode(errors="replace") for column in ("item", "property", "value")
    )
    language = raw["language"]
    tag = None if language is None else language.decode(errors="replace")
    return statement_id(item, name, value, tag).encode() != raw["id"]


def _readable(text: bytes | None) -> str:
    """Return a text for a message, on one line, with what is not UTF-8 replaced."""
    return " ".join((text or b"").decode(errors="replace").split())[:80]
