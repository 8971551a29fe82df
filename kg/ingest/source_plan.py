"""Decide how each source of an ingest is read.

All sources are planned before the first row is stored, so a mistake in one stores nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from kg.ingest.assemble import AssembledBatch, Assembler, LeftOut, Origin
from kg.ingest.columns import Rows, rows_of_batch
from kg.ingest.draft import DraftMaker
from kg.ingest.files import SourceFile
from kg.ingest.flatten import UNMAPPED, Flattener
from kg.ingest.images import ImageFolder, SourceImages
from kg.ingest.known_rows import RowMemory
from kg.ingest.readers import reader_for
from kg.ingest.readers.rdf import RdfReader
from kg.ingest.records import is_record_source, record_batches
from kg.ingest.row_blocks import RowBlock, TableBlock, record_blocks
from kg.ingest.rows import Batch, RecordBatch
from kg.ingest.source import Source, open_source, open_sources
from kg.ingest.values import ColumnCleaners
from kg.marks import mark_columns
from schema.errors import CatalographError, DataError, MappingError, SourceNotFoundError
from schema.mapping import (
    Guess,
    Mapping,
    Sample,
    absent_names,
    adapt_mapping,
    guess_mapping,
    is_shipped,
    load_mapping,
    resolve,
    sample_of,
    with_choice,
)
from schema.mapping.names import matching

if TYPE_CHECKING:
    from kg.rdf.document import RdfDocument

BATCH_STATEMENTS = 100_000
"""Roughly the statements of one batch, so that memory does not grow with the width of a table."""
NATIVE_MAPPING = "catalograph"
"""The name that reports give to RDF that Catalograph itself wrote, which needs no mapping."""
DEFAULT_RDF_MAPPING = "schema-org"

# Each batch is a commit of its own, so even very wide tables get batches of this many rows.
_MIN_BATCH_ROWS = 500
_MAX_NAMES = 20
SAMPLE_ROWS = 200
"""Rows from which a mapping is guessed, of sources whose head has only the names of columns."""
_STATEMENTS_PER_PACKED_CELL = 20  # an assumption, to size batches


@dataclass(frozen=True)
class SourcePlan(ABC):
    """A source, the name of its mapping, why that mapping was chosen, and its images.

    ``stated`` is the mapping before the source itself told more, None if it needs none.
    ``left_out`` counts what the mapping leaves out while the source is read.
    """

    source: Source
    mapping_name: str
    reason: str
    images: SourceImages
    left_out: LeftOut = field(default_factory=LeftOut, kw_only=True)
    stated: Mapping | None = field(default=None, kw_only=True)

    replaces: ClassVar[bool] = True
    """Whether what is read replaces what its source said before of the same items."""

    @property
    def may_split_items(self) -> bool:
        """Whether what is said of an item may lie in several places of the source."""
        return True

    @abstractmethod
    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the source, and assemble its items and statements batch by batch."""

    def _say_absent_names(self, mapping: Mapping, columns: Collection[str]) -> None:
        """Say what the user's own mapping says of columns that never came up."""
        if self.stated is None or is_shipped(self.stated) or not columns:
            return
        if names := _first_names(list(absent_names(mapping, columns))):
            self.left_out.remarks[
                f"mapping {mapping.name!r} names columns that the source does not have: "
                + ", ".join(names)
            ] = None

    @property
    def mapping_to_keep(self) -> Mapping | None:
        """The mapping with which the source can be read again; None if it needs none."""
        return None

    def notes(self) -> Iterator[str]:
        """Yield remarks on what the mapping left out, once the source is read."""
        yield from self.left_out.remarks
        columns = [
            *_first_names(list(self.left_out.columns)),
            *_not_in(self.left_out.texts, self.left_out.columns),
        ]
        if columns:
            yield f"columns left out: {', '.join(columns)}"
        for note, count in self.left_out.notes.items():
            yield f"{count:,} {note}"


