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
from collections.abc import Iterable
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from kg.stores.merge import Row
from schema import iris
from schema.terms import Rank, statement_id

BASE = iris.BASE
PREFIXES = iris.PREFIXES
SCHEMA = iris.SCHEMA
PROV = iris.PROV
RDF = iris.RDF
RDFS = iris.RDFS
XSD = iris.XSD
TYPE = NamedNode(f"{RDF}type")
PRODUCT = NamedNode(f"{SCHEMA}Product")
STATEMENT = NamedNode(f"{RDF}Statement")
IDENTIFIER, NAME, CATEGORY, IMAGE = (
    NamedNode(f"{SCHEMA}{name}") for name in ("identifier", "name", "category", "image")
)
IMAGES = NamedNode(f"{BASE}term:images")
SUBJECT, PREDICATE, OBJECT = (
    NamedNode(f"{RDF}{name}") for name in ("subject", "predicate", "object")
)
ITEMS, PROVENANCE, NAMES = (NamedNode(f"{BASE}{name}") for name in ("items", "provenance", "names"))
LABEL = NamedNode(f"{RDFS}label")
RANKS = {rank: NamedNode(f"{BASE}rank:{rank}") for rank in Rank}
GRAPHS = (ITEMS, *RANKS.values(), PROVENANCE, NAMES)
DATE_TIME = NamedNode(f"{XSD}dateTime")
# What is said of a statement as a thing with a name of its own, and what as a literal.
THINGS = {
    "rank": NamedNode(f"{BASE}term:rank"),
    "source": NamedNode(f"{PROV}wasDerivedFrom"),
    "batch": NamedNode(f"{PROV}wasGeneratedBy"),
    "model": NamedNode(f"{PROV}wasAttributedTo"),
    "reviewer": NamedNode(f"{BASE}term:reviewer"),
}
NAMED = ("property", *THINGS)
TIME = NamedNode(f"{PROV}generatedAtTime")
LITERALS = {name: NamedNode(f"{BASE}term:{name}") for name in ("row", "confidence", "evidence")}
_RANK_TEXTS = {str(rank): str(node) for rank, node in RANKS.items()}
_PROVENANCE_END = f" {PROVENANCE} .\n"
SAID = {node: name for name, node in {**THINGS, **LITERALS, "time": TIME}.items()}

SIZES = {
    "items": f"SELECT (COUNT(*) AS ?n) {{ GRAPH {ITEMS} {{ ?i a {PRODUCT} }} }}",
    "statements": f"SELECT (COUNT(*) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s a {STATEMENT} }} }}",
    "properties": f"SELECT (COUNT(DISTINCT ?p) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s {PREDICATE} ?p }} }}",
    "values": f"SELECT (COUNT(DISTINCT ?v) AS ?n) {{ GRAPH {PROVENANCE} {{ ?s {OBJECT} ?v }} }}",
}


def iri(kind: str, name: str) -> NamedNode:
    """The IRI of a named thing of a kind, like ``item`` or ``property``."""
    return NamedNode(iris.iri(kind, name))


@lru_cache(maxsize=4096)
def reference(kind: str, name: str) -> str:
    """The same IRI in brackets, as N-Quads have it."""
    return f"<{iris.iri(kind, name)}>"


def quoted(text: str) -> str:
    """A text in quotes, as N-Quads have it: JSON's escapes are among theirs."""
    return encode_basestring(text)


def name_of(node: Any) -> str:
    """The name in an IRI of :func:`iri`."""
    return iris.name_of(node.value)


def text_of(term: Any) -> str:
    """The text of a literal, or an IRI's own."""
    text: str = term.value
    return text


