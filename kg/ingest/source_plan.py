"""Decide how each source of an ingest is read.

All sources are planned before the first row is stored, so a mistake in one stores nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kg.ingest.assemble import AssembledBatch, Assembler, Origin
from kg.ingest.images import ImageFolder, SourceImages
from kg.ingest.readers.rdf import RdfReader
from kg.ingest.source import Source, open_sources
from schema.errors import CatalographError, DataError, MappingError, SourceNotFoundError
from schema.mapping import Mapping, guess_mapping, load_mapping

if TYPE_CHECKING:
    from kg.rdf.document import RdfDocument

BATCH_STATEMENTS = 100_000
"""Roughly the statements of one batch, so that memory does not grow with the width of a table."""
NATIVE_MAPPING = "catalograph"
"""The name that reports give to RDF that Catalograph itself wrote, which needs no mapping."""
DEFAULT_RDF_MAPPING = "schema-org"

# Each batch is a commit of its own, so even very wide tables get batches of this many rows.
_MIN_BATCH_ROWS = 500
_STATEMENTS_PER_PACKED_CELL = 20  # an assumption, to size batches


@dataclass(frozen=True)
class SourcePlan(ABC):
    """A source, the name of its mapping, why that mapping was chosen, and its images."""

    source: Source
    mapping_name: str
    reason: str
    images: SourceImages

    @abstractmethod
    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the source, and assemble its items and statements batch by batch."""

    def ignored_columns(self) -> tuple[str, ...]:
        """Return the columns that the mapping leaves out."""
        return ()


@dataclass(frozen=True)
class TablePlan(SourcePlan):
    """A table whose columns a mapping explains."""

    mapping: Mapping

    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the rows of the table."""
        assembler = Assembler(self.mapping, self.images, origin)
        statements_per_row = len(self.source.columns(self.mapping))
        if self.mapping.packed:
            statements_per_row += _STATEMENTS_PER_PACKED_CELL
        batch_rows = max(_MIN_BATCH_ROWS, BATCH_STATEMENTS // statements_per_row)
        for batch in self.source.batches(self.mapping, batch_rows):
            yield assembler.assemble(batch)

    def ignored_columns(self) -> tuple[str, ...]:
        """Return the columns that the mapping leaves out."""
        return self.mapping.resolve(self.source.columns(self.mapping)).ignored


@dataclass(frozen=True)
class RdfProductsPlan(SourcePlan):
    """A document with products in the vocabulary of schema.org or GoodRelations."""

    mapping: Mapping
    document: RdfDocument

    def assembled_batches(self, origin: Origin) -> Iterator[AssembledBatch]:
        """Read the products of the document, one per row."""
        from kg.rdf.products import read_products, row_mapping

        assembler = Assembler(row_mapping(self.mapping), self.images, origin)
        for batch in read_products(self.document, self.mapping):
            yield assembler.assemble(batch)


@dataclass(frozen=True)
class NativeRdfPlan(SourcePlan):
    """A document that Catalograph itself wrote."""

    document: RdfDocument

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
            plans.append(_plan_source(source, mapping, images, stack))
        except (MappingError, DataError) as error:
            if opened.passed_over is None:
                raise
            first_error = first_error or error
            opened.passed_over.add(source.name, str(error))
    if not plans and first_error is not None:
        raise first_error
    return PlannedSources(plans, list(opened.passed_over.lines()) if opened.passed_over else [])


def _plan_source(
    source: Source, mapping: str | None, images: Path | str | None, stack: ExitStack
) -> SourcePlan:
    # A packed file that is damaged at its end stores nothing either.
    source.file.check()
    if isinstance(source.reader, RdfReader):
        return _plan_rdf(source, source.reader, mapping, images, stack)

    if mapping:
        chosen = load_mapping(mapping)
        reason = _reason(source, chosen.name, "as requested")
    else:
        guess = guess_mapping(source.head)
        chosen = guess.mapping
        source = source.under(chosen)
        reason = _reason(source, chosen.name, guess.reason)
    # Called for its error alone, before anything is stored.
    chosen.resolve(source.columns(chosen))
    return TablePlan(source, chosen.name, reason, _find_images(source, chosen, images), chosen)


def _plan_rdf(
    source: Source,
    reader: RdfReader,
    mapping: str | None,
    images: Path | str | None,
    stack: ExitStack,
) -> SourcePlan:
    from kg.rdf.products import find_products

    chosen = load_mapping(mapping or DEFAULT_RDF_MAPPING)
    document = stack.enter_context(reader.open_document(source.file))
    # A mapping that was asked for is used even for Catalograph's own RDF.
    if mapping is None and document.is_native():
        reason = _reason(source, NATIVE_MAPPING, "it has Catalograph's own items and statements")
        # The paths in it are those of the machine that wrote it, so none is looked up beside it.
        found = SourceImages(_image_folder(images)) if images is not None else SourceImages()
        return NativeRdfPlan(source, NATIVE_MAPPING, reason, found, document)

    if next(find_products(document), None) is None:
        raise DataError(_no_product(source, document))
    why = "as requested" if mapping else "its products use schema.org or GoodRelations"
    return RdfProductsPlan(
        source,
        chosen.name,
        _reason(source, chosen.name, why),
        _find_images(source, chosen, images),
        chosen,
        document,
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
