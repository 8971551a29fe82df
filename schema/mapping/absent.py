"""Columns that a mapping names, and a source does not have."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from schema.errors import MappingError
from schema.mapping.model import Mapping
from schema.mapping.names import MAX_NAME, is_pattern, listed, matches, normalized

_CUTOFF = 0.7
"""How alike two names have to be for one to be a spelling of the other, see ``difflib``."""
_MAX_COMPARED = 2_000
"""Columns that a name is compared with: records may have any number of them."""


def absent_column(mapping: Mapping, name: str, columns: Collection[str]) -> MappingError:
    """Return the error that a source lacks a column that its mapping needs."""
    return MappingError(
        f"mapping {mapping.name!r} needs column {name!r}{_close_name(name, columns)}; "
        f"the source has {listed(columns)}: choose another with `--mapping`"
    )


def absent_names(mapping: Mapping, columns: Collection[str]) -> Iterator[str]:
    """Yield the names of a mapping that no column of a source fits, with where they stand.

    ``columns`` are all names that came up, those that the data themselves name among them.
    """
    has = _Columns(columns)
    for place, names in _alternatives(mapping):
        if names and not any(map(has.any, names)):
            first = names[0]
            yield f"{place} = {first!r}{_close_name(first, columns)}"
    for name, settings in mapping.settings:
        if not has.any(name):
            yield f'[columns."{name}"]{_close_name(name, columns)}'
        elif settings.unit_column is not None:
            units = {settings.unit_column.replace("{name}", each) for each in has.fitting(name)}
            if not any(map(has.any, units)):
                unit = settings.unit_column
                yield f'unit_column = {unit!r} of [columns."{name}"]{_close_name(unit, columns)}'


def _alternatives(mapping: Mapping) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield names of columns of which a source should have one, and the key that they are in."""
    for role in ("id", "title", "description", "category", "images", "language_column"):
        names: tuple[str, ...] = vars(mapping)[role]
        if role == "description" and mapping.may_describe_itself:
            continue
        if role == "category" and not mapping.category_any:
            yield from ((role, (name,)) for name in names)
        else:
            yield role, names
    yield from (("properties", (name,)) for name in mapping.properties or ())
    yield from (("packed.column", (packed.column,)) for packed in mapping.packed)
    for pairs in mapping.pairs:
        # The members of a list's elements become columns by the names that they hold.
        if pairs.list is None:
            yield "pairs.name", (pairs.name,)
            yield "pairs.value", (pairs.value,)
            yield "pairs.unit", (pairs.unit,) if pairs.unit else ()
    if mapping.triples is not None:
        yield "triples.unit", mapping.triples.unit
        yield "triples.language", mapping.triples.language
    variants = mapping.variants
    if variants is not None:
        yield "parent", variants.parent
        yield "variants.packed", (variants.packed,) if variants.packed else ()
        yield from (("variants.references", (name,)) for _, name in variants.references)


class _Columns:
    """Looks up names and patterns among columns."""

    def __init__(self, columns: Collection[str]) -> None:
        self._columns = columns
        self._normalized = {normalized(name) for name in columns}

    def any(self, name: str) -> bool:
        """Return whether a column has a name or fits a pattern; or is below it, in a record."""
        if is_pattern(name):
            return any(matches(each, name) for each in self._columns)
        wanted = normalized(name)
        return wanted in self._normalized or any(
            each.startswith(f"{wanted}.") for each in self._normalized
        )

    def fitting(self, name: str) -> Iterable[str]:
        """Return the columns that a name or pattern stands for."""
        return [each for each in self._columns if matches(each, name)]


def _close_name(name: str, columns: Collection[str]) -> str:
    """Return a question for a column whose name is much like one that there is not, or ""."""
    if is_pattern(name) or len(name) > MAX_NAME:
        return ""
    known = {
        normalized(each): each for each in islice(columns, _MAX_COMPARED) if len(each) <= MAX_NAME
    }
    found = difflib.get_close_matches(normalized(name), known, 1, _CUTOFF)
    return f" (did you mean {known[found[0]]!r}?)" if found else ""
