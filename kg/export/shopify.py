"""Export as a product file of Shopify: a product's variants and images follow it in further rows.

What an ingest inherits from products to their variants is left to the next ingest.
"""

from __future__ import annotations

import csv
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, permutations
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kg.export.selection import Selection
from kg.stores.references import INHERITED
from kg.stores.sorting import sorting_errors, temporary_database
from kg.stores.tables import BATCH_ROWS
from schema.mapping import VARIANT_OF
from schema.mapping.names import normalized

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_OPTIONS = 3
"""The properties in which the variants of a product may differ."""
_MAX_TRIED = 6
"""Properties of which it is tried whether ids are made of their values."""
_MAX_LEVELS = 16

_PRODUCT_COLUMNS = ("Handle", "Title", "Body (HTML)", "Vendor", "Product Category", "Type", "Tags")
_OPTION_COLUMNS = tuple(
    f"Option{number} {part}" for number in range(1, MAX_OPTIONS + 1) for part in ("Name", "Value")
)
_VARIANT_COLUMNS = ("Variant SKU", "Variant Grams", "Variant Price", "Variant Barcode")
_IMAGE_COLUMNS = ("Image Src", "Image Position")
# Properties with a column of their own, whatever they are called.
_NAMES = {
    "Vendor": "vendor|brand|manufacturer",
    "Type": "type|product type",
    "Tags": "tags|tag",
    "Variant Price": "price|variant price",
    "Variant Barcode": "barcode|gtin|ean|upc|variant barcode",
    "Variant SKU": "sku|variant sku",
}
_COLUMNS = {
    normalized(name): (column, place)
    for column, names in _NAMES.items()
    for place, name in enumerate(names.split("|"))
}
# Further columns of products, and of variants without "Variant" before them.
_OF_PRODUCTS = frozenset(
    ("Published", "Gift Card", "SEO Title", "SEO Description", "Status", "Published Scope")
)
_OF_VARIANTS = frozenset(
    normalized(name)
    for name in (
        "Inventory Tracker|Inventory Qty|Inventory Policy|Fulfillment Service|Compare At Price|"
        "Requires Shipping|Taxable|Weight Unit|Tax Code|Weight|Grams|Cost per item"
    ).split("|")
)
_FIELDS = ("title", "description", "category", "images")
_SEPARATORS = {"Tags": ","}
_METAFIELD_SEPARATOR = ";"
_GRAMS = re.compile(r"(\d+(?:\.\d+)?) ?g")
_KEY = re.compile(r"[^a-z0-9]+")
_LANGUAGES = "values are in other languages than the table's, and left out"
_LOST_PARENTS = "variants are of a product that the store does not have"
_SEPARATED = "values hold the sign that separates them, so that they will fall apart"


@dataclass
class _Entry:
    """A product or a variant: its fields, and its values by property."""

    id: str
    item: dict[str, Any] | None = None
    values: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Group:
    """A product with its variants."""

    product: _Entry
    variants: list[_Entry] = field(default_factory=list)

    def options(self) -> list[str]:
        """Return the properties that tell the variants apart, in the order of their ids.

        Without such, it is the most frequent one.
        """
        values: dict[str, list[str]] = {}
        for variant in self.variants:
            for property, own in variant.values.items():
                key = normalized(property)
                column = _COLUMNS.get(key, ("", 0))[0]
                if len(own) == 1 and key not in _OF_VARIANTS and column not in _VARIANT_COLUMNS:
                    values.setdefault(property, []).append(own[0])
        ordered = sorted(values, key=lambda name: (-len(values[name]), name))
        varied = [name for name in ordered if len(set(values[name])) > 1]
        if found := self._options_of_ids(ordered[:_MAX_TRIED]):
            return found
        return sorted(varied[:MAX_OPTIONS] or ordered[:1])

    def _options_of_ids(self, names: Sequence[str]) -> list[str]:
        """Return the properties whose values an ingest has made the variants' ids of, if it has."""
        made = [each for each in self.variants if each.id.startswith(f"{self.product.id}/")]
        if not made:
            return []
        for count in range(MAX_OPTIONS, 0, -1):
            for options in permutations(names, count):
                if all(each.id == self.id_of(each, options) for each in made):
                    return list(options)
        return []

    def id_of(self, variant: _Entry, options: Iterable[str]) -> str:
        """Return the id that an ingest gives to a variant without an own one."""
        own = (variant.values.get(option, []) for option in options)
        return "/".join([self.product.id, *(values[0] for values in own if values)])


