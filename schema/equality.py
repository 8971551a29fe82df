"""Which texts of a property are one value: those that only case, space or spelling tell apart.

Two texts are equal if their keys are. ``1.2 kg`` and ``1200 g`` have one key, ``yes`` and ``YES``,
``café`` in either form of Unicode, and 31.12.2024 and 2024-12-31; translations and synonyms have
not. Of the texts with one key the commonest stands for all in the ontology's vocabulary, and so in
training and completion; stores keep what each item says.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from schema.currencies import parse_price
from schema.dates import parse_date
from schema.literals import Reading
from schema.numbers import UNCLEAR, parse_number
from schema.property_names import name_hint
from schema.quantities import Amount, Context, Dimensions, Range, parse_quantity
from schema.units import base_number, find_unit, rounded

_VERSION_NAME = re.compile(
    r"version|firmware|release|revision|software|\bos\b|android|ios|model|modell|chapter|grade",
    re.IGNORECASE,
)
"""Names of properties in which 1.1 is not 1.10."""

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−﹘﹣－", "-"),
        **dict.fromkeys("‘’‚‛′＇ʼ´`", "'"),
        **dict.fromkeys("“”„‟″＂", '"'),
        **dict.fromkeys("×✕⨯", "x"),
        # NFKC would make 10² one with 102.
        **{raised: f"^{digit}" for raised, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)},
    }
)
_WIDE = {0xFF01 + code: 0x21 + code for code in range(94)} | {0x3000: 0x20}
"""The wide forms of Asian type, as which digits and letters are the same."""
# A space matters between two words and between two numbers, but not in "16 GB" or "a / b".
_IDLE_SPACE = re.compile(
    r"(?<=[0-9])\s+(?=[^\W\d_])|(?<=[^\W\d_])\s+(?=[0-9])|\s+(?=[/:;,.+&x*)\]-])|(?<=[/:;,.+&*(\[-])\s+"
)


@dataclass(frozen=True, slots=True)
class Equality:
    """How the texts of a property are compared.

    Attributes:
        reading: how they are read
        case_sensitive: whether texts that differ in case are different values
        keeps_numbers: whether differently written numbers are different values, as in versions
        bare_is_unit: whether a number without a unit is in the property's, by the property's name
    """

    reading: Reading
    case_sensitive: bool = False
    keeps_numbers: bool = False
    bare_is_unit: bool = False

    def key(self, text: str) -> str:
        """Return the key of a text; texts of one key are one value."""
        if self.reading.datatype == "identifier":
            return " ".join(unicodedata.normalize("NFC", text).split())
        literal = None if self.keeps_numbers else self._literal_key(text)
        if literal is not None:
            return literal
        return text_key(text, self.case_sensitive)

    def coarse_key(self, text: str) -> str:
        """Return a key that is equal for texts of one key, and for a few others.

        It is quickly computed, and most texts of a catalogue have one of their own.
        """
        text = text.strip()
        is_text = self.reading.datatype in ("string", "text", "boolean")
        if not is_text or text[:1].isdecimal() or not text.isascii():
            return self.key(text).replace(" ", "")
        return text.casefold().replace(" ", "")

    def coarse_keys(self, texts: Sequence[str]) -> list[str]:
        """Return the coarse key of each text; most are found for all texts at once."""
        is_text = self.reading.datatype in ("string", "text", "boolean")
        is_identifier = self.reading.datatype == "identifier"
        together = "".join(texts)
        if not (is_text or is_identifier) or not (together.isascii() and together.isprintable()):
            return list(map(self.coarse_key, texts))
        joined = "\n".join(texts).replace(" ", "")
        keys = (joined.casefold() if is_text else joined).split("\n") if texts else []
        if is_text:
            # What begins with a number may be a quantity, which can be written in many ways.
            for place, key in enumerate(keys):
                if key[:1].isdecimal():
                    keys[place] = self.coarse_key(texts[place])
        return keys

    def _literal_key(self, text: str) -> str | None:
        """Return the key of what a text stands for; None if it stands for nothing but itself."""
        reading = self.reading
        stripped = text.strip()
        if not stripped.isascii():
            stripped = stripped.translate(_WIDE)
        match reading.datatype:
            case "integer" | "decimal":
                return _number_key(stripped, reading)
            case "quantity":
                return self._quantity_key(stripped)
            case "date":
                day = parse_date(stripped, reading.date_order)
                return None if day is None else f"= {day.isoformat()}"
            case "string":
                # Of sizes such as "500 ml" and "large", some are quantities nevertheless.
                return self._quantity_key(stripped) if stripped[:1].isdecimal() else None
        return None

    def _quantity_key(self, text: str) -> str | None:
        unit = find_unit(self.reading.unit) if self.reading.unit else None
        mark = self.reading.decimal_mark if unit else UNCLEAR
        context = Context(unit.dimension if unit else None, unit, mark)
        quantity = parse_quantity(text, context)
        if quantity is None:
            return None
        if not quantity.has_unit and not self.bare_is_unit:
            # 500 beside 500 g is probably the same, but nothing says so.
            return f"= {_amount_text(quantity.amount, str)}"

        def base(number: float) -> str:
            """Return a number in the base unit, as text."""
            return f"{rounded(base_number(number, quantity.unit)):.10g}"

        about = "~" if quantity.is_about else ""
        return f"= {about}{_amount_text(quantity.amount, base)} {quantity.unit.dimension}"


def _amount_text(amount: Amount, text_of: Callable[[float], str]) -> str:
    match amount:
        case Range(low, high):
            ends = ["" if end is None else text_of(end) for end in (low, high)]
            return "..".join(ends)
        case Dimensions(numbers):
            return " x ".join(map(text_of, numbers))
        case number:
            return text_of(number)


def _number_key(text: str, reading: Reading) -> str | None:
    number = parse_number(text, reading.decimal_mark)
    if number is not None:
        return f"= {number:.15g}"
    price = parse_price(text, reading.decimal_mark)
    if price is None:
        return None
    return f"= {price.number:.15g} {price.currency or ''}".rstrip()


def text_key(text: str, case_sensitive: bool = False) -> str:
    """Return a text without the differences of spelling that never matter."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_SIGNS))
    if not case_sensitive:
        # Twice, because casefolding may undo the normal form.
        text = text.casefold()
        if not text.isascii():
            text = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(text.split())
    return _IDLE_SPACE.sub("", text) if " " in text else text


