"""The catalogue in RDF: which quads an item and a statement are, and back (DESIGN: schema.org Product, a graph a rank, PROV-O).

    GRAPH <items> { <item> a schema:Product ; schema:identifier "id" ; schema:name "title" ; schema:category "a > b" ; schema:image "1" }
    GRAPH <rank:asserted> { <item> <property> "value" }
    GRAPH <provenance> { <statement> a rdf:Statement ; rdf:subject <item> ; rdf:predicate <property> ; rdf:object "value" ;
                         cg:rank <rank:asserted> ; prov:wasDerivedFrom <source> ; prov:wasGeneratedBy <batch> ; … }
    GRAPH <names> { <property> rdfs:label "dishwasher safe" . <source> rdfs:label "feed of May.csv" }

IRIs are URNs whose last part is the percent-encoded name, so that any text is a name and comes back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from pyoxigraph import Literal, NamedNode, Quad

from kg.merge import Row
from schema.terms import Rank, statement_id

BASE = "urn:catalograph:"
SCHEMA, PROV = "https://schema.org/", "http://www.w3.org/ns/prov#"
RDF, RDFS, XSD = (f"http://www.w3.org/{name}#" for name in ("1999/02/22-rdf-syntax-ns", "2000/01/rdf-schema", "2001/XMLSchema"))
PREFIXES = {"schema": SCHEMA, "prov": PROV, "rdf": RDF, "rdfs": RDFS, "xsd": XSD, "cg": f"{BASE}term:", "item": f"{BASE}item:",
            "property": f"{BASE}property:", "rank": f"{BASE}rank:"}  # fmt: skip
TYPE, PRODUCT, STATEMENT = NamedNode(f"{RDF}type"), NamedNode(f"{SCHEMA}Product"), NamedNode(f"{RDF}Statement")
IDENTIFIER, NAME, CATEGORY, IMAGE = (NamedNode(f"{SCHEMA}{name}") for name in ("identifier", "name", "category", "image"))
IMAGES = NamedNode(f"{BASE}term:images")
SUBJECT, PREDICATE, OBJECT = (NamedNode(f"{RDF}{name}") for name in ("subject", "predicate", "object"))
ITEMS, PROVENANCE, NAMES = (NamedNode(f"{BASE}{name}") for name in ("items", "provenance", "names"))
LABEL = NamedNode(f"{RDFS}label")
RANKS = {rank: NamedNode(f"{BASE}rank:{rank}") for rank in Rank}
GRAPHS = (ITEMS, *RANKS.values(), PROVENANCE, NAMES)
DATE_TIME = NamedNode(f"{XSD}dateTime")
# What is said of a statement as a thing with a name of its own, and what as a literal.
THINGS = {"rank": NamedNode(f"{BASE}term:rank"), "source": NamedNode(f"{PROV}wasDerivedFrom"), "batch": NamedNode(f"{PROV}wasGeneratedBy"),
          "model": NamedNode(f"{PROV}wasAttributedTo"), "reviewer": NamedNode(f"{BASE}term:reviewer")}  # fmt: skip
TIME = NamedNode(f"{PROV}generatedAtTime")
LITERALS = {name: NamedNode(f"{BASE}term:{name}") for name in ("row", "confidence", "evidence")}
SAID = {node: name for name, node in {**THINGS, **LITERALS, "time": TIME}.items()}

SIZES = {
    "items": f"SELECT (COUNT(*) AS ?n) {{ GRAPH {ITEMS} {{ ?i a {PRODUCT} }} }}",
    "statements": f"SELECT (COUNT(*) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s a {STATEMENT} }} }}",
    "properties": f"SELECT (COUNT(DISTINCT ?p) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s {PREDICATE} ?p }} }}",
    "values": f"SELECT (COUNT(DISTINCT ?v) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s {OBJECT} ?v }} }}",
}


def iri(kind: str, name: str) -> NamedNode:
    """The IRI of a named thing of a kind, like ``item`` or ``property``."""
    return NamedNode(f"{BASE}{kind}:{quote(name, safe='')}")


def name_of(node: Any) -> str:
    """The name in an IRI of :func:`iri`."""
    return unquote(node.value.rpartition(":")[2])


def text_of(term: Any) -> str:
    """The text of a literal, or an IRI's own."""
    text: str = term.value
    return text


def literal(text: str) -> Literal:
    """A text."""
    return Literal(text)


