"""Open a graph store by its URL."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from kg.stores.protocol import GraphStore
from kg.stores.url import checked_url
from schema.errors import UsageError


@dataclass(frozen=True)
class StoreKind:
    """A kind of store: the URL schemes it answers to, its module, and an example URL for messages.

    The module has ``open_url(url, *, create, read_only)``, and is imported only when a store of
    its kind is opened: each brings a client library of its own.
    """

    schemes: tuple[str, ...]
    module: str
    example: str


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

    Raises UsageError if the URL is of no known kind, StoreError if the store cannot be opened.
    """
    scheme, colon, rest = checked_url(url).partition(":")
    for kind in STORE_KINDS:
        # What follows the scheme in the example says whether a path or a host must follow here.
        _, _, expected = kind.example.partition(":")
        fits = rest.startswith("//") if expected.startswith("//") else bool(rest) or not expected
        if colon and scheme in kind.schemes and fits:
            store: GraphStore = importlib.import_module(kind.module).open_url(
                url,
                create=create,
                read_only=read_only,
            )
            return store
    examples = ", ".join(kind.example for kind in STORE_KINDS)
    raise UsageError(f"no store {url!r}: use one of {examples}")
