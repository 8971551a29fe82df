"""Language tags (BCP 47), and the columns whose names hold one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# The two-letter codes of ISO 639-1.
LANGUAGES = frozenset(
    """aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy
    da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy
    hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li
    ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa
    pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th
    ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu""".split()
)
# Codes of three letters (ISO 639-2), as in BMEcat, of languages that have one of two.
_THREE_LETTERS = dict(
    pair.split(":")
    for pair in """eng:en deu:de ger:de fra:fr fre:fr spa:es ita:it nld:nl dut:nl por:pt pol:pl
    ces:cs cze:cs slk:sk slo:sk slv:sl hun:hu ron:ro rum:ro bul:bg hrv:hr srp:sr dan:da swe:sv
    nor:no nob:nb nno:nn fin:fi est:et lav:lv lit:lt ell:el gre:el tur:tr rus:ru ukr:uk zho:zh
    chi:zh jpn:ja kor:ko ara:ar heb:he cat:ca eus:eu glg:gl isl:is mlt:mt gle:ga""".split()
)
# What languages are called in the headers of tables.
_LANGUAGE_WORDS = dict(
    pair.split(":")
    for pair in """english:en englisch:en anglais:en inglés:en ingles:en inglese:en engels:en
    german:de deutsch:de allemand:de alemán:de tedesco:de duits:de
    french:fr französisch:fr français:fr francais:fr francés:fr francese:fr frans:fr
    spanish:es spanisch:es espagnol:es español:es espanol:es spagnolo:es spaans:es
    italian:it italienisch:it italien:it italiano:it italiaans:it
    dutch:nl niederländisch:nl néerlandais:nl nederlands:nl polish:pl polnisch:pl polski:pl
    portuguese:pt português:pt portugiesisch:pt swedish:sv svenska:sv danish:da dansk:da
    norwegian:no norsk:no finnish:fi suomi:fi czech:cs čeština:cs russian:ru русский:ru
    chinese:zh 中文:zh japanese:ja 日本語:ja korean:ko 한국어:ko turkish:tr türkçe:tr""".split()
)
_TAG = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|\d{3}))?")


def language_tag(text: str) -> str:
    """Return a language tag in its usual spelling: "de", "en-US" for "en_us".

    A text that is none is returned as it is.
    """
    word = _LANGUAGE_WORDS.get(text.strip().casefold())
    if word is not None:
        return word
    match = _TAG.fullmatch(text.strip())
    if match is None:
        return text.strip()
    language, script, region = match.groups()
    parts = [_THREE_LETTERS.get(language.lower(), language.lower())]
    if script:
        parts.append(script.title())
    if region:
        parts.append(region.upper())
    return "-".join(parts)


@lru_cache(maxsize=1 << 12)
def is_language(text: str) -> bool:
    """Return whether a text is a tag of a language that there is: "de", "en_US"."""
    if text.casefold() in _LANGUAGE_WORDS:
        return True
    match = _TAG.fullmatch(text)
    if match is None:
        return False
    return match[1].lower() in LANGUAGES or match[1].lower() in _THREE_LETTERS


def has_region(tag: str) -> bool:
    """Return whether a tag names a region or a script besides the language."""
    return "-" in tag or "_" in tag


def primary(tag: str) -> str:
    """Return the language of a tag without its region: "en" for "en-US"."""
    return re.split("[-_]", tag, maxsplit=1)[0].lower()


def precedence(tag: str | None, leading: str | None) -> int:
    """Return the place of a tag among others, the leading language first, no language second."""
    if tag is None:
        return 2
    if leading is None:
        return 3
    if language_tag(tag) == language_tag(leading):
        return 0
    return 1 if primary(tag) == primary(leading) else 3


@dataclass(frozen=True)
class TaggedName:
    """A column's name without the language and the scope in it."""

    name: str
    language: str
    scope: str | None = None


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    expression = re.escape(pattern)
    for placeholder, group in (
        ("name", r"(?P<name>.+?)"),
        (
            "language",
            r"(?P<language>[A-Za-z]{2,3}(?:[-_][A-Za-z]{4})?(?:[-_](?:[A-Za-z]{2}|\d{3}))?"
            rf"|(?i:{'|'.join(_LANGUAGE_WORDS)}))",
        ),
        ("scope", r"(?P<scope>[^\s\-_@]+)"),
    ):
        expression = expression.replace(re.escape("{" + placeholder + "}"), group)
    return re.compile(expression)


def split_name(column: str, pattern: str) -> TaggedName | None:
    """Return the parts of a column's name by a pattern like ``{name}-{language}``.

    Without ``{name}`` in the pattern, the name is what stands before the language, or after it.
    """
    match = _expression(pattern).fullmatch(column)
    if match is None or not is_language(match["language"]):
        return None
    groups = match.groupdict()
    before = column[: match.start("language")].rstrip("-_@.:#| ([")
    name = groups.get("name") or before or column[match.end("language") :].lstrip("-_: ")
    return TaggedName(name, language_tag(match["language"]), groups.get("scope"))


def tagged_names(columns: Sequence[str], patterns: Sequence[str]) -> dict[str, TaggedName]:
    """Return the columns whose names hold a language.

    A code of two letters alone, as in "part-no", has to stand beside another language of the same
    name, or beside the name alone.
    """
    found: dict[str, TaggedName] = {}
    for pattern in patterns:
        for column in columns:
            tagged = split_name(column, pattern)
            if tagged is not None:
                found.setdefault(column, tagged)
    names = set(columns)
    languages: dict[str, set[str]] = {}
    for tagged in found.values():
        languages.setdefault(tagged.name, set()).add(tagged.language)
    return {
        column: tagged
        for column, tagged in found.items()
        if has_region(tagged.language) or len(languages[tagged.name]) > 1 or tagged.name in names
    }
