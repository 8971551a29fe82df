"""A mapping applied to a batch: the items' own fields and a long table of facts, not yet cleaned.

The steps turn columns into columns until every column is a role's or a property's: texts are told
apart by language, units join their numbers, name/value pairs, packed cells and long triples become
columns of the properties that they name, and variants get rows of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.column_steps import ColumnSteps, split_values
from kg.ingest.columns import Column, ColumnBuilder, Rows
from kg.ingest.leading import Leading, leading, split_by_language, split_leading
from kg.ingest.packed import is_other_file
from kg.ingest.readers.totals import is_word_for_totals
from kg.ingest.unit_cells import join_units
from kg.ingest.values import ColumnCleaners, ValueSettings
from kg.ingest.values.text import LIST_SEPARATOR, clean
from kg.ingest.variants import VariantSteps
from schema.arrays import BoolArray, IntArray
from schema.mapping import VARIANT_OF, ColumnSettings, Layout, Mapping, resolve, with_choice
from schema.mapping.languages import primary
from schema.mapping.names import matches

FURTHER_TEXTS = (
    "further titles, descriptions or categories of items that have another one already: each is "
    "kept as a value of its column"
)


@dataclass(frozen=True)
class Facts:
    """Texts [F] of one property, the rows [F] of the draft that they belong to, and their lines.

    They are not split into values and not cleaned; ``settings`` say how to. ``column`` is the name
    of the column that they were in. ``language`` is the tag of texts in another language than the
    leading one. ``is_category`` marks further categories.
    """

    property: str
    column: str
    rows: IntArray
    texts: pa.Array
    settings: ColumnSettings = field(default_factory=ColumnSettings)
    language: str | None = None
    lines: IntArray | None = None
    is_category: bool = False
    whole: bool = False
    """Whether a text is one value, whatever it looks like: the id of a parent."""


def variant_facts(rows: IntArray, parents: pa.Array) -> Facts:
    """Return the facts that rows [F] are variants of the products with these ids [F]."""
    return Facts(VARIANT_OF, VARIANT_OF, rows, parents, whole=True)


@dataclass(frozen=True)
class DraftColumns:
    """The names of the columns of the roles, for remarks on their cells."""

    title: str = "title"
    description: str = "description"
    category: tuple[str, ...] = ("category",)

    @classmethod
    def of(cls, layout: Layout) -> DraftColumns:
        """Return the names that a layout has for them."""
        return cls(
            next(iter(layout.title), "title"),
            next(iter(layout.description), "description"),
            layout.category or ("category",),
        )


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
    columns: DraftColumns = DraftColumns()
    languages: dict[str, dict[int, str]] = field(default_factory=dict)
    """The tags of titles and descriptions, by field and row [M], where texts have one."""

    @cached_property
    def id_column(self) -> pa.Array:
        """The ids [M] as a column."""
        return pa.array(self.ids, pa.string())


class DraftMaker:
    """Makes the drafts of one source's batches.

    ``strict`` means that the source has all columns that the mapping names; records may lack them.
    ``is_known`` says whether an item has come up already; it is asked about rows in other languages
    than the leading one, which are set aside in the first reading if ``is_known`` is None.
    """

    def __init__(
        self,
        mapping: Mapping,
        cleaners: ColumnCleaners,
        strict: bool = True,
        is_known: Callable[[str], bool] | None = None,
    ) -> None:
        self.mapping = mapping
        self.is_known = is_known
        self.remarks: dict[str, None] = {}
        """What the user should know about the mapping, in order."""
        self.ignored: dict[str, None] = {}
        """The columns that were left out, in order."""
        self.names: dict[str, None] = {}
        """The names of all columns that came up, in order, with those that the data name."""
        self._strict = strict
        self.for_layout = mapping
        """The mapping with those of its alternative names that earlier batches have chosen."""
        if not strict or mapping.triples is not None:
            # What a batch of records has is chance: any record may lack any member.
            each_row = mapping.each_row | {"title", "description"}
            self.for_layout = replace(mapping, each_row=each_row)
        self._steps = ColumnSteps(mapping, cleaners, strict)
        self._variants = VariantSteps(self._steps, mapping.variants) if mapping.variants else None

    def draft(self, rows: Rows) -> Draft:
        """Return the draft of a batch; raises MappingError if the mapping does not fit it."""
        self.names.update(dict.fromkeys(rows.names()))
        self._steps.apply(rows)
        variants = self._variants
        groups = None
        if variants is not None and variants.variants.group:
            groups = variants.split_groups(rows)
        layout = self._resolve(rows)
        ids = self._ids(rows, layout, groups)
        deferred = self._tag_by_row(rows, layout, ids)
        if variants is not None:
            variants.add_packed(rows, ids)
            variants.add_parents(rows, layout, ids, deferred)
        self.names.update(dict.fromkeys(rows.names()))
        return self._finish(rows, layout, ids, deferred)

    def copy(self, cleaners: ColumnCleaners) -> DraftMaker:
        """Return a maker that remembers what this one does; what it reads changes nothing here."""
        other = DraftMaker(self.mapping, cleaners, self._strict, self.is_known)
        other.for_layout = self.for_layout
        if self._variants is not None:
            other._variants = self._variants.copy(other._steps)
        return other

    def value_settings(self, settings: ColumnSettings) -> ValueSettings:
        """Return how the values of a column with such settings are cleaned."""
        return self._steps.value_settings(settings)

    def ids_of(self, name: str, texts: Sequence[str | None]) -> list[str | None]:
        """Return the ids that the texts of a column stand for."""
        return self._steps.clean_ids(name, texts).ids

    def last_draft(self) -> Draft | None:
        """Return the links of variants whose parents came after them, or never."""
        pending, unknown = self._variants.take_pending() if self._variants else ([], 0)
        if not pending:
            return None
        count = len(pending)
        parents = pa.array([each.parent for each in pending], pa.string())
        nulls = pa.nulls(count, pa.string())
        draft = Draft(
            ids=[each.id for each in pending],
            lines=np.array([each.line for each in pending], np.int64),
            sources=np.full(count, -1),
            source_count=0,
            contents=[],
            describe=lambda row: "",
            title=nulls,
            description=nulls,
            levels=[],
            category=nulls,
            images=[[] for _ in range(count)],
            facts=[
                Facts(VARIANT_OF, VARIANT_OF, np.arange(count, dtype=np.int64), parents, whole=True)
            ],
            secondary=np.ones(count, bool),
        )
        if unknown:
            draft.notes["variants name a parent that no row has"] += unknown
        return draft

    def _resolve(self, rows: Rows) -> Layout:
        """Assign columns to roles: those of the source, since the data may use any name."""
        own = [name for name in rows.names() if any(not c.derived for c in rows.named(name))]
        if self.mapping.triples is not None:
            # Any item may lack any property, and so a column of a role.
            layout = resolve(replace(self.for_layout, id=()), own, strict=False)
        else:
            layout = resolve(self.for_layout, own, strict=self._strict)
            if not self._strict:
                self.for_layout = with_choice(self.for_layout, layout)
        self.remarks.update(dict.fromkeys(layout.remarks))
        self.ignored.update(dict.fromkeys(layout.ignored))
        return layout

    def _ids(self, rows: Rows, layout: Layout, groups: list[str | None] | None) -> list[str | None]:
        """Return the id of each row, and those of variants in a list after their products'."""
        ids: list[str | None] = [None] * len(rows)
        if groups is not None:
            ids[: len(groups)] = groups
        else:
            for name in layout.id:
                texts = self._steps.ids(rows, name)
                ids = [text if id is None else id for id, text in zip(ids, texts, strict=True)]
        for row, id in rows.ids.items():
            ids[row] = id
        if self._variants is not None:
            self._variants.identify_listed(rows, ids)
        return ids

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
            tag = self._steps.tag(code.strip()) if code and code.strip() else None
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
        rows.columns = [part for column in rows.columns for part in split_by_language(column, tags)]
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

        languages: dict[str, dict[int, str]] = {}

        def field_of(names: tuple[str, ...], property: str) -> pa.Array:
            columns = [column for name in names for column in self._source_columns(rows, name)]
            if len(columns) > 1 or any(column.has_repeated_rows() for column in columns):
                # A word for nothing never leads before another text.
                columns = list(map(self._steps.without_words_for_nothing, columns))
            found = leading(columns, count, self.mapping.language, secondary)
            beside = _without_repetitions(rows, columns, found)
            languages[property] = found.languages
            facts.extend(
                Facts(
                    property if column.language else column.name,
                    column.name,
                    column.rows,
                    column.texts,
                    self._steps.settings_of(column.name),
                    column.language,
                    column.lines,
                )
                for column in beside
            )
            return found.texts

        title = field_of(layout.title, "title")
        description = field_of(layout.description, "description")
        levels, category = self._categories(rows, layout, facts, secondary)
        images = self._images(rows, layout, facts)
        if self.mapping.properties is not None:
            properties = set(layout.properties)
        else:
            properties = set(rows.names()) - roles - set(layout.ignored)
        self._add_other_ids(rows, layout, ids, facts)
        self._add_property_facts(rows, properties, set(layout.ignored), facts, secondary)
        if rows.parents:
            children = np.array(list(rows.parents), np.int64)
            texts = pa.array(list(rows.parents.values()), pa.string())
            facts.append(variant_facts(children, texts))
        if layout.title:
            _note_totals(rows, ids, title)
            _note_headings(rows, ids, title)
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
            notes=rows.notes,
            columns=DraftColumns.of(layout),
            languages=languages,
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
            settings = self._steps.settings_of(name)
            if settings.unit is not None:
                unit = settings.unit
                signs = self._steps.signs_of(name)
                columns = [
                    column.with_texts(
                        [join_units(text, unit, signs).text for text in column.texts.to_pylist()]
                    )
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
                            name,
                            column.rows,
                            column.texts,
                            settings,
                            column.language,
                            column.lines,
                        )
                    )

    def _add_other_ids(
        self, rows: Rows, layout: Layout, ids: list[str | None], facts: list[Facts]
    ) -> None:
        """Keep what columns of ids say beside the id of a row as values."""
        for name in layout.id[1:]:
            for column in self._source_columns(rows, name):
                pairs = zip(column.rows.tolist(), column.texts.to_pylist(), strict=True)
                other = column.where(np.array([ids[row] != clean(text) for row, text in pairs]))
                if not len(other):
                    continue
                if self._is_ignored(name):
                    rows.left_out[name] += len(other)
                    continue
                settings = self._steps.settings_of(name)
                property = settings.property or name
                facts.append(Facts(property, name, other.rows, other.texts, settings))

    def _is_ignored(self, name: str) -> bool:
        return any(matches(name, each) for each in self.mapping.ignore)

    def _categories(
        self, rows: Rows, layout: Layout, facts: list[Facts], secondary: BoolArray
    ) -> tuple[list[pa.Array], pa.Array]:
        """Return the levels of the category, or the first of several categories in a column."""
        count = len(rows)
        nulls = pa.nulls(count, pa.string())
        if len(layout.category) > 1 and not self.mapping.category_any:
            return self._category_levels(rows, layout, facts, secondary), nulls
        if not layout.category:
            return [], nulls
        separator = self.mapping.category_multi
        columns = [
            column
            for name in layout.category
            for column in split_leading(
                self._source_columns(rows, name), count, self.mapping.language, secondary
            )
        ]
        if len(columns) == 1 and self._is_one_text_a_row(columns[0], separator, secondary):
            return [], columns[0].spread(count)
        firsts: list[str | None] = [None] * count
        further = ColumnBuilder()
        for column in columns:
            for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                for each in split_values(text, separator, quoted=True):
                    if column.language is None and firsts[row] is None and not secondary[row]:
                        firsts[row] = each
                    else:
                        further.add(column.name, row, each, column.language)
        facts += map(_category_facts, further.columns())
        return [], pa.array(firsts, pa.string())

    def _is_one_text_a_row(
        self, column: Column, separator: str | None, secondary: BoolArray
    ) -> bool:
        """Return whether a column has one text in a row at most, and in the leading language."""
        if column.language is not None or secondary.any() or column.has_repeated_rows():
            return False
        return not (separator and pc.any(pc.match_substring(column.texts, separator)).as_py())

    def _category_levels(
        self, rows: Rows, layout: Layout, facts: list[Facts], secondary: BoolArray
    ) -> list[pa.Array]:
        """Return the levels of the category; paths in other languages are facts beside it."""
        levels = []
        paths: dict[tuple[int, str], list[str]] = {}
        further = ColumnBuilder()
        for name in layout.category:
            columns = self._source_columns(rows, name)
            found = leading(columns, len(rows), self.mapping.language, secondary)
            levels.append(found.texts)
            for column in found.beside:
                for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True):
                    if column.language is None:
                        further.add(name, row, text)
                    else:
                        paths.setdefault((row, column.language), []).append(text)
        for (row, language), texts in paths.items():
            further.add("category", row, LIST_SEPARATOR.join(texts), language)
        facts += map(_category_facts, further.columns())
        return levels

    def _images(self, rows: Rows, layout: Layout, facts: list[Facts]) -> list[list[str]]:
        """Return the images of each row in the order of the columns; other files are properties."""
        images: list[list[str]] = [[] for _ in range(len(rows))]
        for name in layout.images:
            others = ColumnBuilder()
            for column in self._source_columns(rows, name):
                is_one = self._steps.are_images(name, column.texts).tolist()
                texts = column.texts.to_pylist()
                for row, text, whole in zip(column.rows.tolist(), texts, is_one, strict=True):
                    for image in [text] if whole else self._steps.images(name, text):
                        if not whole and is_other_file(image):
                            others.add(name, row, image)
                        else:
                            images[row].append(image)
            facts += [
                Facts(column.name, column.name, column.rows, column.texts, whole=True)
                for column in others.columns()
            ]
        return images


