"""Which columns of a source play which role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schema.errors import MappingError
from schema.mapping.absent import absent_column
from schema.mapping.model import Mapping
from schema.mapping.names import is_pattern, listed, matches, matching, normalized


@dataclass(frozen=True)
class Layout:
    """The columns of one source by their roles: a mapping resolved against that source.

    ``id``, ``title`` and ``description`` have several columns if the first that is filled in a row
    counts; ``category`` has the levels of a path; ``images`` make one list.
    """

    id: tuple[str, ...] = ()
    title: tuple[str, ...] = ()
    description: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    parent: str | None = None
    language_column: str | None = None
    properties: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def with_role(self) -> set[str]:
        """Return the columns that have a role."""
        single = {name for name in (self.parent, self.language_column) if name}
        several = (self.id, self.title, self.description, self.category, self.images)
        return single.union(*several)


def resolve(mapping: Mapping, columns: Sequence[str], strict: bool = True) -> Layout:
    """Assign a source's columns to their roles.

    Raises MappingError if the source lacks a column that the mapping needs. Records may lack any
    member, so for them ``strict`` is false.
    """
    resolver = _Resolver(mapping, columns, strict)
    id_columns = resolver.pick("id", mapping.id)
    if not id_columns and strict:
        raise MappingError(
            f"mapping {mapping.name!r} finds no id column among {listed(columns)}: "
            'name one in a mapping file (`--mapping FILE.toml`, id = "...")'
        )
    title = resolver.pick("title", mapping.title)
    description = resolver.description()
    category = (
        resolver.pick("category", mapping.category)
        if mapping.category_any
        else resolver.present(mapping.category)
    )
    images = resolver.images()
    parent_names = mapping.variants.parent if mapping.variants else ()
    parent = resolver.pick("parent", parent_names)
    language_column = resolver.pick("language_column", mapping.language_column)

    with_role = {*id_columns, *title, *description, *images, *parent, *language_column}
    if mapping.properties is None:
        with_role |= set(category)
    if mapping.properties is None:
        ignored = tuple(
            column
            for column in columns
            if column not in with_role and any(matches(column, each) for each in mapping.ignore)
        )
        left_out = with_role | set(ignored)
        properties = tuple(column for column in columns if column not in left_out)
    else:
        properties = resolver.present(mapping.properties)
        used = {*with_role, *category, *properties, *_of_variants(mapping, columns)}
        ignored = tuple(column for column in columns if column not in used)
    return Layout(
        id=id_columns,
        title=title,
        description=description,
        category=category,
        images=images,
        parent=parent[0] if parent else None,
        language_column=language_column[0] if language_column else None,
        properties=properties,
        ignored=ignored,
        remarks=tuple(resolver.remarks),
    )


def with_choice(mapping: Mapping, layout: Layout) -> Mapping:
    """Return a mapping whose alternatives are those that a layout has chosen, where it has.

    Batches of records have different members, and would choose anew. Alternatives that each row
    tries stay as they are.
    """
    chosen = {"id": layout.id, "language_column": _one(layout.language_column)}
    if mapping.category_any:
        chosen["category"] = layout.category
    open_roles = mapping.optional - mapping.each_row
    found: dict[str, Any] = {
        role: names for role, names in chosen.items() if names and role in open_roles
    }
    if mapping.variants is not None and layout.parent is not None and "parent" in open_roles:
        found["variants"] = replace(mapping.variants, parent=_one(layout.parent))
    return replace(mapping, **found)


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _of_variants(mapping: Mapping, columns: Sequence[str]) -> list[str]:
    """Return the columns that tell variants and their parents apart."""
    variants = mapping.variants
    if variants is None:
        return []
    patterns = [*variants.group, *variants.id, *(name for _, name in variants.references)]
    patterns += [name for axis in variants.axes for name in (axis.name, axis.value)]
    if variants.packed is not None:
        patterns.append(variants.packed)
    return matching(columns, patterns)


class _Resolver:
    def __init__(self, mapping: Mapping, columns: Sequence[str], strict: bool) -> None:
        self._mapping = mapping
        self._columns = columns
        self._present = set(columns)
        self._strict = strict
        # Reversed, so that the first of several columns with the same normalized name wins.
        self._by_name = {normalized(column): column for column in reversed(columns)}
        self.remarks: list[str] = []

    def pick(self, role: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns of a role: one, or those to be tried one after another."""
        if role not in self._mapping.optional:
            return self.present(names)[:1]
        found = self._candidates(names)
        return found if role in self._mapping.each_row else found[:1]

    def present(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the columns of exactly these names; raises MappingError if the source lacks one.

        A name with a wildcard stands for all columns that fit it.
        """
        names = list(names)
        lacking = [
            name
            for name in names
            if name not in self._present and not is_pattern(name) and not self._alias(name)
        ]
        if lacking and self._strict:
            raise absent_column(self._mapping, lacking[0], self._columns)
        found: dict[str, None] = {}
        for name in names:
            if name in self._present:
                found[name] = None
            elif is_pattern(name):
                found.update(dict.fromkeys(matching(self._columns, [name])))
            elif alias := self._alias(name):
                found[alias] = None
        return tuple(found)

    def images(self) -> tuple[str, ...]:
        """Return all columns that hold images, in the order of the mapping's names."""
        names = self._mapping.images
        if "images" not in self._mapping.optional:
            return self.present(names)
        return self._candidates(names)

    def description(self) -> tuple[str, ...]:
        """Return the column of the description.

        In mappings from before there was such a role, this key held the text that is now `about`.
        """
        names = self._mapping.description
        if self._mapping.may_describe_itself and names[0] not in self._present:
            self.remarks.append(
                f"mapping {self._mapping.name!r}: `description` names the column of the "
                "description since this version; the text about the mapping goes into `about`"
            )
            return ()
        return self.pick("description", names)

    def _alias(self, name: str) -> str | None:
        """Return the column that a path with slashes stands for: records have dotted names."""
        dotted = name.replace("/", ".")
        return dotted if dotted != name and dotted in self._present else None

    def _candidates(self, names: tuple[str, ...]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in names:
            if is_pattern(name):
                found.update(dict.fromkeys(matching(self._columns, [name])))
            elif normalized(name) in self._by_name:
                found[self._by_name[normalized(name)]] = None
        return tuple(found)