def item_quads(row: Row) -> Iterator[Quad]:
    """An item's quads."""
    node, images = iri("item", row["id"]), row["images"] or []
    yield Quad(node, TYPE, PRODUCT, ITEMS)
    yield Quad(node, IDENTIFIER, Literal(row["id"]), ITEMS)
    for predicate, text in ((NAME, row["title"]), (CATEGORY, row["category"])):
        if text is not None:
            yield Quad(node, predicate, literal(text), ITEMS)
    for image in dict.fromkeys(images):
        yield Quad(node, IMAGE, Literal(image), ITEMS)
    # RDF knows no order, and the first picture is the one to look at.
    if len(images) > 1:
        yield Quad(node, IMAGES, Literal(json.dumps(images, ensure_ascii=False)), ITEMS)


def item_row(quads: Iterable[Quad]) -> Row | None:
    """An item's quads as a row of ITEM_SCHEMA; None where they are no item's."""
    row: Row = {"id": None, "title": None, "category": None, "images": []}
    for quad in quads:
        term: Any = quad.object
        text = term.value
        if quad.predicate == IDENTIFIER:
            row["id"] = text
        elif quad.predicate == NAME:
            row["title"] = text
        elif quad.predicate == CATEGORY:
            row["category"] = text
        elif quad.predicate == IMAGES:
            row["images"] = json.loads(text)
        elif quad.predicate == IMAGE and len(row["images"]) < 1:
            row["images"] = [text]
    return row if row["id"] is not None else None


def fact_quad(row: Row) -> Quad:
    """A statement itself, in the graph of its rank."""
    return Quad(iri("item", row["item"]), iri("property", row["property"]), Literal(row["value"]), RANKS[Rank(row["rank"])])


def statement_of(fact: Any) -> NamedNode:
    """The IRI of the statement that a quad in a rank's graph makes."""
    return iri("statement", statement_id(name_of(fact.subject), name_of(fact.predicate), fact.object.value))


def fact_quads(row: Row) -> Iterator[Quad]:
    """A statement with its provenance."""
    fact, node = fact_quad(row), iri("statement", row["id"])
    yield fact
    yield Quad(node, TYPE, STATEMENT, PROVENANCE)
    for predicate, term in ((SUBJECT, fact.subject), (PREDICATE, fact.predicate), (OBJECT, fact.object)):
        yield Quad(node, predicate, term, PROVENANCE)
    for name, predicate in THINGS.items():
        if row[name]:
            yield Quad(node, predicate, iri(name, row[name]), PROVENANCE)
    for name, predicate in LITERALS.items():
        if row[name] is not None:
            yield Quad(node, predicate, Literal(row[name]), PROVENANCE)
    if row["time"]:
        # Oxigraph keeps a date and time by its value: only what has the usual spelling comes back in its own.
        usual = row["time"].endswith("+00:00") and len(row["time"]) == len("2026-01-01T00:00:00+00:00")
        yield Quad(node, TIME, Literal(row["time"], datatype=DATE_TIME) if usual else Literal(row["time"]), PROVENANCE)


def name_quads(rows: Iterable[Row]) -> set[Quad]:
    """The names of what statements speak of besides items, each once; what is named stays so, since other statements may speak of it."""
    kinds = ("property", *THINGS)
    named = {(kind, row[kind]) for row in rows for kind in kinds if row[kind]}
    return {Quad(iri(kind, name), LABEL, Literal(name), NAMES) for kind, name in named}


def fact_row(quads: Iterable[Quad]) -> Row:
    """A statement's provenance quads as a row of STATEMENT_SCHEMA."""
    row: Row = {"model": None, "row": None, "confidence": None, "evidence": None, "reviewer": None, "source": "", "batch": "", "time": ""}
    for quad in quads:
        term: Any = quad.object
        name = SAID.get(quad.predicate)
        if quad.predicate == SUBJECT:
            row["item"] = name_of(term)
        elif quad.predicate == PREDICATE:
            row["property"] = name_of(term)
        elif quad.predicate == OBJECT:
            row["value"] = term.value
        elif name in THINGS:
            row[name] = name_of(term)
        elif name == "time":
            row["time"] = term.value.removesuffix("Z") + "+00:00" if term.datatype == DATE_TIME and term.value.endswith("Z") else term.value
        elif name is not None:
            row[name] = {"row": int, "confidence": float, "evidence": str}[name](term.value)
    return {**row, "id": statement_id(row["item"], row["property"], row["value"])}