def item_text(row: Row) -> str:
    """An item as N-Quads."""
    node = reference("item", row["id"])
    images = row["images"] or []
    said = [f"{TYPE} {PRODUCT}", f"{IDENTIFIER} {quoted(row['id'])}"]
    said += [
        f"{predicate} {quoted(text)}"
        for predicate, text in ((NAME, row["title"]), (CATEGORY, row["category"]))
        if text is not None
    ]
    said += [f"{IMAGE} {quoted(image)}" for image in dict.fromkeys(images)]
    # RDF knows no order, and the first image is the one to look at.
    if len(images) > 1:
        said.append(f"{IMAGES} {quoted(json.dumps(images, ensure_ascii=False))}")
    return "".join(f"{node} {each} {ITEMS} .\n" for each in said)


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
    return Quad(
        iri("item", row["item"]),
        iri("property", row["property"]),
        Literal(row["value"]),
        RANKS[Rank(row["rank"])],
    )


def statement_of(fact: Any) -> NamedNode:
    """The IRI of the statement that a quad in a rank's graph makes."""
    return iri(
        "statement", statement_id(name_of(fact.subject), name_of(fact.predicate), fact.object.value)
    )


def fact_text(row: Row) -> str:
    """A statement with its provenance as N-Quads."""
    item = reference("item", row["item"])
    known = reference("property", row["property"])
    value = quoted(row["value"])
    fact = f"{item} {known} {value} {_RANK_TEXTS[row['rank']]} .\n"
    said = [
        *_origin_texts(*(row[name] for name in THINGS), row["time"]),
        f"{SUBJECT} {item}",
        f"{PREDICATE} {known}",
        f"{OBJECT} {value}",
    ]
    said += [
        f"{predicate} {Literal(row[name])}"
        for name, predicate in LITERALS.items()
        if row[name] is not None
    ]
    node = f"<{BASE}statement:{row['id']}> "
    return f"{fact}{node}{f'{_PROVENANCE_END}{node}'.join(said)}{_PROVENANCE_END}"


@lru_cache(maxsize=4096)
def _origin_texts(*origin: str | None) -> tuple[str, ...]:
    """What is said of all statements of one origin: its :data:`THINGS`, and last its time."""
    said = [f"{TYPE} {STATEMENT}"]
    said += [
        f"{predicate} {reference(kind, name)}"
        for (kind, predicate), name in zip(THINGS.items(), origin[:-1], strict=True)
        if name
    ]
    time = origin[-1]
    if time:
        # Oxigraph keeps a date and time by its value: only what has the usual spelling comes back in its own.
        usual = time.endswith("+00:00") and len(time) == len("2026-01-01T00:00:00+00:00")
        said.append(f"{TIME} {quoted(time)}{f'^^{DATE_TIME}' if usual else ''}")
    return tuple(said)


def item_quads(row: Row) -> list[Quad]:
    """An item's quads."""
    return list(parse(item_text(row), RdfFormat.N_QUADS))


def fact_quads(row: Row) -> list[Quad]:
    """A statement's quads."""
    return list(parse(fact_text(row), RdfFormat.N_QUADS))


def name_quads(names: Iterable[tuple[str, str | None]]) -> set[Quad]:
    """The names of things of some kinds, each once, as their labels; what is named stays so, since other statements may speak of it."""
    return {Quad(iri(kind, name), LABEL, Literal(name), NAMES) for kind, name in names if name}


def fact_row(quads: Iterable[Quad]) -> Row:
    """A statement's provenance quads as a row of STATEMENT_SCHEMA."""
    row: Row = {
        "model": None,
        "row": None,
        "confidence": None,
        "evidence": None,
        "reviewer": None,
        "source": "",
        "batch": "",
        "time": "",
    }
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
        elif name is not None:
            row[name] = said(name, term)
    return {**row, "id": statement_id(row["item"], row["property"], row["value"])}


def said(name: str, term: Any) -> str | int | float:
    """What a literal says of a statement; raises ValueError on a row or a confidence that is no number."""
    text = text_of(term)
    if name == "time":
        return (
            text.removesuffix("Z") + "+00:00"
            if term.datatype == DATE_TIME and text.endswith("Z")
            else text
        )
    return int(text) if name == "row" else float(text) if name == "confidence" else text
