"""Clean the cells of a column by rules that the whole column decides, and count what was done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.values.counts import ColumnCounts, add_counts
from kg.ingest.values.markup import is_html, list_items, without_markup
from kg.ingest.values.missing import OPPOSITES, Doubt, doubt_of, is_error_value, word_key
from kg.ingest.values.plain import PlainRules, matches, plain_names, plain_texts
from kg.ingest.values.row_effects import CellEffect, RowEffects
from kg.ingest.values.spreadsheet import (
    LONG_NUMBER,
    NumberForms,
    as_whole,
    depends_on_forms,
    is_spoilt,
    unwrapped,
)
from kg.ingest.values.text import LIST_SEPARATOR, clean, split_quoted, without_controls
from schema.arrays import BoolArray, IntArray
from schema.identifiers import gtin_fault, names_gtin, names_identifier


class Role(Enum):
    """What the cells of a column are."""

    ID = "id"
    TEXT = "text"
    """One text, such as the title."""
    PATH = "path"
    """The levels of a category."""
    PROPERTY = "property"
    """One or several values."""


@dataclass(frozen=True)
class ValueSettings:
    """What a mapping says about the values of a column; all else is decided by its evidence.

    Attributes:
        separator: what stands between several values of a cell
        quoted: whether values that hold the separator stand in quotes
        missing: words for nothing, which hold whatever the column's evidence
        usual_missing: whether the words that everybody uses for nothing hold as well
        html: whether the column is HTML as a whole, or has none at all; None leaves it to the cells
        identifier: whether it holds identifiers of products; None leaves that to its name
    """

    separator: str | None = None
    quoted: bool = False
    missing: frozenset[str] = frozenset()
    usual_missing: bool = True
    html: bool | None = None
    identifier: bool | None = None


@dataclass(frozen=True)
class ColumnEvidence:
    """What is known of a column: counts of its distinct texts, and words that it has.

    Attributes:
        texts: texts other than words for nothing
        codes: those of two letters that begin with a capital (DE, EU, Na), but are neither sizes
            nor truth values
        states: codes that are states of the USA but no countries
        words: those that are truth values, sizes or single letters
        numeric: those that begin with a number
        signs: those without any letter or digit, like "+"
        html: those that are HTML by themselves
        forms: how many are whole numbers, decimals and so on
        opposites: words for nothing that are one of two truth values here
        in_titles: words for nothing that stand in the titles of their own items
    """

    texts: int = 0
    codes: int = 0
    states: int = 0
    words: int = 0
    numeric: int = 0
    signs: int = 0
    html: int = 0
    forms: NumberForms = field(default_factory=NumberForms)
    opposites: frozenset[str] = frozenset()
    in_titles: frozenset[str] = frozenset()

    def __add__(self, more: ColumnEvidence) -> ColumnEvidence:
        """Return the evidence of both."""
        return ColumnEvidence(
            texts=self.texts + more.texts,
            codes=self.codes + more.codes,
            states=self.states + more.states,
            words=self.words + more.words,
            numeric=self.numeric + more.numeric,
            signs=self.signs + more.signs,
            html=self.html + more.html,
            forms=self.forms + more.forms,
            opposites=self.opposites | more.opposites,
            in_titles=self.in_titles | more.in_titles,
        )


@dataclass(frozen=True)
class ColumnRules:
    """How the cells of one column are cleaned.

    Attributes:
        role: what the cells are
        separator: what stands between the values of a cell beside LIST_SEPARATOR, if anything
        separators: a pattern of both; None if each cell is one value
        quoting: the separator of values that may stand in quotes
        html: whether every known tag is markup; None if none is
        knows_html: whether its name or the mapping says so, whatever the cells are
        missing: keys of further words for nothing
        usual_missing: whether the usual words for nothing hold
        keeps_codes, keeps_signs: whether doubtful words and signs are values
        drops_none: whether words that say "none" are no values
        kept: keys of words that are values
        identifier, gtin: whether the cells are identifiers of products, and GTINs
        forms: of which form the column's numbers are
    """

    role: Role = Role.PROPERTY
    separator: str | None = None
    separators: re.Pattern[str] | None = None
    quoting: str | None = None
    html: bool | None = False
    knows_html: bool = False
    missing: frozenset[str] = frozenset()
    usual_missing: bool = True
    keeps_codes: bool = False
    keeps_signs: bool = False
    drops_none: bool = False
    kept: frozenset[str] = frozenset()
    identifier: bool = False
    gtin: bool = False
    forms: NumberForms = field(default_factory=NumberForms)

    @cached_property
    def plain(self) -> PlainRules:
        """What decides whether a text is its own only value, and nothing is to be counted."""
        quotes = ('"', "\\") if self.quoting is not None else ()
        separators = (self.separator,) if self.separator else ()
        return PlainRules((*separators, *quotes), self.missing, self.identifier, self.gtin)

    def decisions(self) -> tuple[ColumnRules, bool, bool]:
        """Return what equal rules have in common: all but the counts from which they follow."""
        forms = self.forms if self.identifier else NumberForms()
        return replace(self, forms=NumberForms()), forms.are_long, forms.are_decimal

    def is_missing(self, text: str) -> bool | None:
        """Return whether a clean text is a word for nothing; None if it could be, but is kept."""
        if self.missing and word_key(text) in self.missing:
            return True
        doubt = doubt_of(text) if self.usual_missing else None
        if doubt is None:
            return False
        if doubt is Doubt.CERTAIN:
            return True
        if doubt is Doubt.NONE:
            return True if self.drops_none else None
        is_kept = word_key(text) in self.kept
        if doubt is Doubt.SIGN:
            is_kept = is_kept or self.keeps_signs
        else:
            is_kept = is_kept or self.keeps_codes
        return None if is_kept else True


@dataclass(frozen=True)
class OfRows:
    """Which cells of a column are cleaned: their places [N] in it, their rows [N] in the batch.

    ``effects`` takes what cleaning does in the rows of the batch.
    """

    places: IntArray
    rows: IntArray
    effects: RowEffects

    @classmethod
    def of(cls, rows: IntArray, effects: RowEffects) -> OfRows:
        """Return those of the cells in ``rows`` [C] whose rows are cleaned."""
        places = np.flatnonzero(effects.wanted[rows])
        return cls(places, rows[places], effects)

    def cells(self, column: pa.Array) -> pa.Array:
        """Return the cells of a column that are cleaned."""
        if len(self.places) == len(column):
            return column
        return column.take(pa.array(self.places))

    def placed(self, cells: SplitCells) -> SplitCells:
        """Return the values of these cells in their places in the column."""
        return SplitCells(self.places[cells.rows], cells.values)


@dataclass(frozen=True)
class SplitCells:
    """The values in the cells of a column: the row of each value [N], and the values [N]."""

    rows: IntArray
    values: pa.Array


_CODE = re.compile(r"[A-Z][A-Za-z]\Z")
_NUMERIC = re.compile(r"[^\w]{0,3}(?:[A-Z]{3} )?[0-9]")
_MAY_BE_NUMERIC = "^[^0-9A-Za-z_]{0,3}(?:[A-Z]{3} )?[0-9]"
"""The same for Arrow's RE2, which does not know all letters."""
_SIZE = re.compile(r"(?:[0-9]{0,2}X{0,4}[SL]|M|S/M|M/L|L/XL)\Z", re.IGNORECASE)
_TRUTH = frozenset("yes no y n ja nein j si oui non da ne ano tak nie on off true false".split())
_PLACE_NAME = re.compile(
    r"country|countries|region|market|territor|origin|land\b|herkunft|staat|pays|origine|pa[ií]s|"
    r"paese|nazione|kraj|nation|locale|iso|страна|国|產地|产地",
    re.IGNORECASE,
)
_STATES = frozenset("TX NY FL WA OH OR WI MI NJ NH NV OK UT WV WY HI IA KS CT AK".split())
MAX_SIZE = 5
_MOST = 0.8
_HTML_SHARE = 0.2
_HTML_NAME = re.compile(r"html|markup|richtext", re.IGNORECASE)
_ENOUGH_TEXTS = 5_000
"""Distinct texts after which a column's evidence no longer changes its rules."""
FEW_TEXTS = 64
"""To look at so many distinct texts one after the other takes less time than at their columns."""
MAX_OPPOSITE = max(len(word) for words in OPPOSITES.values() for word in words)


