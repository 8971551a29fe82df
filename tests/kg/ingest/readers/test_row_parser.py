"""Rows of delimited text: the fast parser and the one that goes row by row must agree."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.ingest.readers.row_by_row import RowByRow
from kg.ingest.readers.row_form import RowForm, column_kinds
from kg.ingest.readers.row_parser import RowParser
from schema.dialects import Dialect

COLUMNS = ("id", "title", "c")
PLAIN = Dialect()


def form_of(dialect=PLAIN, width=3, least=None, header=b""):
    kinds = column_kinds([["1", "a b", "x y"], ["22", "c", "x"]], width)
    return RowForm(dialect, width, width if least is None else least, kinds, header)


def outcome(parsed):
    rows = [row for table in parsed.tables for row in zip(*table.to_pydict().values(), strict=True)]
    lines = [line for some in parsed.lines for line in some.tolist()]
    rejects = sorted((reject.line, reject.reason, reject.text) for reject in parsed.rejects)
    return (
        list(zip(lines, rows, strict=True)),
        rejects,
        parsed.skipped,
        parsed.consumed,
        parsed.line_count,
    )


def both(data, form, columns=COLUMNS, is_last=True):
    data = form.prepared(data)
    fast = outcome(RowParser(form, columns, "f").parse(data, 1, is_last))
    slow = outcome(RowByRow(data, form, "f").parse(columns, 1, is_last))
    assert fast == slow
    return fast


ROWS = [
    b"1,a,b",
    b'2,"x\ny",b',
    b'2,"x\n\ny",b',
    b"2,bad",
    b"3,a,b,c,d",
    b"4",
    b"",
    b"5,caf\xff,z",
    b'6,"q""q",z',
    b'7,27" m,z',
    b" ",
    b",,",
    b'"","",""',
    b"8,a\rb,c",
    b"9,a,b,",
    b'10,a,"b,",,\r',
    b"9,a,b\r8,c,d",
    b"3,\xc3\xa9,\xe2\x82\xac",
    b"3,\0,x",
    b"id,title,c",
    b'4,"a,b\nc,d\ne",f',
]
BROKEN_QUOTES = [b'9,"open,z', b'9,"x"y,z', b'9,a,"b', b'9,a"']


@pytest.mark.parametrize("seed", range(60))
def test_both_parsers_agree(seed):
    rng = random.Random(seed)
    for _ in range(20):
        newline = rng.choice([b"\n", b"\r\n"])
        bad = rng.choice([0, 0, 0.1])
        rows = [
            rng.choice(BROKEN_QUOTES if rng.random() < bad else ROWS).replace(b"\n", newline)
            for _ in range(rng.randint(1, 12))
        ]
        dialect = Dialect(quote=rng.choice(['"', '"', ""]), escape=rng.choice(["", "\\"]))
        form = form_of(dialect, least=rng.choice([3, 3, 1]), header=b"id,title,c")
        both(newline.join(rows) + newline, form, is_last=rng.random() < 0.5)


CELL = st.text(st.sampled_from("ab ,;\"'\n\r\\é😀"), max_size=5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6))
def test_well_formed_rows_are_those_of_the_csv_module(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    form = RowForm(Dialect(), 3, 3)
    read, rejects, _, _, _ = both(text.getvalue().encode(), form)
    expected = [tuple(cell or None for cell in row) for row in rows if any(row)]
    assert [cells for _, cells in read] == expected
    assert rejects == []


def test_what_goes_on_after_the_lines_is_left_for_later():
    data = b'1,a,b\n2,"x\n\ny'
    rows, rejects, _, consumed, lines = both(data + b"\n", form_of(), is_last=False)
    assert rows == [(1, ("1", "a", "b"))]
    assert (rejects, consumed, lines) == ([], len(b"1,a,b\n"), 1)


def test_a_quote_that_is_never_closed_is_known_by_the_rows_after_it():
    data = b'1,"a,b\n' + b"2,a,b\n" * 50
    rows, rejects, _, consumed, _ = both(data, form_of(), is_last=False)
    assert (len(rows), consumed) == (50, len(data))
    assert [(line, reason) for line, reason, _ in rejects] == [
        (1, "a quote is opened and never closed")
    ]


@pytest.mark.parametrize("count", [1, 3, 500])
def test_rows_that_a_quote_has_swallowed_are_read(count):
    data = b'1,"24 inch,b\n' + b"2,a,b\n" * count + b'3,a,12"\n4,a,b\n'
    rows, rejects, *_ = both(data, form_of())
    assert len(rows) == count + 2
    assert [line for line, _, _ in rejects] == [1]
    assert "quote" in rejects[0][1]


@pytest.mark.parametrize(
    "cell", ["wash, dry\ndo not, ever\niron, cold", "a\nb", "one, two\nthree, four\n\nfive"]
)
def test_descriptions_with_commas_are_no_rows(cell):
    data = f'1,x,"{cell}"\n2,"{cell}",y\n'.encode()
    rows, rejects, *_ = both(data, form_of())
    assert [cells for _, cells in rows] == [("1", "x", cell), ("2", cell, "y")]
    assert rejects == []


def test_repeated_headers_and_comments_are_no_rows():
    form = form_of(Dialect(comment="#"), header=b"id,title,c")
    rows, rejects, skipped, *_ = both(b"1,a,b\r\nid,title,c\r\n# a, b\r\n2,a,b\r\n", form)
    assert [line for line, _ in rows] == [1, 4]
    assert rejects == []
    assert [(line.line, line.what) for line in skipped] == [(2, "repeated header"), (3, "comment")]


def test_cells_that_rows_lack_are_empty():
    rows, rejects, *_ = both(b"1\n2,a\r\n3,a,b\n4,,,x\n", form_of(least=1))
    assert [cells for _, cells in rows] == [("1", None, None), ("2", "a", None), ("3", "a", "b")]
    assert [line for line, _, _ in rejects] == [4]


def test_empty_cells_too_many_are_nothing():
    rows, rejects, *_ = both(b'1,a,b,\n2,a,"b",,\r\n3,a,b,x\n4,a,,,\n', form_of())
    assert rows == [(1, ("1", "a", "b")), (2, ("2", "a", "b")), (4, ("4", "a", None))]
    assert [line for line, *_ in rejects] == [3]


def test_a_delimiter_at_the_end_of_rows_makes_no_column():
    form = form_of(Dialect(ends_with_delimiter=True), width=4, least=3)
    rows, rejects, *_ = both(b"1,a,b,\n2,a,b\n3,a,b,c\n", form, (*COLUMNS, ""))
    assert [cells for _, cells in rows] == [("1", "a", "b"), ("2", "a", "b")]
    assert [line for line, _, _ in rejects] == [3]


@pytest.mark.parametrize("delimiter", ["||", "§", "<->", "\x1f"])
def test_delimiters_of_any_kind(delimiter):
    data = f"1{delimiter}a,b{delimiter}c\n2{delimiter}\x1f{delimiter}d\n".encode()
    rows, rejects, *_ = both(data, form_of(Dialect(delimiter=delimiter)))
    assert rows == [(1, ("1", "a,b", "c"))]
    assert [line for line, _, _ in rejects] == [2]


@pytest.mark.parametrize(
    ("dialect", "line", "cells"),
    [
        (Dialect(escape="\\"), r'1,"a \"b\", \\",c', ("1", 'a "b", \\', "c")),
        (Dialect(escape="\\"), r'1,"\\\"","x\n"', ("1", '\\"', r"x\n")),
        (Dialect(escape="\\", quote=""), r"1,a\,b,c\\", ("1", "a,b", "c\\")),
        (Dialect(escape="\\", quote=""), "1,a\\\nb,c", ("1", "a\nb", "c")),
        (Dialect(quote="'"), "1,'it''s, ok',\"c\"", ("1", "it's, ok", '"c"')),
    ],
)
def test_escapes_and_other_quotes(dialect, line, cells):
    rows, rejects, *_ = both((line + "\n2,x,y\n").encode(), form_of(dialect))
    assert [row for _, row in rows] == [cells, ("2", "x", "y")]
    assert rejects == []


def test_signs_that_stand_for_escapes_are_not_taken_for_them():
    data = '1,\ufdd0,"\\""\n2,a,b\n'.encode()
    rows, rejects, *_ = both(data, form_of(Dialect(escape="\\")))
    assert [line for line, _ in rows] == [2]
    assert [line for line, _, _ in rejects] == [1]
