"""What spreadsheets do to cells, and identifiers."""

import pytest

from kg.ingest.values.spreadsheet import NumberForms, as_whole, is_spoilt, unwrapped
from schema.identifiers import gtin_fault, names_gtin, names_identifier


def forms(*texts):
    return sum(map(NumberForms.of, texts), NumberForms())


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('="00123"', "00123"),
        ('="a ""b"""', 'a "b"'),
        ("'00012", "00012"),
        ("'4012345600015", "4012345600015"),
    ],
)
def test_marks_of_text_are_taken_off(cell, text):
    assert unwrapped(cell) == text


@pytest.mark.parametrize("cell", ["'90", "'n Sync", '="a', "=1+2", "'", "=", "5'"])
def test_other_texts_stay(cell):
    assert unwrapped(cell) == cell


@pytest.mark.parametrize("text", ["4.01235E+12", "4,01235E+12", "4.01235e12", "1.00E+05", "4E+12"])
def test_rounded_numbers_are_spoilt_in_any_column(text):
    assert is_spoilt(text, forms("A1", "B2"))


def test_an_exponent_is_spoilt_only_beside_long_numbers():
    assert not is_spoilt("1E5", forms("1E5", "12E4", "3D7", "1A5"))
    assert is_spoilt("4E12", forms("4012345600015", "4012345600022", "4E12"))
    assert not is_spoilt("4E12", forms("17", "18", "4E12"))


@pytest.mark.parametrize("text", ["1E", "E5", "1.2", "A1E5", "1E5B", "10", "1.2E", "E+12"])
def test_other_identifiers_are_not_spoilt(text):
    assert not is_spoilt(text, forms("4012345600015"))


def test_a_decimal_of_a_whole_number_is_mended_unless_its_column_has_decimals():
    assert as_whole("4012345600022.0", forms("4012345600015")) == "4012345600022"
    assert as_whole("2024.0", forms("2024.1")) is None
    assert as_whole("2024.5", forms()) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("4006381333931", None),
        ("0306406152", None),
        ("978-0-306-40615-7", None),
        ("036000291452", None),
        ("36000291452", "has lost its leading zeros"),
        ("4006381333932", "has a wrong check digit"),
        ("979", "has 3 digits"),
        ("abc", "is no number"),
    ],
)
def test_gtins_are_checked(text, fault):
    assert gtin_fault(text) == fault


@pytest.mark.parametrize("name", ["EAN", "gtin13", "product_gtin", "Barcode (EAN-13)", "eanCode"])
def test_columns_of_gtins(name):
    assert names_gtin(name)
    assert names_identifier(name)


@pytest.mark.parametrize("name", ["SKU", "mpn", "Hersteller-Artikelnummer", "modelNumber"])
def test_columns_of_other_identifiers(name):
    assert names_identifier(name)
    assert not names_gtin(name)


@pytest.mark.parametrize("name", ["European", "mean", "Jan", "cleaning", "colour", "model"])
def test_other_columns(name):
    assert not names_identifier(name)
