"""Units as electronic catalogues code them, and units that stand beside their numbers."""

from __future__ import annotations

import re

from schema.units import find_unit

# Common codes of UNECE Recommendation 20, as in GS1, BMEcat and schema.org.
_UNECE = {
    "KGM": "kg",
    "GRM": "g",
    "MGM": "mg",
    "TNE": "t",
    "LBR": "lb",
    "ONZ": "oz",
    "MTR": "m",
    "CMT": "cm",
    "MMT": "mm",
    "KMT": "km",
    "INH": "in",
    "FOT": "ft",
    "YRD": "yd",
    "LTR": "l",
    "MLT": "ml",
    "CLT": "cl",
    "DLT": "dl",
    "OZA": "fl oz",
    "GLL": "gal",
    "MTK": "m²",
    "CMK": "cm²",
    "MMK": "mm²",
    "MTQ": "m³",
    "CMQ": "cm³",
    "CEL": "°C",
    "FAH": "°F",
    "KEL": "K",
    "WTT": "W",
    "KWT": "kW",
    "MAW": "MW",
    "VLT": "V",
    "KVT": "kV",
    "AMP": "A",
    "4K": "mA",
    "HTZ": "Hz",
    "KHZ": "kHz",
    "MHZ": "MHz",
    "A86": "GHz",
    "SEC": "s",
    "MIN": "min",
    "HUR": "h",
    "DAY": "day",
    "MON": "month",
    "ANN": "year",
    "P1": "%",
    "PAL": "Pa",
    "KPA": "kPa",
    "BAR": "bar",
    "NEW": "N",
    "NU": "N m",
    "JOU": "J",
    "KJO": "kJ",
    "KWH": "kWh",
    "LUM": "lm",
    "LUX": "lx",
    "CDL": "cd",
    "OHM": "Ω",
    "2N": "dB",
    "4L": "MB",
    "E34": "GB",
    "E35": "TB",
    "H87": "pcs",
    "PCE": "pcs",
    "EA": "pcs",
    # One: the number counts something, and has no unit.
    "C62": "",
}
_NUMBER = re.compile(r"[-+±~≈<>≤≥]{0,2}\s*\d[\d.,'’ \u00a0\u202f/]*(?:[-–]\s*[\d.,]+)?\s*")
_IN_NAME = re.compile(r"\s*[(\[]\s*(?:in\s+)?([^()\[\]]{1,12}?)\s*[)\]]\s*$")
_AT_END = re.compile(r"(?<=[a-z0-9])[_\- ](?:in_)?([A-Za-z]{2,5}|inch|inches)$")
# Only these may end a name without brackets: others, like "in" or "l", are often words or sizes.
_UNAMBIGUOUS = frozenset(
    """kg mg lb lbs oz mm cm km ft inch inches ml cl ghz mhz khz hz mah gb mb tb kb kw kwh wh
    watt watts volt volts db px""".split()
)


def unit_text(code: str) -> str:
    """Return the symbol of a unit's code or name in capitals; any other unit as it is.

    It is empty for the codes that count pieces of no unit.
    """
    code = code.strip()
    if code in _UNECE:
        return _UNECE[code]
    unit = find_unit(code.replace("_", " ")) if code.isupper() and len(code) > 2 else None
    return unit.symbol if unit is not None else code


def with_unit(text: str, unit: str) -> str:
    """Return a text with its unit if the text is a bare number; otherwise the text as it is."""
    if not is_bare_number(text):
        return text
    symbol = unit_text(unit)
    return f"{text.strip()} {symbol}" if symbol else text


def is_bare_number(text: str) -> bool:
    """Return whether a text is a number, or a range of such, without a unit."""
    return _NUMBER.fullmatch(text.strip()) is not None


def has_other_unit(text: str, unit: str) -> bool:
    """Return whether a number is written with a known unit, and a given one is another."""
    text = text.strip()
    number = _NUMBER.match(text)
    if number is None or number.end() == len(text):
        return False
    own = find_unit(text[number.end() :])
    given = find_unit(unit_text(unit))
    return own is not None and given is not None and own.symbol != given.symbol


def unit_in_name(name: str) -> tuple[str, str] | None:
    """Return a column's name without the unit in it, and the unit: "Weight (kg)", "width_cm"."""
    for expression in (_IN_NAME, _AT_END):
        match = expression.search(name)
        if match is None:
            continue
        unit = match[1]
        known = find_unit(unit) is not None or unit in _UNECE
        if expression is _AT_END:
            known = known and unit.casefold() in _UNAMBIGUOUS
        rest = name[: match.start()].strip()
        if known and rest:
            return rest, unit
    return None
