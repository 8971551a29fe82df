"""Variants: rows of their own for what a source writes into the rows of products, and parents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from kg.ingest.column_steps import ColumnSteps, numbered
from kg.ingest.columns import Column, ColumnBuilder, Rows
from kg.ingest.packed import unpack
from kg.ingest.values.text import clean
from schema.arrays import IntArray
from schema.mapping import Layout, Variants
from schema.mapping.names import matches, matching, number_in

_SHARED_ID = "variants have the id of another one of their product, and got one of their own"
_MAX_GROUPS = 10_000
"""Groups whose names of axes are remembered: rows of one product stand close together."""


@dataclass
class PendingParent:
    """A variant whose parent is named by a reference that no row explains yet."""

    id: str
    line: int
    reference: str
    parent: str = ""


@dataclass
class _PackedVariant:
    """A variant in a cell of a row: (name, text) pairs of what varies, and of its own ids."""

    row: int
    axes: list[tuple[str, str]]
    own: list[tuple[str, str]]


class VariantSteps:
    """Gives the variants of one source rows and ids of their own, and links them to their parents.

    It remembers the names of axes, and the references to parents that no row explained yet.
    """

    def __init__(self, steps: ColumnSteps, variants: Variants) -> None:
        self.variants = variants
        self._steps = steps
        self._axes: dict[str, dict[int, str]] = {}
        self._aliases: dict[str, str] = {}
        self._pending: list[PendingParent] = []

    def copy(self, steps: ColumnSteps) -> VariantSteps:
        """Return the steps with what they remember; what they read changes nothing here."""
        other = VariantSteps(steps, self.variants)
        other._axes = {group: dict(names) for group, names in self._axes.items()}
        other._aliases = dict(self._aliases)
        return other

    def take_pending(self) -> tuple[list[PendingParent], int]:
        """Return the variants whose parents were named before they came, with the parents' ids.

        The number is that of the parents that never came: they keep the name that they are given.
        """
        unknown = 0
        for each in self._pending:
            parent = self._aliases.get(each.reference)
            unknown += parent is None
            each.parent = parent or each.reference
        pending = self._pending
        self._pending = []
        return pending, unknown

    def split_groups(self, rows: Rows) -> list[str | None]:
        """Give variants in the rows of their products rows of their own; return rows' groups."""
        variants = self.variants
        group_column = self._steps.column(rows, variants.group)
        groups = self._steps.ids(rows, group_column)
        count = len(rows)
        axes = self._axes_of(rows, variants, groups)
        id_names = matching(rows.names(), variants.id)
        ids = [self._steps.ids(rows, name) for name in id_names]
        own_names = set(matching(rows.names(), variants.columns)) | set(id_names)

        variant_rows = [row for row in range(count) if groups[row] is not None and axes[row]]
        first = rows.add_rows(
            rows.lines[variant_rows].tolist(), rows.sources[variant_rows].tolist()
        )
        place = np.arange(count, dtype=np.int64)
        builder = ColumnBuilder(derived=True)
        for variant, row in enumerate(variant_rows, first):
            place[row] = variant
            product = groups[row] or ""
            own = next((id for texts in ids if (id := texts[row])), None)
            values = [value for _, value in axes[row]]
            # A variant that has its product's id could not be told from it.
            rows.ids[variant] = own if own not in (None, product) else variant_id(product, values)
            rows.parents[variant] = product
            for axis, value in axes[row]:
                builder.add(axis, variant, value)
        rows.columns = [
            column.moved(place) if column.name in own_names else column for column in rows.columns
        ]
        rows.columns += builder.columns()
        return groups

    def _axes_of(
        self, rows: Rows, variants: Variants, groups: list[str | None]
    ) -> list[list[tuple[str, str]]]:
        """Return the (axis, value) pairs of each row, and take their columns away.

        The first row of a product names its axes, and the others only have values.
        """
        axes: list[list[tuple[str, str]]] = [[] for _ in range(len(rows))]
        consumed = set()
        for pairs in variants.axes:
            for number, (name_column, value_column, _) in enumerate(numbered(rows, pairs)):
                consumed |= {name_column, value_column}
                names = rows.texts(name_column)
                for row, value in enumerate(self._steps.values(rows, value_column)):
                    group = groups[row]
                    if group is None:
                        continue
                    known = self._axes.setdefault(group, {})
                    if names[row]:
                        known[number] = names[row] or ""
                    if value is not None:
                        axes[row].append((known.get(number) or value_column, value))
        while len(self._axes) > _MAX_GROUPS:
            del self._axes[next(iter(self._axes))]
        rows.without(consumed)
        return axes

    def identify_listed(self, rows: Rows, ids: list[str | None]) -> None:
        """Give variants in a record's list their axes' names, and ids if they have none."""
        variants = self.variants
        if not rows.parent_rows:
            return
        names = matching(rows.names(), variants.id)
        own = [self._steps.ids(rows, name) for name in names]
        axes = self._listed_axes(rows, variants)
        numbers = _numbers_in_lists(rows.parent_rows)
        self._merge_only_variants(rows, variants, axes)
        used: set[tuple[int, str]] = set()
        for row, parent_row in rows.parent_rows.items():
            parent = ids[parent_row]
            id = next((id for texts in own if (id := texts[row])), None)
            if parent is not None and id in (None, parent):
                # What varies tells the variant; where nothing does, its place in the list.
                values = [value for _, value in axes.get(row, ())] or [str(numbers[row])]
                id = variant_id(parent, values)
            if parent is not None and id is not None and (parent_row, id) in used:
                values = [value for _, value in axes.get(row, ())]
                id = _id_beside(used, (parent_row, parent), values, numbers[row])
                rows.notes[_SHARED_ID] += 1
            if id is not None:
                used.add((parent_row, id))
            ids[row] = id

    def _merge_only_variants(
        self, rows: Rows, variants: Variants, axes: dict[int, list[tuple[str, str]]]
    ) -> None:
        """Make the only variant of a product, in which nothing varies, a part of its product."""
        counts = Counter(rows.parent_rows.values())
        place = np.arange(len(rows), dtype=np.int64)
        for row, parent_row in list(rows.parent_rows.items()):
            if variants.axes and counts[parent_row] == 1 and row not in axes:
                place[row] = parent_row
                rows.merged.add(row)
                del rows.parent_rows[row]
        if rows.merged:
            # The product's own texts come first, and so does its title.
            rows.columns = [_in_place(column, place) for column in rows.columns]

    def _listed_axes(self, rows: Rows, variants: Variants) -> dict[int, list[tuple[str, str]]]:
        """Name the columns ``option{n}`` of variants by the n-th axis of their product."""
        found: dict[int, list[tuple[str, str]]] = {}
        builder = ColumnBuilder(derived=True)
        consumed: set[str] = set()
        # Names of axes are no properties of products with variants; others keep theirs, whatever
        # stands in the same batch.
        varied = {*rows.parent_rows.values()}
        name_columns_of_axes: set[str] = set()
        # Of several rules for the names of axes, those come first that find some.
        for pairs in sorted(
            variants.axes, key=lambda each: not matching(rows.names(), [each.name])
        ):
            name_columns = matching(rows.names(), [pairs.name])
            names: dict[int, list[str]] = {}
            for name in name_columns:
                for column in rows.named(name):
                    for row, text in zip(
                        column.rows.tolist(), column.texts.to_pylist(), strict=True
                    ):
                        names.setdefault(row, []).append(text)
            for value_column in matching(rows.names(), [pairs.value]):
                if value_column in consumed:
                    continue
                number = number_in(value_column, pairs.value) or 1
                consumed.add(value_column)
                for row, value in enumerate(self._steps.values(rows, value_column)):
                    if value is None:
                        continue
                    product = rows.parent_rows.get(row, row)
                    varied.add(product)
                    of_product = names.get(product, [])
                    axis = of_product[number - 1] if number <= len(of_product) else value_column
                    builder.add(axis, row, value)
                    found.setdefault(row, []).append((axis, value))
            name_columns_of_axes.update(name_columns)
        rows.columns = [
            column.where(~np.isin(column.rows, list(varied)))
            if column.name in name_columns_of_axes
            else column
            for column in rows.columns
        ]
        rows.without(consumed)
        rows.columns += builder.columns()
        return found

    def add_packed(self, rows: Rows, ids: list[str | None]) -> None:
        """Link the variants that their parent lists in a cell, and add what varies."""
        if not self.variants.packed:
            return
        names = matching(rows.names(), [self.variants.packed])
        builder = ColumnBuilder(derived=True)
        for name in names:
            found: list[_PackedVariant] = []
            for column in rows.named(name):
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    if ids[row] is not None:
                        found += self._packed_variants(rows, row, text)
            self._clean_packed_ids(rows, name, found)
            self._add_packed_variants(rows, ids, builder, found)
        rows.without(names)
        rows.columns += builder.columns()

    def _packed_variants(self, rows: Rows, row: int, text: str) -> Iterator[_PackedVariant]:
        """Yield the variants in a cell of a row, which is bad if it has one that cannot be read."""
        variants = self.variants
        for part in text.split(variants.variant):
            if not part.strip():
                continue
            try:
                pairs = unpack(part, variants.pair, variants.item)
            except ValueError as error:
                rows.bad.setdefault(int(rows.sources[row]), str(error))
                continue
            own = [pair for pair in pairs if _is_any(pair[0], variants.id)]
            yield _PackedVariant(row, [pair for pair in pairs if pair not in own], own)

    def _clean_packed_ids(self, rows: Rows, column: str, found: list[_PackedVariant]) -> None:
        """Clean the ids of variants as those of rows are; spoilt ones make their rows bad."""
        by_name: dict[str, list[tuple[_PackedVariant, int]]] = {}
        for variant in found:
            # The first of the mapping's names counts, wherever it stands in the cell.
            filled = [pair for pair in variant.own if clean(pair[1])]
            pairs = [pair for each in self.variants.id for pair in filled if matches(pair[0], each)]
            variant.own = list(dict.fromkeys(pairs))
            texts = {text for name, text in variant.own if matches(name, variant.own[0][0])}
            if len(texts) > 1:
                several = ", ".join(repr(text[:40]) for text in sorted(texts)[:3])
                reason = f"several ids in {column!r}: {several}"
                rows.bad.setdefault(int(rows.sources[variant.row]), reason)
            for place, (name, _) in enumerate(variant.own):
                by_name.setdefault(name, []).append((variant, place))
        faults: dict[tuple[str, str], str] = {}
        for name, places in by_name.items():
            cleaned = self._steps.clean_ids(
                name, [variant.own[place][1] for variant, place in places]
            )
            for number, (variant, place) in enumerate(places):
                id = cleaned.ids[number] or ""
                variant.own[place] = name, id
                if number in cleaned.faults:
                    faults[name, id] = cleaned.faults[number]
        for variant in found:
            variant.own = [pair for pair in variant.own if pair[1]]
            if variant.own and variant.own[0] in faults:
                rows.bad.setdefault(int(rows.sources[variant.row]), faults[variant.own[0]])

    def _add_packed_variants(
        self,
        rows: Rows,
        ids: list[str | None],
        builder: ColumnBuilder,
        found: list[_PackedVariant],
    ) -> None:
        used: set[tuple[int, str]] = set()
        counts: Counter[int] = Counter()
        for each in found:
            row = each.row
            parent = ids[row] or ""
            counts[row] += 1
            variant = rows.add_rows([int(rows.lines[row])], [int(rows.sources[row])])
            values = [value for _, value in each.axes]
            further = each.own
            id = variant_id(parent, values)
            # A variant that has its product's id could not be told from it.
            if id == parent:
                id = variant_id(parent, [str(counts[row])])
            if each.own and each.own[0][1] != parent:
                id = each.own[0][1]
                further = each.own[1:]
            if (row, id) in used:
                id = _id_beside(used, (row, parent), values, counts[row])
                further = each.own
                rows.notes[_SHARED_ID] += 1
            used.add((row, id))
            ids.append(id)
            rows.parents[variant] = parent
            rows.secondary.add(variant)
            for name, value in (*each.axes, *further):
                builder.add(name, variant, value)

    def add_parents(
        self, rows: Rows, layout: Layout, ids: list[str | None], deferred: set[int]
    ) -> None:
        """Note the parent of each row whose parent column or record says one."""
        for row, parent_row in rows.parent_rows.items():
            parent = ids[parent_row]
            if parent is not None:
                rows.parents[row] = parent
        if layout.parent is None:
            return
        references = self.variants.references
        for prefix, name in references:
            for row, text in enumerate(rows.texts(name)):
                if text is not None and ids[row] is not None:
                    self._aliases[prefix + text.strip()] = ids[row] or ""
        for row, reference in enumerate(self._steps.references(rows, layout.parent)):
            id = ids[row]
            if reference is None or id is None:
                continue
            if int(rows.sources[row]) in deferred:
                continue
            is_indirect = any(reference.startswith(prefix) for prefix, _ in references)
            parent = self._aliases.get(reference) if is_indirect else reference
            if parent is None:
                self._pending.append(PendingParent(id, int(rows.lines[row]), reference))
            elif parent != id:
                rows.parents[row] = parent


