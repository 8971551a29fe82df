"""Rows become items and statements: columns are cleaned and split once for each distinct text, ids are hashed, images checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.images import ImageFolder, ImageRefusedError
from kg.ingest.normalize import LIST_SEPARATOR, clean, clean_column, split_column, splitter, unpack
from kg.ingest.rows import Batch, Reject
from kg.ingest.seen import SeenRows
from schema.mapping import Layout, Mapping, PackedColumn
from schema.terms import CATEGORY_SEPARATOR, Rank

_SHOWN = 200


@dataclass(frozen=True)
class Origin:
    """Where a source's statements come from: its file, the name to record, the run and its time."""

    file: str
    source: str
    run: str
    time: str


@dataclass
class SourceImages:
    """Where a source's images lie, and what became of the names it gave."""

    named: ImageFolder | None = None
    """Names in an image column are relative to this folder."""
    by_id: ImageFolder | None = None
    pattern: str | None = None
    found: int = 0
    missing: int = 0
    refused: list[str] = field(default_factory=list)

    def of_names(self, names: Iterable[str]) -> list[str]:
        """The images of an image cell: URLs as they are, files where they pass."""
        kept = []
        for name in names:
            if name.startswith(("http://", "https://")):
                kept.append(name)
            elif self.named:
                kept += self._checked(self.named, name)
        return kept

    def of_id(self, item: str) -> list[str]:
        """The image that an item's id names."""
        if self.by_id is None or self.pattern is None:
            return []
        return self._checked(self.by_id, self.pattern.format(id=item))

    def _checked(self, folder: ImageFolder, name: str) -> list[str]:
        try:
            path = folder.find(name) if "." in name.rsplit("/", 1)[-1] else folder.find_any(name)
            if path is None and name.startswith(f"{folder.root.name}/"):
                path = folder.find(
                    name.removeprefix(f"{folder.root.name}/")
                )  # the folder itself was given as --images
        except ImageRefusedError as error:
            self.refused.append(str(error))
            return []
        self.found += path is not None
        self.missing += path is None
        return [] if path is None else [str(path)]


@dataclass
class Assembled:
    """What a batch became: tables for the store, its stored rows, and what was rejected."""

    items: pa.Table
    statements: pa.Table
    stored: int
    rejects: list[Reject]


