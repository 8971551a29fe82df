"""An RDF file, loaded into a quad store of its own on disk while it is read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyoxigraph import Quad, RdfFormat, Store, parse, serialize

from kg.rdf.json_ld import parts
from kg.stores import rdf_terms as terms
from schema.errors import DataError

BASE = f"{terms.BASE}document/"
"""What a file's relative addresses are relative to."""
FORMATS = {
    ".ttl": RdfFormat.TURTLE,
    ".nt": RdfFormat.N_TRIPLES,
    ".nq": RdfFormat.N_QUADS,
    ".trig": RdfFormat.TRIG,
}
JSON_LD = ".jsonld"
RANK = terms.THINGS["rank"]
OWN_ITEM = f"{terms.BASE}item:"


class Document:
    """A file's quads; every graph of it counts. Raises DataError naming file and line where the file is malformed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = tempfile.TemporaryDirectory()
        try:
            self._quads = Store(f"{self._folder.name}/quads")
            self._load(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Document:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the quads go."""
        self.__dict__.pop("_quads", None)
        self._folder.cleanup()

    def about(self, node: Any) -> list[Quad]:
        """What the file says of a node."""
        return list(self._quads.quads_for_pattern(node, None, None, None))

    def subjects(self, predicate: Any, term: Any) -> Iterator[Any]:
        """The nodes of which a predicate says something, or a given term; each once in a row."""
        before = None
        for quad in self._quads.quads_for_pattern(None, predicate, term, None):
            if quad.subject != before:
                before = quad.subject
                yield before

    def objects(self, node: Any, predicate: Any) -> list[Any]:
        """What a predicate says of a node."""
        return [quad.object for quad in self._quads.quads_for_pattern(node, predicate, None, None)]

    def count(self, predicate: Any) -> int:
        """How often a predicate is said."""
        return sum(1 for _ in self._quads.quads_for_pattern(None, predicate, None, None))

    def says(self, node: Any, predicate: Any, term: Any = None) -> bool:
        """Whether the file says it."""
        return next(self._quads.quads_for_pattern(node, predicate, term, None), None) is not None

    def is_own(self) -> bool:
        """Whether Catalograph wrote it: it has ranks, or items under Catalograph's own names."""
        if next(self.subjects(RANK, None), None) is not None:
            return True
        first = next(self.subjects(terms.TYPE, terms.PRODUCT), None)
        return first is not None and str(getattr(first, "value", "")).startswith(OWN_ITEM)

    def _load(self, path: Path) -> None:
        try:
            if path.suffix.lower() == JSON_LD:
                quads = f"{self._folder.name}/quads.nq"
                found = (
                    quad
                    for part in parts(path)
                    for quad in parse(part, RdfFormat.JSON_LD, base_iri=BASE)
                )
                serialize(found, quads, RdfFormat.N_QUADS)
                self._quads.bulk_load(path=quads, format=RdfFormat.N_QUADS)
            else:
                self._quads.bulk_load(path=path, format=FORMATS[path.suffix.lower()], base_iri=BASE)
        except SyntaxError as error:
            line = (
                f", line {error.lineno}" if error.lineno and path.suffix.lower() != JSON_LD else ""
            )
            raise DataError(
                f"{path}{line}: {error.msg}: mend the file, nothing of it was stored"
            ) from None
        except (ValueError, OSError) as error:
            raise DataError(
                f"{path} cannot be read ({' '.join(str(error).split())[:200]}): mend the file, nothing of it was stored"
            ) from None


def label(node: Any) -> str:
    """A node as a message names it."""
    return str(node)[:120]
