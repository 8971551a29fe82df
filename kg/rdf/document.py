"""An RDF file, loaded into a temporary quad store on disk while it is read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, Store, parse, serialize

from kg.ingest.files import SourceFile
from kg.rdf.json_ld import split_json_ld
from kg.rdf.pages import page_documents
from kg.stores import rdf_terms as terms
from schema import iris
from schema.errors import DataError
from schema.rejects import RejectedRow

DOCUMENT_BASE = f"{iris.BASE}document/"
"""The base IRI that relative IRIs in a file are resolved against."""
FORMATS = {
    ".ttl": RdfFormat.TURTLE,
    ".nt": RdfFormat.N_TRIPLES,
    ".nq": RdfFormat.N_QUADS,
    ".trig": RdfFormat.TRIG,
}
JSON_LD_SUFFIX = ".jsonld"
PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
RANK = terms.NODE_PREDICATES["rank"]
ITEM_PREFIX = f"{iris.BASE}item:"
"""The start of the IRIs of items in Catalograph's own RDF."""

_SCAN_BYTES = 1 << 22
_LONGEST_NUMBER = 200
# Numbers whose zeros the quad store would drop: 0400638133393 and 1.10, bare in Turtle, or with a
# type. Where text has such numbers, too, the slower way of loading is taken for nothing.
_ZEROS = rb"[+-]?(?:0[0-9]+(?:\.[0-9]*)?|[0-9]*\.[0-9]*0)"
_BARE_ZEROS = re.compile(rb"(?:^|[\s(\[,])" + _ZEROS + rb"(?=[\s;,)\].]|$)")
_TYPED_ZEROS = re.compile(rb"[\"']" + _ZEROS + rb"[\"']\^\^(?!<[^>]*#(?:double|float)>)")
_HAS_ZEROS = re.compile(r"[+-]?0[0-9].*|.*\.[0-9]*0")
_EXACT_TYPES = frozenset(
    f"{iris.XSD}{name}"
    for name in (
        "decimal integer long int short byte nonNegativeInteger positiveInteger nonPositiveInteger "
        "negativeInteger unsignedLong unsignedInt unsignedShort unsignedByte"
    ).split()
)


