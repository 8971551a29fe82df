"""IRIs of the catalogue's things: URNs whose last part is the percent-encoded name, so that any text is a name and comes back."""

from __future__ import annotations

from urllib.parse import quote, unquote

BASE = "urn:catalograph:"
SCHEMA = "https://schema.org/"
PROV = "http://www.w3.org/ns/prov#"
RDF, RDFS, XSD = (
    f"http://www.w3.org/{name}#"
    for name in ("1999/02/22-rdf-syntax-ns", "2000/01/rdf-schema", "2001/XMLSchema")
)
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
    """The IRI of a named thing of a kind, like ``item`` or ``property``."""
    return f"{BASE}{kind}:{quote(name, safe='')}"


def name_of(iri: str) -> str:
    """The name in an IRI of :func:`iri`."""
    return unquote(iri.rpartition(":")[2])


def name_of_kind(kind: str, iri: str) -> str | None:
    """The name in an IRI of a kind; None where it is another kind's, or none of the catalogue's."""
    return name_of(iri) if iri.startswith(f"{BASE}{kind}:") else None
