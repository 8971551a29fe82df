"""Decisions as a person sets them: which precision is asked for, and when what is filled applies.

They are the table ``[decisions]`` of ``ontology.toml``::

    [decisions]
    target_precision = 0.98     # fill a cell if this precision is proven
    review_above = 0.3          # leave a cell empty if its best value is less probable

    [decisions.property.brand]
    target_precision = 0.999

    [decisions.category."Apparel > Shoes"]
    review_above = 0.5

    [decisions.source.marketplace]
    target_precision = 1        # never fill
    apply = "by a person"       # or "at once", or "after 7 days": when it is written

Of the tables of a cell's property, of its category and of the sources of its item, those that exist
hold over the general ones; if they differ, the strictest does. Of categories the nearest counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schema.settings import shown
from schema.terms import path_prefixes

_KINDS = ("property", "category", "source")
_AT_ONCE = "at once"
_BY_A_PERSON = "by a person"
_AFTER = re.compile(r"after (\d{1,4}) days?")


@dataclass(frozen=True)
class DecisionLimits:
    """What is set of three limits; None leaves a limit open.

    ``target_precision`` is what has to be proven for a cell to be filled. No proof is enough for 1.
    ``review_above`` is the probability of the best value from which on a person is asked.
    ``apply_after`` is for how many days a value that is filled waits until it may be written to the
    graph: infinitely many if only a person may do that.
    """

    target_precision: float | None = None
    review_above: float | None = None
    apply_after: float | None = None

    def as_dict(self) -> dict[str, float | str]:
        """Return what is set, as ontology.toml has it."""
        document: dict[str, float | str] = {}
        if self.target_precision is not None:
            document["target_precision"] = self.target_precision
        if self.review_above is not None:
            document["review_above"] = self.review_above
        if self.apply_after is not None:
            document["apply"] = _told_delay(self.apply_after)
        return document


@dataclass(frozen=True)
class Decisions:
    """The limits that a person set: for all cells, and by property, category and source."""

    general: DecisionLimits = DecisionLimits()
    properties: Mapping[str, DecisionLimits] = field(default_factory=dict)
    categories: Mapping[str, DecisionLimits] = field(default_factory=dict)
    sources: Mapping[str, DecisionLimits] = field(default_factory=dict)

    def of(
        self, property: str, category: str | None = None, sources: Iterable[str] = ()
    ) -> DecisionLimits:
        """Return the limits of a cell of this property, of an item of this category and sources."""
        special = [self.properties.get(property), self._of_category(category)]
        special += [self.sources.get(source) for source in sources]
        found = [each for each in special if each is not None]
        precisions = [limits.target_precision for limits in found]
        probabilities = [limits.review_above for limits in found]
        delays = [limits.apply_after for limits in found]
        return DecisionLimits(
            _strictest(precisions, self.general.target_precision),
            _strictest(probabilities, self.general.review_above),
            _strictest(delays, self.general.apply_after),
        )

    def _of_category(self, category: str | None) -> DecisionLimits | None:
        for prefix in reversed(path_prefixes(category) if category else []):
            limits = self.categories.get(prefix)
            if limits is not None:
                return limits
        return None

    def as_document(self) -> dict[str, Any]:
        """Return the table ``[decisions]``; empty if nothing is set."""
        document: dict[str, Any] = self.general.as_dict()
        tables = (self.properties, self.categories, self.sources)
        for kind, table in zip(_KINDS, tables, strict=True):
            if table:
                document[kind] = {name: table[name].as_dict() for name in sorted(table)}
        return document

    @classmethod
    def from_document(cls, document: Any) -> Decisions:
        """Read the table ``[decisions]``; raises ValueError if it is none."""
        if not isinstance(document, dict):
            raise ValueError(f"decisions = {shown(document)}: write a table [decisions]")
        general = {name: value for name, value in document.items() if name not in _KINDS}
        tables = {}
        for kind in _KINDS:
            table = document.get(kind, {})
            if not isinstance(table, dict):
                raise ValueError(f"decisions.{kind} = {shown(table)}: write a table for each name")
            tables[kind] = {
                str(name): _limits(f"decisions.{kind}.{shown(name)}", limits)
                for name, limits in table.items()
            }
        return cls(
            _limits("decisions", general),
            properties=tables["property"],
            categories=tables["category"],
            sources=tables["source"],
        )


def _strictest(limits: Iterable[float | None], general: float | None) -> float | None:
    return max((limit for limit in limits if limit is not None), default=general)


def _limits(place: str, entry: Any) -> DecisionLimits:
    if not isinstance(entry, dict):
        raise ValueError(f"{place} = {shown(entry)}: write a table with target_precision")
    readers: dict[str, tuple[str, Callable[[str, Any], float]]] = {
        "target_precision": ("target_precision", _precision),
        "review_above": ("review_above", _probability),
        "apply": ("apply_after", _delay),
    }
    read = {}
    for name, value in entry.items():
        if name not in readers:
            raise ValueError(f"{place} has {shown(name)}: it takes {', '.join(readers)}")
        field_name, reader = readers[name]
        read[field_name] = reader(f"{place}.{name}", value)
    return DecisionLimits(**read)


def _delay(place: str, value: Any) -> float:
    if value == _AT_ONCE:
        return 0.0
    if value == _BY_A_PERSON:
        return math.inf
    match = _AFTER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f'{place} = {shown(value)}: write "{_AT_ONCE}", "{_BY_A_PERSON}", or a delay such as '
            '"after 7 days"'
        )
    return float(match[1])


def _told_delay(days: float) -> str:
    if math.isinf(days):
        return _BY_A_PERSON
    if not days:
        return _AT_ONCE
    return f"after {days:.0f} {'day' if days == 1 else 'days'}"


def _precision(place: str, value: Any) -> float:
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(
            f"{place} = {shown(value)}: give a share above 0 such as 0.99, or 1 to fill nothing"
        )
    return float(value)


def _probability(place: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{place} = {shown(value)}: give a probability from 0 to 1, such as 0.2")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