class RdfDocument:
    """The quads of a file, whichever graph they are in.

    ``rejects`` are the parts of a web page that could not be read. Raises DataError, with the file
    and if possible the line, if the file is malformed.
    """

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.rejects: list[RejectedRow] = []
        self._folder = tempfile.TemporaryDirectory()
        try:
            self._quads: Store | None = Store(f"{self._folder.name}/quads")
            self._load(file)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RdfDocument:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the temporary store."""
        # Oxigraph has no close(): the store releases its files when nothing refers to it.
        self._quads = None
        self._folder.cleanup()

    def quads_about(self, node: Any) -> list[Quad]:
        """Return the quads whose subject is a node."""
        return list(self._match(subject=node))

    def subjects(self, predicate: Any, object: Any = None) -> Iterator[Any]:
        """Yield the subjects of a predicate, or of a predicate with an object.

        Consecutive quads of one subject yield it once.
        """
        previous = None
        for quad in self._match(predicate=predicate, object=object):
            if quad.subject != previous:
                previous = quad.subject
                yield previous

    def objects(self, node: Any, predicate: Any) -> list[Any]:
        """Return the objects of a node's predicate."""
        return [quad.object for quad in self._match(node, predicate)]

    def count(self, predicate: Any) -> int:
        """Return the number of quads with a predicate."""
        return sum(1 for _ in self._match(predicate=predicate))

    def contains(self, node: Any, predicate: Any, object: Any = None) -> bool:
        """Return whether there is a quad with this subject, predicate and, if given, object."""
        return next(self._match(node, predicate, object), None) is not None

    def is_native(self) -> bool:
        """Return whether Catalograph wrote the file: it has ranks, or Catalograph's item IRIs."""
        if next(self.subjects(RANK), None) is not None:
            return True
        first_product = next(self.subjects(terms.TYPE, terms.PRODUCT), None)
        return isinstance(first_product, NamedNode) and first_product.value.startswith(ITEM_PREFIX)

    def _match(
        self, subject: Any = None, predicate: Any = None, object: Any = None
    ) -> Iterator[Quad]:
        # The last None stands for any graph.
        return self._store.quads_for_pattern(subject, predicate, object, None)

    @property
    def _store(self) -> Store:
        if self._quads is None:
            raise ValueError(f"the document {self.file.location} is closed")
        return self._quads

    def _load(self, file: SourceFile) -> None:
        in_pieces = file.suffix == JSON_LD_SUFFIX or file.suffix in PAGE_SUFFIXES
        try:
            if in_pieces:
                self._load_quads(self._quads_in_pieces(file))
            elif _has_zeros(file):
                with file.open() as stream:
                    format = FORMATS[file.suffix]
                    quads = parse(stream, format, base_iri=DOCUMENT_BASE)
                    self._load_quads(map(_with_written_number, quads))
            else:
                self._load_stream(file)
        except SyntaxError as error:
            # JSON-LD is parsed in pieces, so its line numbers are not those of the file.
            line = f", line {error.lineno}" if error.lineno and not in_pieces else ""
            raise DataError(
                f"{file.location}{line}: {error.msg}: fix the file, nothing of it was stored"
            ) from None
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{file.location} cannot be read ({reason}): fix the file, nothing of it was stored"
            ) from None

    def _load_stream(self, file: SourceFile) -> None:
        format = FORMATS[file.suffix]
        if file.is_packed():
            with file.open() as stream:
                self._store.bulk_load(stream, format, base_iri=DOCUMENT_BASE)
        else:
            self._store.bulk_load(path=file.path, format=format, base_iri=DOCUMENT_BASE)

    def _quads_in_pieces(self, file: SourceFile) -> Iterator[Quad]:
        if file.suffix == JSON_LD_SUFFIX:
            pieces = split_json_ld(file)
        else:
            pieces = page_documents(file, self.rejects)
        for piece in pieces:
            yield from parse(piece, RdfFormat.JSON_LD, base_iri=DOCUMENT_BASE)

    def _load_quads(self, quads: Iterable[Quad]) -> None:
        """Write quads as N-Quads on disk first: bulk loading takes one file, not pieces."""
        n_quads = f"{self._folder.name}/quads.nq"
        serialize(quads, n_quads, RdfFormat.N_QUADS)
        self._store.bulk_load(path=n_quads, format=RdfFormat.N_QUADS)


def _has_zeros(file: SourceFile) -> bool:
    """Return whether a file seems to have numbers that the quad store would not keep as written."""
    patterns = [_TYPED_ZEROS]
    if file.suffix in (".ttl", ".trig"):
        patterns.append(_BARE_ZEROS)
    with file.open() as stream:
        return any(pattern.search(chunk) for chunk in _overlapping(stream) for pattern in patterns)


def _overlapping(stream: BinaryIO) -> Iterator[bytes]:
    """Yield chunks of a stream, each with the end of the one before."""
    end = b""
    while chunk := stream.read(_SCAN_BYTES):
        yield end + chunk
        end = chunk[-_LONGEST_NUMBER:]


def _with_written_number(quad: Quad) -> Quad:
    """Return a quad whose number stays as it is written: as text, because the store normalises it.

    ``0400638133393`` is rather an id than the number 400638133393.
    """
    number = quad.object
    if (
        isinstance(number, Literal)
        and number.datatype.value in _EXACT_TYPES
        and _HAS_ZEROS.fullmatch(number.value)
    ):
        return Quad(quad.subject, quad.predicate, Literal(number.value), quad.graph_name)
    return quad


def node_label(node: Any) -> str:
    """Return a node as error messages show it."""
    return str(node)[:120]
