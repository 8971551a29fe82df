"""Single values as the text that a person would write.

This needs only the standard library: the process that reads workbooks starts with it.
"""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any


class WrittenFloat(float):
    """A number that knows how it was written: 1.10 is a price, and 0400638133393.0 an id."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number


def number_text(number: float) -> str:
    """Return a float as people write it: whole numbers without ".0" or an exponent."""
    # Beyond 2**53, about 9e15, a float is no longer exact to the unit.
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return repr(number)


def scalar_text(value: Any) -> str | None:
    """Return a value that is no list and no object as text.

    None for null, and for what is no text: NaN, infinity and bytes.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, WrittenFloat):
        # Programs write whole numbers with ".0" where the column has a gap, as pandas does.
        return value.text.removesuffix(".0")
    if isinstance(value, float):
        return number_text(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return _integer_text(value)
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else None
    if isinstance(value, datetime.datetime):
        return datetime_text(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return time_text(value)
    if isinstance(value, datetime.timedelta):
        return duration_text(value)
    return str(value)


def datetime_text(value: datetime.datetime) -> str:
    """Return a point in time in ISO 8601: a date if it is midnight without a time zone."""
    if value.tzinfo is None and value.time() == datetime.time():
        return value.date().isoformat()
    return value.isoformat()


def time_text(value: datetime.time) -> str:
    """Return a time of day as 09:30, with seconds only if there are any."""
    if value.second == 0 and value.microsecond == 0:
        return value.isoformat(timespec="minutes")
    return value.isoformat()


def duration_text(value: datetime.timedelta) -> str:
    """Return a duration as hours, minutes and seconds: 36:00:00."""
    sign = "-" if value < datetime.timedelta() else ""
    seconds = abs(value)
    whole = int(seconds.total_seconds())
    text = f"{sign}{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{text}.{seconds.microseconds:06}".rstrip("0") if seconds.microseconds else text


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more than 4,300 digits, which Python refuses to convert
        return hex(value)
