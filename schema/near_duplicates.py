"""Values of a property that may be one: typing errors, plurals, hyphens, two spellings.

They are only offered. What a person lists as synonyms in the ontology's file is merged, see
:mod:`schema.ontology`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from schema.equality import text_key
from schema.ontology import Ontology, PropertySpec

MAX_VALUES = 20_000
"""Of a property with more values, the most frequent ones are compared."""
MAX_LENGTH = 40
MIN_TYPO_LENGTH = 5
"""In shorter words one letter makes another word: red and bed."""

# British and American, and what else is spelled in two ways.
_SPELLINGS = (
    ("grey", "gray"),
    ("our\\b", "or"),
    ("oured\\b", "ored"),
    ("aluminium", "aluminum"),
    ("fibre", "fiber"),
    ("centre", "center"),
    ("metre", "meter"),
    ("litre", "liter"),
    ("theatre", "theater"),
    ("jewellery", "jewelry"),
    ("tyre", "tire"),
    ("mould", "mold"),
    ("moustache", "mustache"),
    ("pyjama", "pajama"),
    ("plough", "plow"),
    ("cosy", "cozy"),
    ("catalogue", "catalog"),
    ("programme", "program"),
    ("disc\\b", "disk"),
    ("yse\\b", "yze"),
    ("ise\\b", "ize"),
    ("ised\\b", "ized"),
    ("lled\\b", "led"),
    ("ae", "e"),
    ("ä", "ae"),
    ("ö", "oe"),
    ("ü", "ue"),
    ("ß", "ss"),
    ("&", "and"),
    ("\\+", "and"),
)
_TWO_WAYS = [(re.compile(british), american) for british, american in _SPELLINGS]
_PLURALS = (("y", "ies"), ("", "s"), ("", "es"), ("", "e"), ("", "n"), ("", "en"), ("", "er"))
"""How words end in one number and in the other, in English, German and Romance languages."""
MIN_STEM = 4
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class ValueCount:
    """A value, and how many items have it."""

    value: str
    items: int


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A value that may be the same as a more frequent one of its property, and why."""

    property: str
    value: ValueCount
    other: ValueCount
    reason: str


def near_duplicates(ontology: Ontology, property: str | None = None) -> list[NearDuplicate]:
    """Return the values that may be one, of one property or of all whose values are classes.

    Each is offered once, for the most frequent value that it resembles; the frequent come first.
    """
    specs = [ontology[property]] if property is not None else list(ontology.properties.values())
    found = [
        each
        for spec in specs
        if spec.datatype == "string" or property is not None
        for each in _of_property(spec)
    ]
    return sorted(found, key=lambda each: (each.property, -each.value.items, each.other.value))


def as_toml(offers: Sequence[NearDuplicate]) -> str:
    """Return offers as the part of ontology.toml that merges them."""
    import tomli_w

    document: dict[str, dict[str, dict[str, list[str]]]] = {}
    for each in offers:
        synonyms = document.setdefault(each.property, {}).setdefault("synonyms", {})
        synonyms.setdefault(each.value.value, []).append(each.other.value)
    return tomli_w.dumps({"property": document}) if document else ""


def _of_property(spec: PropertySpec) -> Iterator[NearDuplicate]:
    values = [
        ValueCount(value, items)
        for value, items in zip(spec.values, spec.counts, strict=True)
        if len(value) <= MAX_LENGTH and any(map(str.isalpha, value))
    ][:MAX_VALUES]
    taken: set[str] = set()
    for reason, one, other in _similar(values, spec.case_sensitive):
        # A value that is offered for another is no value to offer others for.
        if other.value not in taken and one.value not in taken:
            taken.add(other.value)
            yield NearDuplicate(spec.name, one, other, reason)


