"""Rows that are no items: those with the totals of the columns."""

from __future__ import annotations

from collections.abc import Sequence

from kg.ingest.readers.row_form import is_number

LINE_OF_TOTALS = "line of totals"
"""What reports call such a row."""

_WORDS = frozenset(
    """
    total totals sum sums subtotal subtotals summe gesamt gesamtsumme zwischensumme somme totale
    totali totaux suma totaal totalt summa celkem razem összesen toplam итого всего 合计 总计 小计
    合計 總計 小計 합계
    """.split()
)


def is_word_for_totals(text: str) -> bool:
    """Return whether a text is what reports call a line of totals."""
    return text.strip().rstrip(" :").casefold() in _WORDS


def is_totals(cells: Sequence[str | None]) -> bool:
    """Return whether the last row of a table has nothing but the totals of some columns."""
    filled = [cell.strip() for cell in cells if cell and cell.strip()]
    if len(filled) < 2 or len(filled) == len(cells):
        return False
    return is_word_for_totals(filled[0]) and all(map(is_number, filled[1:]))
