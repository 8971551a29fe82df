"""How a property is read, where some of it is given: by a mapping, or in ontology.toml.

What is given holds. The rest is inferred from the values, and what they contradict is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from schema.currencies import find_currency, parse_price
from schema.dates import DAY_FIRST, infer_date_order, parse_date
from schema.literals import (
    NOTHING_GIVEN,
    UNPARSED,
    Given,
    Hints,
    Inference,
    Reading,
    Vocabulary,
    infer_freely,
    mark_remark,
    number_votes,
    parse_with,
    unclear_dates,
)
from schema.numbers import UNCLEAR
from schema.property_names import name_hint
from schema.quantities import Context, parse_quantity
from schema.units import find_unit


def infer_reading(
    name: str,
    values: Sequence[str],
    counts: Sequence[int],
    elsewhere: str = ".",
    given: Given = NOTHING_GIVEN,
) -> Inference:
    """Infer how a property is read from its name, its values, and how often each occurs.

    The datatype is the narrowest as which at least 95% of the statements parse. ``elsewhere`` is
    the decimal mark of the catalogue's other numbers. What is ``given`` holds, and only the rest is
    inferred; if the values contradict it, the reading has a remark.
    """
    vocabulary = Vocabulary.of(values, counts)
    hints = Hints(_decided(given), elsewhere)
    inference = infer_freely(name, vocabulary, hints)
    if given == NOTHING_GIVEN or not vocabulary.total:
        return inference
    if given.datatype is not None:
        inference = _as_datatype(given.datatype, name, vocabulary, hints, inference)
    reading = _in_unit(inference.reading, given.unit)
    if given.decimal_mark == UNCLEAR and reading.datatype in ("integer", "decimal", "quantity"):
        reading = replace(reading, decimal_mark=UNCLEAR)
    if given.date_order == "" and reading.datatype == "date":
        reading = replace(reading, date_order="")
    remarks = [text for field, text in given.remarks if _matters(field, vocabulary, inference)]
    remarks += [reading.remark, *_contradictions(vocabulary, inference, reading, given)]
    reading = replace(reading, remark="; ".join(dict.fromkeys(filter(None, remarks))))
    return replace(inference, reading=reading)


def _decided(given: Given) -> Given:
    """Return what is given, with a choice where it leaves open how numbers and dates are read.

    That some of them cannot be read makes them no texts.
    """
    mark = None if given.decimal_mark == UNCLEAR else given.decimal_mark
    order = DAY_FIRST if given.date_order == "" else given.date_order
    return replace(given, decimal_mark=mark, date_order=order)


def _as_datatype(
    datatype: str, name: str, vocabulary: Vocabulary, hints: Hints, free: Inference
) -> Inference:
    """Return the inference of a property whose datatype is given; ``free`` is that without it."""
    if datatype == free.reading.datatype:
        return free
    if datatype == "date":
        order = hints.decide_order(vocabulary.values)
        remark = "" if order is not None else unclear_dates(vocabulary)
        return Inference(Reading("date", date_order=order or "", remark=remark))
    if datatype not in ("integer", "decimal", "quantity"):
        return Inference(Reading(datatype))

    # Some of its texts may be no numbers, so those within them vote.
    votes = number_votes(dict(zip(vocabulary.sample, vocabulary.weights, strict=True)))
    mark = hints.decide_mark(votes)
    unit = _usual_unit(datatype, name, vocabulary, mark, free.reading)
    return Inference(Reading(datatype, unit, mark, remark=mark_remark(votes, mark)), votes)


def _usual_unit(
    datatype: str, name: str, vocabulary: Vocabulary, mark: str, free: Reading
) -> str | None:
    """Return the unit of quantities, or the currency of numbers, that name and values speak of."""
    hint = name_hint(name)
    is_quantity = datatype == "quantity"
    if free.unit is not None and (find_unit(free.unit) is not None) == is_quantity:
        return free.unit
    if is_quantity and hint.unit is not None:
        return hint.unit.symbol
    if not is_quantity and hint.currency is not None:
        return hint.currency
    units: Counter[str] = Counter()
    context = Context(hint.dimension, None, mark)
    for text, count in zip(vocabulary.sample, vocabulary.weights, strict=True):
        if is_quantity:
            quantity = parse_quantity(text.strip(), context)
            unit = quantity.unit.symbol if quantity is not None else None
        else:
            price = parse_price(text.strip(), mark)
            unit = price.currency if price is not None else None
        if unit is not None:
            units[unit] += count
    # The symbol breaks ties, so that the order of the values does not matter. Prices in several
    # currencies have none that all of them can be read in.
    if not is_quantity and len(units) > 1:
        return None
    return max(units, key=lambda symbol: (units[symbol], symbol), default=None)


def _in_unit(reading: Reading, unit: str | None) -> Reading:
    """Return a reading in the unit that is given, if it is one of what the property measures."""
    if unit is None or unit == reading.unit:
        return reading
    wanted = find_unit(unit)
    current = find_unit(reading.unit) if reading.unit else None
    if reading.datatype == "quantity" and wanted is not None:
        if current is None or current.dimension == wanted.dimension:
            return replace(reading, unit=wanted.symbol)
        remark = f"its values are in {reading.unit}, not in {unit}"
        return replace(reading, remark="; ".join(filter(None, (reading.remark, remark))))
    if reading.datatype in ("integer", "decimal") and find_currency(unit) is not None:
        return replace(reading, unit=find_currency(unit))
    return reading


def _matters(field: str, vocabulary: Vocabulary, inference: Inference) -> bool:
    """Return whether the reading of any value depends on a field of what is given."""
    if field == "decimal_mark":
        return inference.votes.either > 0
    if field == "date_order":
        return any(
            parse_date(text) is None and parse_date(text, DAY_FIRST) is not None
            for text in vocabulary.sample
        )
    return True


def _contradictions(
    vocabulary: Vocabulary, inference: Inference, reading: Reading, given: Given
) -> Iterator[str]:
    """Yield what the values of a property contradict of what is given."""
    if given.datatype is not None and reading.datatype not in UNPARSED:
        wrong = [
            (text, count)
            for text, count in zip(vocabulary.sample, vocabulary.weights, strict=True)
            if parse_with(reading, text) is None
        ]
        if wrong:
            total = sum(count for _, count in wrong)
            kind = f"{reading.datatype} in {reading.unit}" if reading.unit else reading.datatype
            example = wrong[0][0]
            yield f"{total:,} of its {vocabulary.total:,} values are no {kind}, such as {example!r}"
    votes = inference.votes
    if given.decimal_mark == "," and votes.point > votes.comma:
        yield f"{votes.point:,} of its numbers have a decimal point, and not a comma"
    if given.decimal_mark == "." and votes.comma > votes.point:
        yield f"{votes.comma:,} of its numbers have a decimal comma, and not a point"
    if reading.datatype == "date" and given.date_order:
        proven = infer_date_order(vocabulary.values)
        if proven is None or proven not in ("", given.date_order):
            other = "month" if given.date_order == DAY_FIRST else "day"
            yield f"some of its dates have the {other} first"