@dataclass(frozen=True)
class MappedPlan(SourcePlan):
    """A source that a mapping explains; ``why`` says why its columns are read as they are."""

    mapping: Mapping
    sample: Sample
    why: dict[str, str] = field(default_factory=dict, kw_only=True)
    memory: RowMemory | None = field(default=None, kw_only=True)
    """What is known of the rows from the last run, and takes what they are now."""

    is_strict: ClassVar[bool]
    """Whether the source has all columns that the mapping names."""

    @property
    def may_split_items(self) -> bool:
        """Whether rows may continue or vary an item, or say it in another language."""
        mapping = self.mapping
        is_varied = mapping.variants is not None or bool(mapping.language_column)
        return mapping.may_repeat_ids or is_varied

    @property
    def mapping_to_keep(self) -> Mapping | None:
        """The mapping, with all that was guessed."""
        return self.mapping

    def assembler(self, origin: Origin) -> Assembler:
        """Return what makes items and statements of the rows."""
        return Assembler(
            self.mapping,
            self.images,
            origin,
            self.left_out,
            strict=self.is_strict,
            memory=self.memory,
        )

    @abstractmethod
    def blocks(self) -> Iterator[RowBlock]:
        """Read the source block by block."""

    def row_batches(self) -> Iterator[tuple[Rows, Batch | RecordBatch]]:
        """Read the source batch by batch: the rows that the mapping applies to, and the batch."""
        for block in self.blocks():
            read = block.read(self.mapping)
            yield read.rows, read.batch

    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the source, and once more if some rows have to come after all others."""
        assembler = self.assembler(origin)
        for rows, batch in self.row_batches():
            yield assembler.assemble_rows(rows, batch)
        if assembler.has_deferred:
            for rows, _ in self.row_batches():
                yield assembler.assemble_deferred(rows)
        if (last := assembler.last_batch()) is not None:
            yield last
        self.say_absent_names(assembler.maker.names)

    def say_absent_names(self, columns: Collection[str]) -> None:
        """Say what the user's own mapping says of columns that never came up."""
        self._say_absent_names(self.stated or self.mapping, columns)