def _similar(
    values: Sequence[ValueCount], case_sensitive: bool
) -> Iterator[tuple[str, ValueCount, ValueCount]]:
    """Yield pairs of similar values, the more frequent first, the surest reasons first."""
    keys = {each.value: text_key(each.value, case_sensitive) for each in values}
    for reason, form in _FORMS.items():
        first: dict[str, ValueCount] = {}
        for each in values:
            similar = first.setdefault(form(keys[each.value]), each)
            if similar is not each:
                yield reason, similar, each
    yield from _plurals(values, keys)
    yield from _typing_errors(values, keys)


def _plurals(
    values: Sequence[ValueCount], keys: Mapping[str, str]
) -> Iterator[tuple[str, ValueCount, ValueCount]]:
    """Yield values of which one is the plural of the other."""
    bare = {_without_signs(keys[each.value]): each for each in reversed(values)}
    for key, each in bare.items():
        for singular, plural in _PLURALS:
            stem = key.removesuffix(plural)
            other = bare.get(stem + singular) if stem != key and len(stem) >= MIN_STEM else None
            if other is not None:
                first, second = sorted((each, other), key=lambda one: (-one.items, one.value))
                yield "plural", first, second


def _typing_errors(
    values: Sequence[ValueCount], keys: Mapping[str, str]
) -> Iterator[tuple[str, ValueCount, ValueCount]]:
    """Yield values that one letter more, less, other or swapped makes the same.

    Texts that are one deletion apart share what is left, so no two texts have to be compared
    unless they do (the symmetric deletions of Garbe's SymSpell).
    """
    by_rest: dict[str, list[ValueCount]] = {}
    for each in values:
        key = keys[each.value]
        if len(key) < MIN_TYPO_LENGTH:
            continue
        seen: set[str] = set()
        for rest in dict.fromkeys((key, *_without_one_letter(key))):
            for similar in by_rest.setdefault(rest, []):
                if similar.value in seen or not _is_rare_beside(each, similar):
                    continue
                if _is_typing_error(keys[similar.value], key):
                    seen.add(similar.value)
                    yield "typing error", similar, each
            by_rest[rest].append(each)


def _is_rare_beside(one: ValueCount, other: ValueCount) -> bool:
    """Return whether a value is so much rarer than another that it may be an error."""
    return one.items <= MAX_ERRORS or RARITY * one.items <= other.items


MAX_ERRORS = 3
RARITY = 5


def _without_one_letter(text: str) -> Iterator[str]:
    return (text[:index] + text[index + 1 :] for index in range(len(text)))


def _is_typing_error(one: str, other: str) -> bool:
    """Return whether two texts that share a deletion differ in one letter, but in no number."""
    # USB 2 and USB 3, or sizes 38 and 39, are no typing errors.
    if _DIGITS.findall(one) != _DIGITS.findall(other):
        return False
    if abs(len(one) - len(other)) == 1:
        return True
    different = [index for index in range(len(one)) if one[index] != other[index]]
    if len(different) == 1:
        return True
    is_swapped = len(different) == 2 and different[1] == different[0] + 1
    return (
        is_swapped
        and one[different[0]] == other[different[1]]
        and (one[different[1]] == other[different[0]])
    )


def _without_signs(key: str) -> str:
    """Return a text without hyphens, spaces and points, but with those between two digits."""
    return re.sub(r"(?<!\d)[\W_]+|[\W_]+(?!\d)", "", key)


def _without_accents(key: str) -> str:
    letters = unicodedata.normalize("NFD", _without_signs(key))
    return "".join(each for each in letters if not unicodedata.combining(each))


def _in_one_spelling(key: str) -> str:
    for british, american in _TWO_WAYS:
        key = british.sub(american, key)
    return _without_signs(key)


def _in_order(key: str) -> str:
    return " ".join(sorted(re.split(r"[\W_]+", key)))


_FORMS = {
    "hyphens and spaces": _without_signs,
    "accents": _without_accents,
    "two spellings": _in_one_spelling,
    "order of words": _in_order,
}
