"""RDF and JSON-LD: every product of the file is a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from kg.ingest.files import SourceFile
from kg.ingest.readers.base import Reader
from kg.ingest.rows import Batch
from schema.errors import DataError
from schema.mapping import Head, Mapping

if TYPE_CHECKING:
    from kg.rdf.document import RdfDocument


class RdfReader(Reader):
    """Reads products in RDF; a row's columns are the properties that the products turn out to have.

    An ingest loads the document once, through ``open_document``, and also recognises documents
    that Catalograph itself wrote: see ``kg.ingest.source_plan``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".ttl", ".nt", ".nq", ".trig", ".jsonld")

    def head(self, file: SourceFile, mapping: Mapping | None = None) -> Head:
        """Return a head without columns, which are only known once the document is loaded."""
        if not file.start(1):
            raise DataError(f"{file.location} is empty: there is nothing to load")
        return Head(file.name, ((),), named=True)

    def open_document(self, file: SourceFile) -> RdfDocument:
        """Load a file whole into a temporary quad store on disk."""
        from kg.rdf.document import RdfDocument

        return RdfDocument(file)

    def batches(
        self, file: SourceFile, head: Head, mapping: Mapping, batch_rows: int
    ) -> Iterator[Batch]:
        """Read the products; the line of a row is the number of the product."""
        from kg.rdf.products import read_products

        with self.open_document(file) as document:
            yield from read_products(document, mapping, batch_rows)


READER = RdfReader()
