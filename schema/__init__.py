"""The language of a catalogue: terms, ontology, mappings, ledger, and the error classes."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from schema.errors import CatalographError
    from schema.ontology import Ontology, PropertySpec
    from schema.terms import Item, Provenance, Rank, Statement

__all__ = [
    "CatalographError",
    "Item",
    "Ontology",
    "PropertySpec",
    "Provenance",
    "Rank",
    "Statement",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "errors": ["CatalographError"],
        "ontology": ["Ontology", "PropertySpec"],
        "terms": ["Item", "Provenance", "Rank", "Statement"],
    },
)