def evidence_of(column: pa.Array, titles: pa.Array | None = None) -> ColumnEvidence:
    """Return what a column [N] shows about itself, beside the titles [N] of its items."""
    encoded = _dictionary_encode(column)
    texts = encoded.dictionary.slice(0, _ENOUGH_TEXTS)
    if len(texts) <= FEW_TEXTS:
        return _evidence_of_each(encoded, list(range(len(texts))), titles)
    names = plain_names(texts, max(MAX_SIZE, MAX_OPPOSITE) + 1)
    rest = np.flatnonzero(~names).tolist()
    evidence = _evidence_of_names(texts.filter(pa.array(names)))
    return evidence + _evidence_of_each(encoded, rest, titles)


def _evidence_of_names(texts: pa.Array) -> ColumnEvidence:
    """Return what distinct texts [N] show that are plain and longer than codes and sizes."""
    may_be_numeric = matches(texts, _MAY_BE_NUMERIC)
    is_whole = matches(texts, "^[0-9]+$")
    whole = int(is_whole.sum())
    long = int((is_whole & (pc.binary_length(texts).to_numpy() >= LONG_NUMBER)).sum())
    evidence = ColumnEvidence(texts=whole, numeric=whole, forms=NumberForms(whole=whole, long=long))
    others = len(texts) - whole
    # With a unit and the like, which no form of numbers has.
    is_amount = matches(texts, "^[0-9]") & matches(texts, "[^0-9.,eE+-]")
    numeric = int(is_amount.sum())
    forms = NumberForms(other=numeric)
    for text in texts.filter(pa.array(may_be_numeric & ~is_whole & ~is_amount)).to_pylist():
        if _NUMERIC.match(text):
            numeric += 1
            forms += NumberForms.of(text)
    forms += NumberForms(other=others - numeric)
    return evidence + ColumnEvidence(texts=others, numeric=numeric, forms=forms)


