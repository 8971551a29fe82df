"""Turn drafts into the tables of items and statements that a store takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kg.ingest.columns import Rows, reject, rows_of_batch
from kg.ingest.draft import FURTHER_TEXTS, Draft, DraftMaker, Facts
from kg.ingest.images import SourceImages
from kg.ingest.known_rows import RowMemory
from kg.ingest.rows import Batch, RecordBatch, SkippedLine
from kg.ingest.seen import SeenRow, SeenRows, hashes_of
from kg.ingest.shelf import ItemShelf, ShelvedItem
from kg.ingest.values import (
    ColumnCleaners,
    ColumnCounts,
    ColumnRules,
    OfRows,
    Role,
    RowEffects,
    SplitCells,
    split_texts,
)
from kg.ingest.values.text import clean
from kg.stores.tables import ITEM_SCHEMA, STATEMENT_SCHEMA, are_distinct, statement_ids
from schema.arrays import BoolArray, IntArray
from schema.languages import canonical_tag
from schema.mapping import Mapping
from schema.mapping.languages import precedence
from schema.rejects import RejectedRow
from schema.terms import CATEGORY_SEPARATOR, Rank


@dataclass(frozen=True)
class Origin:
    """The provenance of a source's statements: its file, its name, the run and the run's time."""

    file: str
    source: str
    run: str
    time: str


@dataclass
class AssembledBatch:
    """A batch as tables for the store, with the numbers of its rows read and stored.

    Every row that was read is either stored or among the rejects. ``restored`` is the number of
    cells that had been defused for spreadsheets, ``skipped`` are lines that are no rows, and
    ``cleaned`` counts by column what cleaning did. ``columns`` are pairs of a property and a column
    that its values come from. ``rejected_ids`` are the ids of rejected rows, as far as they have
    one, and ``identified_rejects`` is the number of these rows. ``known_ids`` are the ids of rows
    that are as they were in the last run, and not in the tables; they have ``known_statements``,
    some of which may be about ``known_other_ids``.
    """

    items: pa.Table
    statements: pa.Table
    rows_read: int
    rows_stored: int
    rejects: list[RejectedRow]
    restored: int = 0
    skipped: list[SkippedLine] = field(default_factory=list)
    cleaned: dict[str, ColumnCounts] = field(default_factory=dict)
    columns: list[tuple[str, str]] = field(default_factory=list)
    rejected_ids: list[str] = field(default_factory=list)
    identified_rejects: int = 0
    known_ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    known_other_ids: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    known_statements: int = 0


@dataclass
class LeftOut:
    """What a mapping leaves out of a source on purpose, and remarks: all in order."""

    remarks: dict[str, None] = field(default_factory=dict)
    columns: dict[str, None] = field(default_factory=dict)
    texts: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def update(self, more: LeftOut) -> None:
        """Add what was left out of further rows."""
        self.remarks.update(more.remarks)
        self.columns.update(more.columns)
        self.texts.update(more.texts)
        self.notes.update(more.notes)

    def taken(self) -> LeftOut:
        """Return what was left out so far, and forget it."""
        taken = LeftOut()
        taken.update(self)
        for each in (self.remarks, self.columns, self.texts, self.notes):
            each.clear()
        return taken


class Assembler:
    """Assembles the batches of one source; it remembers the ids that it has seen.

    ``left_out`` collects what the mapping leaves out. ``strict`` means that the source has all
    columns that the mapping names; records may lack them. ``names`` are those of a table's columns
    where they repeat. ``memory`` knows rows of a table that need not be assembled again.
    """

    def __init__(
        self,
        mapping: Mapping,
        images: SourceImages,
        origin: Origin,
        left_out: LeftOut | None = None,
        strict: bool = True,
        names: Sequence[str] | None = None,
        memory: RowMemory | None = None,
    ) -> None:
        self.mapping = mapping
        self._memory = memory
        self.images = images
        self.origin = origin
        self._cleaners = ColumnCleaners()
        self.maker = DraftMaker(mapping, self._cleaners, strict)
        self.left_out = left_out or LeftOut()
        self.names = names
        self.has_deferred = False
        self._seen = SeenRows()
        # Which of them are variants.
        self._variants = SeenRows(content_type=np.uint8, line_type=np.uint8)
        self._columns: dict[tuple[str, str], None] = {}
        self._shelf = ItemShelf() if mapping.may_repeat_ids else None

    def assemble(self, batch: Batch) -> AssembledBatch:
        """Return the items and statements of a batch of a table, and its rejected rows."""
        rows = rows_of_batch(batch, self.names)
        return self.assemble_rows(rows, batch)

    def assemble_rows(self, rows: Rows, batch: Batch | RecordBatch) -> AssembledBatch:
        """Return the items and statements of the rows of a batch, and its rejected rows.

        Rejected are the rows that the reader rejected, rows without an id, and rows whose id has
        already appeared with other content, unless the mapping says that rows may belong together.
        An exact repetition of an earlier row counts as stored.
        """
        lines = rows.lines
        return self.assemble_draft(self.maker.draft(rows), rows, lines, batch)

    def assemble_draft(
        self, draft: Draft, rows: Rows, lines: IntArray, batch: Batch | RecordBatch
    ) -> AssembledBatch:
        """Return what ``assemble_rows`` does, given the draft of the rows.

        ``lines`` are those of the rows before they were drafted.
        """
        if draft.deferred and self.maker.is_known is None:
            self.has_deferred = True
        checked = self._check_rows(draft, rows, lines)
        at_hand = None
        if self._memory is not None and isinstance(batch, Batch):
            at_hand = self._memory.look_at(batch.table, draft, checked.keep)
        tables = self._tables(draft, checked.keep, None if at_hand is None else at_hand.effects)
        columns = self._taken_columns()
        if self._memory is not None and at_hand is not None:
            self._memory.note(at_hand, tables[1], columns)
        self.left_out.texts.update(draft.left_out)
        self.left_out.notes.update(draft.notes)
        self.left_out.columns.update(self.maker.ignored)
        self.left_out.remarks.update(self.maker.remarks)
        assembled = AssembledBatch(
            *tables,
            rows_read=draft.source_count + len(batch.rejects),
            rows_stored=draft.source_count - len(checked.rejects),
            rejects=[*batch.rejects, *checked.rejects],
            restored=batch.restored,
            skipped=batch.skipped,
            cleaned=self._cleaners.taken_counts(),
            columns=columns,
            rejected_ids=checked.rejected_ids,
            identified_rejects=checked.identified_rejects,
        )
        if at_hand is not None:
            assembled.known_ids = at_hand.known_ids
            assembled.known_statements = at_hand.known_statements
        return assembled

    def statements_of(self, draft: Draft) -> pa.Table:
        """Return the statements of a draft's good rows, whatever was read before."""
        keep = np.array(
            [
                id is not None and source not in draft.bad and source not in draft.deferred
                for id, source in zip(draft.ids, draft.sources.tolist(), strict=True)
            ],
            bool,
        )
        return self._statements(draft, keep)

    def categories_of(self, draft: Draft) -> dict[str, set[str]]:
        """Return the category paths of the items of a draft's good rows, by item."""
        rows = [
            row
            for row, (id, source) in enumerate(zip(draft.ids, draft.sources.tolist(), strict=True))
            if id is not None and source not in draft.bad and source not in draft.deferred
        ]
        paths = self._categories(draft, pa.array(rows, pa.int64())).to_pylist()
        found: dict[str, set[str]] = {}
        for row, path in zip(rows, paths, strict=True):
            id = draft.ids[row]
            if id is not None and path:
                found.setdefault(id, set()).add(path)
        return found

    def beside(self) -> Assembler:
        """Return an assembler that knows of the columns what this one knows, and of no rows.

        What it reads changes nothing of this one.
        """
        other = Assembler(self.mapping, self.images, self.origin, names=self.names)
        other._cleaners = self._cleaners.copy()
        other.maker = self.maker.copy(other._cleaners)
        return other

    def property_rules(self, column: str) -> ColumnRules:
        """Return how the cells of a column of values are cleaned, by what is known of it."""
        settings = self.maker.value_settings(self.mapping.settings_of(column))
        return self._cleaners.known_rules(column, Role.PROPERTY, settings)

    def assemble_deferred(self, rows: Rows) -> AssembledBatch:
        """Return what rows in other languages add, which were set aside before."""
        self.maker.is_known = self._is_known
        draft = self.maker.draft(rows)
        # What was done to the ids was counted when the rows were set aside.
        self._cleaners.taken_counts()
        has_id = draft.id_column.is_valid().to_numpy(zero_copy_only=False)
        left_out = np.array([*draft.deferred, *draft.bad], np.int64)
        keep = has_id & ~np.isin(draft.sources, left_out)
        new = {id: SeenRow(0, 0) for id, kept in zip(draft.ids, keep, strict=True) if kept and id}
        known = self._seen.find(new)
        self._seen.add({id: row for id, row in new.items() if id not in known})
        return AssembledBatch(
            *self._tables(draft, keep),
            0,
            0,
            [],
            cleaned=self._cleaners.taken_counts(),
            columns=self._taken_columns(),
        )

    def last_batch(self) -> AssembledBatch | None:
        """Return what is only known once all rows were read, if anything."""
        draft = self.maker.last_draft()
        if draft is None:
            return None
        self.left_out.notes.update(draft.notes)
        return AssembledBatch(*self._tables(draft, np.ones(len(draft.ids), bool)), 0, 0, [])

    def _taken_columns(self) -> list[tuple[str, str]]:
        """Return the pairs of property and column that came up, and forget them."""
        columns = list(self._columns)
        self._columns.clear()
        return columns

    def _is_known(self, id: str) -> bool:
        return bool(self._seen.find([id]))

    def _check_rows(self, draft: Draft, rows: Rows, lines: IntArray) -> _CheckedRows:
        """Return which rows [M] of the draft bring something new, and the rows to reject."""
        reasons = {source: reason for source, reason in draft.bad.items() if reason != "empty id"}
        empty = {source for source, reason in draft.bad.items() if reason == "empty id"}
        has_id = draft.id_column.is_valid().to_numpy(zero_copy_only=False)
        without_id = np.flatnonzero(~has_id).tolist()
        empty |= {int(draft.sources[row]) for row in without_id if row not in draft.merged}
        if self.mapping.may_repeat_ids or rows.parent_rows:
            repeated = self._check_variants(draft, rows)
        else:
            repeated = self._check_ids(draft)
        reasons = {**repeated.reasons, **reasons, **dict.fromkeys(empty, "empty id")}
        rejects = [
            reject(rows, self.origin.file, source, int(lines[source]), reasons[source])
            for source in sorted(reasons)
        ]
        left_out = np.array([*reasons, *draft.deferred], np.int64)
        keep = has_id & ~repeated.old & ~np.isin(draft.sources, left_out)
        is_rejected = has_id & np.isin(draft.sources, np.array(list(reasons), np.int64))
        rejected = np.flatnonzero(is_rejected)
        return _CheckedRows(
            keep,
            rejects,
            draft.id_column.take(pa.array(rejected)).to_pylist(),
            len(np.unique(draft.sources[rejected])),
        )

    def _check_ids(self, draft: Draft) -> _Repeated:
        """Find the rows whose id appeared before: with other content they are to be rejected."""
        is_usable = draft.id_column.is_valid().to_numpy(zero_copy_only=False).copy()
        is_usable[[row for row in draft.bad if row < len(is_usable)]] = False
        rows = np.flatnonzero(is_usable)
        ids = draft.id_column.take(pa.array(rows))
        contents = np.array(draft.contents, np.int64)[rows]
        lines = draft.lines[rows]
        hashes = hashes_of(ids.to_pylist())
        codes = ids.dictionary_encode().indices.to_numpy()
        _, first_places, places = np.unique(codes, return_index=True, return_inverse=True)
        first = first_places[places]
        is_first = first == np.arange(len(rows))
        seen = self._seen.find_hashes(hashes)
        first_contents = np.where(seen.found, seen.contents, contents[first])
        first_lines = np.where(seen.found, seen.lines, lines[first])
        reasons = {
            int(rows[place]): (
                f"id {ids[place].as_py()!r} already appeared in line {first_lines[place]} "
                "with other content"
            )
            for place in np.flatnonzero(first_contents != contents).tolist()
        }
        is_new = is_first & ~seen.found
        self._add_seen(
            ids.filter(pa.array(is_new)), hashes[is_new], contents[is_new], lines[is_new]
        )
        is_old = np.zeros(len(draft.ids), bool)
        is_old[rows[~is_new]] = True
        return _Repeated(reasons, is_old)

    def _add_seen(
        self, ids: pa.Array, hashes: IntArray, contents: IntArray, lines: IntArray
    ) -> None:
        """Note rows [N] whose ids were not seen before."""
        self._seen.add_hashes(hashes, contents, lines)

    def _check_variants(self, draft: Draft, rows: Rows) -> _Repeated:
        """Note the ids of rows that may belong together; a variant's id has to be its own."""
        reasons: dict[int, str] = {}
        is_old = np.zeros(len(draft.ids), bool)
        first_rows = self._seen.find(item for item in draft.ids if item is not None)
        seen_before = set(first_rows)
        variants_before = self._variants.find(seen_before)
        variants: dict[str, SeenRow] = {}
        # Not the lines, since all records of a file may be in one.
        first_sources: dict[str, int] = {}
        made = set(rows.ids) | set(rows.parent_rows)
        pivoted = self.mapping.triples is not None
        # Variants follow their own product, not all products of the batch.
        for row in np.argsort(draft.sources, kind="stable").tolist():
            item = draft.ids[row]
            line = int(draft.lines[row])
            source = int(draft.sources[row])
            if item is None or draft.secondary[row] or source in draft.deferred:
                continue
            if source in reasons or source in draft.bad:
                continue
            content = draft.contents[source]
            is_variant = row in made and not pivoted
            first = first_rows.setdefault(item, SeenRow(content, line))
            is_again = item in seen_before or first_sources.setdefault(item, source) != source
            was_variant = item in variants_before or item in variants
            if is_variant and not is_again:
                variants[item] = SeenRow(0, 0)
            if not is_again or not (is_variant or was_variant or self._is_listed(rows)):
                continue
            if first.content == content and is_variant == was_variant:
                is_old[row] = True
                continue
            what = f"id {item!r}"
            if is_variant:
                what += f" of a variant of {rows.parents.get(row)!r}"
            if is_variant == was_variant:
                reasons[source] = f"{what} already appeared in line {first.line} with other content"
            else:
                reasons[source] = (
                    f"{what} is that of a {'variant' if was_variant else 'product'} in line "
                    f"{first.line}: give one of them another id"
                )
        self._seen.add({item: row for item, row in first_rows.items() if item not in seen_before})
        self._variants.add(variants)
        return _Repeated(reasons, is_old)

    def _is_listed(self, rows: Rows) -> bool:
        """Whether products have their variants in a list, so that no id may come twice."""
        return bool(rows.parent_rows) and not self.mapping.may_repeat_ids

    def _tables(
        self, draft: Draft, keep: BoolArray, effects: RowEffects | None = None
    ) -> tuple[pa.Table, pa.Table]:
        """Return the tables of items and of statements of the rows [M] to keep.

        With ``effects`` they have only the rows that these want. What the columns show about
        themselves is learned from all.
        """
        has_images = np.array([bool(names) for names in draft.images], bool)
        # A row in another language has no title of the item's own, but its pictures are.
        items, others = self._items(draft, keep & (~draft.secondary | has_images), effects)
        draft = replace(draft, facts=[*draft.facts, *others])
        return items, self._statements(draft, keep, effects)

    def _statements(
        self, draft: Draft, keep: BoolArray, effects: RowEffects | None = None
    ) -> pa.Table:
        """Return the statements of the kept rows [M]."""
        parts: list[_Statements] = []
        everything = bool(keep.all())
        for facts in draft.facts:
            name = clean(facts.property)
            if not name:
                self.left_out.texts["(no name)"] += len(facts.rows)
                continue
            kept = facts if everything else _where(facts, keep[facts.rows])
            of_rows = None if effects is None else OfRows.of(kept.rows, effects)
            cells = self._values(kept, draft.title, of_rows)
            count = len(cells.rows)
            if not count:
                continue
            if facts.language is None and not facts.whole and not facts.is_category:
                self._columns[name, facts.column] = None
            rows = kept.rows[cells.rows]
            lines = draft.lines[rows]
            if kept.lines is not None:
                own = kept.lines[cells.rows]
                lines = np.where(own > 0, own, lines)
            tag = self._tag(facts.language, count)
            if effects is not None and tag != facts.language:
                # It is counted how many texts have no language that there can be.
                effects.read_again(rows)
            parts.append(
                _Statements(
                    rows, lines, _repeated(name, count), cells.values, _repeated(tag, count)
                )
            )
        every = _Statements.joined(parts)
        items = pc.fill_null(draft.id_column.take(pa.array(every.rows)), "")
        columns = {
            "id": statement_ids(items, every.properties, every.values, every.languages),
            "item": items,
            "property": every.properties,
            "value": every.values,
            "language": every.languages,
            "row": pa.array(every.lines),
        }
        return _without_duplicates(
            self._with_provenance(columns, len(every.rows), STATEMENT_SCHEMA)
        )

    def _tag(self, language: str | None, count: int) -> str | None:
        """Return the tag of so many texts in a language; None if it is none that there can be."""
        if language is None:
            return None
        try:
            return canonical_tag(language)
        except ValueError:
            note = f"texts are kept without their language, since {language[:40]!r} is none"
            self.left_out.notes[note] += count
            return None

    def _values(self, facts: Facts, titles: pa.Array, of_rows: OfRows | None = None) -> SplitCells:
        """Return the clean values of facts of the rows [M], which have these titles."""
        if facts.whole:
            texts = facts.texts if of_rows is None else of_rows.cells(facts.texts)
            cells = split_texts(texts, lambda text: [value] if (value := clean(text)) else [])
            return cells if of_rows is None else of_rows.placed(cells)
        if facts.is_category:
            cells = _cells_of(self._paths(facts.column, facts.texts, of_rows))
            return cells if of_rows is None else of_rows.placed(cells)
        settings = self.maker.value_settings(facts.settings)
        beside = titles.take(pa.array(facts.rows))
        return self._cleaners.split(
            facts.column, Role.PROPERTY, facts.texts, settings, beside, of_rows
        )

    def _with_provenance(
        self, columns: dict[str, pa.Array], count: int, schema: pa.Schema
    ) -> pa.Table:
        """Add the columns of a schema that are the same for all rows [N] of a source."""
        constants = {
            "rank": Rank.ASSERTED.value,
            "source": self.origin.source,
            "batch": self.origin.run,
            "time": self.origin.time,
        }
        for name, text in constants.items():
            columns[name] = _repeated(text, count)
        for field_ in schema:
            columns.setdefault(field_.name, pa.nulls(count, field_.type))
        return pa.table({name: columns[name] for name in schema.names})

    def _items(
        self, draft: Draft, own: BoolArray, effects: RowEffects | None = None
    ) -> tuple[pa.Table, list[Facts]]:
        """Return the items of rows [M] that are theirs; one of several rows is one item.

        The facts are texts that differ from those of an item's first row.
        """
        rows = np.flatnonzero(own)
        indices = pa.array(rows)
        of_rows = None if effects is None else OfRows.of(rows, effects)
        columns = draft.columns
        texts = {
            "title": self._text(columns.title, draft.title.take(indices), of_rows),
            "description": self._text(
                columns.description, draft.description.take(indices), of_rows
            ),
            "category": self._categories(draft, indices, of_rows),
        }
        if of_rows is not None:
            rows = of_rows.rows
        ids = pc.fill_null(draft.id_column.take(pa.array(rows)), "")
        image_names = [draft.images[row] for row in rows.tolist()]
        if self._shelf is not None:
            tags = {
                name: [draft.languages.get(name, {}).get(row) for row in rows.tolist()]
                for name in texts
            }
            others: list[_OtherText] = []
            table = self._merged_items(
                self._shelf, ids.to_pylist(), texts, tags, image_names, draft.lines[rows], others
            )
            return table, self._other_texts(draft, rows, others)
        if not self.images.may_find_by_id and not any(image_names):
            nothing = pa.nulls(len(ids), pa.list_(pa.string()))
            return self._items_table(ids, texts, nothing, draft.lines[rows]), []
        pairs = zip(ids.to_pylist(), image_names, strict=True)
        images = [self._images(id, names) for id, names in pairs]
        return self._items_table(ids, texts, images, draft.lines[rows]), []

    def _merged_items(
        self,
        shelf: ItemShelf,
        ids: list[str],
        texts: dict[str, pa.Array],
        tags: dict[str, list[str | None]],
        image_names: list[list[str]],
        lines: IntArray,
        others: list[_OtherText],
    ) -> pa.Table:
        """Return one item for the rows of each id: what the first of them says, and all images.

        Of texts with language tags those in the leading language come before all others. What
        else rows say is added to ``others``.
        """
        names: dict[str, list[str]] = {}
        for id, found in zip(ids, image_names, strict=True):
            names.setdefault(id, []).extend(found)
        before = shelf.take(names)
        first_lines = dict(zip(reversed(ids), reversed(lines.tolist()), strict=True))
        items = {id: before.get(id) or ShelvedItem(first_lines[id]) for id in names}
        for field_name, column in texts.items():
            rows = zip(ids, column.to_pylist(), tags[field_name], strict=True)
            for row, (id, text, tag) in enumerate(rows):
                item = items[id]
                if text is None:
                    continue
                other = _OtherText(field_name, row, text, tag)
                if field_name in item.texts:
                    leads = _OtherText(
                        field_name, row, item.texts[field_name], item.languages.get(field_name)
                    )
                    if self._precedence(tag) < self._precedence(leads.language):
                        leads, other = other, leads
                    if leads.text != other.text or leads.language != other.language:
                        others.append(other)
                    other = leads
                item.texts[field_name] = other.text
                item.languages[field_name] = other.language
        for id, found in names.items():
            images = self._images(id, found) or []
            items[id].images = list(dict.fromkeys([*items[id].images, *images]))
        shelf.put(items)
        return self._items_table(
            list(items),
            {
                name: pa.array([item.texts.get(name) for item in items.values()], pa.string())
                for name in texts
            },
            [item.images or None for item in items.values()],
            np.array([item.line for item in items.values()], np.int64),
        )

    def _items_table(
        self,
        ids: Sequence[str] | pa.Array,
        texts: dict[str, pa.Array],
        images: Sequence[list[str] | None] | pa.Array,
        lines: IntArray,
    ) -> pa.Table:
        columns = {
            "id": pa.array(ids, pa.string()),
            **texts,
            "images": pa.array(images, pa.list_(pa.string())),
            "row": pa.array(lines, pa.int64()),
        }
        return self._with_provenance(columns, len(ids), ITEM_SCHEMA)

    def _precedence(self, language: str | None) -> int:
        return precedence(language, self.mapping.language)

    def _other_texts(self, draft: Draft, rows: IntArray, others: list[_OtherText]) -> list[Facts]:
        """Return texts that differ from an item's leading ones as values of their columns."""
        # An item of a long table may have several categories, like one with a list of them.
        is_long = self.mapping.triples is not None
        count = sum(
            other.language is None and not (is_long and other.field == "category")
            for other in others
        )
        if count:
            self.left_out.notes[FURTHER_TEXTS] += count
        columns = draft.columns
        properties = {
            "title": columns.title,
            "description": columns.description,
            "category": columns.category[0] if len(columns.category) == 1 else "category",
        }
        found: dict[tuple[str, str | None], list[_OtherText]] = {}
        for other in others:
            found.setdefault((other.field, other.language), []).append(other)
        facts = []
        for (name, language), texts in found.items():
            property = properties[name] if language is None else name
            of_rows = np.array([rows[other.row] for other in texts], np.int64)
            values = pa.array([other.text for other in texts], pa.string())
            facts.append(
                Facts(property, properties[name], of_rows, values, language=language, whole=True)
            )
        return facts

    def _images(self, id: str, names: list[str]) -> list[str] | None:
        if not names:
            return self.images.find_by_id(id) or None
        return self.images.find_named(list(dict.fromkeys(names))) or None

    def _text(self, column: str, texts: pa.Array, of_rows: OfRows | None = None) -> pa.Array:
        """Return the clean texts of a column [N] that holds one text in each cell."""
        settings = self.maker.value_settings(self.mapping.settings_of(column))
        return self._cleaners.clean(column, Role.TEXT, texts, settings, of_rows)

    def _categories(
        self, draft: Draft, indices: pa.Array, of_rows: OfRows | None = None
    ) -> pa.Array:
        """Return the category paths: several columns joined, or the levels within one column."""
        columns = draft.columns.category
        if draft.levels:
            levels = [
                self._text(column, level.take(indices), of_rows)
                for column, level in zip(columns, draft.levels, strict=True)
            ]
            # Arrow's own way to leave nulls out drops rows in which all are null.
            rows = zip(*(level.to_pylist() for level in levels), strict=True)
            paths = (CATEGORY_SEPARATOR.join(filter(None, row)) or None for row in rows)
            return pa.array(list(paths), pa.string())
        return self._paths(columns[0], draft.category.take(indices), of_rows)

    def _paths(self, column: str, texts: pa.Array, of_rows: OfRows | None = None) -> pa.Array:
        """Return the path of each category in a column [N]: the levels within it, joined.

        With ``of_rows`` the result has only the cells of the rows that are cleaned.
        """
        settings = self.maker.value_settings(self.mapping.settings_of(column))
        settings = replace(settings, separator=self.mapping.category_separator, quoted=False)
        cells = self._cleaners.split(column, Role.PATH, texts, settings, of_rows=of_rows)
        # The levels stand in the order of their rows.
        counts = np.bincount(cells.rows, minlength=len(texts))
        if of_rows is not None:
            counts = counts[of_rows.places]
        ends = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        levels = pa.ListArray.from_arrays(pa.array(ends), cells.values)
        paths = pc.binary_join(levels, CATEGORY_SEPARATOR)
        return pc.if_else(pa.array(counts > 0), paths, None)


