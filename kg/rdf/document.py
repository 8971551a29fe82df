"""An RDF file, loaded into a temporary quad store on disk while it is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyoxigraph import NamedNode, Quad, RdfFormat, Store, parse, serialize

from kg.rdf.json_ld import split_json_ld
from kg.stores import rdf_terms as terms
from schema import iris
from schema.errors import DataError

DOCUMENT_BASE = f"{iris.BASE}document/"
"""The base IRI that relative IRIs in a file are resolved against."""
FORMATS = {
    ".ttl": RdfFormat.TURTLE,
    ".nt": RdfFormat.N_TRIPLES,
    ".nq": RdfFormat.N_QUADS,
    ".trig": RdfFormat.TRIG,
}
JSON_LD_SUFFIX = ".jsonld"
RANK = terms.NODE_PREDICATES["rank"]
ITEM_PREFIX = f"{iris.BASE}item:"
"""The start of the IRIs of items in Catalograph's own RDF."""


class RdfDocument:
    """The quads of a file, whichever graph they are in.

    Raises DataError, with the file and if possible the line, if the file is malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = tempfile.TemporaryDirectory()
        try:
            self._quads: Store | None = Store(f"{self._folder.name}/quads")
            self._load(path)
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
            raise ValueError(f"the document {self.path} is closed")
        return self._quads

    def _load(self, path: Path) -> None:
        is_json_ld = path.suffix.lower() == JSON_LD_SUFFIX
        try:
            if is_json_ld:
                self._load_json_ld(path)
            else:
                format = FORMATS[path.suffix.lower()]
                self._store.bulk_load(path=path, format=format, base_iri=DOCUMENT_BASE)
        except SyntaxError as error:
            # JSON-LD is parsed in pieces, so its line numbers are not those of the file.
            line = f", line {error.lineno}" if error.lineno and not is_json_ld else ""
            raise DataError(
                f"{path}{line}: {error.msg}: fix the file, nothing of it was stored"
            ) from None
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path} cannot be read ({reason}): fix the file, nothing of it was stored"
            ) from None

    def _load_json_ld(self, path: Path) -> None:
        """Convert the file to N-Quads on disk first: bulk loading takes one file, not pieces."""
        n_quads = f"{self._folder.name}/quads.nq"
        parsed = (
            quad
            for piece in split_json_ld(path)
            for quad in parse(piece, RdfFormat.JSON_LD, base_iri=DOCUMENT_BASE)
        )
        serialize(parsed, n_quads, RdfFormat.N_QUADS)
        self._store.bulk_load(path=n_quads, format=RdfFormat.N_QUADS)


def node_label(node: Any) -> str:
    """Return a node as error messages show it."""
    return str(node)[:120]
