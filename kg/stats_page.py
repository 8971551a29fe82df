"""The statistics of a catalogue as one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kg.missing_values import MissingValues
from kg.stats import Stats
from schema.files import write_atomically
from schema.terms import CATEGORY_SEPARATOR


@dataclass(frozen=True)
class HeatCell:
    """A cell of the heat map: how many items lack the property, and their share of the category."""

    property: str
    missing: int
    share: float
    applies: bool


@dataclass(frozen=True)
class HeatRow:
    """A row of the heat map: a category with its depth in the tree."""

    category: str
    label: str
    depth: int
    items: int
    cells: list[HeatCell]


def write_stats_page(path: Path, title: str, stats: Stats, missing: MissingValues) -> None:
    """Write the page, completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(title, stats, missing))


def render(title: str, stats: Stats, missing: MissingValues) -> str:
    """Return the page's HTML."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Names and values come from suppliers' files and must not run as scripts in a browser.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("stats.html.j2")
    return template.render(title=title, stats=stats, missing=missing, rows=_heat_rows(missing))


def _heat_rows(missing: MissingValues) -> list[HeatRow]:
    rows = []
    for row, category in enumerate(missing.categories):
        items = int(missing.items[row])
        cells = [
            HeatCell(
                name,
                int(missing.missing[row, column]),
                missing.missing[row, column] / items,
                bool(missing.applies[row, column]),
            )
            for column, name in enumerate(missing.properties)
        ]
        *parents, label = category.split(CATEGORY_SEPARATOR)
        rows.append(HeatRow(category, label, len(parents), items, cells))
    return rows
