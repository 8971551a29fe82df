"""The catalogue in RDF: the quads of an item and of a statement, and the way back to rows.

Items are products of schema.org, each rank has a graph of its own, and provenance is in PROV-O:

    GRAPH <items> {
      <item> a schema:Product ; schema:identifier "id" ; schema:name "title" ;
        schema:description "text" ; schema:category "a > b" ; schema:image "1" ;
        prov:wasDerivedFrom <source> ; … }
    GRAPH <rank:asserted> {
      <item> <property> "value" }
    GRAPH <provenance> {
      <statement> a rdf:Statement ; rdf:subject <item> ; rdf:predicate <property> ;
        rdf:object "value" ; cg:rank <rank:asserted> ; prov:wasDerivedFrom <source> ;
        prov:wasGeneratedBy <batch> ; … }
    GRAPH <names> {
      <property> rdfs:label "dishwasher safe" . <source> rdfs:label "feed of May.csv" }

The triple in the graph of a rank is called a *fact* here; a *statement* is the fact together with
its provenance. A value in another language than the catalogue's has a language tag. IRIs are URNs
that end in the percent-encoded name, so that any text can be a name and is found again in the IRI.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from kg.stores.tables import ITEM_SCHEMA, Row
from schema import iris
from schema.documents import parse_json
from schema.languages import canonical_tag
from schema.terms import Rank, statement_id

TYPE = NamedNode(f"{iris.RDF}type")
LABEL = NamedNode(f"{iris.RDFS}label")
DATE_TIME = NamedNode(f"{iris.XSD}dateTime")

# An item.
PRODUCT = NamedNode(f"{iris.SCHEMA}Product")
IDENTIFIER = NamedNode(f"{iris.SCHEMA}identifier")
NAME = NamedNode(f"{iris.SCHEMA}name")
DESCRIPTION = NamedNode(f"{iris.SCHEMA}description")
CATEGORY = NamedNode(f"{iris.SCHEMA}category")
IMAGE = NamedNode(f"{iris.SCHEMA}image")
IMAGES = NamedNode(f"{iris.BASE}term:images")
ITEM_TEXTS: dict[Any, str] = {NAME: "title", DESCRIPTION: "description", CATEGORY: "category"}
"""Columns of an item that are plain texts, by their predicates."""

# A statement.
STATEMENT = NamedNode(f"{iris.RDF}Statement")
SUBJECT = NamedNode(f"{iris.RDF}subject")
PREDICATE = NamedNode(f"{iris.RDF}predicate")
OBJECT = NamedNode(f"{iris.RDF}object")
TIME = NamedNode(f"{iris.PROV}generatedAtTime")
NODE_PREDICATES = {
    "rank": NamedNode(f"{iris.BASE}term:rank"),
    "source": NamedNode(f"{iris.PROV}wasDerivedFrom"),
    "batch": NamedNode(f"{iris.PROV}wasGeneratedBy"),
    "model": NamedNode(f"{iris.PROV}wasAttributedTo"),
    "reviewer": NamedNode(f"{iris.BASE}term:reviewer"),
}
"""Predicates of the columns whose values are names of things, and become IRIs."""
LITERAL_PREDICATES = {
    name: NamedNode(f"{iris.BASE}term:{name}")
    for name in ("row", "confidence", "evidence", "references")
}
"""Predicates of the columns whose values become literals."""
SOURCE = NODE_PREDICATES["source"]
REFERENCES = LITERAL_PREDICATES["references"]
COLUMN_OF_PREDICATE: dict[Any, str] = {
    predicate: column
    for column, predicate in {**NODE_PREDICATES, **LITERAL_PREDICATES, "time": TIME}.items()
}
"""Columns of a statement's provenance by their predicates."""
LABELLED_COLUMNS = ("property", *NODE_PREDICATES)
"""Columns whose IRIs get a label: the percent-encoded name is hard to read and to search."""
LISTED_COLUMNS = (*LABELLED_COLUMNS, "language")
"""Columns whose names the graph of labels lists."""
LISTED_ITEM_COLUMNS = ("source", "batch")
"""Columns of items whose names the graph of labels lists, too."""

# Graphs.
ITEM_GRAPH = NamedNode(f"{iris.BASE}items")
PROVENANCE_GRAPH = NamedNode(f"{iris.BASE}provenance")
LABEL_GRAPH = NamedNode(f"{iris.BASE}names")
RANK_GRAPHS = {rank: NamedNode(f"{iris.BASE}rank:{rank}") for rank in Rank}
# Says which languages values have, without which a value cannot be looked up by its text.
LANGUAGE = NamedNode(f"{iris.BASE}term:language")
GRAPHS = (ITEM_GRAPH, *RANK_GRAPHS.values(), PROVENANCE_GRAPH, LABEL_GRAPH)

