"""Export as one table of items: a row for each, and a column for each property."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kg.export.selection import PropertyColumn, Selection
from kg.export.tables import CSV_IMAGE_SEPARATOR
from kg.stores.sorting import with_statements

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

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each item, "" where it has nothing."""
        selection = self._selection
        pairs = with_statements(selection.item_rows(), selection.statement_batches())
        for item, statements in pairs:
            values: dict[int, list[str]] = {}
            for row in statements:
                place = self._places[row["property"], row["language"]]
                values.setdefault(place, []).append(row["value"])
            cells = [
                *(item[name] or "" for name in ITEM_COLUMNS[:-1]),
                CSV_IMAGE_SEPARATOR.join(item["images"] or ()),
                *[""] * len(self.properties),
            ]
            for place, several in values.items():
                cells[len(ITEM_COLUMNS) + place] = self._joined(self.properties[place], several)
            yield cells

    def _joined(self, column: PropertyColumn, values: list[str]) -> str:
        return self._selection.separators.joined(column.property, sorted(values))


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
