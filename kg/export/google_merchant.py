"""Export as a feed of the Google Merchant Center: tab-separated text, or RSS 2.0 for ``.xml``.

Properties that are attributes of such feeds, by any usual name, become these; all others become
product details. What the Merchant Center requires and an item lacks is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape

from kg.export.selection import ItemValue, Selection
from kg.stores.tables import Row
from schema.currencies import find_currency, parse_price
from schema.mapping import VARIANT_OF
from schema.mapping.names import normalized

NAMESPACE = "http://base.google.com/ns/1.0"
REQUIRED = (
    "id",
    "title",
    "description",
    "link",
    "image_link",
    "availability",
    "price",
    "brand",
    "condition",
)
GTIN_OR_MPN = "gtin or mpn"
"""What products need one of."""
DETAIL = "product_detail"
MAX_IMAGES = 10
"""The further images of a product."""

# The usual names of each attribute, in the order in which they are looked for.
_NAMES = {
    "link": "link|url|product url|product link|deeplink|deep link|product page",
    "availability": "availability|stock status|available|in stock|verfügbarkeit|disponibilité",
    "price": "price|regular price|variant price|list price|preis|prix|precio|prezzo|prijs|cena",
    "sale_price": "sale price|special price|offer price|discount price|angebotspreis",
    "brand": "brand|vendor|manufacturer|marke|hersteller|marque|marca|merk|značka",
    "gtin": "gtin|ean|upc|barcode|gtin13|ean13|gtin14|gtin12|isbn|jan",
    "mpn": "mpn|manufacturer part number|part number|herstellernummer",
    "condition": "condition|item condition|zustand|état|estado",
    "google_product_category": "google product category",
    "color": "color|colour|farbe|couleur|colore|kleur",
    "size": "size|größe|groesse|taille|talla|taglia|maat",
    "material": "material|fabric|matière|matériau|materiale|materiaal",
    "pattern": "pattern|muster|motif",
    "gender": "gender|geschlecht",
    "age_group": "age group",
    "multipack": "multipack",
    "shipping_weight": "shipping weight|versandgewicht",
}
_CURRENCY_NAMES = ("currency", "price currency", "währung", "devise", "currencycode")
_ATTRIBUTES = {
    normalized(name): (attribute, place)
    for attribute, names in _NAMES.items()
    for place, name in enumerate((attribute, *names.split("|")))
}
_SEPARATORS = {"color": "/", "material": "/"}
_AVAILABILITY = {
    "in_stock": "instock|yes|true|1|available|auflager|lieferbar|https://schema.org/instock",
    "out_of_stock": "outofstock|no|false|0|soldout|unavailable|nichtlieferbar|ausverkauft"
    "|https://schema.org/outofstock",
    "preorder": "preorder|https://schema.org/preorder",
    "backorder": "backorder|https://schema.org/backorder",
}
_STATES = {word: state for state, words in _AVAILABILITY.items() for word in words.split("|")}
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_NOT_TEXT = re.compile(r"[\x00-\x1f\x7f]+")
_NOT_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
# What stands between section, name and value of a detail, and between details.
_DETAIL_SIGNS = (":", ",")
_LANGUAGES = "values are in other languages than the feed's, and left out"
_DETAILS = (
    "values hold a comma, or the name of their property a comma or a colon: they are left out of "
    "the text, as they would not be of an .xml feed"
)


@dataclass
class _Product:
    """What a feed says of an item: its attributes, further images, and other properties."""

    attributes: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    details: list[tuple[str, str]] = field(default_factory=list)


def write_google_merchant(selection: Selection, path: Path) -> None:
    """Write the feed: RSS 2.0 if the path ends in ``.xml``, and tab-separated text otherwise."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        if path.suffix.lower() == ".xml":
            _write_rss(stream, _products(selection))
        else:
            _write_text(stream, _products(selection), selection)


def _products(selection: Selection) -> Iterator[_Product]:
    incomplete = 0
    for item, values in selection.items_with_values():
        product = _product(item, values, selection)
        lacking = [name for name in REQUIRED if name not in product.attributes]
        if not {"gtin", "mpn"} & set(product.attributes):
            lacking.append(GTIN_OR_MPN)
        selection.lacking.update(lacking)
        incomplete += bool(lacking)
        yield product
    if incomplete:
        names = ", ".join(f"{name} {n:,}" for name, n in selection.lacking.most_common())
        note = f"items lack what the Merchant Center requires, and are written without: {names}"
        selection.notes[note] += incomplete


