"""A mapping applied to a batch: the items' own fields and a long table of facts, not yet cleaned.

The steps turn columns into columns until every column is a role's or a property's: texts are told
apart by language, units join their numbers, name/value pairs, packed cells and long triples become
columns of the properties that they name, and variants get rows of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from kg.ingest.columns import Column, ColumnBuilder, Rows
from kg.ingest.flatten import Flattener
from kg.ingest.normalize import clean, clean_column, split_quoted
from kg.ingest.packed import is_other_file, split_images, unpack, unpack_json
from schema.arrays import BoolArray, IntArray
from schema.errors import MappingError
from schema.mapping import (
    VARIANT_OF,
    ColumnSettings,
    Layout,
    Mapping,
    PackedColumn,
    PairColumns,
    Variants,
    resolve,
)
from schema.mapping.languages import language_tag, precedence, primary, tagged_names
from schema.mapping.names import listed, matches, matching, normalized, number_in
from schema.mapping.unit_codes import with_unit

_TOTALS = frozenset(
    """total totals subtotal summe gesamt gesamtsumme zwischensumme totaal suma totale somme
    合计 总计 小计""".split()
)
_MAX_GROUPS = 10_000
"""Groups whose names of axes are remembered: rows of one product stand close together."""


@dataclass(frozen=True)
class Facts:
    """Texts [F] of one property, the rows [F] of the draft that they belong to, and their lines.

    They are not split into values and not cleaned; ``settings`` say how to. ``language`` is the tag
    of texts in another language than the leading one. ``is_category`` marks further categories.
    """

    property: str
    rows: IntArray
    texts: pa.Array
    settings: ColumnSettings = field(default_factory=ColumnSettings)
    language: str | None = None
    lines: IntArray | None = None
    is_category: bool = False
    whole: bool = False
    """Whether a text is one value, whatever it looks like: the id of a parent."""


@dataclass
class Draft:
    """The items [M] of a batch as its mapping makes them, with texts as the source has them.

    ``sources`` [M] are the rows of the batch that the items come from, of which ``bad`` names those
    to reject, with the reason, and ``deferred`` those that are read later. ``secondary`` rows only
    add facts to items of other rows, and ``merged`` ones became a part of others. ``left_out``
    counts texts by the column that they were in.
    """

    ids: list[str | None]
    lines: IntArray
    sources: IntArray
    source_count: int
    contents: list[int]
    describe: Callable[[int], str]
    title: pa.Array
    description: pa.Array
    levels: list[pa.Array]
    category: pa.Array
    images: list[list[str]]
    facts: list[Facts]
    secondary: BoolArray
    merged: set[int] = field(default_factory=set)
    bad: dict[int, str] = field(default_factory=dict)
    deferred: set[int] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class _PendingParent:
    """A variant whose parent is named by a reference that no row explains yet."""

    id: str
    line: int
    reference: str


class DraftMaker:
    """Makes the drafts of one source's batches.

    ``strict`` means that the source has all columns that the mapping names; records may lack them.
    ``is_known`` says whether an item has come up already; it is asked about rows in other languages
    than the leading one, which are set aside in the first reading if ``is_known`` is None.
    """

    def __init__(
        self,
        mapping: Mapping,
        strict: bool = True,
        is_known: Callable[[str], bool] | None = None,
    ) -> None:
        self.mapping = mapping
        self.is_known = is_known
        self.remarks: dict[str, None] = {}
        """What the user should know about the mapping, in order."""
        self.ignored: dict[str, None] = {}
        """The columns that were left out, in order."""
        self._strict = strict
        self._settings: dict[str, ColumnSettings] = {}
        self._axes: dict[str, dict[int, str]] = {}
        self._aliases: dict[str, str] = {}
        self._pending: list[_PendingParent] = []

    def draft(self, rows: Rows) -> Draft:
        """Return the draft of a batch; raises MappingError if the mapping does not fit it."""
        mapping = self.mapping
        self._tag_by_name(rows)
        self._join_units(rows)
        self._add_pairs(rows)
        self._unpack(rows)
        if mapping.triples is not None:
            self._pivot(rows)
        group = self._split_groups(rows) if self._kind("group") else None

        layout = self._resolve(rows)
        ids = self._ids(rows, layout, group)
        deferred = self._tag_by_row(rows, layout, ids)
        self._add_packed_variants(rows, ids)
        self._add_parents(rows, layout, ids, deferred)
        return self._finish(rows, layout, ids, deferred)

    def last_draft(self) -> Draft | None:
        """Return the variants whose parents were never explained, linked to what was written."""
        if not self._pending:
            return None
        count = len(self._pending)
        parents = []
        unknown = 0
        for each in self._pending:
            parent = self._aliases.get(each.reference)
            unknown += parent is None
            parents.append(parent or each.reference)
        nulls = pa.nulls(count, pa.string())
        everyone = np.arange(count, dtype=np.int64)
        draft = Draft(
            ids=[each.id for each in self._pending],
            lines=np.array([each.line for each in self._pending], np.int64),
            sources=np.full(count, -1),
            source_count=0,
            contents=[],
            describe=lambda row: "",
            title=nulls,
            description=nulls,
            levels=[],
            category=nulls,
            images=[[] for _ in range(count)],
            facts=[Facts(VARIANT_OF, everyone, pa.array(parents, pa.string()), whole=True)],
            secondary=np.ones(count, bool),
        )
        if unknown:
            draft.notes["variants name a parent that no row has"] += unknown
        self._pending = []
        return draft

    def _kind(self, kind: str) -> bool:
        variants = self.mapping.variants
        return variants is not None and bool(vars(variants)[kind])

    # ---- columns from columns ----------------------------------------------------------------

    def _tag_by_name(self, rows: Rows) -> None:
        """Tell apart columns whose names or settings say their language."""
        mapping = self.mapping
        tagged = tagged_names(rows.names(), mapping.languages.columns)
        scopes: dict[tuple[str, str], str | None] = {}
        columns = []
        for column in rows.columns:
            language = self._settings_of(column.name).language
            name = tagged.get(column.name)
            if name is not None:
                column = replace(column, name=name.name, language=name.language)
                scopes.setdefault((name.name, name.language), name.scope)
            elif language is not None:
                column = replace(column, language=language_tag(language))
            if column.language is not None:
                column = replace(column, language=self._tag(column.language))
            columns.append(column)
        rows.columns = columns

    def _tag(self, code: str) -> str | None:
        """Return the language that a code of the source stands for, None for the leading one."""
        codes = self.mapping.languages.codes
        return language_tag(codes.get(code, codes.get(code.lower(), code))) or None

    def _join_units(self, rows: Rows) -> None:
        """Join the numbers of a column with the units in the column beside it."""
        names = {normalized(name): name for name in reversed(rows.names())}
        consumed = set()
        for name in rows.names():
            pattern = self._settings_of(name).unit_column
            if pattern is None:
                continue
            unit_name = names.get(normalized(pattern.replace("{name}", name)))
            if unit_name is None or unit_name == name:
                continue
            consumed.add(unit_name)
            units = rows.texts(unit_name)
            rows.columns = [
                self._with_units(column, units) if column.name == name else column
                for column in rows.columns
            ]
        # A unit without a number says nothing.
        rows.without(consumed)

    def _with_units(self, column: Column, units: list[str | None]) -> Column:
        texts = column.texts.to_pylist()
        return column.with_texts(
            [
                text if (unit := units[row]) is None else with_unit(text, unit)
                for row, text in zip(column.rows.tolist(), texts, strict=True)
            ]
        )

    def _add_pairs(self, rows: Rows) -> None:
        """Turn columns of names and columns of values into columns by those names."""
        for pairs in self.mapping.pairs:
            if pairs.list is None:
                self._add_numbered_pairs(rows, pairs)

    def _add_numbered_pairs(self, rows: Rows, pairs: PairColumns) -> None:
        found = _numbered(rows, pairs)
        builder = ColumnBuilder(derived=True)
        for name_column, value_column, unit_column in found:
            names = rows.texts(name_column)
            units = rows.texts(unit_column) if unit_column else None
            for column in rows.named(value_column):
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    name = names[row]
                    if name is None:
                        # A value without a name keeps that of its column.
                        builder.add(value_column, row, text)
                        continue
                    for value in _split_values(text, pairs.multi, pairs.quoted):
                        unit = units[row] if units else None
                        builder.add(name, row, with_unit(value, unit) if unit else value)
        rows.without(name for columns in found for name in columns if name)
        rows.columns += builder.columns()

    def _unpack(self, rows: Rows) -> None:
        """Turn packed cells into columns by the names in them."""
        for packed in self.mapping.packed:
            names = matching(rows.names(), [packed.column])
            if packed.column in rows.names():
                names = [packed.column]
            if not names and self._strict and not _is_pattern(packed.column):
                self._column(rows, (packed.column,))
            for name in names:
                self._unpack_column(rows, name, packed)

    def _column(self, rows: Rows, names: tuple[str, ...]) -> str:
        """Return the first column of these names; raises MappingError if there is none."""
        columns = rows.names()
        found = [name for name in names if name in columns] or matching(columns, names)
        if not found:
            raise MappingError(
                f"mapping {self.mapping.name!r} needs column {names[0]!r}; "
                f"the source has {listed(columns)}: choose another with `--mapping`"
            )
        return found[0]

    def _unpack_column(self, rows: Rows, name: str, packed: PackedColumn) -> None:
        builder = ColumnBuilder(derived=True)
        cells = []
        for column in rows.named(name):
            for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                try:
                    if packed.json:
                        cells.append((row, name, unpack_json(text)))
                        continue
                    pairs = unpack(text, packed.pair, packed.item, packed.parts)
                except ValueError as error:
                    if packed.json:
                        # A text beside JSON is a value like any other.
                        builder.add(name, row, text)
                    else:
                        rows.bad.setdefault(int(rows.sources[row]), str(error))
                    continue
                for property_name, value in pairs:
                    for each in _split_values(value, packed.multi, quoted=False):
                        builder.add(property_name, row, each)
        rows.without([name])
        rows.columns += builder.columns()
        if cells:
            flattener = Flattener(self.mapping)
            derived = flattener.columns_of_cells(cells)
            rows.columns += [replace(column, derived=True) for column in derived]
            rows.left_out += flattener.left_out

    # ---- long triples ------------------------------------------------------------------------

    def _pivot(self, rows: Rows) -> None:
        """Turn rows of item, property and value into one row for each item."""
        triples = self.mapping.triples
        assert triples is not None
        columns = {
            key: self._column(rows, names)
            if key in ("item", "property", "value")
            else next(iter(matching(rows.names(), names)), None)
            for key, names in vars(triples).items()
        }
        texts = {key: rows.texts(name) if name else None for key, name in columns.items()}

        items: dict[str, int] = {}
        first_rows: list[int] = []
        builder = ColumnBuilder()
        required = [texts[key] or [None] * len(rows) for key in ("item", "property", "value")]
        for row, (item, name, value) in enumerate(zip(*required, strict=True)):
            item = clean(item) if item else None
            if item is None:
                rows.bad[row] = "empty id"
                continue
            if name is None or not clean(name):
                rows.bad[row] = "empty property"
                continue
            if item not in items:
                items[item] = len(items)
                first_rows.append(row)
            if value is None:
                continue
            unit = texts["unit"][row] if texts["unit"] else None
            language = texts["language"][row] if texts["language"] else None
            tag = self._tag(language) if language else None
            text = with_unit(value, unit) if unit else value
            builder.add(name, items[item], text, tag, int(rows.lines[row]))
        rows.lines = rows.lines[first_rows]
        rows.sources = np.array(first_rows, np.int64)
        rows.columns = builder.columns()
        rows.ids = dict(enumerate(items))

    # ---- variants ----------------------------------------------------------------------------

    def _split_groups(self, rows: Rows) -> list[str | None]:
        """Give variants in the rows of their products rows of their own; return rows' groups."""
        variants = self.mapping.variants
        assert variants is not None
        group_column = self._column(rows, variants.group)
        groups = [clean(text) if text else None for text in rows.texts(group_column)]
        count = len(rows)
        axes = self._axes_of(rows, variants, groups)
        id_names = matching(rows.names(), variants.id)
        ids = [rows.texts(name) for name in id_names]
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
            own = next((id for texts in ids if (id := clean(texts[row] or ""))), None)
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
            for number, (name_column, value_column, _) in enumerate(_numbered(rows, pairs)):
                consumed |= {name_column, value_column}
                settings = self._settings_of(value_column)
                missing = self._missing(settings)
                names = rows.texts(name_column)
                for row, value in enumerate(rows.texts(value_column)):
                    group = groups[row]
                    if group is None:
                        continue
                    known = self._axes.setdefault(group, {})
                    if names[row]:
                        known[number] = names[row] or ""
                    if value is not None and clean(value) not in missing | {None}:
                        axes[row].append((known.get(number) or value_column, value))
        while len(self._axes) > _MAX_GROUPS:
            del self._axes[next(iter(self._axes))]
        rows.without(consumed)
        return axes

    def _add_packed_variants(self, rows: Rows, ids: list[str | None]) -> None:
        """Link the variants that their parent lists in a cell, and add what varies."""
        if not self._kind("packed"):
            return
        variants = self.mapping.variants
        assert variants is not None
        names = matching(rows.names(), [variants.packed or ""])
        builder = ColumnBuilder(derived=True)
        for name in names:
            for column in rows.named(name):
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    parent = ids[row]
                    if parent is not None:
                        self._add_packed_cell(rows, ids, builder, (row, parent, text))
        rows.without(names)
        rows.columns += builder.columns()

    def _add_packed_cell(
        self,
        rows: Rows,
        ids: list[str | None],
        builder: ColumnBuilder,
        cell: tuple[int, str, str],
    ) -> None:
        variants = self.mapping.variants
        assert variants is not None
        row, parent, text = cell
        for part in text.split(variants.variant):
            if not part.strip():
                continue
            try:
                pairs = unpack(part, variants.pair, variants.item)
            except ValueError as error:
                rows.bad.setdefault(int(rows.sources[row]), str(error))
                continue
            axes = [pair for pair in pairs if not _is_any(pair[0], variants.id)]
            own = [value for name, value in pairs if _is_any(name, variants.id)]
            line = int(rows.lines[row])
            variant = rows.add_rows([line], [int(rows.sources[row])])
            ids.append(clean(own[0]) if own else variant_id(parent, [value for _, value in axes]))
            rows.parents[variant] = parent
            rows.secondary.add(variant)
            for axis, value in axes:
                builder.add(axis, variant, value)

    def _add_parents(
        self, rows: Rows, layout: Layout, ids: list[str | None], deferred: set[int]
    ) -> None:
        """Note the parent of each row whose parent column or record says one."""
        for row, parent_row in rows.parent_rows.items():
            parent = ids[parent_row]
            if parent is not None:
                rows.parents[row] = parent
        if layout.parent is None:
            return
        variants = self.mapping.variants
        references = variants.references if variants else ()
        for prefix, name in references:
            for row, text in enumerate(rows.texts(name)):
                if text is not None and ids[row] is not None:
                    self._aliases[prefix + text.strip()] = ids[row] or ""
        missing = self._missing(self._settings_of(layout.parent))
        for row, text in enumerate(rows.texts(layout.parent)):
            reference = clean(text) if text else None
            id = ids[row]
            if reference is None or id is None or reference in missing:
                continue
            if int(rows.sources[row]) in deferred:
                continue
            is_indirect = any(reference.startswith(prefix) for prefix, _ in references)
            parent = self._aliases.get(reference) if is_indirect else reference
            if parent is None:
                self._pending.append(_PendingParent(id, int(rows.lines[row]), reference))
            elif parent != id:
                rows.parents[row] = parent

    # ---- roles -------------------------------------------------------------------------------

    def _resolve(self, rows: Rows) -> Layout:
        """Assign columns to roles: those of the source, since the data may use any name."""
        own = [name for name in rows.names() if any(not c.derived for c in rows.named(name))]
        if self.mapping.triples is not None:
            # Any item may lack any property, and so a column of a role.
            layout = resolve(replace(self.mapping, id=()), own, strict=False)
        else:
            layout = resolve(self.mapping, own, strict=self._strict)
        self.remarks.update(dict.fromkeys(layout.remarks))
        self.ignored.update(dict.fromkeys(layout.ignored))
        return layout

    def _ids(self, rows: Rows, layout: Layout, groups: list[str | None] | None) -> list[str | None]:
        """Return the id of each row, and those of variants in a list after their products'."""
        ids: list[str | None] = [None] * len(rows)
        if groups is not None:
            ids[: len(groups)] = groups
        else:
            columns = [self._clean_ids(rows, name) for name in layout.id]
            for texts in columns:
                ids = [text if id is None else id for id, text in zip(ids, texts, strict=True)]
        for row, id in rows.ids.items():
            ids[row] = id
        self._identify_listed(rows, ids)
        return ids

    def _clean_ids(self, rows: Rows, name: str) -> list[str | None]:
        texts = pa.array(rows.texts(name), pa.string())
        return clean_column(texts).to_pylist()

    def _identify_listed(self, rows: Rows, ids: list[str | None]) -> None:
        """Give variants in a record's list their axes' names, and ids if they have none."""
        variants = self.mapping.variants
        if not rows.parent_rows or variants is None:
            return
        names = matching(rows.names(), variants.id)
        own = [rows.texts(name) for name in names]
        axes = self._listed_axes(rows, variants)
        numbers = _numbers_in_lists(rows.parent_rows)
        self._merge_only_variants(rows, variants, axes)
        for row, parent_row in rows.parent_rows.items():
            parent = ids[parent_row]
            id = next((id for texts in own if (id := clean(texts[row] or ""))), None)
            if parent is not None and id in (None, parent):
                # What varies tells the variant; where nothing does, its place in the list.
                values = [value for _, value in axes.get(row, ())] or [str(numbers[row])]
                id = variant_id(parent, values)
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
        consumed = set()
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
                settings = self._settings_of(value_column)
                missing = self._missing(settings)
                consumed.add(value_column)
                for row, value in enumerate(rows.texts(value_column)):
                    if value is None or clean(value) in missing | {None}:
                        continue
                    of_product = names.get(rows.parent_rows.get(row, row), [])
                    axis = of_product[number - 1] if number <= len(of_product) else value_column
                    builder.add(axis, row, value)
                    found.setdefault(row, []).append((axis, value))
            if names and consumed:
                consumed |= set(name_columns)
        rows.without(consumed)
        rows.columns += builder.columns()
        return found

    def _tag_by_row(self, rows: Rows, layout: Layout, ids: list[str | None]) -> set[int]:
        """Tell apart rows that are in other languages than the leading one.

        Return the rows of the batch to set aside: those in other languages are read after all
        others, so that they never replace what the leading language says. If an item only comes up
        in other languages, the first of them leads.
        """
        if layout.language_column is None:
            return set()
        tags: list[str | None] = [None] * len(rows)
        for row, code in enumerate(rows.texts(layout.language_column)):
            tag = self._tag(code.strip()) if code and code.strip() else None
            if tag is not None and not self._leads(tag):
                tags[row] = tag
        rows.without([layout.language_column])
        if self.is_known is None:
            return {int(rows.sources[row]) for row, tag in enumerate(tags) if tag is not None}
        seen: set[str] = set()
        for row, (id, tag) in enumerate(zip(ids, tags, strict=True)):
            if tag is None or id is None:
                tags[row] = None
            elif self.is_known(id) or id in seen:
                rows.secondary.add(row)
            else:
                seen.add(id)
                tags[row] = None
        rows.columns = [
            part for column in rows.columns for part in _split_by_language(column, tags)
        ]
        return {
            int(rows.sources[row])
            for row in range(len(rows))
            if row not in rows.secondary and (ids[row] is None or ids[row] not in seen)
        }

    def _leads(self, tag: str) -> bool:
        language = self.mapping.language
        return language is not None and primary(tag) == primary(language)

    def _finish(
        self, rows: Rows, layout: Layout, ids: list[str | None], deferred: set[int]
    ) -> Draft:
        """Return the draft, with every column in its role."""
        count = len(rows)
        secondary = np.zeros(count, bool)
        secondary[list(rows.secondary)] = True
        facts: list[Facts] = []
        roles = layout.with_role()

        def field_of(names: tuple[str, ...], property: str) -> pa.Array:
            columns = [column for name in names for column in self._source_columns(rows, name)]
            lead, beside = leading(columns, count, self.mapping.language, secondary)
            facts.extend(
                Facts(
                    property if column.language else column.name,
                    column.rows,
                    column.texts,
                    self._settings_of(column.name),
                    column.language,
                    column.lines,
                )
                for column in beside
            )
            return lead

        title = field_of(layout.title, "title")
        description = field_of(layout.description, "description")
        levels, category = self._categories(rows, layout, facts, secondary)
        images = self._images(rows, layout, facts)
        if self.mapping.properties is not None:
            properties = set(layout.properties)
        else:
            properties = set(rows.names()) - roles - set(layout.ignored)
        self._add_property_facts(rows, properties, set(layout.ignored), facts, secondary)
        if rows.parents:
            children = np.array(list(rows.parents), np.int64)
            texts = pa.array(list(rows.parents.values()), pa.string())
            facts.append(Facts(VARIANT_OF, children, texts, whole=True))
        if layout.title:
            _note_totals(rows, ids, title)
        return Draft(
            ids=ids,
            lines=rows.lines,
            sources=rows.sources,
            source_count=rows.source_count,
            contents=rows.contents,
            describe=rows.describe,
            title=title,
            description=description,
            levels=levels,
            category=category,
            images=images,
            facts=facts,
            secondary=secondary,
            merged=rows.merged,
            bad=rows.bad,
            deferred=deferred,
            left_out=rows.left_out,
        )

    def _source_columns(self, rows: Rows, name: str) -> list[Column]:
        return [column for column in rows.named(name) if not column.derived]

    def _add_property_facts(
        self,
        rows: Rows,
        properties: set[str],
        ignored: set[str],
        facts: list[Facts],
        secondary: BoolArray,
    ) -> None:
        by_name: dict[str, list[Column]] = {}
        for column in rows.columns:
            if column.derived or column.name in properties:
                by_name.setdefault(column.name, []).append(column)
            elif column.name in ignored:
                rows.left_out[column.name] += len(column)
        for name, columns in by_name.items():
            if all(column.derived for column in columns) and self._is_ignored(name):
                rows.left_out[name] += sum(map(len, columns))
                continue
            settings = self._settings_of(name)
            if settings.unit is not None:
                unit = settings.unit
                columns = [
                    column.with_texts([with_unit(text, unit) for text in column.texts.to_pylist()])
                    for column in columns
                ]
            tagged = [column for column in columns if column.language is not None]
            if tagged:
                columns = split_leading(columns, len(rows), self.mapping.language, secondary)
            for column in columns:
                if len(column):
                    facts.append(
                        Facts(
                            settings.property or name,
                            column.rows,
                            column.texts,
                            settings,
                            column.language,
                            column.lines,
                        )
                    )

    def _is_ignored(self, name: str) -> bool:
        return any(matches(name, each) for each in self.mapping.ignore)

    def _categories(
        self, rows: Rows, layout: Layout, facts: list[Facts], secondary: BoolArray
    ) -> tuple[list[pa.Array], pa.Array]:
        """Return the levels of the category, or the first of several categories in a column."""
        count = len(rows)
        nulls = pa.nulls(count, pa.string())
        if len(layout.category) > 1 and not self.mapping.category_any:
            levels = []
            for name in layout.category:
                columns = self._source_columns(rows, name)
                levels.append(leading(columns, count, self.mapping.language, secondary)[0])
            return levels, nulls
        if not layout.category:
            return [], nulls
        separator = self.mapping.category_multi
        firsts: list[str | None] = [None] * count
        further = ColumnBuilder()
        columns = [
            column
            for name in layout.category
            for column in split_leading(
                self._source_columns(rows, name), count, self.mapping.language, secondary
            )
        ]
        for column in columns:
            for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                for each in _split_values(text, separator, quoted=True):
                    if column.language is None and firsts[row] is None and not secondary[row]:
                        firsts[row] = each
                    else:
                        further.add(column.name, row, each, column.language)
        facts += [
            Facts(
                column.name, column.rows, column.texts, language=column.language, is_category=True
            )
            for column in further.columns()
        ]
        return [], pa.array(firsts, pa.string())

    def _images(self, rows: Rows, layout: Layout, facts: list[Facts]) -> list[list[str]]:
        """Return the images of each row in the order of the columns; other files are properties."""
        images: list[list[str]] = [[] for _ in range(len(rows))]
        for name in layout.images:
            separator = self._settings_of(name).multi or self.mapping.multi
            others = ColumnBuilder()
            for column in self._source_columns(rows, name):
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    for image in split_images(text, separator):
                        if is_other_file(image):
                            others.add(name, row, image)
                        else:
                            images[row].append(image)
            facts += [
                Facts(column.name, column.rows, column.texts, whole=True)
                for column in others.columns()
            ]
        return images

    def _settings_of(self, name: str) -> ColumnSettings:
        if name not in self._settings:
            self._settings[name] = self.mapping.settings_of(name)
        return self._settings[name]

    def _missing(self, settings: ColumnSettings) -> frozenset[str]:
        return self.mapping.missing if settings.missing is None else settings.missing


