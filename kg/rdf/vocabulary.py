"""The terms of schema.org, GoodRelations and GS1 that describe products."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pyoxigraph import NamedNode

SCHEMA_ORG_NAMESPACES = ("https://schema.org/", "http://schema.org/")
GOOD_RELATIONS = "http://purl.org/goodrelations/v1#"
_SCHEMA_ORG_PRODUCTS = (
    "Product",
    "ProductModel",
    "IndividualProduct",
    "SomeProducts",
    "ProductGroup",
    "Vehicle",
)
_GOOD_RELATIONS_PRODUCTS = (
    "ProductOrService",
    "ProductOrServiceModel",
    "ProductOrServicesSomeInstancesPlaceholder",
    "SomeItems",
    "ActualProductOrServiceInstance",
    "Individual",
)
PRODUCT_TYPES = [
    NamedNode(namespace + name)
    for namespace in SCHEMA_ORG_NAMESPACES
    for name in _SCHEMA_ORG_PRODUCTS
] + [NamedNode(GOOD_RELATIONS + name) for name in _GOOD_RELATIONS_PRODUCTS]
PRODUCT_NAMES = frozenset((*_SCHEMA_ORG_PRODUCTS, *_GOOD_RELATIONS_PRODUCTS))
"""The types of products without their namespaces."""
# GS1 has moved its vocabulary twice.
GS1_NAMESPACES = (
    "https://ref.gs1.org/voc/",
    "https://gs1.org/voc/",
    "http://gs1.org/voc/",
    "https://www.gs1.org/voc/",
)
PRODUCT_TYPES += [NamedNode(f"{namespace}Product") for namespace in GS1_NAMESPACES]
VARIANT_OF = [NamedNode(f"{namespace}isVariantOf") for namespace in SCHEMA_ORG_NAMESPACES]
HAS_VARIANT = [NamedNode(f"{namespace}hasVariant") for namespace in SCHEMA_ORG_NAMESPACES]
OFFERING = NamedNode(f"{GOOD_RELATIONS}Offering")
INCLUDES = NamedNode(f"{GOOD_RELATIONS}includes")
OFFERED_PRODUCT = (
    INCLUDES,
    *(NamedNode(f"{namespace}itemOffered") for namespace in SCHEMA_ORG_NAMESPACES),
)
"""The predicates from an offer to the product that it offers."""
# GoodRelations' terms, and schema.org's for the same.
_SCHEMA_ORG_TERMS = {
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
_TERM = re.compile(r"(?:https?://schema\.org/|http://purl\.org/goodrelations/v1#)(\w+)")


@lru_cache(maxsize=4096)
def term_name(predicate: Any) -> str:
    """Return the local name of a predicate; GoodRelations' terms become schema.org's."""
    iri: str = predicate.value
    name = re.split(r"[/#:]", iri.rstrip("/#"))[-1]
    return _SCHEMA_ORG_TERMS.get(name, name) if iri.startswith(GOOD_RELATIONS) else name


def without_namespace(text: str) -> str:
    """Return ``InStock`` for ``https://schema.org/InStock``, and any other text unchanged."""
    match = _TERM.fullmatch(text)
    return match[1] if match else text
