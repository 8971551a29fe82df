"""Products of a foreign document as rows of text, for a mapping like those of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kg.ingest.normalize import LIST_SEPARATOR
from kg.ingest.rows import Batch, Record, batches_of
from kg.rdf import vocabulary as words
from kg.rdf.document import Document, label
from kg.rdf.flatten import Cells, Flattener
from kg.stores.rdf_terms import TYPE
from schema.mapping import Mapping

ID, TITLE, CATEGORY, IMAGE = ROLES = ("@item", "@title", "@category", "@image")
BATCH_CELLS = 100_000
BATCH_ROWS = 10_000


def row_mapping(mapping: Mapping) -> Mapping:
    """The mapping for a product's row, in which the first of a role's names that the product has is in the role's own column."""
    bare = replace(
        mapping, category_any=False, optional=frozenset(), image_pattern=None, image_folder=None
    )
    return replace(bare, id=(ID,), title=(TITLE,), category=(CATEGORY,), image=(IMAGE,))


def read_products(document: Document, mapping: Mapping) -> Iterator[Batch]:
    """The document's products in batches; a product's line is its number, and one without an id is rejected."""
    flattener = Flattener(document, mapping.language, mapping.ignore)
    rows = list[tuple[int, Cells, str]]()
    size = 0
    for number, node in enumerate(products(document), 1):
        cells = flattener.cells(node)
        rows.append((number, _row(cells, mapping), label(node)))
        size += len(cells)
        if size >= BATCH_CELLS or len(rows) >= BATCH_ROWS:
            yield _batch(document, mapping, rows)
            rows = []
            size = 0
    if rows:
        yield _batch(document, mapping, rows)


def products(document: Document) -> Iterator[Any]:
    """Each product once, whatever types it has; an offering is one where it includes none."""
    seen: list[Any] = []
    for kind in [*words.PRODUCTS, words.OFFERING]:
        for node in document.subjects(TYPE, kind):
            part = kind == words.OFFERING and document.says(node, words.INCLUDES)
            if not part and not any(document.says(node, TYPE, other) for other in seen):
                yield node
        if next(document.subjects(TYPE, kind), None) is not None:
            seen.append(kind)


def _row(cells: Cells, mapping: Mapping) -> Cells:
    """The cells, those of the roles under the roles' names; what a role does not take stays a property."""
    row = dict(cells)
    for role, names in (
        (ID, mapping.id),
        (TITLE, mapping.title),
        (CATEGORY, mapping.category),
        (IMAGE, mapping.image),
    ):
        name = next((each for each in names if each in row), None)
        if name is not None:
            found = row.pop(name)
            row[role] = found if role == IMAGE else found[:1]
            if len(found) > 1 and role != IMAGE:
                row[name] = found[1:]
    row.pop("@id", None)
    return row


def _batch(document: Document, mapping: Mapping, rows: list[tuple[int, Cells, str]]) -> Batch:
    names = tuple(
        dict.fromkeys(
            [*ROLES, *(mapping.properties or ()), *(name for _, cells, _ in rows for name in cells)]
        )
    )
    (batch,) = batches_of(_records(rows, names, mapping), names, str(document.path), len(rows) + 1)
    return batch


def _records(
    rows: list[tuple[int, Cells, str]], names: tuple[str, ...], mapping: Mapping
) -> Iterator[Record]:
    for number, cells, node in rows:
        if ID not in cells:
            yield (
                number,
                f"{node} has no id: none of {', '.join(mapping.id)}",
                " ".join(text for texts in cells.values() for text in texts),
            )
        else:
            yield (
                number,
                [LIST_SEPARATOR.join(cells[name]) if name in cells else None for name in names],
                node,
            )
