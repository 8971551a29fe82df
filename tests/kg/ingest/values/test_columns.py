"""Columns are cleaned by rules of their own, and all that is done is counted."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.ingest.values import (
    ColumnCleaners,
    ColumnEvidence,
    OfRows,
    Role,
    RowEffects,
    ValueSettings,
    clean_column,
    evidence_of,
    id_fault,
    remarks,
    rules_of,
    split_column,
    values_of,
)
from kg.ingest.values.columns import depends_on_others
from kg.ingest.values.counts import ColumnCounts, add_counts
from kg.ingest.values.plain import plain_texts
from kg.ingest.values.row_effects import NOTHING_DONE, READ_AGAIN, CellEffect, EffectCodes
from kg.ingest.values.spreadsheet import NumberForms


def rules(name, texts, settings=None, role=Role.PROPERTY, titles=None):
    column = pa.array(texts, pa.string())
    beside = None if titles is None else pa.array(titles, pa.string())
    return rules_of(name, role, evidence_of(column, beside), settings or ValueSettings())


def values(name, texts, settings=None, titles=None):
    """Return the values that are left of a column, in the order of its cells."""
    found = rules(name, texts, settings, titles=titles)
    return split_column(pa.array(texts, pa.string()), found).cells.values.to_pylist()


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("country_of_origin", ["NA", "DE", "NO", "IT"]),
        ("region", ["NA", "EU", "NA", "NA"]),
        ("colour code", ["NA", "BK", "RD", "WH"]),
        ("element", ["Na", "Mg", "Fe", "K", "Ca"]),
        ("polarity", ["+", "-", "±", "++"]),
        ("防水", ["有", "无", "无"]),
        ("waterproof", ["да", "нет"]),
        ("filter", ["ND", "UV", "CP"]),
        ("pattern", ["none", "striped", "None"]),
        ("warranty", ["none", "2 years", "keine", "lifetime"]),
    ],
)
def test_real_words_are_kept(name, texts):
    assert values(name, texts) == texts


@pytest.mark.parametrize(
    ("name", "texts", "left"),
    [
        ("size", ["NA", "S", "M", "XL", "XS"], ["S", "M", "XL", "XS"]),
        ("gender", ["M", "F", "NA"], ["M", "F"]),
        ("state", ["TX", "NY", "CA", "NA"], ["TX", "NY", "CA"]),
        ("waterproof", ["yes", "no", "NA"], ["yes", "no"]),
        ("weight", ["12 kg", "none", "3 kg", "keine", "1 kg", "2 kg", "4 kg", "7 kg"], None),
        ("ean", ["4006381333931", "Does not apply"], ["4006381333931"]),
        ("brand", ["Acme", "NaN", "null", "?"], ["Acme"]),
        ("colour", ["red", "—", "n / a", "#NV", "."], ["red"]),
        ("図柄", ["水玉", "なし"], ["水玉"]),
    ],
)
def test_words_for_nothing_are_left_out(name, texts, left):
    expected = left or [text for text in texts if text[0].isdigit()]
    assert values(name, texts) == expected


def test_a_word_in_the_titles_of_its_own_items_is_real():
    titles = ["NaN bread, garlic", "NaN bread, plain", "Toast"]
    assert values("brand", ["NaN", "NaN", "Acme"], titles=titles) == ["NaN", "NaN", "Acme"]
    assert values("brand", ["NaN", "NaN", "Acme"], titles=["NaN", "x", "y"]) == ["Acme"]


def test_the_words_of_a_mapping_hold_whatever_the_evidence():
    wanted = ValueSettings(missing=frozenset({"Na"}))
    assert values("country", ["NA", "DE", "IT"], wanted) == ["DE", "IT"]


def test_a_mapping_may_replace_the_usual_words():
    only = ValueSettings(missing=frozenset({"nix"}), usual_missing=False)
    assert values("colour", ["n/a", "NIX", "red"], only) == ["n/a", "red"]


def test_cells_are_split_and_each_value_is_kept_once():
    settings = ValueSettings(separator="|")
    column = pa.array(["a| b|a", None, "NA", "c\x1fd"])
    found = split_column(column, rules("x", column.to_pylist(), settings))
    assert found.cells.rows.tolist() == [0, 0, 3, 3]
    assert found.cells.values.to_pylist() == ["a", "b", "c", "d"]
    assert found.counts.missing == {"NA": 1}


def test_the_levels_of_a_path_may_be_equal():
    settings = ValueSettings(separator=">")
    column = pa.array(["Toys > Toys &gt; Cars"])
    found = split_column(column, rules("category", column.to_pylist(), settings, Role.PATH))
    assert found.cells.values.to_pylist() == ["Toys", "Toys", "Cars"]


def test_an_html_list_is_several_values():
    assert values("features", ["<ul><li>Dishwasher safe</li><li>Set of 2</li></ul>"]) == [
        "Dishwasher safe",
        "Set of 2",
    ]


def test_ids_are_kept_but_for_what_a_spreadsheet_did():
    texts = ["NA", '="00123"', "'00012", "4012345600022.0", "4012345600015", "a&amp;b"]
    found = rules("sku", texts, role=Role.ID)
    cleaned = clean_column(pa.array(texts), found)
    assert cleaned.values.to_pylist() == [
        *["NA", "00123", "00012", "4012345600022", "4012345600015", "a&amp;b"]
    ]
    assert (cleaned.counts.unwrapped, cleaned.counts.whole) == (2, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(None, "empty"), ("4.01E+12", "scientific"), ("#REF!", "error"), ("1E5", None), ("NA", None)],
)
def test_faulty_ids(text, reason):
    fault = id_fault(text, rules("sku", ["1E5", "3D7", "1A5", "NA"], role=Role.ID))
    assert (reason in (fault or "")) if reason else fault is None


def test_spoilt_identifiers_are_no_values_and_faulty_ones_are_kept():
    texts = ["4.01235E+12", "4006381333931", "4006381333932"]
    found = split_column(pa.array(texts), rules("upc", texts))
    assert found.cells.values.to_pylist() == texts[1:]
    assert found.counts.spoilt == {"4.01235E+12": 1}
    assert (found.counts.gtins, found.counts.faulty_gtins.total()) == (2, 1)


def test_counts_are_of_cells_not_of_distinct_texts():
    texts = ["n/a", "n/a", "red", "&eacute;", "&eacute;", "none"]
    counts = split_column(pa.array(texts), rules("colour", texts)).counts
    assert counts.missing == {"n/a": 2}
    assert counts.kept == {"none": 1}
    assert counts.html == 2


def test_remarks_name_the_words_and_their_columns():
    counts: dict[str, ColumnCounts] = {}
    for name, texts in {"brand": ["NA", "NA", "x"], "colour": ["—", "NA", "x"]}.items():
        add_counts(counts, {name: split_column(pa.array(texts), rules(name, texts)).counts})
    (line,) = remarks(counts)
    assert line.startswith("4 cells left out as missing")
    assert "NA (2 in brand, 1 in colour), — (1 in colour)" in line


def test_the_rules_of_a_column_grow_with_its_batches():
    cleaners = ColumnCleaners()
    first = cleaners.split("country", Role.PROPERTY, pa.array(["DE", "IT", "NO"]))
    second = cleaners.split("country", Role.PROPERTY, pa.array(["NA"]))
    assert [*first.values.to_pylist(), *second.values.to_pylist()] == ["DE", "IT", "NO", "NA"]
    assert cleaners.taken_counts()["country"].kept == {"NA": 1}
    assert cleaners.taken_counts() == {}


def test_values_that_hold_the_separator_stand_in_quotes():
    settings = ValueSettings(separator=",", quoted=True)
    column = pa.array(['Blue, "Black, matt"', "Green\x1fRed, Blue"])
    cells = ColumnCleaners().split("colour", Role.PROPERTY, column, settings)
    assert cells.values.to_pylist() == ["Blue", "Black, matt", "Green", "Red", "Blue"]


def test_markup_is_kept_where_the_mapping_says_that_there_is_none():
    column = pa.array(["<b>x</b> &amp; y"])
    kept = ColumnCleaners().clean("name", Role.TEXT, column, ValueSettings(html=False))
    assert kept.to_pylist() == ["<b>x</b> &amp; y"]


def test_ids_that_a_spreadsheet_spoilt_are_found():
    found = ColumnCleaners().clean_ids("sku", pa.array(['="007"', None, "4.01E+12"]))
    assert found.ids[:2] == ["007", None]
    assert list(found.faults) == [2]


CELLS = st.one_of(
    st.text(),
    st.text(st.sampled_from("<>/&;bpali =\"'amp0123.E+\u200b\x1f|")),
    st.sampled_from(['="=""0"""', "&#8203;amp;", "'&#48;12", "&lt;b&gt;x&lt;/b&gt;"]),
)


