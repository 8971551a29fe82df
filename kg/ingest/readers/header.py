"""Which row of a table has the names of its columns, if any has.

Titles, dates and further rows of labels may stand above it. It is told by its words, and by cells
that do not fit the columns: a column of numbers has a name that is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kg.ingest.readers.row_form import ColumnKind, column_kinds
from kg.ingest.readers.totals import is_totals

_LEADING_ROWS = 30
"""The header is among so many first rows."""

_LINES_ABOVE = 8
"""It is below at most so many that are as wide as it is."""

_ROWS_TO_KNOW_KINDS = 3
_MAX_NAME = 60
_WORDS = frozenset(
    """
    id ids sku skus asin gtin ean upc isbn mpn barcode code codes key uid uuid handle
    item items product products article articles title name label
    description desc text summary price cost amount msrp currency
    brand vendor manufacturer maker supplier seller category categories type class group department
    color colour colors colours size sizes material weight height width length depth volume
    quantity qty stock inventory availability condition image images img picture photo photos url
    link links uri status date created updated tags rating reviews country language gender season
    model series style variant variants attribute attributes value unit property parent year
    query keyword clicks impressions purchases orders tax locale
    artikel artikelnummer artikelnr nummer nr bezeichnung titel beschreibung preis marke hersteller
    kategorie warengruppe farbe grösse größe groesse gewicht höhe hoehe breite länge laenge tiefe
    menge bestand bild bilder einheit lieferant produkt produktname
    nom titre prix marque couleur taille poids hauteur largeur longueur catégorie categorie
    référence reference produit quantité fournisseur libellé désignation designation
    nombre título titulo precio marca talla peso altura ancho categoría categoria descripción
    descripcion código codigo producto referencia imagen cantidad
    nome prezzo colore taglia prodotto codice descrizione altezza larghezza
    preço cor tamanho produto naam prijs merk kleur maat gewicht omschrijving
    navn pris farve mærke namn varumärke färg storlek
    nazwa cena marka kolor rozmiar opis kategoria název značka barva velikost popis
    артикул название наименование цена бренд цвет размер категория описание вес производитель код
    名称 标题 价格 品牌 颜色 尺寸 类别 分类 编号 商品 描述 图片 規格 名稱 價格 顏色
    商品名 価格 色 サイズ ブランド カテゴリ 상품명 가격 브랜드 색상 크기 카테고리
    """.split()
)
_WORD = re.compile(r"[^\W\d_]+")
_SPACING = re.compile(r"[\s_\-]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_IDENTIFIER = re.compile(r"[@#]?[^\W\d][\w.:\-()/]*")
_TEMPLATE = re.compile(
    r"(?:TemplateType|feedType)=|settings=(?=.*\battributeRow=\d)", re.IGNORECASE
)
_TEMPLATE_HEADER = re.compile(r"attributeRow=(\d+)")
_TEMPLATE_DATA = re.compile(r"dataRow=(\d+)")


@dataclass(frozen=True)
class HeadRow:
    """One of the first rows: its line, how many lines it takes, and its cells."""

    line: int
    line_count: int
    cells: Sequence[str]

    @property
    def filled(self) -> int:
        """The number of cells that hold something."""
        return sum(bool(cell.strip()) for cell in self.cells)


@dataclass(frozen=True)
class Header:
    """The header of a table.

    Attributes:
        names: the cells of the header; None if there is none
        line: the line in which it starts
        first_line: the line in which the first row below it starts
        first_row_index: the place of that row among the rows
        text: the header as it stands, if it takes one line
        left_out: rows above the header, and between it and the other rows
        confidence: how sure it is, at most 1
        reason: why this row is the header
        is_named: whether its words are those of names
        is_template: whether it is that of a flat file of Amazon's
    """

    names: tuple[str, ...] | None
    line: int | None
    first_line: int
    first_row_index: int
    text: bytes = b""
    left_out: tuple[HeadRow, ...] = ()
    confidence: float = 1.0
    reason: str = ""
    is_named: bool = False
    is_template: bool = False

    @property
    def has_usual_names(self) -> bool:
        """Whether it has several names, all of which are usual ones for columns."""
        return are_usual_names(self.names or ())


@dataclass(frozen=True)
class _Judged:
    """What speaks for a row's being the header.

    Attributes:
        words: how many cells have a word that names a column
        names: how many cells are nothing but such a word
        against: how many cells cannot be of their columns
        fitting: how many cells look as those of their columns do
        fits_first: whether the cell of the first column with cells of one kind, often the id, does
        identifiers: the share of cells that are written like names in programs
    """

    row: HeadRow
    index: int
    words: int
    names: int
    against: int
    fitting: int
    fits_first: bool
    identifiers: float

    @property
    def is_named(self) -> bool:
        """Whether its words are those of names."""
        if self.names and not self.fits_first:
            return True
        # Titles of items have such words, too.
        enough = self.words >= 2 or self.words * 2 >= self.row.filled
        return self.words > 0 and enough and not self.fitting

    @property
    def is_header(self) -> bool:
        """Whether it looks like a header rather than like a row."""
        return self.is_named or self.against > self.fitting

    @property
    def is_certain(self) -> bool:
        """Whether it is a header whatever stands above it."""
        return self.is_named and self.words > 1 and self.words * 2 >= self.row.filled

    @property
    def is_data(self) -> bool:
        """Whether it looks like a row rather than like a header."""
        return self.fitting > 0 and not self.is_header


def choose_header(
    rows: Sequence[HeadRow],
    width: int,
    given: bool | int | None = None,
    text: bytes = b"",
    skipped_lines: int = 0,
) -> Header:
    """Return the header among the first rows of a table.

    ``width`` is the number of cells of most rows, ``given`` what the settings say (see
    ``DialectSettings``). ``text`` holds the lines after ``skipped_lines``.
    """
    if given is False or not rows:
        line = rows[0].line if rows else 1
        return Header(None, None, line, 0, confidence=0.8, reason="no header, as given")
    if given is not None and given is not True:
        # A header that the settings give is in that line, or below it if that line is blank.
        index = next((index for index, row in enumerate(rows) if row.line >= given), len(rows) - 1)
        header = _header(rows, index, index + 1, text, skipped_lines, 1.0, "as given")
        return replace(header, is_named=True)
    template = _template_header(rows)
    if template is not None:
        index, data_index = template
        header = _header(rows, index, data_index, text, skipped_lines, 1.0, "an Amazon template")
        return replace(header, is_named=True, is_template=True)

    if len(rows) > 2 and is_totals(rows[-1].cells):
        rows = rows[:-1]
    leading = _judge(rows[:_LEADING_ROWS], rows, width)
    found = _find(leading, width)
    if found is None or (found.is_data and given is None):
        reason = "the first row looks like the others"
        return Header(None, None, rows[0].line, 0, confidence=0.7, reason=reason)
    block = [found]
    for judged in leading[found.index + 1 :]:
        if not _is_further_header(judged, rows, found.row):
            break
        block.append(judged)
    # max() takes the first of equals.
    best = max(block, key=lambda judged: judged.identifiers)
    if best.is_named:
        reason = "its words name columns"
    elif best.against:
        reason = "its cells are not such as those of its columns"
    else:
        reason = "the first row is taken for it"
    confidence = 1.0 if best.is_header else 0.85
    if len(best.row.cells) != width:
        confidence = 0.8
    first = block[-1].index + 1
    header = _header(rows, best.index, first, text, skipped_lines, confidence, reason)
    return replace(header, is_named=best.is_named)


def are_usual_names(cells: Sequence[str]) -> bool:
    """Return whether cells are several, and all are usual names of columns."""
    return len(cells) > 1 and all(map(_is_usual_name, cells))


def _find(leading: Sequence[_Judged], width: int) -> _Judged | None:
    """Return the row that is the header, or else the first item."""
    wide = [judged for judged in leading if len(judged.row.cells) == width]
    full = [judged for judged in wide if not _is_sparse(judged.row, width)]
    first_wide = wide[0].index if wide else len(leading)
    usual = next((each for each in leading[:first_wide] if are_usual_names(each.row.cells)), None)
    above = _leading_notes(full[:_LINES_ABOVE], width)
    for judged in full[above:_LINES_ABOVE]:
        # Below a row that may be a header itself, only one that certainly is one.
        if judged.is_header and (judged is full[above] or judged.is_certain):
            # Rows that all have a cell too many do not make a header of the first of them.
            return judged if judged.is_named or usual is None else usual
        if judged.is_data:
            break
    for judged in leading[:first_wide]:
        if judged.is_named and judged.words > 1:
            return judged
    first_full = full[0].index if full else len(leading)
    for judged in wide:
        # With columns that have no name.
        if judged.index < first_full and judged.is_named and judged.words > 1:
            return judged
    return full[0] if full else next(iter(wide), None)


def _leading_notes(full: Sequence[_Judged], width: int) -> int:
    """Return how many rows with gaps stand above a header that has none.

    They are notes or names of groups of columns; in a sheet, or a text that was saved from one,
    they have as many cells as any row.
    """
    for index, judged in enumerate(full):
        if judged.row.filled == width:
            above = [each.row.filled for each in full[:index] if each.is_named]
            # A header with a gap or two may have units below it, but no further names.
            is_first = judged.is_certain or 2 * max(above, default=0) <= width
            return index if judged.is_header and is_first else 0
        if judged.is_data:
            break
    return 0


def _is_sparse(row: HeadRow, width: int) -> bool:
    """Return whether a row is mostly empty, as a title in a table is."""
    return row.filled <= max(1, int(0.4 * width)) and row.filled < width


def _is_further_header(judged: _Judged, rows: Sequence[HeadRow], header: HeadRow) -> bool:
    """Return whether a row below the header is another one, of labels or units.

    It fits none of the columns whose cells below it, in three rows or more, are all of one kind.
    """
    width = len(header.cells)
    further = [row.cells for row in rows[judged.index + 1 :] if len(row.cells) == width]
    # Files that were joined have their header again.
    below = [cells for cells in further if cells != header.cells]
    cells = judged.row.cells
    if len(below) < _ROWS_TO_KNOW_KINDS or len(cells) != width:
        return False
    kinds = column_kinds(below, width)
    known = [(kind, cell) for kind, cell in zip(kinds, cells, strict=True) if kind]
    return len(known) > 1 and all(cell.strip() and not kind.fits(cell) for kind, cell in known)


def _judge(leading: Sequence[HeadRow], rows: Sequence[HeadRow], width: int) -> list[_Judged]:
    wide = [row.cells for row in rows if len(row.cells) == width]
    body = wide[-max(1, len(wide) // 3) :]
    kinds = column_kinds(body, width)
    return [_judged(row, index, kinds) for index, row in enumerate(leading)]


def _judged(row: HeadRow, index: int, kinds: Sequence[ColumnKind | None]) -> _Judged:
    known: list[tuple[ColumnKind, str]] = []
    if len(row.cells) == len(kinds):
        known = [(kind, cell) for kind, cell in zip(kinds, row.cells, strict=True) if kind]
    fits = [bool(cell.strip()) and kind.fits(cell) for kind, cell in known]
    filled = sum(bool(cell.strip()) for _, cell in known)
    names = [cell.strip() for cell in row.cells if cell.strip()]
    identifiers = sum(bool(_IDENTIFIER.fullmatch(name)) for name in names)
    return _Judged(
        row=row,
        index=index,
        words=sum(map(_has_word, names)),
        names=sum(map(_is_usual_name, names)),
        against=filled - sum(fits),
        fitting=sum(fits),
        fits_first=fits[:1] == [True],
        identifiers=identifiers / len(names) if names else 0.0,
    )


def _is_usual_name(cell: str) -> bool:
    """Return whether a cell is nothing but a word that names a column."""
    return len(cell) <= _MAX_NAME and _SPACING.sub("", cell).casefold() in _WORDS


def _has_word(cell: str) -> bool:
    """Return whether a cell is short and has a word that names a column."""
    if len(cell) > _MAX_NAME:
        return False
    words = [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", cell))]
    return len(words) <= 5 and any(word in _WORDS for word in words)


def _template_header(rows: Sequence[HeadRow]) -> tuple[int, int] | None:
    """Return the places of the header and of the first row in a flat file of Amazon's."""
    if not rows or not _TEMPLATE.match(rows[0].cells[0]) or len(rows) < 3:
        return None
    first = " ".join(rows[0].cells)
    header = _TEMPLATE_HEADER.search(first)
    data = _TEMPLATE_DATA.search(first)
    index = _row_at(rows, int(header[1])) if header else 2
    data_index = _row_at(rows, int(data[1])) if data else index + 1
    if not 0 < index < min(len(rows), data_index) or data_index > len(rows):
        return None
    return index, data_index


def _row_at(rows: Sequence[HeadRow], number: int) -> int:
    """Return the place of the row of a number, which counts blank lines that are no rows."""
    if all(row.line_count == 1 for row in rows[:number]):
        return next((at for at, row in enumerate(rows) if row.line >= number), len(rows))
    return number - 1


def _header(
    rows: Sequence[HeadRow],
    index: int,
    first_row: int,
    text: bytes,
    skipped_lines: int,
    confidence: float,
    reason: str,
) -> Header:
    row = rows[index]
    after = rows[first_row - 1]
    others = [*rows[:index], *rows[index + 1 : first_row]]
    line = b""
    if row.line_count == 1 and text:
        line = text.split(b"\n", row.line - skipped_lines)[row.line - skipped_lines - 1]
    return Header(
        tuple(row.cells),
        row.line,
        after.line + after.line_count,
        first_row,
        line.removesuffix(b"\r"),
        tuple(others),
        confidence,
        reason,
    )