@dataclass(frozen=True)
class _OtherText:
    """A text of an item's field, its row among those of the items, and its language tag if any."""

    field: str
    row: int
    text: str
    language: str | None


@dataclass(frozen=True)
class _Statements:
    """Statements [S]: the rows of the draft and the lines that they are from, and their texts."""

    rows: IntArray
    lines: IntArray
    properties: pa.Array
    values: pa.Array
    languages: pa.Array

    @classmethod
    def joined(cls, parts: Sequence[_Statements]) -> _Statements:
        """Return the statements of all parts."""
        none = pa.nulls(0, pa.string())
        every = [cls(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none, none), *parts]
        return cls(
            np.concatenate([part.rows for part in every]),
            np.concatenate([part.lines for part in every]),
            pa.concat_arrays([part.properties for part in every]),
            pa.concat_arrays([part.values for part in every]),
            pa.concat_arrays([part.languages for part in every]),
        )


@dataclass
class _CheckedRows:
    """Which rows [M] of a draft are stored, and the rejected rows of the batch."""

    keep: BoolArray
    rejects: list[RejectedRow]
    rejected_ids: list[str]
    identified_rejects: int


@dataclass
class _Repeated:
    """Why rows of the batch are to be rejected, and which rows [M] were stored before."""

    reasons: dict[int, str]
    old: BoolArray


def _cells_of(texts: pa.Array) -> SplitCells:
    """Return texts [N] as cells with one value, or none, each."""
    rows = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
    return SplitCells(rows, texts.drop_null())


def _where(facts: Facts, mask: BoolArray) -> Facts:
    lines = None if facts.lines is None else facts.lines[mask]
    texts = facts.texts.filter(pa.array(mask))
    return replace(facts, rows=facts.rows[mask], texts=texts, lines=lines)


def _repeated(text: str | None, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _without_duplicates(statements: pa.Table) -> pa.Table:
    """Keep the first of equal statements: a column and a packed cell may make the same one."""
    ids = statements["id"].combine_chunks()
    if are_distinct(ids):
        return statements
    codes = ids.dictionary_encode()
    _, first_rows = np.unique(codes.indices.to_numpy(), return_index=True)
    return statements.take(pa.array(np.sort(first_rows)))