def _evidence_of_each(
    encoded: pa.DictionaryArray, indices: list[int], titles: pa.Array | None
) -> ColumnEvidence:
    """Return what some of the distinct texts show, looking at one after the other."""
    counts = dict.fromkeys(("texts", "codes", "states", "words", "numeric", "signs", "html"), 0)
    forms = NumberForms()
    others = 0
    doubtful: dict[str, list[int]] = {}
    keys: set[str] = set()
    texts = encoded.dictionary.take(pa.array(indices, pa.int64())).to_pylist()
    for index, raw in zip(indices, texts, strict=True):
        counts["html"] += ("<" in raw or "&" in raw) and is_html(raw)
        for part in raw.split(LIST_SEPARATOR) if LIST_SEPARATOR in raw else (raw,):
            text = part.strip()
            if not text:
                continue
            doubt = doubt_of(text)
            if doubt is Doubt.DOUBTFUL:
                doubtful.setdefault(text, []).append(index)
            if doubt is not None:
                continue
            counts["texts"] += 1
            kind = _kind_of(text)
            if kind == "numeric":
                counts["numeric"] += 1
                forms += NumberForms.of(text)
            else:
                others += 1
                if kind:
                    counts[kind] += 1
                counts["states"] += text in _STATES
            if len(text) <= MAX_OPPOSITE:
                keys.add(word_key(text))
    return ColumnEvidence(
        **counts,
        forms=forms + NumberForms(other=others),
        opposites=frozenset(
            word for word in map(word_key, doubtful) if not keys.isdisjoint(OPPOSITES.get(word, ()))
        ),
        in_titles=_words_in_titles(encoded, doubtful, titles)
        if titles is not None
        else frozenset(),
    )


def _kind_of(text: str) -> str | None:
    """Return under which of the counts of evidence a text falls besides ``texts``."""
    if len(text) == 1:
        # A size, a grade or an element, beside any of which NA would stand for nothing.
        return "numeric" if text.isdecimal() else "words" if text.isalpha() else "signs"
    if len(text) <= MAX_SIZE and (text.casefold() in _TRUTH or _SIZE.match(text)):
        # Norway is a code beside other countries, and a truth value beside "yes".
        return "codes" if text == "NO" else "words"
    if len(text) == 2 and _CODE.match(text):
        return "codes"
    if _NUMERIC.match(text):
        return "numeric"
    return None if any(map(str.isalnum, text)) else "signs"


