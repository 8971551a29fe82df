"""Which of several texts leads: that in the leading language, or else the first there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from kg.ingest.columns import Column
from schema.arrays import BoolArray
from schema.mapping.languages import precedence


@dataclass(frozen=True)
class Leading:
    """The leading text of each row [N], the languages of those that have a tag, and all others."""

    texts: pa.Array
    beside: list[Column]
    languages: dict[int, str]


def leading(
    columns: list[Column], count: int, language: str | None, secondary: BoolArray
) -> Leading:
    """Return the first text of each row, in the leading language if there is one in it.

    All other texts are returned as columns beside it. Secondary rows have no leading text.
    """
    if not columns:
        return Leading(pa.nulls(count, pa.string()), [], {})
    taken = secondary.copy()
    beside: list[Column] = []
    parts: list[Column] = []
    if len(columns) == 1 and not secondary.any() and (np.diff(columns[0].rows) > 0).all():
        parts = columns
        columns = []
    for column in sorted(columns, key=lambda each: precedence(each.language, language)):
        first = np.zeros(len(column), bool)
        # np.unique returns the first position of each row, as rows may have several texts.
        rows, positions = np.unique(column.rows, return_index=True)
        first[positions[~taken[rows]]] = True
        taken[rows] = True
        parts.append(column.where(first))
        rest = column.where(~first)
        if len(rest):
            beside.append(rest)
    # The texts of a long table are in the order of their lines, not in that of their items.
    if len(parts) == 1 and np.array_equal(parts[0].rows, np.arange(count)):
        tag = parts[0].language
        return Leading(parts[0].texts, beside, dict.fromkeys(range(count), tag) if tag else {})
    indices = np.full(count, -1, np.int64)
    offset = 0
    for part in parts:
        indices[part.rows] = np.arange(offset, offset + len(part))
        offset += len(part)
    texts = pa.concat_arrays([part.texts for part in parts])
    languages = {
        row: part.language for part in parts if part.language for row in part.rows.tolist()
    }
    return Leading(texts.take(pa.array(indices, mask=indices < 0)), beside, languages)


def split_leading(
    columns: list[Column], count: int, language: str | None, secondary: BoolArray
) -> list[Column]:
    """Take the language off all texts of the language that leads in each row."""
    if all(column.language is None for column in columns):
        return columns
    taken = secondary.copy()
    result: list[Column] = []
    for column in sorted(columns, key=lambda each: precedence(each.language, language)):
        leads = ~taken[column.rows]
        result += [replace(column.where(leads), language=None), column.where(~leads)]
        taken[column.rows] = True
    return [column for column in result if len(column)]


def split_by_language(column: Column, tags: list[str | None]) -> list[Column]:
    """Give the texts of rows in other languages the tags [N] of their rows."""
    by_tag = np.array([tags[row] or "" for row in column.rows.tolist()], dtype=object)
    parts = []
    for tag in dict.fromkeys(by_tag.tolist()):
        part = column.where(np.asarray(by_tag == tag, bool))
        parts.append(replace(part, language=tag or part.language))
    return parts