_CODE_LIKE = re.compile(r"(?=[^\d\s]*\d)(?=[^A-Za-z\s]*[A-Za-z])[\w./#+-]{4,}\Z", re.ASCII)
_CASE_NAME = re.compile(
    r"part|model|mpn|code|symbol|\bgenes?\b|unit|einheit|unidad|unité|number|nummer|serial|sku|ref",
    re.IGNORECASE,
)


def is_case_sensitive(name: str, values: Sequence[str]) -> bool:
    """Return whether texts of a property that differ in case are different values.

    They are, if most of them are codes (``AB12c``), if they are units (``mW`` beside ``MW``), or if
    the property's name says so and single letters differ in case.
    """
    folded: dict[str, str] = {}
    pairs = []
    for value in values:
        other = folded.setdefault(value.casefold(), value)
        if other != value:
            pairs.append((other, value))
    if not pairs:
        return False
    codes = sum(bool(_CODE_LIKE.match(value)) for value in values)
    if 2 * codes > len(values) and _CASE_NAME.search(name):
        return True
    if any(_are_different_units(*pair) for pair in pairs):
        units = sum(find_unit(value) is not None for value in values)
        return 2 * units > len(values)
    singles = [pair for pair in pairs if len(pair[0]) == 1]
    # Vitamins, genes and blood groups, of which several letters come in both cases.
    return len(singles) >= MIN_SINGLES and bool(_CASE_NAME.search(name))


MIN_SINGLES = 3


def _are_different_units(one: str, other: str) -> bool:
    first = find_unit(one)
    second = find_unit(other)
    return first is not None and second is not None and first != second


def equality_of(name: str, reading: Reading, case_sensitive: bool = False) -> Equality:
    """Return how the texts of a property are compared, by its name and how it is read."""
    is_number = reading.datatype in ("integer", "decimal")
    unit = name_hint(name).unit if reading.datatype == "quantity" else None
    return Equality(
        reading,
        case_sensitive,
        keeps_numbers=is_number and bool(_VERSION_NAME.search(name)),
        bare_is_unit=unit is not None and unit.symbol == reading.unit,
    )


@dataclass(frozen=True, slots=True)
class Merge:
    """The texts that are one value: the one that is shown, and the others."""

    shown: str
    others: tuple[str, ...]


def find_merges(
    values: Sequence[str],
    counts: Sequence[int],
    key_of: Callable[[str], str],
    synonyms: Mapping[str, Iterable[str]] | None = None,
    coarse_keys_of: Callable[[Sequence[str]], list[str]] | None = None,
) -> list[Merge]:
    """Return the groups of equal values, of which the commonest is shown.

    Values that are equally common are in alphabetical order. ``synonyms`` names for some values
    others that are the same; each of them is shown as the first of its own. ``coarse_keys_of``
    returns quicker keys, by which those that are equal to no other are passed over.
    """
    if coarse_keys_of is not None and not synonyms:
        coarse = coarse_keys_of(values)
        shared = Counter(coarse)
        if len(shared) == len(coarse):
            return []
        candidates = [index for index, key in enumerate(coarse) if shared[key] > 1]
        values = [values[index] for index in candidates]
        counts = [counts[index] for index in candidates]
    keys = list(map(key_of, values))
    if len(set(keys)) == len(keys) and not synonyms:
        return []
    leader = synonym_keys(synonyms or {}, key_of)
    groups: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(leader.get(key, key), []).append(index)
    wanted = {leader.get(key_of(shown), key_of(shown)): shown for shown in synonyms or {}}
    merges = []
    for key, group in groups.items():
        if len(group) < 2 and key not in wanted:
            continue
        ordered = sorted((values[index] for index in group), key=_by_count(values, counts, group))
        shown = wanted.get(key, ordered[0])
        others = tuple(value for value in ordered if value != shown)
        if others:
            merges.append(Merge(shown, others))
    return merges


def _by_count(
    values: Sequence[str], counts: Sequence[int], group: Sequence[int]
) -> Callable[[str], tuple[int, str]]:
    count = {values[index]: counts[index] for index in group}
    return lambda value: (-count[value], value)


def synonym_keys(
    synonyms: Mapping[str, Iterable[str]], key_of: Callable[[str], str]
) -> dict[str, str]:
    """Return for the key of each synonym that of the value it stands for."""
    leader = {
        key_of(other): key_of(shown) for shown, others in synonyms.items() for other in others
    }

    def last(key: str) -> str:
        """Follow a chain of synonyms, which may be a circle."""
        seen = {key}
        while key in leader and leader[key] not in seen:
            key = leader[key]
            seen.add(key)
        return min(seen) if key in leader else key

    return {key: last(key) for key in leader}
