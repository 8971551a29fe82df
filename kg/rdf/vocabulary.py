"""Words of schema.org and GoodRelations that a product is told by."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pyoxigraph import NamedNode

SCHEMA = ("https://schema.org/", "http://schema.org/")
GOOD_RELATIONS = "http://purl.org/goodrelations/v1#"
_SCHEMA_TYPES = (
    "Product",
    "ProductModel",
    "IndividualProduct",
    "SomeProducts",
    "ProductGroup",
    "Vehicle",
)
_GR_TYPES = (
    "ProductOrService",
    "ProductOrServiceModel",
    "ProductOrServicesSomeInstancesPlaceholder",
    "SomeItems",
    "ActualProductOrServiceInstance",
    "Individual",
)
PRODUCTS = [NamedNode(space + name) for space in SCHEMA for name in _SCHEMA_TYPES] + [
    NamedNode(GOOD_RELATIONS + n) for n in _GR_TYPES
]
OFFERING = NamedNode(f"{GOOD_RELATIONS}Offering")
INCLUDES = NamedNode(f"{GOOD_RELATIONS}includes")
OFFERS_OF = (INCLUDES, *(NamedNode(f"{space}itemOffered") for space in SCHEMA))
"""What says of an offer which product it offers."""
# GoodRelations' words by schema.org's.
_RENAMED = {
    "hasPriceSpecification": "priceSpecification",
    "hasCurrencyValue": "price",
    "hasCurrency": "priceCurrency",
    "hasMinCurrencyValue": "minPrice",
    "hasMaxCurrencyValue": "maxPrice",
    "hasEAN_UCC-13": "gtin13",
    "hasGTIN-14": "gtin14",
    "hasGTIN-8": "gtin8",
    "hasStockKeepingUnit": "sku",
    "hasMPN": "mpn",
    "hasBrand": "brand",
    "hasManufacturer": "manufacturer",
    "hasValue": "value",
    "hasMinValue": "minValue",
    "hasMaxValue": "maxValue",
    "hasUnitOfMeasurement": "unitCode",
    "legalName": "name",
    "hasValueInteger": "value",
    "hasValueFloat": "value",
}
_WORD = re.compile(r"(?:https?://schema\.org/|http://purl\.org/goodrelations/v1#)(\w+)")


@lru_cache(maxsize=4096)
def name_of(predicate: Any) -> str:
    """A predicate's last part, in schema.org's words."""
    text: str = predicate.value
    name = re.split(r"[/#:]", text.rstrip("/#"))[-1]
    return _RENAMED.get(name, name) if text.startswith(GOOD_RELATIONS) else name


def plain(text: str) -> str:
    """A word of a vocabulary without its address: ``InStock``; any other text as it is."""
    match = _WORD.fullmatch(text)
    return match[1] if match else text
