"""Locales: the decimal mark and the order of dates of a language and a country, by CLDR.

CLDR: Unicode's Common Locale Data Repository, https://cldr.unicode.org.
"""

from __future__ import annotations

from dataclasses import dataclass

from schema.dates import DAY_FIRST, MONTH_FIRST
from schema.languages import canonical_tag
from schema.settings import shown

_COMMA = frozenset(
    """af az be bg br bs ca co cs da de el eo es et eu fi fo fr fur fy gl hr hsb dsb hu hy ia id is
    it ka kk kl km ky lb lo lt lv mk nb nds nl nn no oc os pl pt ro ru sah sc sk sl sq sr sv tg tk
    tr tt uk uz vi wa wo""".split()
)
_POINT = frozenset(
    """ak am ar as bn bo cy en fa fil ga gd gsw gu gv ha haw he hi ig ii ja kn ko kok ks kw lg ml mn
    mr ms mt my ne om or pa ps rm rw sa sd si so sw ta te th ti tl to ug ur xh yo yue zh
    zu""".split()
)
_OTHER_MARKS = {
    **dict.fromkeys(
        "es-MX es-US es-PR es-GT es-HN es-NI es-PA es-PE es-SV es-DO es-CU es-BZ".split(), "."
    ),
    **dict.fromkeys("de-CH de-LI it-CH".split(), "."),
    **dict.fromkeys("ar-DZ ar-LY ar-MA ar-MR ar-TN sw-CD en-AT en-BE en-DE en-NL".split(), ","),
}
_MONTH_FIRST = frozenset(
    "en-US en-PR en-GU en-VI en-AS en-MP en-UM es-PR es-PA fil fil-PH haw-US".split()
)
# Numeric dates of these begin with the year, or are written in more than one order.
_NO_ORDER = frozenset(
    """en eo eu fa hu ii ja ko lt mn si sv yue zh af-ZA en-CA en-ZA en-PH en-SE fr-CA rw xh zu
    es-US""".split()
)


@dataclass(frozen=True, slots=True)
class Locale:
    """How a locale writes numbers and dates.

    Attributes:
        decimal_mark: "." or ","
        date_order: "dmy" or "mdy"; None if the locale does not say it
    """

    decimal_mark: str
    date_order: str | None


def find_locale(tag: str) -> Locale:
    """Return the locale of a tag like "de-DE", "en_US" or "fr".

    Raises ValueError if it is none that is known.
    """
    # As POSIX writes it: de_DE.UTF-8, sr_RS@latin.
    name = tag.partition(".")[0].partition("@")[0]
    try:
        language, *parts = canonical_tag(name).split("-")
    except ValueError:
        language, parts = "", []
    if language not in _COMMA | _POINT:
        raise ValueError(f'locale={shown(tag)} is no known locale: write one like "de-DE"')
    region = next((part for part in parts if len(part) == 2 and part.isupper()), "")
    full = f"{language}-{region}" if region else language
    mark = _OTHER_MARKS.get(full, "," if language in _COMMA else ".")
    return Locale(mark, _date_order(language, full))


def _date_order(language: str, full: str) -> str | None:
    if full in _MONTH_FIRST:
        return MONTH_FIRST
    # English alone says nothing of the order, though English of most countries does.
    is_open = full in _NO_ORDER or (language in _NO_ORDER and language != "en")
    return None if is_open else DAY_FIRST