def _without_repetitions(rows: Rows, columns: list[Column], found: Leading) -> list[Column]:
    """Return texts beside the leading ones without those equal to them; note how many differ.

    Only texts of the column that leads in their row count: others are alternatives.
    """
    repeated = {column.name for column in columns if column.has_repeated_rows()}
    if not repeated or not found.beside:
        return found.beside
    leads = [clean(text) if text is not None else None for text in found.texts.to_pylist()]
    led = {
        (column.name, row)
        for column in columns
        if column.name in repeated and column.language is None
        for row, text in zip(column.rows.tolist(), column.texts.to_pylist(), strict=True)
        if clean(text) == leads[row]
    }
    kept = []
    for column in found.beside:
        differs = np.ones(len(column), bool)
        if column.language is None and column.name in repeated:
            for place, (row, text) in enumerate(
                zip(column.rows.tolist(), column.texts.to_pylist(), strict=True)
            ):
                if (column.name, row) in led:
                    differs[place] = clean(text) != leads[row]
                    rows.notes[FURTHER_TEXTS] += bool(differs[place])
        kept.append(column.where(differs))
    return [column for column in kept if len(column)]


def _category_facts(column: Column) -> Facts:
    """Return further categories of items, or theirs in another language."""
    return Facts(
        column.name,
        column.name,
        column.rows,
        column.texts,
        language=column.language,
        is_category=True,
    )


