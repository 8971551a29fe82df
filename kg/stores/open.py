"""Open a graph store by its URL."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from kg.stores.protocol import GraphStore
from kg.stores.url import checked_url
from schema.errors import UsageError


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: its URL schemes, its module, and an example URL for messages.

    The module has a function ``open_url(url, *, create, read_only)``. It is imported only when a
    store of its kind is opened, because each brings a client library of its own.
    """

    schemes: tuple[str, ...]
    module: str
    example: str

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
    StoreKind(("ladybug",), "kg.stores.ladybug", "ladybug:PATH"),
    StoreKind(
        ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"),
        "kg.stores.neo4j",
        "neo4j://HOST",
    ),
    StoreKind(("rdf",), "kg.stores.rdf", "rdf:PATH"),
    StoreKind(("rdf+http", "rdf+https"), "kg.stores.rdf_endpoint", "rdf+http://HOST/DATASET"),
    StoreKind(("memory",), "kg.stores.memory", "memory:"),
)


def open_store(url: str, *, create: bool = True, read_only: bool = False) -> GraphStore:
    """Open a store by its URL, like ``ladybug:PATH`` or ``neo4j://HOST``.

    Raises UsageError if no kind of store accepts the URL, StoreError if the store does not open.
    """
    checked_url(url)
    for kind in STORE_KINDS:
        if kind.accepts(url):
            module = importlib.import_module(kind.module)
            store: GraphStore = module.open_url(url, create=create, read_only=read_only)
            return store
    examples = ", ".join(kind.example for kind in STORE_KINDS)
    raise UsageError(f"no store {url!r}: use one of {examples}")
