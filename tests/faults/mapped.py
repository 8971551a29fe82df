"""A table whose mapping says how its columns are read, and how they are read then.

All its numbers and dates can be read in two ways, so that what is inferred of them depends on
``ontology.declared.toml``. Most rows are variants, which inherit a value after all are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kg.home import Home

TABLE = "mapped.csv"
FORMER_TABLE = "former.csv"
MAPPING = "now/mapped.toml"
FORMER_MAPPING = "formerly/mapped.toml"
"""The same mapping as it was before somebody edited it."""
COLUMNS = "sku,parent,name,name-de,description,department,price,length,delivered,code,fabric"
_MAPPING = """\
name = "mapped"
id = "sku"
parent = "parent"
title = "name"
description = "description"
category = "department"
category_separator = ">"
language = "en"
locale = "{locale}"

[languages]
columns = ["{{name}}-{{language}}"]

[columns.price]
datatype = "decimal"

[columns.length]
datatype = "quantity"
unit = "cm"

[columns.delivered]
datatype = "date"

[columns.code]
datatype = "{code}"
"""


@dataclass(frozen=True)
class Read:
    """How a property is read."""

    datatype: str
    decimal_mark: str = "."
    date_order: str = ""


NOW = {
    "price": Read("decimal", ","),
    "length": Read("quantity", ","),
    "delivered": Read("date", date_order="dmy"),
    "code": Read("identifier"),
}
FORMERLY = {
    "price": Read("decimal"),
    "length": Read("quantity"),
    "delivered": Read("date", date_order="mdy"),
    "code": Read("string"),
}
"""How properties are read by the mapping as it is now, and as it was."""


def write_mapped(folder: Path, items: int) -> None:
    """Write the mapping as it is now and as it was, and a table for each.

    The former table has the first half of the items.
    """
    for name, locale, code in (
        (MAPPING, "de-DE", "identifier"),
        (FORMER_MAPPING, "en-US", "string"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(_MAPPING.format(locale=locale, code=code), encoding="utf-8")
    rows = [_row(number, items // 2) for number in range(items)]
    for name, count in ((TABLE, items), (FORMER_TABLE, items // 2)):
        lines = "\n".join([COLUMNS, *rows[:count]])
        (folder / name).write_text(lines + "\n", encoding="utf-8")


def _row(number: int, former: int) -> str:
    product = number - number % 4
    is_product = number == product
    return ",".join(
        (
            _id(number, former),
            "" if is_product else _id(product, former),
            f"Thing {number}",
            f"Ding {number}",
            f"It is <b>number</b> {number}",
            f"Things > Kind {number % 7}",
            f"{number % 9 + 1}.{number * 7 % 1000:03}",
            f"{number % 9 + 1}.{number * 11 % 1000:03}",
            f"{number % 12 + 1:02}/{number * 5 % 12 + 1:02}/2024",
            f"{number * 37 % 10000:05}",
            ("linen", "wool", "felt")[number % 3] if is_product else "",
        )
    )


def _id(number: int, former: int) -> str:
    return f"item-{number}" if number < former else f"late-{number}"


def misread(path: str) -> list[str]:
    """Return what the ontology of a home has otherwise than the mapping says of what is stored.

    As long as the home has only items of the former table, it may be the former mapping.
    """
    home = Home.open(path)
    with home.store(read_only=True) as store:
        items = [str(row["id"]) for batch in store.items() for row in batch.to_pylist()]
    allowed = [NOW] if any(id.startswith("late-") for id in items) else [NOW, FORMERLY]
    problems = []
    found = {}
    for name, spec in home.ontology().properties.items():
        if name in NOW:
            found[name] = Read(spec.datatype, spec.decimal_mark, spec.date_order)
            if spec.remark:
                problems.append(f"{name} has the remark {spec.remark!r}")
    if all({name: each[name] for name in found} != found for each in allowed):
        problems.append(f"properties are read as {found}")
    return problems