@dataclass(frozen=True)
class TablePlan(MappedPlan):
    """A table whose columns a mapping explains."""

    is_strict = True

    @property
    def may_know_rows(self) -> bool:
        """Whether each item is told by one row, and its images by no file beside the source."""
        is_simple = not self.may_split_items and self.mapping.triples is None
        # What is the first of equal columns may depend on the batch.
        is_simple = is_simple and column_names(self.source) is None
        return is_simple and not self.images.may_find_by_id

    @property
    def batch_rows(self) -> int:
        """The most rows of a batch."""
        statements_per_row = len(self.source.columns(self.mapping))
        if self.mapping.packed:
            statements_per_row += _STATEMENTS_PER_PACKED_CELL
        return max(_MIN_BATCH_ROWS, BATCH_STATEMENTS // statements_per_row)

    def blocks(self) -> Iterator[RowBlock]:
        """Read the table block by block."""
        names = column_names(self.source)
        for batch in self.source.batches(self.mapping, self.batch_rows):
            yield TableBlock(batch, names)


@dataclass(frozen=True)
class RecordsPlan(MappedPlan):
    """A source of nested records, which are flattened by a mapping."""

    is_strict = False

    def blocks(self) -> Iterator[RowBlock]:
        """Read the records block by block."""
        return record_blocks(self.source, self.mapping)

    def row_batches(self) -> Iterator[tuple[Rows, RecordBatch]]:
        for block in record_blocks(self.source, self.mapping):
            batch = block.parsed()
            yield Flattener(self.mapping).rows(batch.records), batch


@dataclass(frozen=True)
class RdfProductsPlan(SourcePlan):
    """A document with products in the vocabulary of schema.org or GoodRelations."""

    mapping: Mapping
    document: RdfDocument

    @property
    def mapping_to_keep(self) -> Mapping | None:
        """The mapping."""
        return self.mapping

    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the products of the document, one per row."""
        from kg.rdf.products import read_products, row_mapping

        mapping = row_mapping(self.mapping)
        # What a batch of products has is chance.
        assembler = Assembler(mapping, self.images, origin, self.left_out, strict=False)
        for batch in read_products(self.document, self.mapping):
            yield assembler.assemble(batch)
        self._say_absent_names(mapping, assembler.maker.names)


@dataclass(frozen=True)
class NativeRdfPlan(SourcePlan):
    """A document that Catalograph itself wrote."""

    document: RdfDocument

    replaces = False
    """The document names the sources itself, and is a copy rather than one of them."""

    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the items and statements of the document."""
        from kg.rdf.native import NativeRdfReader

        yield from NativeRdfReader(self.document, origin, self.images).batches()


@dataclass
class PlannedSources:
    """The plans of the sources, and remarks on what is not read of them."""

    plans: list[SourcePlan]
    notes: list[str]


def plan_sources(
    paths: Sequence[Path | str], mapping: str | None, images: Path | str | None, stack: ExitStack
) -> PlannedSources:
    """Choose the mapping of each source and check that it fits.

    An RDF file is loaded whole into a temporary store, which is deleted when ``stack`` closes.
    """
    planned = PlannedSources([], [])
    for path in paths:
        one = _plan_path(path, mapping, images, stack)
        planned.plans += one.plans
        planned.notes += one.notes
    return planned


def _plan_path(
    path: Path | str, mapping: str | None, images: Path | str | None, stack: ExitStack
) -> PlannedSources:
    if mapping == NATIVE_MAPPING:
        raise MappingError(
            f"mapping {NATIVE_MAPPING!r} cannot be chosen: "
            "it is used automatically for RDF that `catalograph export` wrote"
        )
    chosen = load_mapping(mapping) if mapping else None
    opened = open_sources(path, chosen)
    plans: list[SourcePlan] = []
    first_error: CatalographError | None = None
    for source in opened.sources:
        try:
            plans.append(_plan_source(source, chosen, images, stack))
        except (MappingError, DataError) as error:
            if opened.passed_over is None:
                raise
            first_error = first_error or error
            opened.passed_over.add(source.name, str(error))
    if not plans and first_error is not None:
        raise first_error
    return PlannedSources(plans, list(opened.passed_over.lines()) if opened.passed_over else [])


def plan_again(file: SourceFile, mapping: Mapping) -> MappedPlan:
    """Plan to read a file again by the mapping that was guessed or given when it was read.

    Raises DataError if the file is of a format that needs no mapping, or MappingError.
    """
    reader = reader_for(file.suffix)
    if reader is None or isinstance(reader, RdfReader):
        raise DataError(f"{file.name} is no table and has no records: its form is {file.suffix}")
    source = Source(file, reader, reader.head(file, mapping))
    plan = RecordsPlan if is_record_source(source) else TablePlan
    sample = Sample(source.columns(mapping), ())
    return plan(source, mapping.name, "", SourceImages(), mapping, sample, stated=mapping)


def plan_table(path: Path | str, mapping: str | None = None) -> MappedPlan:
    """Plan to read a single table or file of records by a mapping, or by the one that is guessed.

    Raises DataError if it is none, and MappingError if the mapping does not fit it.
    """
    chosen = load_mapping(mapping) if mapping else None
    source = open_source(path, chosen)
    if isinstance(source.reader, RdfReader):
        raise DataError(f"{source.name} is no table and has no records: name another file")
    with ExitStack() as stack:
        plan = _plan_source(source, chosen, None, stack)
    if not isinstance(plan, MappedPlan):
        raise DataError(f"{source.name} needs no mapping, and is no table: name another file")
    return plan


def _plan_source(
    source: Source, asked: Mapping | None, images: Path | str | None, stack: ExitStack
) -> SourcePlan:
    # A packed file that is damaged at its end stores nothing either.
    source.file.check()
    if isinstance(source.reader, RdfReader):
        return _plan_rdf(source, source.reader, asked, images, stack)

    find_sample = _sample_of_records if is_record_source(source) else _sample_of_table
    sample = find_sample(source)
    if asked is not None:
        guess = adapt_mapping(asked, sample)
    else:
        guess = guess_mapping(source.head, sample)
        source = source.under(guess.mapping)
    return _plan_mapped(source, guess, sample, asked, images)


def _plan_mapped(
    source: Source,
    guess: Guess,
    sample: Sample,
    asked: Mapping | None,
    images: Path | str | None,
) -> MappedPlan:
    guess = replace(guess, mapping=_without_marks(guess.mapping, sample))
    chosen = guess.mapping
    reason = _reason(source, chosen.name, guess.reason)
    found = _find_images(source, chosen, images)
    stated = asked or load_mapping(chosen.name)
    if is_record_source(source):
        _check_records(source, chosen, sample)
        chosen, reason = _with_chosen_columns(source, guess, sample)
        return RecordsPlan(
            source, chosen.name, reason, found, chosen, sample, why=guess.why, stated=stated
        )
    _check_columns(source, chosen)
    if chosen.header is False and not source.head.named:
        width = len(chosen.columns)
        rows = tuple(row for row in source.head.rows if len(row) == width)
        sample = Sample(chosen.columns, rows)
    return TablePlan(
        source, chosen.name, reason, found, chosen, sample, why=guess.why, stated=stated
    )


def _without_marks(mapping: Mapping, sample: Sample) -> Mapping:
    """Return a mapping without the columns that ``complete --mark`` has added to a table."""
    return mapping.with_ignored(tuple(mark_columns(sample.columns)))


def _check_columns(source: Source, mapping: Mapping) -> None:
    """Raise MappingError if a table lacks a column that its mapping needs."""
    columns = source.columns(mapping)
    table = pa.table({name: pa.array([], pa.string()) for name in columns})
    batch = Batch(table, np.zeros(0, np.int64))
    names = column_names(source)
    names = names if names and len(names) == len(columns) else None
    DraftMaker(mapping, ColumnCleaners()).draft(rows_of_batch(batch, names))


def _check_records(source: Source, mapping: Mapping, sample: Sample) -> None:
    """Raise MappingError if none of the first records has the id that a mapping names."""
    if mapping.triples is None:
        bare = replace(mapping, title=(), description=(), images=(), category=(), properties=None)
        bare = replace(bare, variants=None, language_column=())
        resolve(bare, sample.columns)


def _with_chosen_columns(source: Source, guess: Guess, sample: Sample) -> tuple[Mapping, str]:
    """Return the mapping with those of its alternatives that the first records have; and why it.

    All batches have to agree on the id.
    """
    mapping = guess.mapping
    if mapping.triples is not None:
        return mapping, _reason(source, mapping.name, guess.reason)
    bare = replace(mapping, properties=None)
    chosen = with_choice(mapping, resolve(bare, sample.columns, strict=False))
    why = guess.reason
    if chosen.id != mapping.id and len(matching(sample.columns, mapping.id)) > 1:
        why += f"; the id is {chosen.id[0]!r} in all records"
    return chosen, _reason(source, mapping.name, why)


def column_names(source: Source) -> tuple[str, ...] | None:
    """Return the names of a table's columns as the file has them, where some come up repeatedly.

    Readers tell such columns apart by numbers of their own.
    """
    if source.head.named or not source.head.rows:
        return None
    names = sample_of(source.head).columns
    return names if len(set(names)) < len(names) else None


def _sample_of_table(source: Source) -> Sample:
    if not source.head.named:
        return sample_of(source.head)
    # Only the names of its columns are known so far.
    bare = Mapping("sample", id=(source.head.rows[0][0],) if source.head.rows[0] else ())
    batch = next(iter(source.batches(bare, SAMPLE_ROWS)), None)
    if batch is None:
        return sample_of(source.head)
    return sample_of_rows(rows_of_batch(batch), SAMPLE_ROWS)


def _sample_of_records(source: Source) -> Sample:
    batch = next(iter(record_batches(source, UNMAPPED, SAMPLE_ROWS)), None)
    if batch is None or not batch.records:
        return sample_of(source.head)
    rows = Flattener(UNMAPPED).rows(batch.records)
    return sample_of_rows(rows, len(batch.records))


def sample_of_rows(rows: Rows, count: int) -> Sample:
    """Return the first texts of the first rows as a sample."""
    names = rows.names()
    count = min(count, len(rows))
    columns = [rows.texts(name)[:count] for name in names]
    return Sample(tuple(names), tuple(zip(*columns, strict=True)) if columns else ())


def _plan_rdf(
    source: Source,
    reader: RdfReader,
    asked: Mapping | None,
    images: Path | str | None,
    stack: ExitStack,
) -> SourcePlan:
    from kg.rdf.products import find_products

    chosen = asked or load_mapping(DEFAULT_RDF_MAPPING)
    document = stack.enter_context(reader.open_document(source.file))
    # A mapping that was asked for is used even for Catalograph's own RDF.
    if asked is None and document.is_native():
        reason = _reason(source, NATIVE_MAPPING, "it has Catalograph's own items and statements")
        # The paths in it are those of the machine that wrote it, so none is looked up beside it.
        found = SourceImages(_image_folder(images)) if images is not None else SourceImages()
        return NativeRdfPlan(source, NATIVE_MAPPING, reason, found, document)

    if next(find_products(document), None) is None:
        raise DataError(_no_product(source, document))
    why = "as requested" if asked else "its products use schema.org or GoodRelations"
    return RdfProductsPlan(
        source,
        chosen.name,
        _reason(source, chosen.name, why),
        _find_images(source, chosen, images),
        chosen,
        document,
        stated=chosen,
    )


def _no_product(source: Source, document: RdfDocument) -> str:
    if document.rejects:
        first = document.rejects[0]
        return f"{source.location}, line {first.line}: {first.reason}: fix the page"
    if source.reader.suffixes == RdfReader.suffixes:
        hint = "a product has a type like https://schema.org/Product or gr:SomeItems"
    else:
        hint = (
            "of a page only its JSON-LD, microdata or RDFa is read: save a table in it as CSV or "
            "as a workbook (.xlsx)"
        )
    return f"{source.location} has no product: {hint}"


def _reason(source: Source, mapping_name: str, why: str) -> str:
    return f"{source.name}: mapping {mapping_name} ({why})"


def _find_images(source: Source, mapping: Mapping, images: Path | str | None) -> SourceImages:
    """Return the folder given with ``--images``, or else the folders beside the source."""
    if images is not None:
        return SourceImages(_image_folder(images), mapping.image_pattern)

    beside = ImageFolder(source.folder)
    pattern = mapping.image_pattern
    if not pattern or not mapping.image_folder:
        return SourceImages(beside)
    if not (source.folder / mapping.image_folder).is_dir():
        return SourceImages(beside)
    # Looked up from the source's folder, so that the folder of images is no link to elsewhere: it
    # may come from the supplier, together with the source.
    return SourceImages(beside, f"{mapping.image_folder}/{pattern}")


def _image_folder(images: Path | str) -> ImageFolder:
    if not Path(images).is_dir():
        raise SourceNotFoundError(f"no image folder {images}: check --images")
    return ImageFolder(Path(images))


def _not_in(texts: Counter[str], columns: dict[str, None]) -> list[str]:
    """Return the names of what was left out within columns, the most frequent first."""
    return _first_names(
        [name for name, count in texts.most_common() if count and name not in columns]
    )


def _first_names(names: list[str]) -> list[str]:
    more = len(names) - _MAX_NAMES
    return [*names[:_MAX_NAMES], f"and {more:,} more"] if more > 0 else names
