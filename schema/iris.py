"""IRIs of a catalogue's items, properties, statements and so on.

They are URNs whose last part is the percent-encoded name, so any text can be a name and can be read
back from the IRI.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

BASE = "urn:catalograph:"
SCHEMA = "https://schema.org/"
PROV = "http://www.w3.org/ns/prov#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
XSD = "http://www.w3.org/2001/XMLSchema#"
PREFIXES = {
    "schema": SCHEMA,
    "prov": PROV,
    "rdf": RDF,
    "rdfs": RDFS,
    "xsd": XSD,
    "cg": f"{BASE}term:",
    "item": f"{BASE}item:",
    "property": f"{BASE}property:",
    "rank": f"{BASE}rank:",
}


def iri(kind: str, name: str) -> str:
    """Return the IRI of the item, property, ... (``kind``) of that name."""
    # A colon in the name is encoded, too, so that the last colon of the IRI precedes the name.
    return f"{BASE}{kind}:{quote(name, safe='')}"


def name_of(iri: str) -> str:
    """Return the name in an IRI made by :func:`iri`."""
    return unquote(iri.rpartition(":")[2])


def name_of_kind(kind: str, iri: str) -> str | None:
    """Return the name in an IRI of this kind; None if it is an IRI of another kind, or foreign."""
    return name_of(iri) if iri.startswith(f"{BASE}{kind}:") else None