def variant_id(product: str, values: Iterable[str]) -> str:
    """Return the id of a variant that has none of its own: its product's, and what varies."""
    return "/".join([product, *(cleaned for value in values if (cleaned := clean(value)))])


def _id_beside(
    used: set[tuple[int, str]], parent: tuple[int, str], values: list[str], number: int
) -> str:
    """Return an id that no other variant of a product, by its row and id, has."""
    row, product = parent
    id = variant_id(product, values)
    return id if values and (row, id) not in used else variant_id(product, [*values, str(number)])


def _numbers_in_lists(parent_rows: dict[int, int]) -> dict[int, int]:
    """Return the number of each variant in the list of its product, counted from 1."""
    counts: Counter[int] = Counter()
    numbers = {}
    for row, parent_row in parent_rows.items():
        counts[parent_row] += 1
        numbers[row] = counts[parent_row]
    return numbers


def _in_place(column: Column, place: IntArray) -> Column:
    """Return a column whose rows were joined with others, in the order of the rows."""
    moved = column.moved(place)
    order = np.argsort(moved.rows, kind="stable")
    lines = None if moved.lines is None else moved.lines[order]
    texts = moved.texts.take(pa.array(order))
    return replace(moved, rows=moved.rows[order], texts=texts, lines=lines)


def _is_any(name: str, names: Iterable[str]) -> bool:
    return any(matches(name, each) for each in names)