def _words_in_titles(
    encoded: pa.DictionaryArray, doubtful: dict[str, list[int]], titles: pa.Array
) -> frozenset[str]:
    """Return the words of which half of the items have them in their titles as well."""
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    found = set()
    for word, positions in doubtful.items():
        rows = np.flatnonzero(np.isin(indices, positions))
        pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        texts = [title for title in titles.take(pa.array(rows)).to_pylist() if title]
        # A title that is nothing but the word is as empty as the cell.
        named = sum(bool(pattern.search(title)) and title.strip() != word for title in texts)
        if texts and 2 * named >= len(texts):
            found.add(word_key(word))
    return frozenset(found)


def rules_of(
    name: str,
    role: Role,
    evidence: ColumnEvidence,
    settings: ValueSettings = ValueSettings(),  # frozen
) -> ColumnRules:
    """Decide how the cells of a column are cleaned, by its name, its evidence and the mapping."""
    least_codes = 1 if _PLACE_NAME.search(name) else 2
    rest = evidence.texts - evidence.words
    is_states = evidence.states > 0 and not _PLACE_NAME.search(name)
    keeps_codes = (
        evidence.codes >= least_codes
        and evidence.codes >= _MOST * rest
        and 2 * evidence.codes > evidence.words
        and not is_states
    )
    is_named = names_identifier(name) if settings.identifier is None else settings.identifier
    is_identifier = role is Role.ID or is_named
    separator = None
    separators = None
    if role in (Role.PROPERTY, Role.PATH):
        separator = settings.separator or None
        wanted = [LIST_SEPARATOR, separator] if separator else [LIST_SEPARATOR]
        separators = re.compile("|".join(map(re.escape, wanted)))
    knows_html = settings.html is not None or bool(_HTML_NAME.search(name))
    is_html = knows_html or (evidence.html >= 2 and evidence.html >= _HTML_SHARE * evidence.texts)
    return ColumnRules(
        role=role,
        separator=separator,
        separators=separators,
        quoting=settings.separator if separators is not None and settings.quoted else None,
        html=None if settings.html is False else is_html,
        knows_html=knows_html,
        missing=frozenset(map(word_key, settings.missing)),
        usual_missing=settings.usual_missing,
        keeps_codes=keeps_codes,
        keeps_signs=evidence.signs >= 2 and 2 * evidence.signs > evidence.texts,
        drops_none=is_identifier
        or (evidence.texts > 0 and evidence.numeric >= _MOST * evidence.texts),
        kept=evidence.opposites | evidence.in_titles,
        identifier=is_identifier,
        gtin=names_gtin(name),
        forms=evidence.forms,
    )


@dataclass
class _CellChanges:
    """What cleaning did to one distinct text."""

    missing: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    html: bool = False
    unwrapped: bool = False
    whole: bool = False
    spoilt: list[str] = field(default_factory=list)
    gtins: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    def add_to(self, counts: ColumnCounts, cells: int) -> None:
        """Count them for so many cells."""
        for word in self.missing:
            counts.missing[word] += cells
        for word in self.kept:
            counts.kept[word] += cells
        for text in self.spoilt:
            counts.spoilt[text] += cells
        for fault, example in self.faults:
            counts.faulty_gtins[fault] += cells
            counts.faulty_example = counts.faulty_example or example
        counts.html += cells * self.html
        counts.unwrapped += cells * self.unwrapped
        counts.whole += cells * self.whole
        counts.gtins += cells * self.gtins

    def effect(self, name: str, role: Role) -> CellEffect:
        """Return them as the effect on a cell of a column, which no other cell decides."""
        missing = tuple(self.missing)
        return CellEffect(name, role.value, missing, self.html, self.unwrapped, self.gtins)


_LISTED = re.compile(LIST_SEPARATOR)
_SUSPICIOUS = re.compile(r"[<&]|^\s*[='\"]")


