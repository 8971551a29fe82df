"""Dates as catalogues write them: ISO 8601, numbers in any order, and names of months."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime, time

DAY_FIRST = "dmy"
MONTH_FIRST = "mdy"
DATE_ORDERS = ("", DAY_FIRST, MONTH_FIRST)
"""Of dates such as 03/04/2024: not known, the day before the month, or the month before the day."""

MAX_LENGTH = 40

# A line a month, in many languages. Where a name means two months, the first holds.
_MONTHS = """
    january januar janvier enero gennaio janeiro januari styczeń stycznia leden ledna tammikuu
      január ianuarie ocak январь января січень ιανουάριος jän jan gen ene
    february februar février febrero febbraio fevereiro februari luty lutego únor února
      helmikuu február februarie şubat февраль февраля лютий φεβρουάριος feb fév fev
    march märz maerz mars marzo março maart marzec marca březen března maaliskuu március
      martie mart март марта березень μάρτιος mar mär mrz mrt
    april avril abril aprile kwiecień kwietnia duben dubna huhtikuu április aprilie nisan
      апрель апреля квітень απρίλιος apr avr abr
    may mai mayo maggio maio mei maj maja květen května toukokuu május mayıs май мая травень
      μάιος mag
    june juni juin junio giugno junho czerwiec czerwca červen června kesäkuu június iunie
      haziran июнь июня червень ιούνιος jun giu
    july juli juillet julio luglio julho lipiec lipca červenec července heinäkuu július iulie
      temmuz июль июля липень ιούλιος jul lug
    august août agosto augustus sierpień sierpnia srpen srpna elokuu augusztus ağustos август
      августа серпень αύγουστος aug aoû ago
    september septembre septiembre settembre setembro wrzesień września září syyskuu
      szeptember septembrie eylül сентябрь сентября вересень σεπτέμβριος sep sept set
    october oktober octobre octubre ottobre outubro październik października říjen října
      lokakuu október octombrie ekim октябрь октября жовтень οκτώβριος oct okt ott out
    november novembre noviembre novembro listopad listopada marraskuu noiembrie kasım ноябрь
      ноября листопад νοέμβριος nov
    december dezember décembre diciembre dicembre dezembro grudzień grudnia prosinec prosince
      joulukuu decembrie aralık декабрь декабря грудень δεκέμβριος dec dez dic déc
"""


def _month_numbers() -> dict[str, int]:
    numbers: dict[str, int] = {}
    month = 0
    for line in _MONTHS.strip("\n").splitlines():
        # What is indented further belongs to the month before.
        month += not line.startswith("      ")
        for name in line.split():
            numbers.setdefault(_plain(name), month)
    return numbers


def _plain(text: str) -> str:
    """Return a text without case, accents and points."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in letters if not unicodedata.combining(each)).rstrip(".")


_MONTH_NUMBERS = _month_numbers()

_TIME = (
    r"(?:[T\s,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d{1,9})?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_ISO = re.compile(
    rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){_TIME}\Z", re.ASCII
)
_NUMERIC = re.compile(
    rf"(?P<first>\d{{1,2}})(?P<mark>[-/.])\s?(?P<second_>\d{{1,2}})(?P=mark)\s?"
    rf"(?P<year>\d{{4}}|\d{{2}}){_TIME}\Z",
    re.ASCII,
)
_COMPACT = re.compile(rf"(?P<year>\d{{4}})(?P<month>\d{{2}})(?P<day>\d{{2}}){_TIME}\Z", re.ASCII)
_EAST_ASIAN = re.compile(
    rf"(?P<year>\d{{4}})\s?[年년]\s?(?P<month>\d{{1,2}})\s?[月월]\s?(?P<day>\d{{1,2}})\s?[日일号]?{_TIME}\Z",
    re.ASCII,
)
_DAY_MONTH_NAME = re.compile(
    r"(?:[^\W\d_]{2,12}\.?,?\s+)?(?P<day>\d{1,2})(?:\.|st|nd|rd|th|er|º|ª)?[\s-]*(?:of\s|de\s|di\s)?"
    rf"(?P<name>[^\W\d_]{{3,12}}\.?)[\s,-]*(?:de\s|del\s)?(?P<year>\d{{4}}|\d{{2}})(?:\sr\.|\sг\.)?{_TIME}\Z"
)
_MONTH_NAME_DAY = re.compile(
    rf"(?:[^\W\d_]{{2,12}}\.?,?\s+)?(?P<name>[^\W\d_]{{3,12}}\.?)[\s-]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[\s-]+"
    rf"(?P<year>\d{{4}}){_TIME}\Z"
)
_FORMS = (_ISO, _NUMERIC, _EAST_ASIAN, _DAY_MONTH_NAME, _MONTH_NAME_DAY, _COMPACT)
_PIVOT = 70
"""Of years of two digits, those from 70 on are of the last century."""


def parse_date(text: str, order: str = "") -> date | None:
    """Return the date that a text is, or its date and time; None if it is none.

    ``order``, one of ``DATE_ORDERS``, decides about dates like 03/04/2024: without it, there is no
    telling.
    """
    if len(text) > MAX_LENGTH or not text[:1].isalnum():
        return None
    for pattern in _FORMS:
        found = pattern.match(text)
        if found is None:
            continue
        parts = found.groupdict()
        if pattern is _NUMERIC:
            own = _order_of(parts)
            if own is None or (not own and not order):
                return None
            is_day_first = (own or order) == DAY_FIRST
            day, month = ("first", "second_") if is_day_first else ("second_", "first")
            return _made(parts, int(parts[month]), int(parts[day]))
        if "name" in parts:
            month_number = _MONTH_NUMBERS.get(_plain(parts["name"]))
            return _made(parts, month_number, int(parts["day"])) if month_number else None
        return _made(parts, int(parts["month"]), int(parts["day"]))
    return None


def infer_date_order(texts: Iterable[str]) -> str | None:
    """Return the order of a property's dates, one of ``DATE_ORDERS``; None if there are both.

    It is "" if they could be read in both, or in one of them without it.
    """
    orders = set()
    for text in texts:
        found = _NUMERIC.match(text) if len(text) <= MAX_LENGTH else None
        if found:
            orders.add(_order_of(found.groupdict()))
    orders -= {"", None}
    if len(orders) > 1:
        return None
    return orders.pop() if orders else ""


def _order_of(parts: dict[str, str]) -> str | None:
    """Return the order that a numeric date can only have; "" if any, None if it is no date."""
    first = int(parts["first"])
    second = int(parts["second_"])
    # Nobody puts points after a month that comes first.
    if parts["mark"] == ".":
        return DAY_FIRST if second <= 12 else None
    if first > 12 and second > 12:
        return None
    if first > 12:
        return DAY_FIRST
    return MONTH_FIRST if second > 12 else ""


def _made(parts: dict[str, str], month: int, day: int) -> date | None:
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year += 1900 if year >= _PIVOT else 2000
    try:
        day_alone = date(year, month, day)
        if not parts["hour"]:
            return day_alone
        hour = int(parts["hour"])
        if parts["half"]:
            hour = hour % 12 + 12 * (parts["half"][0] in "pP")
        moment = time(hour, int(parts["minute"]), int(parts["second"] or 0))
    except ValueError:
        return None
    # Exports write midnight where they know the day only.
    return datetime.combine(day_alone, moment) if moment != time() else day_alone
