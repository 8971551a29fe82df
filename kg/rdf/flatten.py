"""Flatten the node of a product, and the nodes below it, into cells of text.

Nested nodes get dotted names (``offers.price``), a brand becomes its name, and a PropertyValue
becomes a cell under its own name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pyoxigraph import BlankNode, Literal, NamedNode

from kg.ingest.scalars import number_text
from kg.rdf import vocabulary
from kg.rdf.document import DOCUMENT_BASE, RdfDocument
from kg.stores.rdf_terms import TYPE
from schema.iris import XSD
from schema.mapping.unit_codes import unit_text

MAX_DEPTH = 4
"""How many levels of nodes below the product are followed."""

CellTexts = dict[str, list[str]]
"""The values of each cell, by its name."""

_Texts = defaultdict[str, defaultdict[str, dict[str, None]]]
"""The texts of each cell by name and language; the innermost dictionary is an ordered set."""

_LABEL_NAMES = ("name", "contentUrl", "url", "propertyID", "label")
_MEDIA_TERMS = frozenset({"image", "logo", "photo", "associatedMedia", "primaryImageOfPage"})
_MEDIA_LABELS = ("contentUrl", "url", "thumbnailUrl")
"""Where the file of an ImageObject is, whatever it is called."""
_ID_NAMES = ("sku", "productID", "gtin13", "gtin")
_FLOAT_TYPES = (f"{XSD}double", f"{XSD}float")


class Flattener:
    """Flattens nodes of a document.

    Texts in ``language`` take precedence. Cells named in ``ignored`` are left out, with all cells
    below them.
    """

    def __init__(
        self, document: RdfDocument, language: str | None, ignored: Iterable[str] = ()
    ) -> None:
        self._document = document
        self._language = language or ""
        self._ignored = frozenset(ignored)

    def cells(self, node: Any) -> CellTexts:
        """Return the cells of a product; ``@id`` is its IRI."""
        texts = _empty_texts()
        self._add_node(node, "", texts, (node,))
        for predicate in vocabulary.OFFERED_PRODUCT:
            for offer in self._document.subjects(predicate, node):
                self._add_node(offer, "offers.", texts, (node, offer))
        cells = self._choose_languages(texts)
        if isinstance(node, NamedNode):
            cells["@id"] = [node.value.removeprefix(DOCUMENT_BASE)]
        return cells

    def _add_node(
        self,
        node: Any,
        prefix: str,
        texts: _Texts,
        path: tuple[Any, ...],
        is_media: bool = False,
    ) -> None:
        """Add the cells of a node, to which ``path`` leads: nodes on it are not visited again."""
        for quad in self._document.quads_about(node):
            term = vocabulary.term_name(quad.predicate)
            name = prefix + term
            if quad.predicate == TYPE or quad.object in path:
                continue
            if name in self._ignored and not (is_media and term in _MEDIA_LABELS):
                continue
            if isinstance(quad.object, Literal):
                texts[name][quad.object.language or ""][_literal_text(quad.object)] = None
            elif isinstance(quad.object, BlankNode | NamedNode):
                self._add_nested_node(quad.object, prefix, term, texts, path)

    def _add_nested_node(
        self, node: Any, prefix: str, term: str, texts: _Texts, path: tuple[Any, ...]
    ) -> None:
        """Add a node as a quantity, as a mere name, or with cells of its own."""
        nested = _empty_texts()
        if len(path) <= MAX_DEPTH:
            self._add_node(node, "", nested, (*path, node), term in _MEDIA_TERMS)
        cells = self._choose_languages(nested)

        name = prefix + term
        quantity = _quantity_text(cells)
        if quantity is not None:
            property_name = cells.get("name") or cells.get("propertyID")
            if property_name and term == "additionalProperty":
                name = property_name[0]
            texts[name][""][quantity] = None
        elif not cells or self._is_product(node):
            # A product is an item of its own, so only its name is a value here.
            node_name = _node_name(node, cells)
            if node_name:
                texts[name][""][node_name] = None
        else:
            self._add_nested_cells(nested, cells, prefix, term, texts)

    def _add_nested_cells(
        self, nested: _Texts, cells: CellTexts, prefix: str, term: str, texts: _Texts
    ) -> None:
        """Add a node's label as its own cell, and its other cells below it."""
        label_name = None
        if term not in ("offers", "priceSpecification"):
            labels = (*_MEDIA_LABELS, "name") if term in _MEDIA_TERMS else _LABEL_NAMES
            label_name = next((name for name in labels if name in cells), None)
        if label_name:
            texts[prefix + term][""] |= dict.fromkeys(cells[label_name])

        nested_prefix = f"{prefix}{term}."
        if term == "priceSpecification":
            # It only holds the price: its cells become those of the offer.
            nested_prefix = prefix or "offers."
        for name, by_language in nested.items():
            if term in _MEDIA_TERMS and name in _MEDIA_LABELS:
                # Other sizes of the same picture, and its page.
                continue
            if name == label_name or nested_prefix + name in self._ignored:
                continue
            for language, language_texts in by_language.items():
                texts[nested_prefix + name][language] |= language_texts

    def _is_product(self, node: Any) -> bool:
        return any(self._document.contains(node, TYPE, type) for type in vocabulary.PRODUCT_TYPES)

    def _choose_languages(self, texts: _Texts) -> CellTexts:
        """Return texts in the preferred language, or in none, under their names.

        Those in other languages are under ``name@language``. If there are only texts in other
        languages, those of one language count as preferred.
        """
        cells: CellTexts = {}
        for name, by_language in texts.items():
            preferred = [tag for tag in by_language if self._is_preferred(tag)]
            if not preferred:
                preferred = [min(by_language)]
            # Texts without a language come last.
            in_order = [
                text for tag in sorted(preferred, reverse=True) for text in sorted(by_language[tag])
            ]
            # RDF has no order: sorting makes the same document give the same rows each time.
            cells[name] = list(dict.fromkeys(in_order))
            for tag, others in by_language.items():
                if tag not in preferred:
                    cells[f"{name}@{tag}"] = sorted(others)
        return cells

    def _is_preferred(self, tag: str) -> bool:
        return not tag or tag.partition("-")[0] == self._language


def _empty_texts() -> _Texts:
    return defaultdict(lambda: defaultdict(dict))


def _literal_text(literal: Any) -> str:
    """Return a literal's text; a whole number without the exponent that RDF writes."""
    text: str = literal.value
    if literal.datatype.value in _FLOAT_TYPES:
        try:
            return number_text(float(text))
        except ValueError:
            return text
    return vocabulary.without_namespace(text)


def _quantity_text(cells: CellTexts) -> str | None:
    """Return a PropertyValue or QuantitativeValue with its unit, or None for any other node."""
    low = cells.get("minValue")
    high = cells.get("maxValue")
    if "value" in cells:
        quantity = " ".join(cells["value"])
    elif low and high:
        quantity = f"{low[0]}-{high[0]}"
    elif low:
        quantity = f">= {low[0]}"
    elif high:
        quantity = f"<= {high[0]}"
    else:
        return None
    unit = cells.get("unitText") or cells.get("unitCode") or cells.get("currency")
    symbol = unit_text(unit[0]) if unit else ""
    return f"{quantity} {symbol}" if symbol else quantity


def _node_name(node: Any, cells: CellTexts) -> str | None:
    """Return the IRI of a node as a name, or else an id or label among its cells."""
    if isinstance(node, NamedNode):
        return vocabulary.without_namespace(node.value.removeprefix(DOCUMENT_BASE))
    return next((cells[name][0] for name in (*_ID_NAMES, *_LABEL_NAMES) if name in cells), None)
