"""What is found plain for a whole column, looking at one text after the other finds plain, too."""

import sys
import unicodedata
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.values import (
    ColumnRules,
    Role,
    ValueSettings,
    columns,
    evidence_of,
    rules_of,
    values_of,
)
from kg.ingest.values.columns import _evidence_of_each, id_fault
from kg.ingest.values.counts import ColumnCounts
from kg.ingest.values.missing import MAX_WORD, WORD_KEYS, word_key
from kg.ingest.values.plain import plain_texts
from kg.ingest.values.text import clean
from schema.identifiers import gtin_fault, right_gtins

RULES = [
    rules_of(name, role, evidence_of(pa.array(texts, pa.string())), settings)
    for name, role, texts, settings in [
        ("colour", Role.PROPERTY, ["red", "blue"], ValueSettings()),
        ("title", Role.TEXT, ["A cup"], ValueSettings()),
        ("sku", Role.ID, ["12345678", "12345679"], ValueSettings()),
        ("mpn", Role.PROPERTY, ["12345678", "12345679"], ValueSettings()),
        ("ean", Role.PROPERTY, ["4006381333931"], ValueSettings()),
        ("tags", Role.PROPERTY, ["a|b"], ValueSettings(separator="|", quoted=True)),
        ("path", Role.PATH, ["a > b"], ValueSettings(separator=">")),
        ("html", Role.PROPERTY, ["<b>x</b>"], ValueSettings()),
        ("x", Role.PROPERTY, ["y"], ValueSettings(missing=frozenset({"Nix da", "groß", "y" * 99}))),
        ("y", Role.PROPERTY, ["none", "+"], ValueSettings(usual_missing=False)),
    ]
]
PIECES = ["n/a", "N A", "(none)", "NaN", "00-00-0000", "k.A.", "無", "нет", "-", "—", "#N/A", "..."]
PIECES += ["1.0", "4.01E+12", "1E5", "12,5 kg", "4006381333931", "73513537", "036000291452", "0"]
PIECES += ["Größe", "weiß", "Τέλος", "ﬁ", "e\u0301", "\u200b", "\xa0", "\u3000", "²", "™", "한글"]
PIECES += [
    "  ",
    " ",
    "<",
    "&",
    "&amp;",
    "'",
    '"',
    '="1"',
    "\x1f",
    "\t",
    "|",
    ">",
    "\\",
    "ー",
    "Nix da",
]
PIECES += ["word", "Long text of words", "x" * MAX_WORD, "Kühlschrank", "\ud7a3", "ẞ", "İ", "ſ"]
TEXTS = st.one_of(
    st.text(max_size=6),
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join),
    st.sampled_from(sorted(WORD_KEYS)),
    st.sampled_from(sorted(WORD_KEYS)).map(str.upper),
)


def is_plain(text: str, rules: ColumnRules) -> bool:
    """Return whether a text is its own only value, and nothing has been done to it."""
    values, changes = values_of(text, rules)
    counts = ColumnCounts()
    if changes is not None:
        changes.add_to(counts, 1)
    counts.gtins = 0
    fault = id_fault(text, rules) if rules.role is Role.ID else None
    return values == [text] and counts == ColumnCounts() and fault is None


@given(st.lists(st.none() | TEXTS, max_size=8), st.sampled_from(RULES), st.integers(0, 3))
def test_what_is_found_plain_is_plain(texts, rules, start):
    column = pa.array(texts, pa.string()).slice(start)
    found = plain_texts(column, rules.plain).tolist()
    for text, plain in zip(column.to_pylist(), found, strict=True):
        assert not plain or (text is not None and is_plain(text, rules))


@given(st.lists(st.none() | TEXTS | st.from_regex(r"[0-9]{0,9}([.,e][0-9]{1,2})?( kg)?")))
def test_the_evidence_of_a_column_is_that_of_all_its_texts(texts):
    column = pa.array(texts, pa.string())
    encoded = column.dictionary_encode()
    every = list(range(len(encoded.dictionary)))
    expected = _evidence_of_each(encoded, every, column)
    for few in (0, columns.FEW_TEXTS):
        with patch.object(columns, "FEW_TEXTS", few):
            assert evidence_of(column, column) == expected


@pytest.mark.parametrize(
    "text",
    [
        *["red", "R&D", "12.5 kg", "Product number 7", "v0-1100", "10 (large)", "-5 °C", "R 134 a"],
        *["Kühlschrank, weiß", "Ø 12 × 3 – groß", "Чашка", "白い皿", "컵", "Ποτήρι", "2024-01-31"],
        *["x" * 500, "Ein langer Text über 120 cm² Fläche, 3½ Zoll, dazu ein ™-Zeichen … fertig"],
    ],
)
def test_ordinary_texts_are_found_plain(text):
    assert plain_texts(pa.array([text]), RULES[0].plain).tolist() == [True]
    assert is_plain(text, RULES[0])


def test_all_texts_of_the_letters_that_count_as_plain_are_clean():
    known = [chr(code) for code in range(0x80, sys.maxunicode) if not 0xD800 <= code < 0xE000]
    for pad in ("", "x" * MAX_WORD):
        texts = pa.array([f"a{pad}{sign}b" for sign in known])
        plain = texts.filter(pa.array(plain_texts(texts, RULES[0].plain))).to_pylist()
        assert len(plain) > 30_000
        for text in plain:
            sign = text[1 + len(pad)]
            assert clean(text) == text
            # Nor may it join any letter before it.
            assert not unicodedata.combining(sign)
            assert unicodedata.is_normalized("NFC", f"a{sign}")
            if not pad:
                assert unicodedata.normalize("NFKC", sign) == sign
                lower = pc.utf8_lower(pa.array([sign]))[0].as_py()
                assert sign in "ßς" or word_key(sign) == lower


def test_no_letter_that_counts_as_plain_joins_one_before_it():
    joins = {
        unicodedata.decomposition(chr(code)).split()[-1]
        for code in range(sys.maxunicode)
        if len(unicodedata.decomposition(chr(code)).split()) == 2
        and not unicodedata.decomposition(chr(code)).startswith("<")
    }
    joins |= {f"{code:04X}" for code in range(0x1160, 0x1200)}
    texts = pa.array([f"a{'x' * MAX_WORD}{chr(int(code, 16))}b" for code in joins])
    assert not plain_texts(texts, RULES[0].plain).any()


@given(st.lists(st.none() | st.from_regex(r"[0-9]{7,15}", fullmatch=True), max_size=20))
def test_right_gtins_are_those_without_a_fault(numbers):
    numbers += ["4006381333931", "73513537", "036000291452", "00036000291452", "4006381333932"]
    found = right_gtins(pa.array(numbers, pa.string())).tolist()
    for number, right in zip(numbers, found, strict=True):
        if number is None or len(number) not in (8, 12, 13, 14):
            assert not right
        else:
            assert right == (gtin_fault(number) is None)
