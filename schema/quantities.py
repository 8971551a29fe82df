"""Quantities: one or several numbers with units, in the forms that catalogues write.

- a number and a unit: ``1.2 kg``, ``1/2 in``, ``1 1/2"``, ``½ in``, ``approx. 2 kg``
- the parts of one quantity: ``5'11"``, ``6 ft 1 in``, ``2 lbs 3 oz``, ``1 h 30 min``
- a range: ``10-20 cm``, ``10 to 20 cm``, ``10 ± 0.5 mm``, ``max. 5 kg``, ``<3 mm``
- dimensions: ``10 x 20 x 5 cm``, ``B 60 x T 40 x H 80 cm``
- the same in other units: ``30.5 cm (12 in)``, ``12 in / 30.5 cm``
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from schema.numbers import NUMBER, parse_number
from schema.units import Unit, convert, find_unit

MAX_LENGTH = 64
MAX_PARTS = 4
"""Of dimensions: length, width, height, and one more for sets of three with a thickness."""


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from ``low`` to ``high``, of which one can be open."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Several lengths in the order in which they are written."""

    numbers: tuple[float, ...]


Amount = float | Range | Dimensions


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount and its unit, as they are written; ``is_about`` for one that is approximate.

    ``has_unit`` is whether the unit is written, and not only taken from the property.
    """

    amount: Amount
    unit: Unit
    is_about: bool = False
    has_unit: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a property: the dimension it measures, its unit, and its decimal mark."""

    dimension: str | None = None
    unit: Unit | None = None
    decimal_mark: str = "."


_VULGAR = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅖": "2/5",
    "⅗": "3/5",
    "⅘": "4/5",
    "⅙": "1/6",
    "⅚": "5/6",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
_EXPONENT = re.compile(r"(?<=[^\W\d_])\^([23])(?![0-9])")
_VULGAR_FRACTION = re.compile(rf"([0-9]?)\s?([{''.join(_VULGAR)}])")
_FRACTION = r"(?:[0-9]{1,4}[ -])?[0-9]{1,3}/[1-9][0-9]{0,2}"
_UNIT = r"[^\W\d_]|[\"'″′”“’%°º℃℉Ω㎡㎥ℓ％]"
# A unit begins with a letter or a sign of its own and ends before the next number; the exponent of
# a composed one belongs to it.
_UNIT_TEXT = (
    rf"(?:{_UNIT})(?:[^0-9(),;x×*±~<>≤≥–—\n]|[²³⁻¹]|(?<=[a-z])[23](?![0-9.,])|x(?!\s?[0-9]))*"
)
_PART = re.compile(
    rf"(?P<number>{_FRACTION}(?![0-9.,/])|{NUMBER})(?![.,]?[0-9])(?:\s|-(?=[^\W\d_]))?(?P<unit>{_UNIT_TEXT})?",
    re.IGNORECASE,
)
_SIMPLE = re.compile(rf"({NUMBER})[ -]?([^0-9\s,.+(-][^0-9(]{{0,15}})\Z")
_ABOUT = re.compile(
    r"(?:approx(?:imately|\.)?|appr\.|ca\.?|circa|about|around|roughly|etwa|ungefähr|rund|env(?:iron|\.)"
    r"|aprox(?:imadamente|\.)|около|прибл\.?|примерно|około|ok\.|cirka|asi|cca\.?|约|約|およそ|약|[~≈≃∼])\s*",
    re.IGNORECASE,
)
_AT_MOST = re.compile(
    r"(?:up to|max(?:imum|imal|imale?|\.)?:?|at most|less than|under|below|bis zu|bis"
    r"|höchstens|unter|jusqu['’]à|moins de|hasta|menos de|máx\.?|fino a|até|tot|maks\.?"
    r"|до|не более|最大|最多|最高|[<≤]=?)\s*",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(
    r"(?:min(?:imum|imal|imale?|d\.|destens|\.)?:?|at least|more than|over|from|ab|über|au moins"
    r"|à partir de|plus de|desde|al menos|mín\.?|da|od|от|не менее|最小|最少|最低|[>≥]=?)\s*",
    re.IGNORECASE,
)
_BOUND_BEHIND = re.compile(
    r"\s*(?:\(?(?P<most>max)\.?\)?|\(?(?P<least>min)\.?\)?)\Z", re.IGNORECASE
)
_TIMES = re.compile(r"\s*(?:[×*✕⨯хХxX]|\bby\b|\bauf\b)\s*(?=[0-9.,+-])")
_BETWEEN = re.compile(
    r"\s*(?:-|–|—|−|~|…|\.{2,3}|\bto\b|\bbis\b|\bà\b|\ba\b|\bal\b|\bдо\b|\btot\b|\bdo\b|至|到)\s*",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:\(?(?:[LWHDBTHØø]|dia|length|width|height|depth|länge|breite|höhe|tiefe)\)?[.:=]?\s*)(?=[0-9])",
    re.IGNORECASE,
)
_LABEL_BEHIND = re.compile(r"\s*\(?[LWHDBT]\)?(?=\s*(?:[x×*]|\Z))", re.IGNORECASE)
_DENOMINATORS = (2, 3, 4, 8, 16, 32, 64)
_BEGINNING = re.compile(
    rf"[+\-−.,]?[0-9]|{_ABOUT.pattern}|{_AT_MOST.pattern}|{_AT_LEAST.pattern}|{_LABEL.pattern}",
    re.IGNORECASE,
)
_HAS_NUMBER = re.compile(rf"[0-9]|[{''.join(_VULGAR)}]")