def _note_totals(rows: Rows, ids: list[str | None], title: pa.Array) -> None:
    """Reject rows without a title that a report adds below its table."""
    for row, id in enumerate(ids):
        if id is not None and id.casefold().rstrip(":") in _TOTALS and title[row].as_py() is None:
            reason = f"{id!r} is the sum of a report and no item: it has no title"
            rows.bad.setdefault(int(rows.sources[row]), reason)


def variant_id(product: str, values: Iterable[str]) -> str:
    """Return the id of a variant that has none of its own: its product's, and what varies."""
    return "/".join([product, *(cleaned for value in values if (cleaned := clean(value)))])


def leading(
    columns: list[Column], count: int, language: str | None, secondary: BoolArray
) -> tuple[pa.Array, list[Column]]:
    """Return the first text of each row, in the leading language if there is one in it.

    All other texts are returned as columns beside it. Secondary rows have no leading text.
    """
    if not columns:
        return pa.nulls(count, pa.string()), []
    taken = secondary.copy()
    beside: list[Column] = []
    parts: list[Column] = []
    if len(columns) == 1 and not secondary.any() and (np.diff(columns[0].rows) > 0).all():
        parts = columns
        columns = []
    for column in sorted(columns, key=lambda each: precedence(each.language, language)):
        first = np.zeros(len(column), bool)
        # np.unique returns the first position of each row, as rows may have several texts.
        rows, positions = np.unique(column.rows, return_index=True)
        first[positions[~taken[rows]]] = True
        taken[rows] = True
        parts.append(column.where(first))
        rest = column.where(~first)
        if len(rest):
            beside.append(rest)
    if len(parts) == 1 and len(parts[0]) == count:
        return parts[0].texts, beside
    indices = np.full(count, -1, np.int64)
    offset = 0
    for part in parts:
        indices[part.rows] = np.arange(offset, offset + len(part))
        offset += len(part)
    texts = pa.concat_arrays([part.texts for part in parts])
    return texts.take(pa.array(indices, mask=indices < 0)), beside


