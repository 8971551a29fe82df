"""What stands between several values in one cell of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from kg.sources import KeptSources
from schema.errors import DataError
from schema.mapping import BRACKETS, Mapping
from schema.mapping.names import matches

DEFAULT_SEPARATOR = "|"


class Separators:
    """The separators that mappings give: of each property the first that some mapping has."""

    def __init__(self, mappings: Sequence[Mapping] = ()) -> None:
        self._mappings = mappings
        self.of = cache(self._find)

    @classmethod
    def of_home(cls, sources: Path) -> Separators:
        """Return those of the mappings by which a home's sources were last read."""
        mappings = []
        for files in KeptSources(sources).newest().values():
            for kept in files:
                try:
                    mappings.append(kept.load_mapping())
                except DataError:
                    # What needs no mapping has none, and a damaged one only costs its separators.
                    continue
        return cls(mappings)

    def _find(self, property: str) -> str:
        """Return the separator of a property's values."""
        for mapping in self._mappings:
            for column, settings in mapping.settings:
                names = settings.property == property or matches(property, column)
                if names and settings.multi and settings.multi != BRACKETS:
                    return settings.multi
        return next((each.multi for each in self._mappings if each.multi), DEFAULT_SEPARATOR)

    def joined(self, property: str, values: Iterable[str]) -> str:
        """Return values as one cell; one that holds the separator itself is quoted."""
        several = list(values)
        if len(several) == 1:
            return several[0]
        separator = self.of(property)
        return separator.join(_quoted(value, separator) for value in several)


def _quoted(value: str, separator: str) -> str:
    if separator not in value and not value.startswith('"'):
        return value
    doubled = value.replace('"', '""')
    return f'"{doubled}"'
