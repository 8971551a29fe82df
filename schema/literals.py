"""Literals: the number, quantity, date or truth value in a statement's text, for comparing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeAlias

from schema.currencies import PRICE_WORDS, find_currency, parse_price
from schema.dates import DAY_FIRST, infer_date_order, parse_date
from schema.identifiers import gtin_fault, names_identifier
from schema.numbers import (
    NUMBER,
    UNCLEAR,
    WHOLE_NUMBER,
    MarkVotes,
    decide_decimal_mark,
    decimal_mark_of,
    is_whole,
    parse_number,
)
from schema.property_names import name_hint
from schema.quantities import Context, Dimensions, Quantity, Range, converted, parse_quantity
from schema.truth import FALSE_WORDS, TRUE_WORDS, fold, is_truth_property, parse_truth
from schema.unit_table import SHARED_LETTERS
from schema.units import Unit, find_unit, spellings

DATATYPES = (
    "string",
    "text",
    "identifier",
    "integer",
    "decimal",
    "quantity",
    "boolean",
    "date",
)
NOT_LEARNED = ("text", "identifier", "date")
"""Datatypes whose values are no classes: nearly every item has another one."""

UNPARSED = ("string", "text", "identifier")
"""Datatypes as which any text is read."""

NUMBERS = ("integer", "decimal", "quantity")
"""Datatypes of amounts, whose values are classes only where few of them come up again and again."""

MIN_PARSED_SHARE = 0.95
"""Share of a property's statements that must parse: a few wrong values do not hide its datatype."""

Literal: TypeAlias = float | int | bool | date | Range | Dimensions


@dataclass(frozen=True, slots=True)
class Reading:
    """How the texts of a property are read.

    Attributes:
        datatype: one of ``DATATYPES``
        unit: the unit of quantities, or the currency of prices
        decimal_mark: that of numbers like 1,250; see :mod:`schema.numbers`
        date_order: that of dates like 03/04/2024; see :mod:`schema.dates`
        remark: what a person should know or decide
        unread: ``dates`` or ``numbers`` if it is a string only because they cannot be read yet
    """

    datatype: str = "string"
    unit: str | None = None
    decimal_mark: str = "."
    date_order: str = ""
    remark: str = ""
    unread: str = ""


def parse_literal(
    text: str, datatype: str, unit: str | None = None, decimal_mark: str = ".", date_order: str = ""
) -> Literal | None:
    """Return the literal that a text stands for; None if it does not parse as the datatype.

    A quantity is converted to ``unit``: "12 in" is 30.48 in "cm". See :class:`Reading`.
    """
    text = text.strip()
    match datatype:
        case "boolean":
            return parse_truth(text)
        case "quantity":
            return _parse_in_unit(text, find_unit(unit) if unit else None, decimal_mark)
        case "date":
            return parse_date(text, date_order)
        case "integer" | "decimal":
            return _parse_number(text, datatype, unit, decimal_mark)
    return None


def _parse_number(text: str, datatype: str, unit: str | None, mark: str) -> float | int | None:
    number = parse_number(text, mark)
    digits = text
    if number is None:
        price = parse_price(text, mark)
        if price is None or (unit is not None and price.currency not in (unit, None)):
            return None
        number = price.number
        digits = price.digits
    if datatype == "decimal":
        return number
    # "2.0" is a decimal, even though it is a whole number.
    return int(number) if is_whole(digits, number, mark) else None


def _parse_in_unit(text: str, target: Unit | None, mark: str) -> float | Range | Dimensions | None:
    """Parse a quantity and convert it; a bare number is taken to be in the target unit already."""
    if target is None:
        quantity = parse_quantity(text, Context(decimal_mark=mark))
        return parse_number(text, mark) if quantity is None else quantity.amount
    quantity = parse_quantity(text, Context(target.dimension, target, mark))
    return converted(quantity, target) if quantity is not None else None


def parse_with(reading: Reading, text: str) -> Literal | None:
    """Return the literal that a text stands for in a reading, as :func:`parse_literal` does."""
    return parse_literal(
        text, reading.datatype, reading.unit, reading.decimal_mark, reading.date_order
    )


