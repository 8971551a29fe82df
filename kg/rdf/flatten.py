"""A product's node and what hangs on it as cells of text: ``offers.price``, a brand by its name, a PropertyValue under its own name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from pyoxigraph import BlankNode, Literal, NamedNode

from kg.rdf import vocabulary as words
from kg.rdf.document import BASE, Document
from kg.stores.rdf_terms import TYPE, XSD

DEEPEST = 4
"""How many nodes below the product are looked at."""
Cells = dict[str, list[str]]
_Found = defaultdict[str, defaultdict[str, dict[str, None]]]
_NAMING = ("name", "contentUrl", "url", "propertyID", "label")
_FLOATS = (f"{XSD}double", f"{XSD}float")


class Flattener:
    """Flattens the nodes of a document; texts in ``language`` win, names in ``ignored`` are left out with all below them."""

    def __init__(
        self, document: Document, language: str | None, ignored: Iterable[str] = ()
    ) -> None:
        self._document = document
        self._language = language or ""
        self._ignored = frozenset(ignored)

    def cells(self, node: Any) -> Cells:
        """What is said of a product; ``@id`` is its address."""
        found: _Found = defaultdict(lambda: defaultdict(dict))
        self._add(node, "", found, (node,))
        for predicate in words.OFFERS_OF:
            for offer in self._document.subjects(predicate, node):
                self._add(offer, "offers.", found, (node, offer))
        cells = dict(self._spoken(found))
        if isinstance(node, NamedNode):
            cells["@id"] = [node.value.removeprefix(BASE)]
        return cells

    def _add(self, node: Any, prefix: str, found: _Found, path: tuple[Any, ...]) -> None:
        for quad in self._document.about(node):
            name = words.name_of(quad.predicate)
            if quad.predicate == TYPE or prefix + name in self._ignored or quad.object in path:
                continue
            if isinstance(quad.object, Literal):
                found[prefix + name][quad.object.language or ""][_text(quad.object)] = None
            elif isinstance(quad.object, BlankNode | NamedNode):
                self._add_node(quad.object, prefix, name, found, path)

    def _add_node(
        self, node: Any, prefix: str, name: str, found: _Found, path: tuple[Any, ...]
    ) -> None:
        own: _Found = defaultdict(lambda: defaultdict(dict))
        if len(path) <= DEEPEST:
            self._add(node, "", own, (*path, node))
        said = dict(self._spoken(own))
        value = _quantity(said)
        if value is not None:
            key = (
                said.get("name") or said.get("propertyID") if name == "additionalProperty" else None
            )
            found[key[0] if key else prefix + name][""][value] = None
        elif not said or self._is_product(node):
            text = (
                words.plain(node.value.removeprefix(BASE))
                if isinstance(node, NamedNode)
                else _named(said)
            )
            if text:
                found[prefix + name][""][text] = None
        else:
            self._add_parts(own, said, prefix, name, found)

    def _add_parts(self, own: _Found, said: Cells, prefix: str, name: str, found: _Found) -> None:
        """A node's own cells below its name, which itself stands for how the node is called."""
        naming = (
            next((each for each in _NAMING if each in said), None)
            if name not in ("offers", "priceSpecification")
            else None
        )
        if naming:
            found[prefix + name][""] |= dict.fromkeys(said[naming])
        # A price's specification tells no more than that the price is one.
        below = (
            prefix
            if name == "priceSpecification" and prefix
            else "offers."
            if name == "priceSpecification"
            else f"{prefix}{name}."
        )
        for part, by_language in own.items():
            if part != naming and below + part not in self._ignored:
                for language, texts in by_language.items():
                    found[below + part][language] |= texts

    def _is_product(self, node: Any) -> bool:
        return any(self._document.says(node, TYPE, kind) for kind in words.PRODUCTS)

    def _spoken(self, found: _Found) -> Iterator[tuple[str, list[str]]]:
        """Texts in the preferred language or in none by their name; others as ``name@language``, but for the only ones there are."""
        for name, by_language in found.items():
            wanted = [
                tag for tag in by_language if not tag or tag.partition("-")[0] == self._language
            ] or [min(by_language)]
            yield (
                name,
                list(
                    dict.fromkeys(
                        text
                        for tag in sorted(wanted, reverse=True)
                        for text in sorted(by_language[tag])
                    )
                ),
            )
            yield from (
                (f"{name}@{tag}", sorted(texts))
                for tag, texts in by_language.items()
                if tag not in wanted
            )


def _text(term: Any) -> str:
    """A literal's text; a float without its exponent where that is whole."""
    text: str = term.value
    if term.datatype.value in _FLOATS:
        try:
            number = float(text)
        except ValueError:
            return text
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return words.plain(text)


def _quantity(said: Cells) -> str | None:
    """The text of a PropertyValue or QuantitativeValue, with its unit; None where the node is none."""
    low = said.get("minValue")
    high = said.get("maxValue")
    if "value" in said:
        number = " ".join(said["value"])
    elif low and high:
        number = f"{low[0]}-{high[0]}"
    elif low or high:
        number = f">= {low[0]}" if low else f"<= {high[0]}" if high else ""
    else:
        return None
    unit = said.get("unitText") or said.get("unitCode") or said.get("currency")
    return f"{number} {unit[0]}" if unit else number


def _named(said: Cells) -> str | None:
    return next(
        (
            said[name][0]
            for name in ("sku", "productID", "gtin13", "gtin", *_NAMING)
            if name in said
        ),
        None,
    )