def parse_quantity(text: str, context: Context = Context()) -> Quantity | None:
    """Return the quantity that a text is; None if it is none.

    A number without a unit is in that of the ``context``, if it has one.
    """
    if not _HAS_NUMBER.search(text):
        return None
    simple = _SIMPLE.match(text)
    if simple:
        unit = find_unit(simple[2], context.dimension)
        number = parse_number(simple[1], context.decimal_mark)
        if unit is not None and number is not None:
            return Quantity(number, unit)
    elif context.unit is not None:
        number = parse_number(text, context.decimal_mark)
        if number is not None:
            return Quantity(number, context.unit, has_unit=False)
    if len(text) > MAX_LENGTH or "\n" in text:
        return None
    text = _EXPONENT.sub(lambda found: "²³"[found[1] == "3"], text)
    text = _VULGAR_FRACTION.sub(
        lambda found: f"{found[1]} {_VULGAR[found[2]]}" if found[1] else _VULGAR[found[2]], text
    ).strip()
    if not _BEGINNING.match(text):
        return None
    about = _ABOUT.match(text)
    if about:
        text = text[about.end() :]
    quantity = _whole(text, context)
    if quantity is None or not about:
        return quantity
    return Quantity(quantity.amount, quantity.unit, True, quantity.has_unit)


def converted(quantity: Quantity, target: Unit) -> Amount | None:
    """Return the amount of a quantity in another unit; None if the two measure different things."""

    def of(number: float) -> float:
        """Return one number in the target unit."""
        result = convert(number, quantity.unit, target)
        return number if result is None else result

    if quantity.unit.dimension != target.dimension:
        return None
    match quantity.amount:
        case Range(low, high):
            return Range(None if low is None else of(low), None if high is None else of(high))
        case Dimensions(numbers):
            return Dimensions(tuple(map(of, numbers)))
        case number:
            return of(number)


def _whole(text: str, context: Context) -> Quantity | None:
    """Return the quantity that a text is as a whole, in any of the forms."""
    for parse in (_single, _bounded, _tolerance, _dimensions, _range, _twice):
        quantity = parse(text, context)
        if quantity is not None:
            return quantity
    return None


@dataclass(frozen=True, slots=True)
class _Part:
    """A number, and the unit behind it if it has one."""

    number: float
    unit: Unit | None


def _parts(text: str, context: Context) -> list[_Part] | None:
    """Return the numbers of a text, which is nothing but numbers with and without units."""
    parts: list[_Part] = []
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None or len(parts) == MAX_PARTS:
            return None
        number = _number(found["number"], context)
        spelling = (found["unit"] or "").strip(" ,-")
        unit = find_unit(spelling, context.dimension) if spelling else None
        if number is None or (spelling and unit is None):
            return None
        parts.append(_Part(number, unit))
        position = found.end()
        while position < len(text) and text[position] in " ,":
            position += 1
    return parts or None


def _number(text: str, context: Context) -> float | None:
    if "/" not in text:
        return parse_number(text, context.decimal_mark)
    whole, _, fraction = text.replace("-", " ").rpartition(" ")
    numerator, denominator = map(int, fraction.split("/"))
    # 110/230 V and 5/10 A are two numbers; 3/8 in and 1/100 s are one.
    if numerator != 1 and denominator not in _DENOMINATORS:
        return None
    if math.gcd(numerator, denominator) != 1:
        return None
    return int(whole or 0) + numerator / denominator


def _single(text: str, context: Context) -> Quantity | None:
    """Parse a quantity of one part, or of several that fall: feet and inches."""
    parts = _parts(text, context)
    if parts is None:
        return None
    first = parts[0]
    if len(parts) == 1:
        if first.unit is not None:
            return Quantity(first.number, first.unit)
        return Quantity(first.number, context.unit, has_unit=False) if context.unit else None
    if first.unit is None:
        return None
    total = first.number
    unit = first.unit
    for part in parts[1:]:
        # In 6'2 and 1h30 nothing stands behind the last number.
        smaller = part.unit or _SMALLER.get(unit.symbol) if part is parts[-1] else part.unit
        if isinstance(smaller, str):
            smaller = find_unit(smaller)
        if smaller is None or smaller.factor >= unit.factor or part.number < 0:
            return None
        number = convert(part.number, smaller, first.unit)
        # 1 ft 20 in is rather a width and a height.
        if number is None or part.number * smaller.factor >= unit.factor or first.unit.offset:
            return None
        total += number
        unit = smaller
    return Quantity(float(f"{total:.10g}"), first.unit)


