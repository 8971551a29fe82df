"""Tables assembled by columns are those that looking at one cell after the other gives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kg.ingest.column_steps
import kg.ingest.values.columns
from kg.ingest.assemble import AssembledBatch, Assembler
from kg.ingest.images import SourceImages
from kg.ingest.rows import Batch
from kg.ingest.values import (
    ColumnEvidence,
    Role,
    ValueSettings,
    evidence_of,
    rules_of,
    values_of,
)
from schema.mapping import parse_mapping
from schema.terms import statement_id
from tests.kg.ingest.mapped import ORIGIN

HEADER = ["id", "name", "cat", "pic", "colour", "ean", "weight", "tags"]
MAPPING = """
id = "id"
title = "name"
category = "cat"
category_separator = ">"
images = ["pic"]
[columns.tags]
multi = "|"
"""
PLAIN = [
    "red",
    "Blue & sons",
    "12.5 kg",
    "Größe",
    "v0-1100",
    "R&D",
    "白い皿",
    "A > B",
    "A",
    "C>D>E",
]
OTHERS = [
    "n/a",
    "NA",
    "none",
    " red",
    "a  b",
    "&amp;",
    "<b>x</b>",
    "a|b|a",
    "—",
    "x\x1fy",
    "\u200b",
]
IMAGES = ["https://x/1.jpg?a=1&b=2", "https://x/1.jpg, https://x/2.jpg", "https://x/a.pdf", "1.jpg"]
NUMBERS = ["4006381333931", "4006381333932", "4.01E+12", "1.0", "0", "00-00-0000", '="007"']
CELLS = st.none() | st.sampled_from([*PLAIN, *OTHERS, *IMAGES, *NUMBERS]) | st.text(max_size=3)
ROWS = st.lists(
    st.tuples(st.none() | st.sampled_from(["1", "2", "3", "4E+12", "#REF!"]), *[CELLS] * 7),
    max_size=12,
)


@dataclass
class Result:
    """Everything that a source becomes."""

    items: list[dict[str, Any]] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[tuple[Any, ...]] = field(default_factory=list)
    counts: list[tuple[Any, ...]] = field(default_factory=list)
    left_out: tuple[Any, ...] = ()


def assembled(toml: str, header: list[str], rows: Sequence[Sequence[str | None]]) -> Result:
    """Return what a table becomes, read in batches of four rows."""
    images = SourceImages()
    assembler = Assembler(parse_mapping(toml, "x"), images, ORIGIN, names=header)
    result = Result()
    for start in range(0, len(rows), 4):
        part = rows[start : start + 4]
        table = pa.table(
            [pa.array([row[place] for row in part], pa.string()) for place in range(len(header))],
            names=[f"{place}" for place in range(len(header))],
        )
        batch = assembler.assemble(Batch(table, np.arange(start + 2, start + 2 + len(part))))
        _add(result, batch)
    left_out = assembler.left_out
    result.left_out = (left_out.texts, left_out.notes, images.unlocated, images.found)
    return result


def _add(result: Result, batch: AssembledBatch) -> None:
    batch.items.validate(full=True)
    batch.statements.validate(full=True)
    result.items += batch.items.to_pylist()
    result.statements += batch.statements.to_pylist()
    result.rejects += [(reject.line, reject.reason) for reject in batch.rejects]
    result.counts += [(batch.rows_read, batch.rows_stored, batch.cleaned, batch.columns)]


@settings(deadline=None)
@given(ROWS)
@pytest.mark.parametrize("more", ["", 'category_multi = ";"', 'missing = ["red"]'])
def test_plain_cells_are_treated_as_all_others(more, rows):
    toml = f"{more}\n{MAPPING}"
    found = assembled(toml, HEADER, rows)
    with pytest.MonkeyPatch.context() as patch:
        for module in (kg.ingest.column_steps, kg.ingest.values.columns):
            patch.setattr(module, "plain_texts", lambda texts, rules: np.zeros(len(texts), bool))
        patch.setattr(
            kg.ingest.values.columns, "plain_names", lambda texts, least: np.zeros(len(texts), bool)
        )
        assert found == assembled(toml, HEADER, rows)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from([*PLAIN, *OTHERS]), CELLS), max_size=12
    )
)
def test_statements_are_those_of_one_row_after_the_other(rows):
    result = assembled('id = "id"', ["id", "x", "x"], rows)
    seen: dict[str, Any] = {}
    evidence = ColumnEvidence()
    statements: list[Any] = []
    rejects = []
    for start in range(0, len(rows), 4):
        new = []
        for line, (id, *texts) in enumerate(rows[start : start + 4], start + 2):
            first = seen.setdefault(id, (line, texts))
            if first[0] == line:
                new.append((line, id, texts))
            elif first[1] != texts:
                rejects.append((line, f"id {id!r} already appeared in line {first[0]}"))
        # What the batches have shown so far says how the cells of a column are read.
        cells = [text for _, _, texts in new for text in texts if text]
        evidence += evidence_of(pa.array(cells, pa.string()))
        rules = rules_of("x", Role.PROPERTY, evidence, ValueSettings())
        made: dict[str, Any] = {}
        for line, id, texts in new:
            for text in filter(None, texts):
                for value in values_of(text, rules)[0]:
                    made.setdefault(statement_id(id, "x", value), (id, "x", value, line))
        statements += made.items()
    found = [
        (each["id"], (each["item"], each["property"], each["value"], each["row"]))
        for each in result.statements
    ]
    assert found == statements
    found_rejects = [(line, reason.split(" with other")[0]) for line, reason in result.rejects]
    assert found_rejects == rejects
