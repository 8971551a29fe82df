"""Open a graph store by its URL."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kg.stores.protocol import GraphStore
from kg.stores.url import checked_url
from schema.errors import UsageError

if TYPE_CHECKING:
    from kg.stores.verification import StoreFiles


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: its URL schemes, its module, and an example URL for messages.

    The module has a function ``open_url(url, *, create, read_only)``, and one ``store_files(url)``
    if the store has a journal. It is imported only when a store of its kind is opened, because each
    brings a client library of its own.
    """

    schemes: tuple[str, ...]
    module: str
    example: str
    has_journal: bool = False

    def accepts(self, url: str) -> bool:
        """Return whether a URL has one of the schemes, and a path or host like the example."""
        scheme, colon, rest = url.partition(":")
        _, _, expected = self.example.partition(":")
        if not colon or scheme not in self.schemes:
            return False
        if expected.startswith("//"):
            return rest.startswith("//")
        return bool(rest) or not expected


STORE_KINDS = (
    StoreKind(("ladybug",), "kg.stores.ladybug", "ladybug:PATH", has_journal=True),
    StoreKind(
        ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"),
        "kg.stores.neo4j",
        "neo4j://HOST",
    ),
    StoreKind(("rdf",), "kg.stores.rdf", "rdf:PATH", has_journal=True),
    StoreKind(("rdf+http", "rdf+https"), "kg.stores.rdf_endpoint", "rdf+http://HOST/DATASET"),
    StoreKind(("memory",), "kg.stores.memory", "memory:"),
)


def open_store(url: str, *, create: bool = True, read_only: bool = False) -> GraphStore:
    """Open a store by its URL, like ``ladybug:PATH`` or ``neo4j://HOST``.

    Raises UsageError if no kind of store accepts the URL, StoreError if the store does not open.
    """
    module = importlib.import_module(_kind_of(url).module)
    store: GraphStore = module.open_url(url, create=create, read_only=read_only)
    return store


def journaled_files(url: str) -> StoreFiles | None:
    """Return the files of a store with a journal, without opening it; None for any other store.

    Raises UsageError if no kind of store accepts the URL.
    """
    kind = _kind_of(url)
    if not kind.has_journal:
        return None
    files: StoreFiles = importlib.import_module(kind.module).store_files(url)
    return files


def _kind_of(url: str) -> StoreKind:
    checked_url(url)
    for kind in STORE_KINDS:
        if kind.accepts(url):
            return kind
    examples = ", ".join(kind.example for kind in STORE_KINDS)
    raise UsageError(f"no store {url!r}: use one of {examples}")