def _product(item: Row, shown: Sequence[ItemValue], selection: Selection) -> _Product:
    product = _Product()
    fields = {
        "id": item["id"],
        "title": item["title"],
        "description": item["description"],
        "product_type": item["category"],
    }
    product.attributes = {name: text for name, text in fields.items() if text}
    addresses = [image for image in item["images"] or () if _ADDRESS.fullmatch(image)]
    if addresses:
        product.attributes["image_link"] = addresses[0]
        product.images = addresses[1 : 1 + MAX_IMAGES]
    values: dict[str, list[str]] = {}
    for property, language, value in shown:
        if language is not None:
            selection.notes[_LANGUAGES] += 1
        else:
            values.setdefault(property, []).append(value)
    if parents := values.pop(VARIANT_OF, None):
        product.attributes["item_group_id"] = parents[0]
    currency = _currency(values)
    for property in sorted(values, key=_place_of):
        attribute, _ = _ATTRIBUTES.get(normalized(property), ("", 0))
        texts = values[property]
        separator = _SEPARATORS.get(attribute)
        if not attribute or attribute in product.attributes or (len(texts) > 1 and not separator):
            product.details += [(property, text) for text in texts]
        else:
            text = (separator or "").join(texts)
            product.attributes[attribute] = _attribute_text(attribute, text, currency)
    return product


def _place_of(property: str) -> tuple[int, str]:
    """Return the place of a property among those that may be the same attribute."""
    return _ATTRIBUTES.get(normalized(property), ("", 0))[1], property


def _currency(values: dict[str, list[str]]) -> str | None:
    """Return the code of an item's currency, if a property says it."""
    names = {normalized(name) for name in _CURRENCY_NAMES}
    for property, texts in values.items():
        if normalized(property) in names and len(texts) == 1:
            return find_currency(texts[0])
    return None


def _attribute_text(attribute: str, text: str, currency: str | None) -> str:
    """Return a value as the Merchant Center writes it, where that is certain."""
    if attribute == "availability":
        return _STATES.get(normalized(text), text)
    if attribute in ("price", "sale_price"):
        price = parse_price(text)
        code = (price.currency if price else None) or currency
        if price is not None and code is not None and len(code) == 3:
            return f"{price.digits} {code}"
    return text


# ---- the two forms


def _write_text(stream: TextIO, products: Iterator[_Product], selection: Selection) -> None:
    """Write a line for each product; a text has no tabs and no ends of lines."""
    columns = ["id", "title", "description", "link", "image_link", "additional_image_link"]
    columns += [name for name in REQUIRED if name not in columns]
    columns += ["product_type", "item_group_id"]
    columns += [name for name in _NAMES if name not in columns]
    stream.write("\t".join([*columns, DETAIL]) + "\n")
    for product in products:
        cells = dict(product.attributes)
        # A comma within an address would divide it.
        images = [image.replace(",", "%2C") for image in product.images]
        cells["additional_image_link"] = ",".join(images)
        details = []
        for name, value in product.details:
            if any(sign in name for sign in _DETAIL_SIGNS) or "," in value:
                selection.notes[_DETAILS] += 1
            else:
                details.append(f":{_line(name)}:{_line(value)}")
        cells[DETAIL] = ",".join(details)
        texts = (_line(cells.get(name, "")) for name in (*columns, DETAIL))
        stream.write("\t".join(selection.safe(text) if text else "" for text in texts) + "\n")


def _line(text: str) -> str:
    return _NOT_TEXT.sub(" ", text)


def _write_rss(stream: TextIO, products: Iterator[_Product]) -> None:
    """Write an item of RSS for each product."""
    stream.write(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<rss version="2.0" xmlns:g="{NAMESPACE}">\n<channel>\n<title>Products</title>\n'
        "<link></link>\n<description>Products of a catalogue</description>\n"
    )
    for product in products:
        parts = [_element(name, text) for name, text in product.attributes.items()]
        parts += [_element("additional_image_link", image) for image in product.images]
        parts += [
            f"<g:{DETAIL}>{_element('attribute_name', name)}{_element('attribute_value', value)}"
            f"</g:{DETAIL}>\n"
            for name, value in product.details
        ]
        stream.write(f"<item>\n{''.join(parts)}</item>\n")
    stream.write("</channel>\n</rss>\n")


def _element(name: str, text: str) -> str:
    plain = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", _line(text))
    return f"<g:{name}>{escape(plain)}</g:{name}>\n"
