"""Export as one table of items: a row for each, and a column for each property."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kg.export.selection import Selection
from kg.export.tables import CSV_IMAGE_SEPARATOR

ITEM_COLUMNS = ("id", "title", "description", "category", "images")
_OF_PROPERTY = " (property)"
"""After the name of a property that an item's own field has, too."""


class WideTable:
    """The items of a selection as rows of a table.

    ``properties`` have a column each after those of the item's own fields.
    """

    def __init__(self, selection: Selection) -> None:
        self.properties = selection.properties()
        self._selection = selection
        self._places = {
            (each.property, each.language): at for at, each in enumerate(self.properties)
        }

    @property
    def columns(self) -> list[str]:
        """The names of the columns, no two of which are the same."""
        names = dict.fromkeys(ITEM_COLUMNS)
        for each in self.properties:
            name = each.name
            while name in names:
                name += _OF_PROPERTY
            names[name] = None
        return list(names)

    @property
    def numeric(self) -> list[bool]:
        """Which columns have numbers alone."""
        return [False] * len(ITEM_COLUMNS) + [each.is_numeric for each in self.properties]

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each item, "" where it has nothing."""
        separators = self._selection.separators
        for item, statements in self._selection.items_with_values():
            values: dict[int, list[str]] = {}
            for property, language, value in statements:
                place = self._places[property, language]
                values.setdefault(place, []).append(value)
            cells = [
                *(item[name] or "" for name in ITEM_COLUMNS[:-1]),
                CSV_IMAGE_SEPARATOR.join(item["images"] or ()),
                *[""] * len(self.properties),
            ]
            for place, several in values.items():
                property = self.properties[place].property
                cells[len(ITEM_COLUMNS) + place] = separators.joined(property, several)
            yield cells


def write_wide_csv(selection: Selection, path: Path) -> None:
    """Write a table in UTF-8 with commas.

    A text that a spreadsheet would run as a formula has an apostrophe before it, which an ingest
    takes off.
    """
    table = WideTable(selection)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([selection.safe(name) for name in table.columns])
        for cells in table.rows():
            writer.writerow([selection.safe(cell) if cell else cell for cell in cells])
