"""Units of measure: how catalogues spell them, what they measure, and how to convert them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure.

    ``factor * x + offset`` converts a number x to the dimension's base unit, which itself need not
    be in the table (bytes, kelvins).
    """

    symbol: str
    dimension: str
    factor: float
    offset: float = 0.0


# By dimension: symbol, factor, offset, and further spellings separated by spaces.
_UNITS: dict[str, list[tuple[str, float, float, str]]] = {
    "length": [
        ("mm", 1e-3, 0, "millimeter millimeters millimetre millimetres 毫米"),
        ("cm", 1e-2, 0, "centimeter centimeters centimetre centimetres cms 厘米 公分"),
        ("m", 1.0, 0, "meter meters metre metres 米"),
        ("km", 1e3, 0, "kilometer kilometers kilometre kilometres 公里 千米"),
        ("in", 0.0254, 0, "inch inches \" ″ '' 英寸 寸"),
        ("ft", 0.3048, 0, "foot feet ′ 英尺"),
        ("yd", 0.9144, 0, "yard yards 码"),
    ],
    "mass": [
        ("mg", 1e-6, 0, "milligram milligrams 毫克"),
        ("g", 1e-3, 0, "gram grams gm gms gr 克"),
        ("kg", 1.0, 0, "kilogram kilograms kilo kilos kgs 千克 公斤"),
        ("oz", 0.028349523125, 0, "ounce ounces 盎司"),
        ("lb", 0.45359237, 0, "lbs pound pounds 磅"),
    ],
    "volume": [
        ("ml", 1e-6, 0, "mL milliliter milliliters millilitre millilitres 毫升"),
        ("cl", 1e-5, 0, "cL centiliter centilitre"),
        ("l", 1e-3, 0, "L liter liters litre litres ltr 升"),
        # The US fluid ounce and gallon; the imperial ones differ from them by 4% and 20%.
        ("fl oz", 2.95735295625e-5, 0, "floz fl.oz fl.oz. fluid-ounce"),
        ("gal", 3.785411784e-3, 0, "gallon gallons 加仑"),
    ],
    "time": [
        ("ms", 1e-3, 0, "millisecond milliseconds 毫秒"),
        ("s", 1.0, 0, "sec secs second seconds 秒"),
        ("min", 60.0, 0, "mins minute minutes 分钟"),
        ("h", 3600.0, 0, "hr hrs hour hours 小时"),
        ("day", 86400.0, 0, "days 天"),
        # The mean month and year of the Gregorian calendar, which has 365.2425 days.
        ("month", 2629746.0, 0, "months 个月"),
        ("year", 31556952.0, 0, "years yr yrs 年"),
    ],
    "data": [
        # Decimal, as manufacturers state capacities: 1 GB is 1000 MB.
        ("KB", 1e3, 0, "kilobyte kilobytes"),
        ("MB", 1e6, 0, "megabyte megabytes"),
        ("GB", 1e9, 0, "gigabyte gigabytes"),
        ("TB", 1e12, 0, "terabyte terabytes"),
    ],
    "frequency": [
        ("Hz", 1.0, 0, "hertz"),
        ("kHz", 1e3, 0, ""),
        ("MHz", 1e6, 0, ""),
        ("GHz", 1e9, 0, ""),
    ],
    "power": [
        ("mW", 1e-3, 0, ""),
        ("W", 1.0, 0, "watt watts 瓦"),
        ("kW", 1e3, 0, "kilowatt kilowatts 千瓦"),
        # Mechanical horsepower; the metric one is 735.5 W.
        ("hp", 745.699872, 0, ""),
    ],
    "voltage": [("mV", 1e-3, 0, ""), ("V", 1.0, 0, "volt volts 伏"), ("kV", 1e3, 0, "")],
    "charge": [("mAh", 3.6, 0, "毫安"), ("Ah", 3600.0, 0, "")],
    "temperature": [("°C", 1.0, 273.15, "℃ degC"), ("°F", 5 / 9, 255.3722222222222, "℉ degF")],
    "share": [("%", 1.0, 0, "percent pct ％")],
    "pixels": [("px", 1.0, 0, "pixel pixels"), ("MP", 1e6, 0, "megapixel megapixels")],
}

# The unit of each exact spelling, and of each casefolded one.
_EXACT: dict[str, Unit] = {}
_CASEFOLDED: dict[str, Unit] = {}


def _index_spellings() -> None:
    for dimension, rows in _UNITS.items():
        for symbol, factor, offset, aliases in rows:
            unit = Unit(symbol, dimension, factor, offset)
            for spelling in (symbol, *aliases.split()):
                _EXACT.setdefault(spelling, unit)
                # Regardless of case, a single letter is too ambiguous (sizes S, M and L; 5G), and
                # "mw" could be milliwatts or megawatts.
                if len(spelling) > 1 and symbol not in ("mW", "MP"):
                    _CASEFOLDED.setdefault(spelling.casefold(), unit)


_index_spellings()


def find_unit(text: str) -> Unit | None:
    """Return the unit of a spelling like "in", "Inches" or "厘米"; None if there is none."""
    text = " ".join(text.split())
    # The text with its dots is looked up first, because "fl.oz." is a spelling of its own.
    without_dot = text.rstrip(".")
    return (
        _EXACT.get(text)
        or _CASEFOLDED.get(text.casefold())
        or _EXACT.get(without_dot)
        or _CASEFOLDED.get(without_dot.casefold())
    )


def spellings(dimension: str) -> list[str]:
    """Return every spelling of every unit of a dimension, longest first."""
    texts = [text for text, unit in _EXACT.items() if unit.dimension == dimension]
    return sorted(texts, key=lambda text: (-len(text), text))


def convert(number: float, unit: Unit, target: Unit) -> float | None:
    """Convert a number to another unit; None if the two measure different things."""
    if unit == target:
        return number
    if unit.dimension != target.dimension:
        return None
    converted = (unit.factor * number + unit.offset - target.offset) / target.factor
    # Ten significant digits, so that 12 in are 30.48 cm and not 30.479999999999997.
    return float(f"{converted:.10g}")