COUNT_QUERIES = {
    "items": f"SELECT (COUNT(*) AS ?n) {{ GRAPH {ITEM_GRAPH} {{ ?i a {PRODUCT} }} }}",
    "statements": (
        f"SELECT (COUNT(*) AS ?n) {{ GRAPH {PROVENANCE_GRAPH} {{ ?s a {STATEMENT} }} }}"
    ),
    "properties": (
        f"SELECT (COUNT(DISTINCT ?p) AS ?n) {{ GRAPH {PROVENANCE_GRAPH} {{ ?s {PREDICATE} ?p }} }}"
    ),
    "values": (
        f"SELECT (COUNT(DISTINCT STR(?v)) AS ?n) "
        f"{{ GRAPH {PROVENANCE_GRAPH} {{ ?s {OBJECT} ?v }} }}"
    ),
}
"""SPARQL queries for the fields of ``Counts``."""

_RANK_IRIS = {str(rank): str(graph) for rank, graph in RANK_GRAPHS.items()}
_END_OF_PROVENANCE = f" {PROVENANCE_GRAPH} .\n"


def named_node(kind: str, name: str) -> NamedNode:
    """Return the IRI of something named, of a kind like ``item`` or ``property``."""
    return NamedNode(iris.iri(kind, name))


def node_name(node: Any) -> str:
    """Return the name in an IRI of :func:`named_node`."""
    return iris.name_of(node.value)


def term_text(term: Any) -> str:
    """Return the text of a literal, or of an IRI."""
    text: str = term.value
    return text


@lru_cache(maxsize=4096)
def nquads_iri(kind: str, name: str) -> str:
    """Return the IRI of :func:`named_node` as N-Quads write it, in angle brackets."""
    return f"<{iris.iri(kind, name)}>"


def nquads_literal(text: str) -> str:
    """Return a text as N-Quads write it, in quotes."""
    # The escapes of JSON are a subset of those of N-Quads, and json's encoder is fast.
    return encode_basestring(text)


def item_nquads(row: Row) -> str:
    """Return an item as N-Quads, the format of bulk loads; quads are parsed from it."""
    node = nquads_iri("item", row["id"])
    images = row["images"] or []
    pairs = [f"{TYPE} {PRODUCT}", f"{IDENTIFIER} {nquads_literal(row['id'])}"]
    for predicate, column in ITEM_TEXTS.items():
        if row[column] is not None:
            pairs.append(f"{predicate} {nquads_literal(row[column])}")
    pairs += [f"{IMAGE} {nquads_literal(image)}" for image in dict.fromkeys(images)]
    # RDF has sets but no order, and the first image is the one to show.
    if len(images) > 1:
        ordered = json.dumps(images, ensure_ascii=False)
        pairs.append(f"{IMAGES} {nquads_literal(ordered)}")
    names = {"source": row["source"], "batch": row["batch"]}
    pairs += _origin_pairs(*(names.get(column) for column in NODE_PREDICATES), row["time"])
    pairs += _literal_pairs(row)
    return "".join(f"{node} {pair} {ITEM_GRAPH} .\n" for pair in pairs)


def item_quads(row: Row) -> list[Quad]:
    """Return an item as quads."""
    return list(parse(item_nquads(row), RdfFormat.N_QUADS))


def item_row(quads: Iterable[Quad]) -> Row | None:
    """Return an item's quads as a row of ITEM_SCHEMA, or None if they do not make an item."""
    row: Row = {**dict.fromkeys(ITEM_SCHEMA.names), "images": []}
    for quad in quads:
        text = term_text(quad.object)
        if quad.predicate == IDENTIFIER:
            row["id"] = text
        elif quad.predicate in ITEM_TEXTS:
            row[ITEM_TEXTS[quad.predicate]] = text
        elif quad.predicate == IMAGES:
            # Only items with several images have this list, and it has all of them in order.
            row["images"] = _image_list(text)
        elif quad.predicate == IMAGE and not row["images"]:
            row["images"] = [text]
        elif quad.predicate in COLUMN_OF_PREDICATE:
            column = COLUMN_OF_PREDICATE[quad.predicate]
            row[column] = _column_value(column, quad.object)
    return row if row["id"] is not None else None


def _image_list(text: str) -> list[str]:
    """Return the images in a JSON list; raises ValueError if it is none of texts."""
    try:
        images = parse_json(text)
    except ValueError:
        images = None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ValueError(f"its images {text[:40]!r} are no list of texts in JSON")
    return images


def fact_quad(row: Row) -> Quad:
    """Return the fact of a statement, in the graph of its rank."""
    return Quad(
        named_node("item", row["item"]),
        named_node("property", row["property"]),
        Literal(row["value"], language=row["language"]),
        RANK_GRAPHS[Rank(row["rank"])],
    )


def statement_node(fact: Any) -> NamedNode:
    """Return the IRI of the statement whose fact is this quad."""
    value = fact.object
    id = statement_id(
        node_name(fact.subject), node_name(fact.predicate), value.value, language_of(value)
    )
    return named_node("statement", id)