def values_of(text: str, rules: ColumnRules) -> tuple[list[str], _CellChanges | None]:
    """Return the clean values of a cell, and what was done to it; None if nothing was.

    A property's values are distinct; the levels of a path may be equal. Texts that this leaves as
    they are, are found for whole columns by :func:`plain_texts`, which must never find any other.
    """
    changes = None
    text = without_controls(text)
    if _SUSPICIOUS.search(text):
        changes = _CellChanges()
        parts = _without_marks(text, rules, changes)
    else:
        parts = [text]
    if rules.quoting is not None:
        parts = [value for part in parts for value in split_quoted(part, rules.quoting)]
    if rules.separators is not None and (rules.quoting is None or LIST_SEPARATOR in text):
        separators = rules.separators if rules.quoting is None else _LISTED
        parts = [value for part in parts for value in separators.split(part)]
    values: list[str] = []
    for part in parts:
        value = clean(part)
        if value is None:
            continue
        if rules.role is not Role.ID:
            is_missing = rules.is_missing(value)
            if is_missing is not False:
                changes = changes or _CellChanges()
                (changes.missing if is_missing else changes.kept).append(value)
            if is_missing:
                continue
        if rules.identifier:
            changes = changes or _CellChanges()
            identifier = _checked_identifier(value, rules, changes)
            if identifier is None:
                continue
            value = identifier
        values.append(value)
    if len(values) > 1 and rules.role is Role.PROPERTY:
        values = list(dict.fromkeys(values))
    return values, changes


def depends_on_others(
    text: str, values: list[str], changes: _CellChanges | None, rules: ColumnRules
) -> bool:
    """Return whether other cells of its column may decide what :func:`values_of` makes of a cell.

    So may they what is said of it, such as the example of a fault.
    """
    if changes is None:
        return False
    if changes.kept or changes.whole or changes.spoilt or changes.faults:
        return True
    if any(_may_be_value(word, rules) for word in changes.missing):
        return True
    if rules.identifier and any(map(depends_on_forms, values)):
        return True
    if rules.knows_html or not ("<" in text or "&" in text):
        return False
    return values_of(text, replace(rules, html=not rules.html)) != (values, changes)


def _may_be_value(word: str, rules: ColumnRules) -> bool:
    """Return whether a word that was left out would be a value beside other cells."""
    if rules.missing and word_key(word) in rules.missing:
        return False
    doubt = doubt_of(word)
    return doubt is not Doubt.CERTAIN and not (doubt is Doubt.NONE and rules.identifier)


def _without_marks(text: str, rules: ColumnRules, changes: _CellChanges) -> list[str]:
    """Return the parts of a cell without a spreadsheet's marks and without HTML."""
    items = None
    # A mark may be within markup, markup within a mark, and both fall apart by an invisible sign.
    while True:
        before = text
        text = text.strip()
        bare = unwrapped(text)
        if bare != text:
            changes.unwrapped = True
            text = bare
        may_be_html = rules.role is not Role.ID and rules.html is not None
        if may_be_html and ("<" in text or "&" in text):
            items = list_items(text) if rules.role is Role.PROPERTY else None
            if items is not None:
                break
            plain = without_controls(without_markup(text, bool(rules.html)))
            changes.html = changes.html or plain != text
            text = plain
        if text == before:
            return [text]
    changes.html = True
    return [part for item in items for part in _without_marks(item, rules, changes)]


def _checked_identifier(value: str, rules: ColumnRules, changes: _CellChanges) -> str | None:
    """Return an identifier as it was before a spreadsheet touched it; None if it is spoilt."""
    whole = as_whole(value, rules.forms)
    if whole is not None:
        changes.whole = True
        value = whole
    elif rules.role is not Role.ID and is_spoilt(value, rules.forms):
        changes.spoilt.append(value)
        return None
    if rules.gtin:
        changes.gtins += 1
        fault = gtin_fault(value)
        if fault is not None:
            changes.faults.append((fault, value))
    return value


@dataclass(frozen=True)
class CleanColumn:
    """The clean values of a column [N], null where there is none, and what was done to them."""

    values: pa.Array
    rest: _Rest

    @property
    def counts(self) -> ColumnCounts:
        """How many cells were changed, left out or found fault with."""
        return self.rest.counts


def clean_column(column: pa.Array, rules: ColumnRules) -> CleanColumn:
    """Clean a column whose cells have one value each."""
    column = _one_array(column)
    rest = _rest_of(column, rules)
    if not rest.mask.any():
        return CleanColumn(column, rest)
    texts = [LIST_SEPARATOR.join(values) or None for values in rest.values]
    cleaned = pa.array(texts, pa.string()).take(rest.encoded.indices)
    return CleanColumn(pc.replace_with_mask(column, pa.array(rest.mask), cleaned), rest)