def write_shopify(selection: Selection, path: Path) -> None:
    """Write a table in UTF-8 with commas."""
    with (
        sorting_errors(),
        temporary_database() as database,
        path.open("w", encoding="utf-8", newline="") as stream,
    ):
        groups = _Groups(database, selection)
        further = groups.further_columns()
        usual = (*_PRODUCT_COLUMNS, *_OPTION_COLUMNS, *_VARIANT_COLUMNS, *_IMAGE_COLUMNS)
        columns = list(dict.fromkeys((*usual, *further)))
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writerow({name: selection.safe(name) for name in columns})
        for group in groups.groups():
            for row in _rows(group, selection.notes):
                writer.writerow({name: selection.safe(text) for name, text in row.items() if text})


class _Groups:
    """Products and their variants, brought together on the disk."""

    def __init__(self, database: DuckDBPyConnection, selection: Selection) -> None:
        self._database = database
        self._selection = selection
        self._run(
            "CREATE TABLE items (id VARCHAR, title VARCHAR, description VARCHAR, "
            "category VARCHAR, images VARCHAR[])"
        )
        self._run("CREATE TABLE facts (item VARCHAR, property VARCHAR, value VARCHAR)")
        for batch in selection.item_batches():
            table = pa.table(batch).select(["id", "title", "description", "category", "images"])
            self._insert("items", table)
        for batch in selection.shown_batches():
            self._insert(
                "facts",
                pa.table(batch),
                "item, property, value",
                f"language IS NULL AND NOT starts_with(coalesce(evidence, ''), '{INHERITED}')",
            )
            tagged = batch.num_rows - batch["language"].null_count
            if tagged:
                selection.notes[_LANGUAGES] += tagged
        self._link()

    def _link(self) -> None:
        """Find the group of each item: the product above it."""
        self._run(
            f"CREATE TABLE links AS SELECT item AS child, min(value) AS parent FROM facts "
            f"WHERE property = '{VARIANT_OF}' AND item <> value GROUP BY item"
        )
        for _ in range(_MAX_LEVELS):
            self._run(
                "UPDATE links SET parent = above.parent FROM links AS above "
                "WHERE above.child = links.parent AND above.parent <> links.child"
            )
        self._run(
            "CREATE TABLE groups AS SELECT id, coalesce(parent, id) AS product FROM items "
            "LEFT JOIN links ON items.id = links.child"
        )
        query = "SELECT count(*) FROM links WHERE parent NOT IN (SELECT id FROM items)"
        lost = sum(count for (count,) in self._database.execute(query).fetchall())
        if lost:
            self._selection.notes[_LOST_PARENTS] += lost

    def groups(self) -> Iterator[_Group]:
        """Yield the products with their variants, ordered by the products' ids."""
        query = (
            f"SELECT product, id, {', '.join(_FIELDS)}, property, value "
            "FROM groups JOIN items USING (id) LEFT JOIN facts ON facts.item = items.id "
            f"AND property <> '{VARIANT_OF}' "
            "ORDER BY product, id <> product, id, property, value"
        )
        reader = self._database.sql(query).to_arrow_reader(BATCH_ROWS)
        # Tuples, of which there is one for each statement, and not dicts.
        rows = (
            row
            for batch in reader
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        for product, of_group in groupby(rows, key=itemgetter(0)):
            entries = [_entry(id, of_item) for id, of_item in groupby(of_group, itemgetter(1))]
            if entries[0].id == product:
                yield _Group(entries[0], entries[1:])
            else:
                # Shopify has no product without a title.
                yield _Group(_Entry(product, entries[0].item), entries)

    def further_columns(self) -> list[str]:
        """Return the names of the columns that not every such table has, in order."""
        columns: set[str] = set()
        for group in self.groups():
            columns.update(name for row in _rows(group, Counter()) for name in row)
        return sorted(columns)

    def _insert(
        self, name: str, table: pa.Table, columns: str = "*", condition: str = "true"
    ) -> None:
        self._database.register("new_rows", table)
        self._run(f"INSERT INTO {name} SELECT {columns} FROM new_rows WHERE {condition}")
        self._database.unregister("new_rows")

    def _run(self, text: str) -> None:
        self._database.execute(text)


def _entry(id: str, rows: Iterable[tuple[Any, ...]]) -> _Entry:
    """Return an item of which each row has a value, after its own fields."""
    entry = _Entry(id)
    for _, _, *fields, property, value in rows:
        entry.item = entry.item or dict(zip(_FIELDS, fields, strict=True))
        if property is not None:
            entry.values.setdefault(property, []).append(value)
    return entry


def _place_of(property: str) -> int:
    """Return the place of a property among those that may have the same column."""
    return _COLUMNS.get(normalized(property), ("", 0))[1]


@lru_cache(1 << 12)
def _column_of(property: str, of_variant: bool) -> str:
    """Return the column of a property of a product or a variant."""
    key = normalized(property)
    column = _COLUMNS.get(key, ("", 0))[0]
    if column and not (of_variant and column not in _VARIANT_COLUMNS):
        return column
    if key == normalized("Weight") or key in _OF_VARIANTS or of_variant:
        return f"Variant {property}"
    if property in _OF_PRODUCTS or property.startswith("Google Shopping / "):
        return property
    name = _KEY.sub("_", property.casefold()).strip("_") or "field"
    return f"{property} (product.metafields.custom.{name})"


def _rows(group: _Group, notes: Counter[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a product: the first has what holds for all of them."""
    product = group.product
    item = product.item or {}
    images = list(dict.fromkeys(item.get("images") or ()))
    options = group.options()
    count = max(1, len(group.variants), len(images))
    for number in range(count):
        row = {"Handle": product.id}
        if number == 0:
            description = item.get("description")
            row |= {
                "Title": item.get("title") or "",
                "Body (HTML)": f"<p>{html.escape(description, quote=False)}</p>"
                if description
                else "",
                "Product Category": item.get("category") or "",
            }
            row |= _cells(product, False, (), notes)
            if not group.variants:
                row |= {"Option1 Name": "Title", "Option1 Value": "Default Title"}
        if number < len(group.variants):
            row |= _variant_cells(group, group.variants[number], options, notes)
        if number < len(images):
            row |= {"Image Src": images[number], "Image Position": str(number + 1)}
        yield row


def _variant_cells(
    group: _Group, variant: _Entry, options: Sequence[str], notes: Counter[str]
) -> dict[str, str]:
    cells = _cells(variant, True, options, notes)
    for number, option in enumerate(options, 1):
        cells[f"Option{number} Name"] = option
        if own := variant.values.get(option):
            cells[f"Option{number} Value"] = own[0]
    # An id that an ingest makes of the product's and the options is made again.
    if variant.id != group.id_of(variant, options):
        cells["Variant SKU"] = variant.id
    return cells


def _cells(
    entry: _Entry, of_variant: bool, options: Sequence[str], notes: Counter[str]
) -> dict[str, str]:
    """Return the cells of an entry's properties, but for those that are options."""
    cells: dict[str, str] = {}
    ordered = sorted(entry.values, key=_place_of)
    for property in ordered:
        if property in options and len(entry.values[property]) == 1:
            continue
        column = _column_of(property, of_variant)
        values = entry.values[property]
        grams = _GRAMS.fullmatch(values[0]) if len(values) == 1 else None
        if column == "Variant Weight" and grams:
            column = "Variant Grams"
            values = [grams[1]]
        separator = _SEPARATORS.get(column, _METAFIELD_SEPARATOR)
        is_list = column == "Tags" or "(product.metafields" in column or len(values) > 1
        if is_list and any(separator in value for value in values):
            notes[_SEPARATED] += len(values)
        joined = f"{separator} ".join(values)
        if column in cells:
            # Two properties with one column: the further one keeps its name.
            column = f"{property} (product.metafields.custom.{_KEY.sub('_', property.casefold())})"
        cells[column] = joined
    return cells