@given(st.lists(CELLS, max_size=4), st.sampled_from([Role.PROPERTY, Role.TEXT]))
def test_cleaning_is_idempotent(texts, role):
    found = rules("ean", texts, role=role)
    once = clean_column(pa.array(texts, pa.string()), found).values
    again = clean_column(once, found).values
    assert again == once


counts_of = st.integers(0, 6)
forms = st.builds(NumberForms, *[counts_of] * 4)
some_words = st.frozensets(st.sampled_from(["na", "none", "нет", "-", "nil"]))
evidences = st.builds(
    ColumnEvidence, *[counts_of] * 7, forms=forms, opposites=some_words, in_titles=some_words
)
pieces = st.sampled_from(
    """
    NA Na none None - -- ? + n/a unknown #N/A нет void <b> </b> <br> &amp; &lt;b&gt; & < > ; x red
    7 1E5 1E+5 7.0 2024.0 4006381333931 4006381333931.0 4012345600023 4.01E+12 ="007" '007 | ,
    0000-00-00
    """.split()
)
texts_of_pieces = st.lists(st.one_of(pieces, st.just(" "), st.text(max_size=3)), max_size=4).map(
    "".join
)
column_names = st.sampled_from(["colour", "country", "ean", "sku", "body html", "description"])
column_settings = st.builds(
    ValueSettings,
    separator=st.sampled_from([None, "|", ","]),
    quoted=st.booleans(),
    missing=st.sampled_from([frozenset(), frozenset({"void", "none"})]),
    usual_missing=st.booleans(),
    html=st.sampled_from([None, None, True, False]),
    identifier=st.sampled_from([None, True, False]),
)