@dataclass(frozen=True)
class CleanCells:
    """The clean values in the cells of a column, and what was done to them."""

    cells: SplitCells
    rest: _Rest

    @property
    def counts(self) -> ColumnCounts:
        """How many cells were changed, left out or found fault with."""
        return self.rest.counts


def split_column(column: pa.Array, rules: ColumnRules) -> CleanCells:
    """Clean a column whose cells may have several values."""
    column = _one_array(column)
    rest = _rest_of(column, rules)
    is_valid = column.is_valid().to_numpy(zero_copy_only=False)
    plain = np.flatnonzero(is_valid & ~rest.mask)
    if not rest.mask.any():
        return CleanCells(SplitCells(plain, column.drop_null()), rest)
    cells = _taken(rest.values, rest.encoded)
    # The values of both in the order of the cells, and those of one cell in their own.
    rows = np.concatenate((plain, np.flatnonzero(rest.mask)[cells.rows]))
    values = pa.concat_arrays([column.take(pa.array(plain)), cells.values])
    order = np.argsort(rows, kind="stable")
    return CleanCells(SplitCells(rows[order], values.take(pa.array(order))), rest)


@dataclass(frozen=True)
class _Rest:
    """The cells of a column [N] that may have to be cleaned, by a mask [N].

    ``encoded`` are their texts, ``values`` the clean values of each distinct one, and ``changes``
    what was done to it. ``plain`` [N] are the cells that cleaning left as they are.
    """

    mask: BoolArray
    encoded: pa.DictionaryArray
    values: list[list[str]]
    changes: list[_CellChanges | None]
    counts: ColumnCounts
    plain: BoolArray

    def add_effects(self, name: str, role: Role, rules: ColumnRules, of_rows: OfRows) -> None:
        """Add what was done to the cells of a column to the effects in their rows."""
        if rules.gtin and self.plain.any():
            rows = of_rows.rows[self.plain]
            checked = CellEffect(name, role.value, gtins=1)
            of_rows.effects.add(rows, [checked], np.zeros(len(rows), np.int64))
        places = [index for index, changes in enumerate(self.changes) if changes is not None]
        if not places:
            return
        texts = self.encoded.dictionary.take(pa.array(places)).to_pylist()
        effects: dict[CellEffect | None, int] = {}
        effect_of = np.full(len(self.changes), -1, np.int64)
        for index, text in zip(places, texts, strict=True):
            changes = self.changes[index]
            is_alone = not depends_on_others(text, self.values[index], changes, rules)
            effect = changes.effect(name, role) if is_alone and changes is not None else None
            effect_of[index] = effects.setdefault(effect, len(effects))
        indices = effect_of[self.encoded.indices.to_numpy(zero_copy_only=False)]
        is_changed = indices >= 0
        rows = of_rows.rows[self.mask][is_changed]
        of_rows.effects.add(rows, list(effects), indices[is_changed])


def _rest_of(column: pa.Array, rules: ColumnRules) -> _Rest:
    """Clean the cells of a column that are not plain, each distinct text once."""
    plain = plain_texts(column, rules.plain)
    mask = column.is_valid().to_numpy(zero_copy_only=False) & ~plain
    encoded = pc.dictionary_encode(column.filter(pa.array(mask)))
    values, changes, counts = _clean_distinct(encoded, rules)
    if rules.gtin:
        # The check digits of plain ones are right.
        counts.gtins += int(plain.sum())
    return _Rest(mask, encoded, values, changes, counts, plain)


def _clean_distinct(
    encoded: pa.DictionaryArray, rules: ColumnRules
) -> tuple[list[list[str]], list[_CellChanges | None], ColumnCounts]:
    """Clean each distinct text of some cells once, since values repeat."""
    counts = ColumnCounts()
    cleaned = []
    changed: list[_CellChanges | None] = []
    for text in encoded.dictionary.to_pylist():
        values, changes = values_of(text, rules)
        cleaned.append(values)
        changed.append(changes)
    if any(changes is not None for changes in changed):
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        cells = np.bincount(indices, minlength=len(cleaned)).tolist()
        for changes, number in zip(changed, cells, strict=True):
            if changes is not None:
                changes.add_to(counts, number)
    return cleaned, changed, counts


