"""How each source of an ingest is going to be read; whatever is wrong with one shows before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kg.ingest.assemble import Assembled, Assembler, Origin, SourceImages
from kg.ingest.images import ImageFolder
from kg.ingest.readers import RDF, Source, columns_of, open_source, read
from schema.errors import DataError, MappingError, SourceNotFoundError
from schema.mapping import Mapping, guess_mapping, load_mapping

if TYPE_CHECKING:
    from kg.rdf.document import Document

BATCH_STATEMENTS = 100_000
"""About how many statements go to the store at once, which bounds memory whatever the width of a table."""
OWN = "catalograph"
FOREIGN = "schema-org"
_PACKED = 20  # statements that a packed cell is taken to hold


@dataclass(frozen=True)
class SourcePlan:
    """A source, the mapping to read it by, its images, and why that mapping was taken."""

    source: Source
    mapping: str
    images: SourceImages
    reason: str

    def parts(self, origin: Origin) -> Iterator[tuple[int, Assembled]]:
        """(rows read, what they became), a batch at a time."""
        raise NotImplementedError

    def ignored(self) -> tuple[str, ...]:
        """The columns that are left out."""
        return ()


@dataclass(frozen=True)
class TablePlan(SourcePlan):
    """A table by its columns."""

    columns: Mapping

    def parts(self, origin: Origin) -> Iterator[tuple[int, Assembled]]:
        """Batches of the table's rows."""
        assembler = Assembler(self.columns, self.images, origin)
        width = len(columns_of(self.source, self.columns)) + (_PACKED if self.columns.packed else 0)
        for batch in read(self.source, self.columns, max(500, BATCH_STATEMENTS // width)):
            yield batch.table.num_rows + len(batch.rejects), assembler.assemble(batch)

    def ignored(self) -> tuple[str, ...]:
        """The columns that are left out."""
        return self.columns.resolve(columns_of(self.source, self.columns)).ignored


@dataclass(frozen=True)
class RdfPlan(SourcePlan):
    """Products of foreign RDF, one a row."""

    columns: Mapping
    document: Document

    def parts(self, origin: Origin) -> Iterator[tuple[int, Assembled]]:
        """Batches of products."""
        from kg.rdf.products import read_products, row_mapping

        assembler = Assembler(row_mapping(self.columns), self.images, origin)
        for batch in read_products(self.document, self.columns):
            yield batch.table.num_rows + len(batch.rejects), assembler.assemble(batch)


@dataclass(frozen=True)
class OwnPlan(SourcePlan):
    """What Catalograph itself wrote as RDF."""

    document: Document

    def parts(self, origin: Origin) -> Iterator[tuple[int, Assembled]]:
        """Batches of items and of statements."""
        from kg.rdf.own import OwnReader

        yield from OwnReader(self.document, origin).batches()


def plan(
    path: Path | str, mapping: str | None, images: Path | str | None, stack: ExitStack
) -> SourcePlan:
    """Look at a source; an RDF file is loaded whole into a store on disk, which lasts as long as the ``stack``."""
    if mapping == OWN:
        raise MappingError(
            f"mapping {OWN!r} is no file's: it is taken of itself for RDF that `catalograph export` wrote"
        )
    source = open_source(path)
    if source.format == RDF:
        return _plan_rdf(source, mapping, images, stack)
    if mapping:
        chosen = load_mapping(mapping)
        why = "as asked"
    else:
        guess = guess_mapping(source.head)
        chosen = guess.mapping
        why = guess.reason
    chosen.resolve(columns_of(source, chosen))
    return TablePlan(
        source,
        chosen.name,
        _images(source, chosen, images),
        _reason(source, chosen.name, why),
        chosen,
    )


def _plan_rdf(
    source: Source, mapping: str | None, images: Path | str | None, stack: ExitStack
) -> SourcePlan:
    from kg.rdf.document import Document
    from kg.rdf.products import products

    chosen = load_mapping(mapping or FOREIGN)
    document = stack.enter_context(Document(source.path))
    if mapping is None and document.is_own():
        return OwnPlan(
            source,
            OWN,
            SourceImages(),
            _reason(source, OWN, "it has Catalograph's own items and statements"),
            document,
        )
    if next(products(document), None) is None:
        raise DataError(
            f"{source.path} has no product: one is of a type like https://schema.org/Product or gr:SomeItems"
        )
    why = "as asked" if mapping else "its products are told in words of others"
    return RdfPlan(
        source,
        chosen.name,
        _images(source, chosen, images),
        _reason(source, chosen.name, why),
        chosen,
        document,
    )


def _reason(source: Source, mapping: str, why: str) -> str:
    return f"{source.path.name}: mapping {mapping} ({why})"


def _images(source: Source, mapping: Mapping, images: Path | str | None) -> SourceImages:
    if images is not None:
        if not Path(images).is_dir():
            raise SourceNotFoundError(f"no image folder {images}: check --images")
        given = ImageFolder(Path(images))
        return SourceImages(given, given, mapping.image_pattern)
    beside = source.folder / mapping.image_folder if mapping.image_folder else None
    by_id = ImageFolder(beside) if beside is not None and beside.is_dir() else None
    return SourceImages(ImageFolder(source.folder), by_id, mapping.image_pattern)
