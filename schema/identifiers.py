"""Columns of identifiers, by their names, and the check digits of GTINs."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from schema.arrays import BoolArray

# Whole words of a column's name, without case: "EAN", "gtin13", "Hersteller-Artikelnummer".
_GTIN_WORDS = "gtin|ean|upc|jan ?code|isbn|itf|barcode|strichcode"
_OTHER_WORDS = (
    "issn|asin|sku|mpn|oem|part ?(?:no|number)|item ?(?:no|number|id)|article ?(?:no|number)|"
    "model ?number|serial ?number|product ?id|artikel ?(?:nr|nummer)|hersteller ?nummer|"
    "bestell ?nummer|referencia|code ?barre|codigo ?de ?barras"
)
_GTIN_NAME = re.compile(rf"(?:^|[^a-z])(?:{_GTIN_WORDS})(?:[^a-z]|$)")
_IDENTIFIER_NAME = re.compile(rf"(?:^|[^a-z])(?:{_GTIN_WORDS}|{_OTHER_WORDS})(?:[^a-z]|$)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _words(name: str) -> str:
    spaced = _CAMEL.sub(" ", unicodedata.normalize("NFKD", name))
    plain = "".join(letter for letter in spaced if not unicodedata.combining(letter))
    return re.sub(r"[\s_.\-/#]+", " ", plain).casefold()


def names_identifier(name: str) -> bool:
    """Return whether a column holds identifiers of products, going by its name."""
    return bool(_IDENTIFIER_NAME.search(_words(name)))


def names_gtin(name: str) -> bool:
    """Return whether a column holds GTINs (EAN, UPC, ISBN), going by its name."""
    return bool(_GTIN_NAME.search(_words(name)))


def gtin_fault(text: str) -> str | None:
    """Return what is wrong with a GTIN; None if its check digit is right.

    Spaces and hyphens do not matter. ISBNs of ten digits count as GTINs.
    """
    from stdnum import ean, isbn

    digits = re.sub(r"[\s\-]", "", text)
    if len(digits) == 10 and isbn.is_valid(digits):
        return None
    if not digits.isascii() or not digits.isdigit():
        return "is no number"
    if ean.is_valid(digits):
        return None
    for length in (12, 13, 14):
        if len(digits) < length and ean.is_valid(digits.zfill(length)):
            return "has lost its leading zeros"
    if len(digits) not in (8, 12, 13, 14):
        return f"has {len(digits)} digits"
    return "has a wrong check digit"


_LONGEST_GTIN = 14


def right_gtins(texts: pa.Array) -> BoolArray:
    """Return which texts [N] are the digits of a GTIN alone, with the right check digit.

    Of these :func:`gtin_fault` is None; it may be so of others, too. A null is none.
    """
    import numpy as np
    import pyarrow.compute as pc

    has_length = pc.match_substring_regex(texts, "^(?:[0-9]{8}|[0-9]{12,14})$")
    has_length = pc.fill_null(has_length, False)
    # Zeros before a number do not change its check digit.
    padded = pc.utf8_lpad(texts.filter(has_length), _LONGEST_GTIN, "0")
    digits = np.frombuffer("".join(padded.to_pylist()).encode(), np.uint8) - ord("0")
    weights = np.tile(np.array([3, 1], np.uint8), _LONGEST_GTIN // 2)
    sums = (digits.reshape(-1, _LONGEST_GTIN) * weights).sum(axis=1, dtype=np.int64)
    right = np.zeros(len(texts), bool)
    right[has_length.to_numpy(zero_copy_only=False)] = sums % 10 == 0
    return right