def split_texts(column: pa.Array, split: Callable[[str], Iterable[str]]) -> SplitCells:
    """Split the cells of a column into their distinct values by a function."""
    encoded = _dictionary_encode(column)
    values = [list(dict.fromkeys(split(text))) for text in encoded.dictionary.to_pylist()]
    return _taken(values, encoded)


@dataclass(frozen=True)
class CleanIds:
    """The clean ids of a column [N], and why some of them, by their rows, cannot be used."""

    ids: list[str | None]
    faults: dict[int, str]


def id_fault(text: str | None, rules: ColumnRules) -> str | None:
    """Return why a clean id cannot be used; None if it can be."""
    if text is None:
        return "empty id"
    if is_error_value(text):
        return f"id {text!r} is a spreadsheet's word for an error: correct the cell"
    if is_spoilt(text, rules.forms):
        return (
            f"id {text!r} is a number that a spreadsheet has rounded (scientific notation): "
            "export the column as text"
        )
    return None


def stands_for_no_id(text: str | None, settings: ValueSettings) -> bool:
    """Return whether a clean text that should be the id of another item is a word for nothing.

    Two letters, like NA, may be an id.
    """
    if text is None or word_key(text) in map(word_key, settings.missing):
        return True
    doubt = doubt_of(text) if settings.usual_missing else None
    return doubt is not None and (doubt is not Doubt.DOUBTFUL or len(text) > 2)