def _note_totals(rows: Rows, ids: list[str | None], title: pa.Array) -> None:
    """Reject rows without a title that a report adds below its table."""
    for row in np.flatnonzero(title.is_null()).tolist():
        id = ids[row]
        if id is not None and is_word_for_totals(id):
            reason = f"{id!r} is the sum of a report and no item: it has no title"
            rows.bad.setdefault(int(rows.sources[row]), reason)


def _note_headings(rows: Rows, ids: list[str | None], title: pa.Array) -> None:
    """Reject rows with nothing but words where others have their id: headings and notes.

    They are told by ids with a digit and without a blank in most of the other rows.
    """
    if not title.null_count or rows.parent_rows or len(ids) != rows.source_count:
        return
    filled = sum(np.bincount(column.rows, minlength=len(rows)) for column in rows.columns)
    alone = [row for row in np.flatnonzero(filled == 1).tolist() if row not in rows.bad]
    words = [row for row in alone if (id := ids[row]) is not None and not _is_code(id)]
    if not words:
        return
    others = len(ids) - len(alone)
    codes = sum(id is not None and _is_code(id) for id in ids) - (len(alone) - len(words))
    if codes < 0.9 * others or len(alone) > others:
        return
    for row in words:
        reason = f"{(ids[row] or '')[:40]!r} is a heading or a note and no item: it stands alone"
        rows.bad.setdefault(int(rows.sources[row]), reason)


def _is_code(text: str) -> bool:
    return " " not in text and any(character.isdigit() for character in text)
