"""Why the values of a property are no classes, and why a cell is not asked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum

from schema.currencies import find_currency
from schema.literals import DISTINCT_SHARE, NOT_LEARNED, NUMBERS
from schema.terms import SAME_AS

NUMBER_CLASSES = 100
"""How many numbers have to cover ``COVERED`` of a property's statements to be classes."""
COVERED = 0.5
MANY_VALUES = 100
"""Values from which on a property is looked at that has another one for nearly every item."""

# Whole words, without case and accents, of columns that tell about an offer and not the product.
_PRICE = (
    "pri[cx]es?|pris|preise?|(?:verkaufs|einkaufs|brutto|netto|laden|listen)preis|precios?|"
    "prezz[oi]|precos?|prijs|prijzen|ceny|cena|rrp|msrp|uvp|цена|стоимость|价格|價格|価格|가격|"
    "fiyat|hinta"
)
_STOCK = (
    "stocks?|inventory|on hand|(?:lager)?bestand|lagermenge|existencias|inventario|giacenza|"
    "voorraad|stan magazynowy|estoque|остаток|наличие|库存|庫存|在庫|재고|varasto|lagersaldo"
)
_OFFER_NAME = re.compile(rf"(?<!\w)(?:{_PRICE}|{_STOCK})(?!\w)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Unasked(StrEnum):
    """Why a cell is not asked, in the order in which the reasons are looked at."""

    NO_COMPLETION = "complete_false"
    """``complete = false`` in the ontology."""
    NO_LEARNING = "learn_false"
    """``learn = false`` in the ontology."""
    REMOVED = "removed"
    """A person has taken the property out of the ontology."""
    IDENTIFIER = "identifier"
    TEXT = "text"
    DATE = "date"
    NUMBERS = "numbers"
    """A price, a stock, or a number of which there are too many for classes."""
    UNIQUE = "unique"
    """Nearly every item has another value."""
    UNKNOWN = "unknown_to_model"
    HAS_VALUE = "has_value"
    """The cell has a value; only for cells that are named."""
    WITHHELD = "withheld"
    """All values are rejected for the cell, or taken out of the ontology."""
    DOES_NOT_APPLY = "does_not_apply"
    """The property does not apply to the item's category."""

    def told(self) -> str:
        """Return the reason in words, which follow the name of a property or "they"."""
        return _TOLD[self]


_TOLD = {
    Unasked.NO_COMPLETION: "complete = false in ontology.toml",
    Unasked.NO_LEARNING: "learn = false in ontology.toml",
    Unasked.REMOVED: "removed from ontology.toml",
    Unasked.IDENTIFIER: "identifiers",
    Unasked.TEXT: "long texts",
    Unasked.DATE: "dates",
    Unasked.NUMBERS: "prices, stocks and numbers of too many kinds",
    Unasked.UNIQUE: "values that hardly come up twice",
    Unasked.UNKNOWN: "unknown to the model",
    Unasked.HAS_VALUE: "has a value",
    Unasked.WITHHELD: "all values are rejected or removed",
    Unasked.DOES_NOT_APPLY: "does not apply to the category",
}


def why_no_classes(
    name: str, datatype: str, unit: str | None, counts: Sequence[int]
) -> Unasked | None:
    """Return why a property's values are no classes; None if they are.

    ``counts`` are how many items have each of its values, the most frequent first.
    """
    if name == SAME_AS:
        return Unasked.IDENTIFIER
    if datatype in NOT_LEARNED:
        return Unasked(datatype)
    if datatype not in NUMBERS:
        is_unique = len(counts) > MANY_VALUES and len(counts) >= DISTINCT_SHARE * sum(counts)
        return Unasked.UNIQUE if is_unique else None
    is_money = unit is not None and find_currency(unit) is not None
    if datatype != "quantity" and (is_money or names_offer(name)):
        return Unasked.NUMBERS
    if len(counts) <= NUMBER_CLASSES:
        return None
    frequent = sum(sorted(counts, reverse=True)[:NUMBER_CLASSES])
    return Unasked.NUMBERS if frequent < COVERED * sum(counts) else None


def names_offer(name: str) -> bool:
    """Return whether a column of numbers holds prices or stocks, going by its name.

    They change from day to day and say nothing of the product.
    """
    folded = unicodedata.normalize("NFKD", _CAMEL.sub(" ", name)).casefold()
    plain = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return bool(_OFFER_NAME.search(re.sub(r"[\s_.\-/#()\[\]]+", " ", plain)))