def language_of(literal: Any) -> str | None:
    """Return the language of a literal; Oxigraph keeps the tag in lower case."""
    return canonical_tag(literal.language) if literal.language else None


def statement_nquads(row: Row) -> str:
    """Return a statement, its fact first, as N-Quads."""
    item = nquads_iri("item", row["item"])
    property = nquads_iri("property", row["property"])
    value = nquads_literal(row["value"])
    if row["language"] is not None:
        value += f"@{row['language']}"
    fact = f"{item} {property} {value} {_RANK_IRIS[row['rank']]} .\n"

    pairs = [
        f"{TYPE} {STATEMENT}",
        *_origin_pairs(*(row[column] for column in NODE_PREDICATES), row["time"]),
        f"{SUBJECT} {item}",
        f"{PREDICATE} {property}",
        f"{OBJECT} {value}",
        *_literal_pairs(row),
    ]
    node = f"<{iris.BASE}statement:{row['id']}> "
    provenance = f"{_END_OF_PROVENANCE}{node}".join(pairs)
    return f"{fact}{node}{provenance}{_END_OF_PROVENANCE}"


@lru_cache(maxsize=4096)
def _origin_pairs(*origin: str | None) -> tuple[str, ...]:
    """Return predicates and objects that all rows of one origin share, as N-Quads.

    The arguments are the columns of :data:`NODE_PREDICATES` and the time. A run has few origins
    and very many statements, hence the cache.
    """
    *names, time = origin
    pairs = []
    for (column, predicate), name in zip(NODE_PREDICATES.items(), names, strict=True):
        if name:
            pairs.append(f"{predicate} {nquads_iri(column, name)}")
    if time:
        # Oxigraph stores an xsd:dateTime by its value and spells it in its own way, so only a time
        # in the usual spelling would come back unchanged. All others are plain text.
        is_usual = time.endswith("+00:00") and len(time) == len("2026-01-01T00:00:00+00:00")
        datatype = f"^^{DATE_TIME}" if is_usual else ""
        pairs.append(f"{TIME} {nquads_literal(time)}{datatype}")
    return tuple(pairs)


def _literal_pairs(row: Row) -> Iterator[str]:
    """Yield predicates and objects of the columns whose values are literals, as N-Quads."""
    for column, predicate in LITERAL_PREDICATES.items():
        if row.get(column) is not None:
            yield f"{predicate} {Literal(row[column])}"


def statement_quads(row: Row) -> list[Quad]:
    """Return a statement as quads, its fact first."""
    return list(parse(statement_nquads(row), RdfFormat.N_QUADS))


def statement_row(quads: Iterable[Quad]) -> Row:
    """Return a statement's quads in the provenance graph as a row of STATEMENT_SCHEMA."""
    row: Row = {
        "language": None,
        "model": None,
        "row": None,
        "confidence": None,
        "evidence": None,
        "references": None,
        "reviewer": None,
        "source": "",
        "batch": "",
        "time": "",
    }
    for quad in quads:
        term: Any = quad.object
        column = COLUMN_OF_PREDICATE.get(quad.predicate)
        if quad.predicate == SUBJECT:
            row["item"] = node_name(term)
        elif quad.predicate == PREDICATE:
            row["property"] = node_name(term)
        elif quad.predicate == OBJECT:
            row["value"] = term.value
            row["language"] = language_of(term)
        elif column is not None:
            row[column] = _column_value(column, term)
    id = statement_id(row["item"], row["property"], row["value"], row["language"])
    return {**row, "id": id}


def _column_value(column: str, term: Any) -> str | int | float:
    """Return the value of a column of a row's provenance from the object of its predicate."""
    return node_name(term) if column in NODE_PREDICATES else literal_value(column, term)


def literal_value(column: str, term: Any) -> str | int | float:
    """Return the value of a column of a statement's provenance from its literal.

    Raises ValueError if a row or a confidence is not a number.
    """
    text = term_text(term)
    if column == "row":
        return int(text)
    if column == "confidence":
        return float(text)
    if column == "time" and term.datatype == DATE_TIME and text.endswith("Z"):
        return text.removesuffix("Z") + "+00:00"
    return text


def label_quads(names: Iterable[tuple[str, str | None]]) -> set[Quad]:
    """Return the labels of named things, given as kinds and names; empty names are left out.

    A language has no IRI, and is only listed. Labels are never deleted, because other statements
    may use the same name.
    """
    return {
        Quad(LABEL_GRAPH, LANGUAGE, Literal(name), LABEL_GRAPH)
        if kind == "language"
        else Quad(named_node(kind, name), LABEL, Literal(name), LABEL_GRAPH)
        for kind, name in names
        if name
    }


def value_terms(text: str, languages: Iterable[str]) -> list[Literal]:
    """Return the literals that a value with this text may be, in any language that is used."""
    return [Literal(text), *(Literal(text, language=language) for language in languages)]
