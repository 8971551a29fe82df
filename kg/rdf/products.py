"""Read the products of a document as rows of text, to be mapped like the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from pyoxigraph import Literal

from kg.ingest.rows import Batch, TextRow, batches_of_rows
from kg.ingest.values.text import LIST_SEPARATOR
from kg.rdf import vocabulary
from kg.rdf.document import RdfDocument, node_label
from kg.rdf.flatten import CellTexts, Flattener
from kg.stores.rdf_terms import TYPE
from schema.mapping import Mapping, Variants
from schema.rejects import RejectedRow

ID = "@item"
TITLE = "@title"
DESCRIPTION = "@description"
CATEGORY = "@category"
IMAGE = "@image"
PARENT = "@parent"
ROLE_COLUMNS = (ID, TITLE, DESCRIPTION, CATEGORY, IMAGE, PARENT)
"""The columns of a row that are not properties."""
BATCH_CELLS = 100_000
BATCH_ROWS = 10_000


@dataclass(frozen=True)
class _ProductRow:
    """A product's number in the document, its cells, and its node for messages."""

    number: int
    cells: CellTexts
    label: str


def row_mapping(mapping: Mapping) -> Mapping:
    """Return the mapping of the rows that ``read_products`` makes by ``mapping``.

    A role may be filled from a different property in each product, so it has a column of its own.
    """
    bare = replace(
        mapping,
        category_any=False,
        optional=frozenset(),
        each_row=frozenset(),
        image_pattern=None,
        image_folder=None,
    )
    return replace(
        bare,
        id=(ID,),
        title=(TITLE,),
        description=(DESCRIPTION,),
        category=(CATEGORY,),
        images=(IMAGE,),
        variants=Variants(parent=(PARENT,)),
    )


def read_products(
    document: RdfDocument, mapping: Mapping, batch_rows: int = BATCH_ROWS
) -> Iterator[Batch]:
    """Read the document's products in batches; one without an id is rejected.

    The line of a product is its number in the document.
    """
    if document.rejects:
        no_rows = pa.table({name: pa.array([], pa.string()) for name in ROLE_COLUMNS})
        yield Batch(no_rows, np.zeros(0, np.int64), document.rejects)
    flattener = Flattener(document, mapping.language, mapping.ignore)
    rows: list[_ProductRow] = []
    cell_count = 0
    for number, node in enumerate(find_products(document), 1):
        cells = flattener.cells(node)
        row = _with_role_columns(cells, mapping)
        if (parent := _parent_id(document, flattener, node, mapping)) is not None:
            row[PARENT] = [parent]
            # Its name would only repeat what the statement says.
            row.pop("isVariantOf", None)
        rows.append(_ProductRow(number, row, node_label(node)))
        cell_count += len(cells)
        if cell_count >= BATCH_CELLS or len(rows) >= batch_rows:
            yield _product_batch(document, mapping, rows)
            rows = []
            cell_count = 0
    if rows:
        yield _product_batch(document, mapping, rows)


def _parent_id(
    document: RdfDocument, flattener: Flattener, node: Any, mapping: Mapping
) -> str | None:
    """Return the id of the product that a product is a variant of, whichever of the two says so."""
    parents = [
        quad.object
        for quad in document.quads_about(node)
        if quad.predicate in vocabulary.VARIANT_OF
    ]
    parents += [
        parent
        for predicate in vocabulary.HAS_VARIANT
        for parent in document.subjects(predicate, node)
    ]
    for parent in parents:
        if isinstance(parent, Literal):
            return parent.value
        cells = flattener.cells(parent)
        id = next((cells[name][0] for name in mapping.id if name in cells), None)
        if id is not None:
            return id
    return None


def find_products(document: RdfDocument) -> Iterator[Any]:
    """Yield the node of each product once, even if it has several types.

    An offering is a product if it includes none.
    """
    types_done: list[Any] = []
    for type in [*vocabulary.PRODUCT_TYPES, vocabulary.OFFERING]:
        is_used = False
        for node in document.subjects(TYPE, type):
            is_used = True
            if type == vocabulary.OFFERING and document.contains(node, vocabulary.INCLUDES):
                continue
            if not any(document.contains(node, TYPE, other) for other in types_done):
                yield node
        # Types that no node has need not be looked up for each node of the types that follow.
        if is_used:
            types_done.append(type)


def _with_role_columns(cells: CellTexts, mapping: Mapping) -> CellTexts:
    """Move the cell that fills each role to the role's column.

    A role other than the image takes one value; further values stay behind as a property.
    """
    row = dict(cells)
    for role, names in (
        (ID, mapping.id),
        (TITLE, mapping.title),
        (DESCRIPTION, mapping.description),
        (CATEGORY, mapping.category),
        (IMAGE, mapping.images),
    ):
        name = next((each for each in names if each in row), None)
        if name is None:
            continue
        values = row.pop(name)
        if role == IMAGE:
            row[role] = values
        else:
            row[role] = values[:1]
            if len(values) > 1:
                row[name] = values[1:]
    # The IRI is only there for a product without another id; it is not a property.
    row.pop("@id", None)
    return row


def _product_batch(document: RdfDocument, mapping: Mapping, rows: list[_ProductRow]) -> Batch:
    cell_names = (name for row in rows for name in row.cells)
    columns = tuple(dict.fromkeys([*ROLE_COLUMNS, *(mapping.properties or ()), *cell_names]))
    text_rows = [_text_row(row, columns, mapping, document.file.location) for row in rows]
    (batch,) = batches_of_rows(text_rows, columns, len(text_rows))
    return batch


def _text_row(
    row: _ProductRow, columns: Sequence[str], mapping: Mapping, file: str
) -> TextRow | RejectedRow:
    if ID not in row.cells:
        reason = f"{row.label} has no id: none of {', '.join(mapping.id)}"
        text = " ".join(value for values in row.cells.values() for value in values)
        return RejectedRow(file, row.number, reason, text)
    cells = [
        LIST_SEPARATOR.join(row.cells[name]) if name in row.cells else None for name in columns
    ]
    return TextRow(row.number, cells)