class Assembler:
    """Turns the batches of one source into tables; it remembers the ids that it has seen."""

    def __init__(self, mapping: Mapping, images: SourceImages, origin: Origin) -> None:
        self.mapping = mapping
        self.images = images
        self.origin = origin
        self._seen = SeenRows()
        self._split = splitter(mapping.multi, mapping.missing)

    def assemble(self, batch: Batch) -> Assembled:
        """Items and statements of a batch, and its rejected rows: bad ones, and ids given before with other content."""
        layout = self.mapping.resolve(batch.table.column_names)
        table = batch.table.combine_chunks()
        ids = clean_column(table[layout.id]).to_pylist()
        pairs, reasons = self._unpack(table, self.mapping.packed)
        fresh, rejects = self._admit(table, batch, ids, reasons)
        kept = np.flatnonzero(fresh)
        taken = table.take(pa.array(kept))
        names = [ids[row] for row in kept]
        statements = self._statements(
            taken, layout, names, batch.lines[kept], [pairs[row] for row in kept] if pairs else []
        )
        items = self._items(taken, layout, names)
        return Assembled(
            items, statements, table.num_rows - len(rejects), [*batch.rejects, *rejects]
        )

    def _admit(
        self, table: pa.Table, batch: Batch, ids: Sequence[str | None], reasons: dict[int, str]
    ) -> tuple[npt.NDArray[np.bool_], list[Reject]]:
        """Which rows bring a new item, and which are rejected. A row given twice is stored already: it is neither."""
        fresh = np.zeros(table.num_rows, bool)
        rejects = []
        seen = self._seen.before(item for item in ids if item is not None)
        known = set(seen)
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        for row, (item, cells, line) in enumerate(
            zip(ids, rows, batch.lines.tolist(), strict=True)
        ):
            reason = reasons.get(row)
            if item is None:
                reason = "empty id"
            elif reason is None:
                content = hash(cells)
                before = seen.setdefault(item, (content, line))
                fresh[row] = before[1] == line
                if before[0] != content:
                    reason = f"id {item!r} was given at line {before[1]} with other content"
            if reason is not None:
                rejects.append(
                    Reject(
                        self.origin.file,
                        line,
                        reason,
                        " ".join(cell for cell in cells if cell)[:_SHOWN],
                    )
                )
        self._seen.add({item: row for item, row in seen.items() if item not in known})
        return fresh, rejects

    def _unpack(
        self, table: pa.Table, packed: PackedColumn | None
    ) -> tuple[list[list[tuple[str, str]]], dict[int, str]]:
        """The clean (property, value) pairs of each row's packed cell, and why a row has none."""
        pairs: list[list[tuple[str, str]]] = []
        reasons: dict[int, str] = {}
        for row, cell in enumerate(table[packed.column].to_pylist() if packed else []):
            try:
                found = unpack(cell, packed.pair, packed.item) if cell and packed else []
            except ValueError as error:
                reasons[row] = str(error)
                found = []
            split = ((clean(name), value) for name, text in found for value in self._split(text))
            pairs.append(list(dict.fromkeys((name, value) for name, value in split if name)))
        return pairs, reasons

    def _statements(
        self,
        table: pa.Table,
        layout: Layout,
        ids: list[str],
        lines: npt.NDArray[np.int64],
        pairs: list[list[tuple[str, str]]],
    ) -> pa.Table:
        rows: list[npt.NDArray[np.int64]] = []
        properties: list[str] = []
        values: list[str] = []
        for column in layout.properties:
            places, texts = split_column(table[column], self._split)
            name = clean(column)
            if name and len(places):
                rows.append(places)
                properties += [name] * len(places)
                values += texts.to_pylist()
        for row, found in enumerate(pairs):
            rows.append(np.full(len(found), row, np.int64))
            properties += [name for name, _ in found]
            values += [value for _, value in found]
        places = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        subjects = [ids[row] for row in places.tolist()]
        columns: dict[str, Any] = {
            "id": pa.array(statement_ids(subjects, properties, values), pa.string()),
            "item": pa.array(subjects, pa.string()),
            "property": pa.array(properties, pa.string()),
            "value": pa.array(values, pa.string()),
            "row": pa.array(lines[places], pa.int64()),
        }
        return _unique(self._with_provenance(columns, len(places)))

    def _with_provenance(self, columns: dict[str, Any], count: int) -> pa.Table:
        same = {
            "rank": Rank.ASSERTED.value,
            "source": self.origin.source,
            "batch": self.origin.run,
            "time": self.origin.time,
        }
        columns |= {
            name: pa.repeat(pa.scalar(text, pa.string()), count) for name, text in same.items()
        }
        columns |= {
            name: pa.nulls(count, pa.string()) for name in ("model", "evidence", "reviewer")
        }
        columns["confidence"] = pa.nulls(count, pa.float64())
        order = [
            "id",
            "item",
            "property",
            "value",
            "rank",
            "source",
            "batch",
            "row",
            "model",
            "confidence",
            "evidence",
            "reviewer",
            "time",
        ]
        return pa.table({name: columns[name] for name in order})

    def _items(self, table: pa.Table, layout: Layout, ids: list[str]) -> pa.Table:
        none = pa.nulls(len(ids), pa.string())
        title = clean_column(table[layout.title], self.mapping.missing) if layout.title else none
        category = self._categories(table, layout) if layout.category else none
        cells = table[layout.image].to_pylist() if layout.image else [None] * len(ids)
        images = []
        for item, cell in zip(ids, cells, strict=True):
            found = self.images.of_names(self._split(cell)) if cell else self.images.of_id(item)
            images.append(found or None)
        return pa.table(
            {
                "id": pa.array(ids, pa.string()),
                "title": title,
                "category": category,
                "images": pa.array(images, pa.list_(pa.string())),
            }
        )

    def _categories(self, table: pa.Table, layout: Layout) -> pa.Array:
        """The category path: columns joined, or one column's own levels."""
        if len(layout.category) > 1:
            levels = [
                clean_column(table[column], self.mapping.missing) for column in layout.category
            ]
            joined = pc.binary_join_element_wise(*levels, CATEGORY_SEPARATOR, null_handling="skip")
            return pc.if_else(pc.equal(joined, ""), None, joined)
        separator = self.mapping.category_separator
        levels_of = splitter(separator, self.mapping.missing)

        def path(text: str) -> list[str]:
            """A cell's category path, as one text."""
            return (
                [CATEGORY_SEPARATOR.join(levels_of(text))]
                if separator or LIST_SEPARATOR in text
                else levels_of(text)
            )

        places, texts = split_column(table[layout.category[0]], path)
        found: list[str | None] = [None] * table.num_rows
        for row, text in zip(places.tolist(), texts.to_pylist(), strict=True):
            found[row] = text or None
        return pa.array(found, pa.string())


def statement_ids(
    items: Sequence[str], properties: Sequence[str], values: Sequence[str]
) -> list[str]:
    """``schema.terms.statement_id`` of many statements; each distinct text is encoded once."""
    parts: dict[str, bytes] = {}
    for text in {*items, *properties, *values}:
        data = text.encode()
        parts[text] = len(data).to_bytes(8, "little") + data
    return [
        blake2b(parts[item] + parts[name] + parts[value], digest_size=16).hexdigest()
        for item, name, value in zip(items, properties, values, strict=True)
    ]


def _unique(table: pa.Table) -> pa.Table:
    """Each statement once, the first where a column and a packed cell both say it."""
    ids = table["id"].to_pylist()
    if len(set(ids)) == len(ids):
        return table
    first = {text: row for row, text in reversed(list(enumerate(ids)))}
    return table.take(pa.array(sorted(first.values())))
