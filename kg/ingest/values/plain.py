"""Which texts of a column cleaning would leave as they are, found for the whole column at once.

Nearly all texts of a catalogue are such, and only the others have to be looked at one by one. So a
text counts as plain only if it surely is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kg.ingest.values.missing import MAX_WORD, WORD_KEYS
from schema.arrays import BoolArray, IntArray
from schema.identifiers import right_gtins

# Characters that all forms of Unicode's normalization leave as they are, and of which none joins
# the one before it. The lower case of these letters is their folded case, but for those in _FOLDED.
_LETTERS = "À-ÖØ-öø-įıĴ-ľŁ-ňŊ-žΑ-ΡΣ-Ωά-ία-ώЀ-ѯҊ-ӿẠ-ỹא-תء-غف-يぁ-ゖァ-ヺ々一-鿼가-힣"
_SIGNS = "¡-§©«¬®°±¶·»¿×÷‐‒-―‘-•‰′‹›€←-↕−≠≤≥★☆✓✔、。「-】・ー"
# Further ones that the form in which texts are stored leaves as they are.
_COMPOSED = "¨ª²-µ¸-º¼-¾…″‴⁰⁴-₎℃℉№™Ⅰ-ⅿ①-⑳！-～\ufe0f\U0001f300-\U0001f64f\U0001f680-\U0001f6ff"
_STABLE = f"^[ -~{_LETTERS}{_SIGNS}]*$"
_STORED = f"^[ -~{_LETTERS}{_SIGNS}{_COMPOSED}]*$"
_LETTER_OR_DIGIT = f"[0-9A-Za-z{_LETTERS}]"
_WORD_AT_AN_END = f"^{_LETTER_OR_DIGIT}|{_LETTER_OR_DIGIT}$"
_FOLDED = {"ß": "ss", "ς": "σ"}

_ZERO_DATE = "^0[0 ]*[-./]"
"""How a date of zeros begins, whatever spaces are in it."""
_DAMAGED = "^[+-]?[0-9]+(?:[.,][0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)$"
"""What an identifier looks like that a spreadsheet may have made a number of."""

_SPACE = ord(" ")
_FOREIGN = 2
_AMPERSAND = 4


def _byte_kinds() -> NDArray[np.uint8]:
    """Return 0 for each byte that any plain text may hold, 1 for those that none holds."""
    kinds = np.zeros(256, np.uint8)
    kinds[:_SPACE] = 1
    kinds[[ord("<"), 0x7F]] = 1
    kinds[ord("&")] = _AMPERSAND
    kinds[0x80:] = _FOREIGN
    return kinds


def _is_byte_of(signs: str) -> BoolArray:
    mask = np.zeros(256, bool)
    mask[list(signs.encode())] = True
    return mask


_KINDS = _byte_kinds()
_STARTS_MARK = _is_byte_of(" ='\"")
_IN_WORD = _is_byte_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class PlainRules:
    """What decides, of the rules of a column, whether its texts are plain.

    Attributes:
        signs: what no plain text holds, such as the sign between the values of a cell
        missing: keys of words for nothing beside the usual ones
        identifier, gtin: whether the cells are identifiers of products, and GTINs
    """

    signs: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    identifier: bool = False
    gtin: bool = False


def plain_texts(texts: pa.Array, rules: PlainRules) -> BoolArray:
    """Return which texts [N] are surely clean, one value, no word for nothing, and not at fault.

    Null and empty texts are not plain.
    """
    filled = pc.fill_null(pc.greater(pc.binary_length(texts), 0), False)
    return _among(texts, _mask(filled), lambda some: _plain_filled(some, rules))


def plain_names(texts: pa.Array, least: int) -> BoolArray:
    """Return which texts [N] are plain, of at least so many characters, and no mere signs."""
    is_long = _mask(pc.fill_null(pc.greater_equal(pc.utf8_length(texts), least), False))
    plain = _among(texts, is_long, lambda some: plain_texts(some, PlainRules()))
    return _among(texts, plain, lambda some: matches(some, _LETTER_OR_DIGIT))


def _plain_filled(texts: pa.Array, rules: PlainRules) -> BoolArray:
    """Return which texts [N], none of which is empty, are plain."""
    view = _View.of(texts)
    kinds = _KINDS[view.data]
    positions = np.flatnonzero(kinds)
    found = kinds[positions]
    foreign = view.with_any(positions[found == _FOREIGN])
    spaces = np.flatnonzero(view.data == _SPACE)
    doubled = spaces[1:][np.diff(spaces) == 1]
    first = view.data[view.starts]
    last = view.data[view.ends - 1]
    plain = ~_STARTS_MARK[first] & (last != _SPACE)
    plain &= ~view.with_any(positions[found == 1]) & ~view.with_any(doubled)
    if (found == _AMPERSAND).any():
        # No entity of HTML is without its semicolon.
        has_entity = view.with_any(positions[found == _AMPERSAND])
        plain &= ~_among(texts, has_entity, lambda some: _mask(pc.match_substring(some, ";")))
    for sign in rules.signs:
        plain &= ~_mask(pc.match_substring(texts, sign))
    # A word for nothing that neither begins nor ends like a word is made of signs or in brackets.
    is_short = view.sizes <= MAX_WORD
    is_word = ~is_short | _IN_WORD[first] | _IN_WORD[last]
    may_be_known = is_short | bool(rules.missing)
    keys = WORD_KEYS | rules.missing
    ascii = plain & ~foreign & is_word
    ascii &= ~_among(texts, ascii & may_be_known, lambda some: _has_key(pc.ascii_lower(some), keys))
    other = _among(texts, plain & foreign, lambda some: _plain_foreign(some, rules, keys))
    plain = ascii | other
    plain &= ~_among(texts, plain & (first == ord("0")), lambda some: matches(some, _ZERO_DATE))
    if rules.gtin:
        return _among(texts, plain, right_gtins)
    if rules.identifier:
        plain &= ~matches(texts, _DAMAGED)
    return plain


def _plain_foreign(texts: pa.Array, rules: PlainRules, keys: frozenset[str]) -> BoolArray:
    """Return which texts [N], which hold more than ASCII, are plain as far as that matters."""
    is_long = _mask(pc.greater(pc.utf8_length(texts), MAX_WORD))
    if not rules.missing:
        # No word for nothing is so long.
        long = _among(texts, is_long, lambda some: matches(some, _STORED))
        return long | _among(texts, ~is_long, lambda some: _plain_words(some, keys))
    return _plain_words(texts, keys)


def _plain_words(texts: pa.Array, keys: frozenset[str]) -> BoolArray:
    plain = matches(texts, _STABLE) & matches(texts, _WORD_AT_AN_END)
    lower = pc.utf8_lower(texts)
    for letter, folded in _FOLDED.items():
        lower = pc.replace_substring(lower, letter, folded)
    return plain & ~_has_key(lower, keys)


def _has_key(lower: pa.Array, keys: frozenset[str]) -> BoolArray:
    """Return which texts [N] in lower case have one of the keys of words for nothing."""
    if not len(lower):
        return np.zeros(0, bool)
    found = pc.is_in(pc.replace_substring(lower, " ", ""), value_set=_value_set(keys))
    return _mask(found)


@lru_cache(maxsize=64)
def _value_set(keys: frozenset[str]) -> pa.Array:
    return pa.array(sorted(keys), pa.string())


def matches(texts: pa.Array, pattern: str) -> BoolArray:
    """Return in which texts [N], none of them null, a pattern of RE2 is found."""
    return _mask(pc.match_substring_regex(texts, pattern))


def _mask(booleans: pa.Array) -> BoolArray:
    mask: BoolArray = booleans.to_numpy(zero_copy_only=False)
    return mask


def _among(texts: pa.Array, mask: BoolArray, test: Callable[[pa.Array], BoolArray]) -> BoolArray:
    """Return which of the texts [N] in a mask [N] a test of columns is true of."""
    if mask.all():
        return test(texts)
    found = np.zeros(len(texts), bool)
    if mask.any():
        found[mask] = test(texts.filter(pa.array(mask)))
    return found


@dataclass(frozen=True)
class _View:
    """The bytes of texts [N] without gaps, and where each begins and ends."""

    data: NDArray[np.uint8]
    starts: IntArray
    ends: IntArray

    @classmethod
    def of(cls, texts: pa.Array) -> _View:
        """Return the view of texts, of which none is null."""
        _, offsets, data = texts.buffers()
        bounds = np.frombuffer(offsets, np.int32)[texts.offset :][: len(texts) + 1]
        bounds = bounds.astype(np.int64)
        view = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        first = bounds[0]
        return cls(view[first : bounds[-1]], bounds[:-1] - first, bounds[1:] - first)

    @property
    def sizes(self) -> IntArray:
        """How many bytes each text has."""
        return self.ends - self.starts

    def with_any(self, positions: IntArray) -> BoolArray:
        """Return which texts [N] have one of some positions, which are in order."""
        mask = np.zeros(len(self.starts), bool)
        mask[np.searchsorted(self.ends, positions, side="right")] = True
        return mask