def split_leading(
    columns: list[Column], count: int, language: str | None, secondary: BoolArray
) -> list[Column]:
    """Take the language off all texts of the language that leads in each row."""
    if all(column.language is None for column in columns):
        return columns
    taken = secondary.copy()
    result: list[Column] = []
    for column in sorted(columns, key=lambda each: precedence(each.language, language)):
        leads = ~taken[column.rows]
        result += [replace(column.where(leads), language=None), column.where(~leads)]
        taken[column.rows] = True
    return [column for column in result if len(column)]


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


def _split_by_language(column: Column, tags: list[str | None]) -> list[Column]:
    """Give the texts of rows in other languages the tags [N] of their rows."""
    by_tag = np.array([tags[row] or "" for row in column.rows.tolist()], dtype=object)
    parts = []
    for tag in dict.fromkeys(by_tag.tolist()):
        part = column.where(np.asarray(by_tag == tag, bool))
        parts.append(replace(part, language=tag or part.language))
    return parts


def _numbered(rows: Rows, pairs: PairColumns) -> list[tuple[str, str, str | None]]:
    """Return the columns of names, values and units that belong together by their numbers."""
    names = rows.names()
    values = {number_in(name, pairs.value): name for name in matching(names, [pairs.value])}
    units: dict[int | None, str] = {}
    if pairs.unit:
        units = {number_in(name, pairs.unit): name for name in matching(names, [pairs.unit])}
    found = []
    for name in matching(names, [pairs.name]):
        number = number_in(name, pairs.name)
        if number in values and values[number] != name:
            found.append((name, values[number], units.get(number)))
    return found


def _split_values(text: str, separator: str | None, quoted: bool) -> list[str]:
    if not separator or separator not in text:
        return [text]
    values = split_quoted(text, separator) if quoted else text.split(separator)
    return [value for value in values if value.strip()]


def _is_any(name: str, names: Iterable[str]) -> bool:
    return any(matches(name, each) for each in names)


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name or "{n}" in name