_SMALLER = {"ft": "in", "h": "min", "lb": "oz", "min": "s"}


def _bounded(text: str, context: Context) -> Quantity | None:
    """Parse a quantity that is at most or at least something."""
    for pattern, is_most in ((_AT_MOST, True), (_AT_LEAST, False)):
        found = pattern.match(text)
        if found:
            return _bound(_single(text[found.end() :], context), is_most)
    behind = _BOUND_BEHIND.search(text)
    if behind:
        return _bound(_single(text[: behind.start()], context), bool(behind["most"]))
    return None


def _bound(quantity: Quantity | None, is_most: bool) -> Quantity | None:
    if quantity is None or not isinstance(quantity.amount, float | int):
        return None
    bound = Range(None, quantity.amount) if is_most else Range(quantity.amount, None)
    return Quantity(bound, quantity.unit, has_unit=quantity.has_unit)


def _tolerance(text: str, context: Context) -> Quantity | None:
    """Parse a quantity with what it may be off by: 10 ± 0.5 mm."""
    centre_text, sign, off_text = re.sub(r"\+/-|\+-", "±", text).partition("±")
    if not sign:
        return None
    both = _in_one_unit([centre_text.strip(), off_text.strip()], context)
    if both is None or both.unit.offset or both.numbers[1] < 0:
        return None
    centre, off = both.numbers
    low = float(f"{centre - off:.10g}")
    high = float(f"{centre + off:.10g}")
    return Quantity(Range(low, high), both.unit, has_unit=both.has_unit)


def _dimensions(text: str, context: Context) -> Quantity | None:
    """Parse lengths with a sign of multiplication between them."""
    texts = _TIMES.split(_LABEL_BEHIND.sub("", _LABEL.sub("", text)))
    if not 2 <= len(texts) <= MAX_PARTS:
        return None
    lengths = _in_one_unit(texts, context)
    if lengths is None or lengths.unit.dimension not in ("length", "pixels"):
        return None
    return Quantity(Dimensions(tuple(lengths.numbers)), lengths.unit, has_unit=lengths.has_unit)


def _range(text: str, context: Context) -> Quantity | None:
    """Parse two quantities with a sign or word between them: 10-20 cm, -20 to +60 °C."""
    for between in _BETWEEN.finditer(text, 1):
        ends = _in_one_unit([text[: between.start()], text[between.end() :]], context)
        if ends is not None and ends.numbers[0] <= ends.numbers[1]:
            low, high = ends.numbers
            return Quantity(Range(low, high), ends.unit, has_unit=ends.has_unit)
    return None


def _twice(text: str, context: Context) -> Quantity | None:
    """Parse a quantity with the same in another unit behind it, of which the first is taken."""
    found = re.fullmatch(r"([^()/]+?)\s*(?:\(\s*([^()]+?)\s*\)|/\s+([^()/]+))", text)
    if found is None:
        return None
    first = _whole(found[1], Context(context.dimension, None, context.decimal_mark))
    second = _whole(found[2] or found[3], context)
    if first is None or second is None or first.unit == second.unit:
        return None
    in_first = converted(second, first.unit)
    both = first.amount, in_first
    if not all(isinstance(amount, float | int) and amount > 0 for amount in both):
        return None if in_first is None or type(in_first) is not type(first.amount) else first
    # Rounded, the two differ; 30 cm (5 in) are two quantities.
    ratio = float(first.amount) / float(in_first)  # type: ignore[arg-type]
    return first if 0.8 < ratio < 1.25 else None


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Numbers in one unit."""

    numbers: list[float]
    unit: Unit
    has_unit: bool


def _in_one_unit(texts: Sequence[str], context: Context) -> _Numbers | None:
    """Return several quantities in the unit of the last; those without a unit are in it as well."""
    found: list[Quantity] = []
    bare = Context(context.dimension, None, context.decimal_mark)
    for text in texts:
        parts = _parts(text.strip(), bare)
        if parts is None:
            return None
        quantity = _single(text.strip(), bare)
        if quantity is None and len(parts) > 1:
            return None
        found.append(quantity or Quantity(parts[0].number, _NO_UNIT, has_unit=False))
    units = [each.unit for each in found if each.has_unit]
    unit = units[-1] if units else context.unit
    if unit is None or (units and not found[-1].has_unit):
        return None
    numbers = []
    for each in found:
        number = convert(float(each.amount), each.unit, unit) if each.has_unit else each.amount  # type: ignore[arg-type]
        if number is None:
            return None
        numbers.append(float(number))  # type: ignore[arg-type]
    return _Numbers(numbers, unit, bool(units))


_NO_UNIT = Unit("", "", 1.0)
