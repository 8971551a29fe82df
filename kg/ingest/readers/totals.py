"""Last rows that are no items: those with the totals of the columns."""

from __future__ import annotations

from collections.abc import Sequence

from kg.ingest.readers.row_form import is_number

LINE_OF_TOTALS = "line of totals"
"""What reports call such a row."""

_WORDS = frozenset(
    """
    total totals sum sums subtotal summe gesamt gesamtsumme somme totale totali totaux suma totaal
    totalt summa celkem razem összesen toplam итого всего 合计 总计 合計 總計 합계
    """.split()
)


def is_totals(cells: Sequence[str | None]) -> bool:
    """Return whether the last row of a table has nothing but the totals of some columns."""
    filled = [cell.strip() for cell in cells if cell and cell.strip()]
    if len(filled) < 2 or len(filled) == len(cells):
        return False
    return filled[0].rstrip(" :").casefold() in _WORDS and all(map(is_number, filled[1:]))