class ColumnCleaners:
    """Cleans the columns of one source, batch after batch.

    The rules of a column follow from what the batches have shown so far. ``counts`` says what was
    done since the last :meth:`taken_counts`.
    """

    def __init__(self) -> None:
        self._evidence: dict[tuple[str, Role], ColumnEvidence] = {}
        self._rules: dict[tuple[str, Role], ColumnRules] = {}
        self._counts: dict[tuple[str, Role], ColumnCounts] = {}

    def copy(self) -> ColumnCleaners:
        """Return cleaners with the same evidence; what they read changes nothing here."""
        other = ColumnCleaners()
        other._evidence = dict(self._evidence)
        other._rules = dict(self._rules)
        return other

    def adopt(self, other: ColumnCleaners) -> None:
        """Take over what other cleaners know of the columns."""
        self._evidence = dict(other._evidence)
        self._rules = dict(other._rules)

    def knows_as_much(self, other: ColumnCleaners) -> bool:
        """Return whether other cleaners have seen the same of the columns."""
        return self._evidence == other._evidence

    def known_rules(self, name: str, role: Role, settings: ValueSettings) -> ColumnRules:
        """Return the rules of a column by what the batches have shown so far."""
        known = self._rules.get((name, role))
        return known or rules_of(name, role, ColumnEvidence(), settings)

    def rules(
        self,
        name: str,
        role: Role,
        column: pa.Array,
        settings: ValueSettings,
        titles: pa.Array | None = None,
    ) -> ColumnRules:
        """Return the rules of a column, after its cells in this batch [N] have been looked at."""
        if self.may_learn(name, role):
            self.learn(name, role, evidence_of(column, titles), settings)
        return self._rules[name, role]

    def may_learn(self, name: str, role: Role) -> bool:
        """Return whether more evidence of a column may change its rules."""
        evidence = self._evidence.get((name, role))
        return evidence is None or evidence.texts < _ENOUGH_TEXTS

    def learn(
        self, name: str, role: Role, more: ColumnEvidence, settings: ValueSettings
    ) -> ColumnRules:
        """Decide the rules of a column anew, with what a batch shows of it; return them."""
        evidence = self._evidence.get((name, role), ColumnEvidence()) + more
        self._evidence[name, role] = evidence
        self._rules[name, role] = rules_of(name, role, evidence, settings)
        return self._rules[name, role]

    def clean(
        self,
        name: str,
        role: Role,
        column: pa.Array,
        settings: ValueSettings = ValueSettings(),  # frozen
        of_rows: OfRows | None = None,
    ) -> pa.Array:
        """Clean a column [N] whose cells have one value each.

        With ``of_rows`` the result has only the cells of the rows that are cleaned.
        """
        rules = self.rules(name, role, column, settings)
        if of_rows is not None:
            column = of_rows.cells(column)
        cleaned = clean_column(column, rules)
        self._add(name, role, cleaned.counts)
        if of_rows is not None:
            self._add_effects(name, role, rules, cleaned.rest, of_rows)
        return cleaned.values

    def clean_ids(
        self, name: str, column: pa.Array, settings: ValueSettings = ValueSettings()
    ) -> CleanIds:
        """Clean a column [N] of ids."""
        rules = self.rules(name, Role.ID, column, settings)
        cleaned = clean_column(column, rules)
        self._add(name, Role.ID, cleaned.counts)
        ids = cleaned.values.to_pylist()
        # No plain text is an error or a number that was rounded.
        rest = np.flatnonzero(~plain_texts(cleaned.values, rules.plain)).tolist()
        faults = {row: fault for row in rest if (id := ids[row]) and (fault := id_fault(id, rules))}
        return CleanIds(ids, faults)

    def split(
        self,
        name: str,
        role: Role,
        column: pa.Array,
        settings: ValueSettings = ValueSettings(),  # frozen
        titles: pa.Array | None = None,
        of_rows: OfRows | None = None,
    ) -> SplitCells:
        """Clean a column [N] whose cells may have several values.

        With ``of_rows`` the result has only the cells of the rows that are cleaned, in their
        places.
        """
        rules = self.rules(name, role, column, settings, titles)
        if of_rows is None:
            cleaned = split_column(column, rules)
            self._add(name, role, cleaned.counts)
            return cleaned.cells
        cleaned = split_column(of_rows.cells(column), rules)
        self._add(name, role, cleaned.counts)
        self._add_effects(name, role, rules, cleaned.rest, of_rows)
        return of_rows.placed(cleaned.cells)

    def are_values(self, name: str, texts: Sequence[str], settings: ValueSettings) -> BoolArray:
        """Return which texts [N] are no certain words for nothing, and count those that are."""
        keys = frozenset(map(word_key, settings.missing))
        keep = np.ones(len(texts), bool)
        counts = ColumnCounts()
        for place, text in enumerate(texts):
            value = clean(text)
            doubt = doubt_of(value) if value is not None and settings.usual_missing else None
            if value is not None and (word_key(value) in keys or doubt is Doubt.CERTAIN):
                counts.missing[value] += 1
                keep[place] = False
            elif value is None or doubt is Doubt.SIGN:
                keep[place] = False
                counts.missing.update([value] if value is not None else [])
        self._add(name, Role.TEXT, counts)
        return keep

    def values_of_cell(self, name: str, text: str, rules: ColumnRules) -> list[str]:
        """Return the clean values of one cell of a column of properties by given rules."""
        values, changes = values_of(text, rules)
        if changes is not None:
            counts = ColumnCounts()
            changes.add_to(counts, 1)
            self._add(name, Role.PROPERTY, counts)
        return values

    def taken_counts(self) -> dict[str, ColumnCounts]:
        """Return what was done since the last call, by column."""
        counts: dict[str, ColumnCounts] = {}
        for (name, role), each in self._counts.items():
            # The same cells may be a property and a level of the category as well.
            if role is Role.PROPERTY or (name, Role.PROPERTY) not in self._counts:
                add_counts(counts, {name: each})
        self._counts = {}
        return counts

    def _add_effects(
        self, name: str, role: Role, rules: ColumnRules, rest: _Rest, of_rows: OfRows
    ) -> None:
        """Note what was done in each row, and count what is known of the other rows."""
        rest.add_effects(name, role, rules, of_rows)
        self._add(name, role, of_rows.effects.known_counts(name, role.value))

    def _add(self, name: str, role: Role, counts: ColumnCounts) -> None:
        if counts != ColumnCounts():
            self._counts.setdefault((name, role), ColumnCounts())
            self._counts[name, role] += counts


def _taken(values: Sequence[list[str]], encoded: pa.DictionaryArray) -> SplitCells:
    taken = pa.array(values, pa.list_(pa.string())).take(encoded.indices)
    rows = pc.list_parent_indices(taken).to_numpy(zero_copy_only=False).astype(np.int64)
    return SplitCells(rows, pc.list_flatten(taken))


def _dictionary_encode(column: pa.Array) -> pa.DictionaryArray:
    return pc.dictionary_encode(_one_array(column))


def _one_array(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.cast(pa.string())