MAX_PARSED = 20_000
"""Distinct values from which a datatype is inferred; of more, a part stands for the others."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The distinct values of a property, the most frequent first, and how often each occurs.

    ``sample`` and ``weights`` are those that are parsed: half of them the most frequent, and the
    others each for a number of rarer ones.
    """

    values: Sequence[str]
    counts: Sequence[int]
    sample: Sequence[str]
    weights: Sequence[int]

    @classmethod
    def of(cls, values: Sequence[str], counts: Sequence[int]) -> Vocabulary:
        """Draw the sample, the same one for the same values."""
        if len(values) <= MAX_PARSED:
            return cls(values, counts, values, counts)
        frequent = MAX_PARSED // 2
        step = -(-(len(values) - frequent) // frequent)
        rest = range(frequent, len(values), step)
        return cls(
            values,
            counts,
            [*values[:frequent], *(values[index] for index in rest)],
            [*counts[:frequent], *(counts[index] * step for index in rest)],
        )

    @property
    def total(self) -> int:
        """The number of statements, going by the sample."""
        return sum(self.weights)

    def parses(self, is_parsed: Callable[[str], object], share: float = MIN_PARSED_SHARE) -> bool:
        """Return whether enough of the statements parse, giving up as soon as too few can."""
        allowed = (1 - share) * self.total
        wrong = 0
        for value, weight in zip(self.sample, self.weights, strict=True):
            if is_parsed(value) is None:
                wrong += weight
                if wrong > allowed:
                    return False
        return True


@dataclass(frozen=True, slots=True)
class Inference:
    """How a property is read, and what its numbers show about decimal marks."""

    reading: Reading
    votes: MarkVotes = MarkVotes()  # noqa: RUF009  # frozen

    @property
    def depends_on_others(self) -> bool:
        """Whether the decimal mark of the catalogue's other numbers makes a difference."""
        return self.votes.either > 0 and not (self.votes.point or self.votes.comma)


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of how a property is read before its values are looked at.

    Where a field is None, the values decide. ``remarks`` are what a person should know about some
    of the fields, if any value depends on them.
    """

    datatype: str | None = None
    unit: str | None = None
    decimal_mark: str | None = None
    date_order: str | None = None
    remarks: tuple[tuple[str, str], ...] = ()


NOTHING_GIVEN = Given()


@dataclass(frozen=True, slots=True)
class Hints:
    """What helps to infer a reading beside the values: what is given, and the usual decimal mark.

    ``elsewhere`` is the decimal mark of the catalogue's other numbers.
    """

    given: Given = NOTHING_GIVEN
    elsewhere: str = "."

    @property
    def mark(self) -> str:
        """The decimal mark before any number is looked at."""
        return self.given.decimal_mark or self.elsewhere

    def decide_mark(self, votes: MarkVotes) -> str:
        """Return the decimal mark of the property's ambiguous numbers."""
        return self.given.decimal_mark or decide_decimal_mark(votes, self.elsewhere)

    def decide_order(self, texts: Sequence[str]) -> str | None:
        """Return the order of the property's dates; None if its dates have both orders."""
        order = self.given.date_order
        return infer_date_order(texts) if order is None else order


def infer_freely(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference:
    """Infer a reading whose datatype is not given."""
    if not vocabulary.total:
        return Inference(Reading())
    if names_identifier(name) or _are_gtins(vocabulary):
        return Inference(Reading("identifier"))
    for infer in (_infer_truth, _infer_date, _infer_number, _infer_price, _infer_quantity):
        inference = infer(name, vocabulary, hints)
        if inference is not None:
            return inference
    if _is_prose(vocabulary):
        return Inference(Reading("text"))
    remark = unclear_dates(vocabulary)
    if remark:
        return Inference(Reading(remark=remark, unread="dates"))
    return Inference(Reading("identifier") if _are_codes(vocabulary) else Reading())


def _infer_truth(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference | None:
    if not vocabulary.parses(parse_truth):
        return None
    texts = [value for value in vocabulary.sample if parse_truth(value) is not None]
    is_truth = is_truth_property(frozenset(map(fold, texts)), frozenset(texts))
    return Inference(Reading("boolean")) if is_truth else None


_DATE_NAME = re.compile(r"dat(?:e|um|a)(?:$|[^a-z])|fecha|дата|日期|日付|날짜|tarih", re.IGNORECASE)
_COMPACT_DATE = re.compile(r"(?:19|20)\d{6}\Z", re.ASCII)


def _infer_date(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference | None:
    # Most numbers would be ruled out only after their last value.
    is_date = _could_be_date if not _DATE_NAME.search(name) else _could_be_date_or_digits
    if not vocabulary.parses(is_date):
        return None
    order = hints.decide_order(vocabulary.values)
    if order is None:
        return None
    if vocabulary.parses(lambda text: parse_date(text, order)):
        return Inference(Reading("date", date_order=order))
    return None


def _could_be_date(text: str) -> date | None:
    return None if _COMPACT_DATE.match(text) else _could_be_date_or_digits(text)


def _could_be_date_or_digits(text: str) -> date | None:
    return parse_date(text) or parse_date(text, DAY_FIRST)


def unclear_dates(vocabulary: Vocabulary) -> str:
    """Return a remark about dates that could be read in two orders; "" if there are none."""
    if not vocabulary.parses(_could_be_date_in_any_order):
        return ""
    if infer_date_order(vocabulary.values) is None:
        return "its dates have the day first in some values and the month first in others"
    example = next((value for value in vocabulary.sample if parse_date(value) is None), "")
    return (
        f'its dates can be read in two ways ({example}): set datatype = "date" and date_order = '
        '"dmy" or "mdy" in ontology.toml'
    )


def _could_be_date_in_any_order(text: str) -> date | None:
    return _could_be_date(text) or parse_date(text, "mdy")


def _infer_number(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference | None:
    if not vocabulary.parses(parse_number):
        return None
    votes = _votes(vocabulary.values, vocabulary.counts)
    mark = hints.decide_mark(votes)
    hint = name_hint(name)
    unit = hint.currency or (hint.unit.symbol if hint.unit else None)
    reading = Reading("decimal", unit, mark, remark=mark_remark(votes, mark))
    if not vocabulary.parses(lambda text: parse_number(text, mark)):
        return _unread(votes, mark, reading.remark)
    if hint.unit is not None:
        return Inference(replace(reading, datatype="quantity"), votes)
    if vocabulary.parses(lambda text: _parse_number(text, "integer", None, mark)):
        if _are_long_numbers(vocabulary):
            return Inference(Reading("identifier"), votes)
        return Inference(replace(reading, datatype="integer"), votes)
    return Inference(reading, votes)


def _infer_price(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference | None:
    if not vocabulary.parses(parse_price):
        return None
    currencies: Counter[str] = Counter()
    digits = []
    for value, count in zip(vocabulary.sample, vocabulary.weights, strict=True):
        price = parse_price(value)
        digits.append(price.digits if price else "")
        if price and price.currency:
            currencies[price.currency] += count
    votes = _votes(digits, vocabulary.weights)
    mark = hints.decide_mark(votes)
    currency: str | None = None
    remark = mark_remark(votes, mark)
    for most_used, count in currencies.most_common(1):
        if count >= MIN_PARSED_SHARE * currencies.total():
            currency = most_used
    if currency is None and currencies:
        listed = ", ".join(sorted(currencies))
        remark = f"its prices have several currencies ({listed}), and their numbers say little"
    if not vocabulary.parses(lambda text: _parse_number(text, "decimal", currency, mark)):
        return _unread(votes, mark, remark)
    is_whole_price = vocabulary.parses(lambda text: _parse_number(text, "integer", currency, mark))
    datatype = "integer" if is_whole_price else "decimal"
    return Inference(Reading(datatype, currency, mark, remark=remark), votes)


_ONE_LETTER = re.compile(r"[^A-Za-z]*\d[^A-Za-z]*[A-Za-z]\.?\Z")


def _infer_quantity(name: str, vocabulary: Vocabulary, hints: Hints) -> Inference | None:
    hint = name_hint(name)
    context = Context(hint.dimension, None, hints.mark)
    # A number alone, or with a single letter, is settled by the other values.
    if not vocabulary.parses(lambda text: _could_be_quantity(text, context)):
        return None
    dimensions: Counter[str] = Counter()
    units: Counter[Unit] = Counter()
    numbers = []
    for value, count in zip(vocabulary.sample, vocabulary.weights, strict=True):
        quantity = parse_quantity(value.strip(), context)
        found = _NUMBER_IN_TEXT.search(value)
        numbers.append(found[0] if found else "")
        if quantity is not None:
            dimensions[quantity.unit.dimension] += count
            units[quantity.unit] += count
    if not dimensions:
        return None
    ((dimension, _),) = dimensions.most_common(1)
    candidates = [unit for unit in units if unit.dimension == dimension]
    # The symbol breaks ties, so that the order of the values does not matter.
    most_used = max(candidates, key=lambda unit: (units[unit], unit.symbol))
    votes = _votes(numbers, vocabulary.weights)
    mark = hints.decide_mark(votes)
    # Numbers without a unit are of the unit that the others have, if those have only one.
    bare = most_used if 2 * units[most_used] >= vocabulary.total and len(units) == 1 else None
    remark = mark_remark(votes, mark)

    def are_quantities(decimal_mark: str) -> bool:
        full = Context(dimension, bare, decimal_mark)
        return vocabulary.parses(
            lambda text: _of_dimension(parse_quantity(text.strip(), full), dimension)
        )

    if not are_quantities(mark):
        # Quantities that nobody can read are no mere texts: a person can say how they are read.
        return _unread(votes, mark, remark) if remark and are_quantities(".") else None
    return Inference(Reading("quantity", most_used.symbol, mark, remark=remark), votes)


def _unread(votes: MarkVotes, mark: str, remark: str) -> Inference:
    """Return the inference of numbers of which too many can be read in two ways."""
    reading = Reading(
        decimal_mark=mark if mark == UNCLEAR else ".", remark=remark, unread="numbers"
    )
    return Inference(reading, votes)


_NUMBER_IN_TEXT = re.compile(rf"(?<![\d.,]){NUMBER}(?![\d.,]*\d)", re.ASCII)


def _could_be_quantity(text: str, context: Context) -> object:
    quantity = parse_quantity(text.strip(), context)
    if quantity is not None or _ONE_LETTER.match(text):
        return True
    return parse_number(text.strip())


def _of_dimension(quantity: Quantity | None, dimension: str) -> Quantity | None:
    is_right = quantity is not None and quantity.unit.dimension == dimension
    return quantity if is_right else None


def _votes(numbers: Sequence[str], counts: Sequence[int]) -> MarkVotes:
    """Count the decimal marks of the numbers in the property's values, by statements."""
    votes: Counter[str | None] = Counter()
    for number, count in zip(numbers, counts, strict=True):
        if not number.isdecimal():
            votes[decimal_mark_of(number)] += count
    return MarkVotes(votes["."], votes[","], votes[UNCLEAR])


def number_votes(counts: Mapping[str, int]) -> MarkVotes:
    """Count the decimal marks of the first number in each text, given how often each occurs."""
    found = map(_NUMBER_IN_TEXT.search, counts)
    return _votes([number[0] if number else "" for number in found], tuple(counts.values()))


def mark_remark(votes: MarkVotes, mark: str) -> str:
    """Return a remark about numbers that could have either decimal mark; "" if there are none."""
    if mark != UNCLEAR or not votes.either:
        return ""
    return (
        f"{votes.point:,} of its numbers have a decimal point, {votes.comma:,} a decimal comma, "
        f"and {votes.either:,} could have either, which are not read: set decimal_mark in "
        "ontology.toml"
    )


def _are_gtins(vocabulary: Vocabulary) -> bool:
    """Return whether a property has several GTINs, and nothing else."""
    return len(vocabulary.values) >= MIN_GTINS and vocabulary.parses(
        lambda text: text if text.isdigit() and _is_gtin(text) else None
    )


MIN_GTINS = 3
_GTIN_LENGTHS = (8, 12, 13, 14)


def _is_gtin(text: str) -> bool:
    return len(text) in _GTIN_LENGTHS and gtin_fault(text) is None


MIN_IDENTIFIERS = 20
"""Values from which on it shows that nearly every item has another one."""
DISTINCT_SHARE = 0.9


def _are_distinct(vocabulary: Vocabulary) -> bool:
    distinct = len(vocabulary.values)
    return distinct >= MIN_IDENTIFIERS and distinct >= DISTINCT_SHARE * sum(vocabulary.counts)


LONG_NUMBER = 8
"""Digits from which on numbers of one length are rather identifiers than amounts."""


def _are_long_numbers(vocabulary: Vocabulary) -> bool:
    if not _are_distinct(vocabulary):
        return False
    lengths = Counter(map(len, vocabulary.sample))
    ((length, count),) = lengths.most_common(1)
    return length >= LONG_NUMBER and count >= DISTINCT_SHARE * len(vocabulary.sample)


_CODE = re.compile(r"(?=[^\d\s]*\d)[A-Za-z0-9][A-Za-z0-9._/#+-]{3,}\Z", re.ASCII)


def _are_codes(vocabulary: Vocabulary) -> bool:
    if not _are_distinct(vocabulary):
        return False
    return vocabulary.parses(_CODE.match, DISTINCT_SHARE)


PROSE_WORDS = 10
PROSE_LETTERS = 80
MAX_LONG_VALUES = 50
"""Sentences that come up again and again, such as advice on care, are values if they are so few."""


def _is_prose(vocabulary: Vocabulary) -> bool:
    """Return whether most of a property's values are sentences of their own."""
    values = vocabulary.sample
    # The variants of a product repeat its text, so that many texts are prose even so.
    are_many = len(vocabulary.values) > MAX_LONG_VALUES
    if not are_many and 2 * len(vocabulary.values) < sum(vocabulary.counts):
        return False
    long = sum(len(text) >= PROSE_LETTERS or text.count(" ") >= PROSE_WORDS for text in values)
    return 2 * long > len(values)


def pattern_of(datatype: str, unit: str | None = None) -> str | None:
    """Return a regular expression that every text of the datatype matches; None if any text does.

    It is meant for SHACL, and to be used case-insensitively. It accepts more than
    :func:`parse_literal`: of quantities it checks the words, but not what is between them.
    """
    if datatype == "boolean":
        body = "|".join(sorted(TRUE_WORDS | FALSE_WORDS))
    elif datatype in ("integer", "decimal"):
        number = WHOLE_NUMBER if datatype == "integer" else NUMBER
        body = number
        if unit is None or find_currency(unit):
            body = rf"-?({PRICE_WORDS})?\s?({number})([.,][-–—][-–—]?)?\s?({PRICE_WORDS})?"
    elif datatype == "quantity" and (property_unit := find_unit(unit or "")):
        units = {*spellings(property_unit.dimension), property_unit.symbol, *_WORDS_OF_QUANTITIES}
        units.update(SHARED_LETTERS.get(property_unit.dimension, ()))
        words = "|".join(
            r"\s+".join(map(re.escape, spelling.split()))
            for spelling in sorted(units, key=lambda text: (-len(text), text))
            if re.match("[A-Za-z]", spelling)
        )
        # In 10cmx20cm nothing stands between two words.
        further = rf"([^A-Za-z]{{1,24}}({words})x?){{0,8}}"
        body = rf"[^A-Za-z]{{0,24}}(({words})x?{further})?[^A-Za-z]{{0,24}}"
    elif datatype == "date":
        body = r".*\d.*"
    else:
        return None
    # Patterns in SHACL are XPath's, which has neither non-capturing nor named groups.
    return rf"^\s*({body.replace('(?:', '(')})\s*$"


_WORDS_OF_QUANTITIES = frozenset(
    """
    x by auf to bis a al do tot approx approximately appr ca circa about around roughly etwa rund
    env environ aprox aproximadamente ok cirka asi cca up max maximum maximal maximale at most less
    than under below unter jusqu moins de hasta menos fino maks min minimum minimal minimale mind
    mindestens least more over from ab au plus desde al menos da od l w h d b t dia length width
    height depth breite ungef
    """.split()
)