@settings(max_examples=1500, deadline=None)
@given(
    texts_of_pieces,
    column_names,
    st.sampled_from([Role.PROPERTY, Role.TEXT, Role.PATH]),
    column_settings,
    evidences,
    evidences,
)
def test_what_depends_on_no_other_cell_is_the_same_beside_any(
    text, name, role, options, evidence, other
):
    found = rules_of(name, role, evidence, options)
    beside_others = rules_of(name, role, other, options)
    if plain_texts(pa.array([text]), found.plain)[0]:
        assert plain_texts(pa.array([text]), beside_others.plain)[0]
        return
    made = values_of(text, found)
    if not depends_on_others(text, *made, found):
        assert values_of(text, beside_others) == made


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("country", "NA"),
        ("colour", "none"),
        ("colour", "-"),
        ("text", "a &lt;b&gt;"),
        ("sku", "1E5"),
    ],
)
def test_what_a_doubtful_cell_becomes_depends_on_others(name, text):
    found = rules(name, [text])
    assert depends_on_others(text, *values_of(text, found), found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("country", "N/A"),
        ("ean", "none"),
        ("body html", "a<br>b"),
        ("text", "a &amp; b"),
        ("x", "a|b"),
    ],
)
def test_what_other_cells_become_does_not(name, text):
    found = rules(name, [text])
    assert not depends_on_others(text, *values_of(text, found), found)


def test_effects_of_known_rows_are_counted_as_if_they_were_cleaned():
    texts = pa.array(["N/A", "red", "a &amp; b", "n/a", None, "N/A"])
    every = np.ones(len(texts), bool)
    codes = EffectCodes()
    first = RowEffects(codes, every)
    cleaners = ColumnCleaners()
    rows = np.arange(len(texts))
    cleaners.split("x", Role.PROPERTY, texts, of_rows=OfRows.of(rows, first))
    counts = cleaners.taken_counts()["x"]
    assert first.row_codes[0] == first.row_codes[5] != first.row_codes[3]
    assert first.row_codes[1] == first.row_codes[4] == NOTHING_DONE

    wanted = np.array([False, True, False, True, False, False])
    known = [(each, 1) for row in (0, 2, 5) for each in codes.effects(first.row_codes[row])]
    second = RowEffects(EffectCodes(), wanted, known)
    cleaners = ColumnCleaners()
    cells = cleaners.split("x", Role.PROPERTY, texts, of_rows=OfRows.of(rows, second))
    assert (cells.rows.tolist(), cells.values.to_pylist()) == ([1], ["red"])
    assert cleaners.taken_counts()["x"] == counts


def test_rows_with_several_cells_of_a_column_are_read_again():
    effects = RowEffects(EffectCodes(), np.ones(2, bool))
    cells = OfRows.of(np.array([0, 0, 1]), effects)
    ColumnCleaners().split("x", Role.PROPERTY, pa.array(["N/A", "n/a", "red"]), of_rows=cells)
    assert effects.row_codes.tolist() == [READ_AGAIN, NOTHING_DONE]


def test_effects_survive_being_written(monkeypatch):
    codes = EffectCodes()
    effects = (CellEffect("x", "property", ("N/A", "N/A")), CellEffect("y", "text", html=True))
    code = codes.code(effects)
    again = EffectCodes.of(json.loads(json.dumps(codes.documents())))
    assert again.effects(code) == effects
    monkeypatch.setattr("kg.ingest.values.row_effects.MAX_CODES", len(codes))
    assert codes.code(effects[:1]) == READ_AGAIN


def test_whether_a_word_for_none_is_left_out_depends_on_the_numbers_beside_it():
    found = rules("weight", ["1", "2", "3", "4", "5", "none"])
    assert values_of("none", found)[0] == []
    assert depends_on_others("none", *values_of("none", found), found)
