"""What the first rows of a source tell about single columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from schema.bracketed import parse_bracketed

CERTAIN_INDEX = re.compile(r"unnamed: \d+|__index_level_\d+__", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:https?:)?//\S+", re.IGNORECASE)
_IMAGE_PIECE = re.compile(
    r"(?:(?:https?:)?//)?\S*\.(?:jpe?g|png|webp|gif|avif|bmp|tiff?)(?:[?#]\S*)?", re.IGNORECASE
)
_PIECES = re.compile(r"[\s,;|\x1f]+(?=(?:https?:)?//|/|\S+\.(?:jpe?g|png|webp|gif))|[|\x1f]")
TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_ID_ENDING = re.compile(
    r"(?:[a-z0-9](?:ID|Id|SKU|Sku|Code|Number|No|Nr)|[_\- ](?i:id|sku|nr|no|number|code)"
    r"|(?i:nummer|编号|编码)"
    r"|(?i:\b(?:artikel|article|artículo|articolo|artigo|product|produkt|producto|prodotto|produit|"
    r"item|stock|material|teile?|part|bestell?|model|modell|ware|goods|товар)[\s_\-]*"
    r"(?:code|kod|kód|key|id|nr|no|num|number)))$"
)
TITLE_ENDING = re.compile(
    r"(?:(?:name|title|titel)(?:short|long|kurz|lang)?|bezeichnung|benennung|名称|标题|名)$"
)
_SEPARATORS = ("|", ";", ",")
LEVEL_SEPARATORS = (">", "»", "›", "→", " / ", " | ", "\\", "/")
_MAX_PIECE = 40
MIN_ROWS = 3
"""Rows from which a column without a telling name may be taken for the id or the title."""


@dataclass(frozen=True)
class Sample:
    """The first rows of a source: texts, None where a cell is empty.

    ``unnamed`` are columns without a name in the source.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...] = ()
    unnamed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ColumnFacts:
    """The filled cells of a column in the sample."""

    name: str
    texts: tuple[str, ...]
    count: int

    @cached_property
    def distinct(self) -> int:
        """The number of different texts."""
        return len(set(self.texts))

    @property
    def filled(self) -> float:
        """The share of the rows that have a text."""
        return len(self.texts) / self.count if self.count else 0.0

    @property
    def identifies(self) -> bool:
        """Whether every row has a text, and each its own; true without any row to tell."""
        return self.count == 0 or (len(self.texts) == self.count == self.distinct)

    @cached_property
    def mean_words(self) -> float:
        """The mean number of words in a text."""
        return sum(len(text.split()) for text in self.texts) / max(1, len(self.texts))

    @cached_property
    def image_share(self) -> float:
        """The share of the texts that are addresses or paths of image files."""
        return share(self.texts, _are_images)

    @cached_property
    def address_share(self) -> float:
        """The share of the texts that start with a web address."""
        return share(self.texts, lambda text: _ADDRESS.match(text.strip()) is not None)

    def share_with(self, sign: str) -> float:
        """Return the share of the texts that hold a sign."""
        return share(self.texts, lambda text: sign in text)


def list_separator(texts: Sequence[str]) -> str | None:
    """Return what separates several values in the cells of a column; None if nothing surely does.

    It is taken for sure if values come up again in other cells, and all are short.
    """
    for separator in _SEPARATORS:
        cells = [text for text in texts if separator in text]
        if not cells:
            continue
        split = [[piece.strip() for piece in text.split(separator)] for text in texts]
        pieces = Counter(piece.casefold() for cell in split for piece in set(cell) if piece)
        packed = [[piece for piece in text.split(separator) if piece.strip()] for text in cells]
        if any(
            len(piece) > _MAX_PIECE or len(piece.split()) > 4 for cell in packed for piece in cell
        ):
            continue
        if separator == "," and any(_looks_numeric(cell) for cell in packed):
            continue
        if separator == "," and all(_are_codes(text.split(",")) for text in texts):
            return separator
        again = [
            cell for cell in packed if any(pieces[piece.strip().casefold()] > 1 for piece in cell)
        ]
        whole = Counter(text.casefold() for text in texts)
        distinct_cells = len({text.casefold() for text in cells})
        # The same cell twice proves nothing: "Grey, matt" may be one colour of many items.
        repeated = [
            cell
            for cell in again
            if any(
                pieces[piece.strip().casefold()] > whole[separator.join(cell).casefold()]
                for piece in cell
            )
        ]
        if repeated and len(repeated) * 2 >= len(cells) and (distinct_cells > 1 or len(texts) > 1):
            return separator
    return None


def share(texts: Sequence[str], holds: Callable[[str], object]) -> float:
    """Return the share of texts of which something holds; 0 if there is none."""
    if not texts:
        return 0.0
    return sum(bool(holds(text)) for text in texts) / len(texts)


def _are_images(text: str) -> bool:
    pieces = [piece for piece in _PIECES.split(text) if piece.strip()]
    return bool(pieces) and all(_IMAGE_PIECE.fullmatch(piece.strip()) for piece in pieces)


def are_numbers(texts: Sequence[str]) -> bool:
    """Return whether most texts are numbers."""
    return share(texts, lambda text: re.fullmatch(r"[\d.,]+", text)) > 0.5


def counts_up(texts: Sequence[str]) -> bool:
    """Return whether texts are 0, 1, 2, ... or at least rising whole numbers."""
    if not texts or not all(text.isdecimal() for text in texts):
        return not texts
    numbers = [int(text) for text in texts]
    return all(first < second for first, second in pairwise(numbers))


def has_id_ending(name: str) -> bool:
    """Return whether a name ends like that of an id: "WineID", "item_no"."""
    return _ID_ENDING.search(name.strip()) is not None


def why_no_id(facts: ColumnFacts) -> str:
    """Return why a column tells no items apart, as it goes on after the column's name."""
    if not facts.texts:
        return "is empty"
    if len(facts.texts) < facts.count:
        return f"is empty in {facts.count - len(facts.texts)} of the first {facts.count} rows"
    return f"has only {facts.distinct} different texts in the first {facts.count} rows"


def look_like_ids(texts: Sequence[str]) -> bool:
    """Return whether most texts are short codes with a digit."""
    return share(texts, lambda text: len(text) <= 40 and " " not in text and has_digit(text)) > 0.8


def has_digit(text: str) -> bool:
    """Return whether there is a digit in a text."""
    return any(character.isdigit() for character in text)


def starts_with_letter(text: str) -> bool:
    """Return whether a text begins with a letter or a quote."""
    return text[:1].isalpha() or text[:1] in "\"'“«「("


def _looks_numeric(pieces: Sequence[str]) -> bool:
    return all(re.fullmatch(r"\s*[-+]?\d[\d.]*\s*\S{0,3}\s*", piece) for piece in pieces)


def _are_codes(pieces: Sequence[str]) -> bool:
    """Return whether all pieces are words without a blank, as exports join the codes of options."""
    return all(re.fullmatch(r"[^\W\d][\w\-]*", piece) for piece in pieces)


def is_json(text: str) -> bool:
    """Return whether a text is an object or a list as JSON or Python writes it."""
    return parse_bracketed(text) is not None


def paths_by_comma(text: str, separator: str) -> bool:
    """Return whether commas separate paths: "A > B, C > D", or "A > B, C"."""
    parts = text.split(",")
    return len(parts) > 1 and separator in parts[0] and any(separator in part for part in parts[1:])


def is_list_of_paths(text: str, separator: str) -> bool:
    """Return whether a text is a path and, after a comma, a short name: "A > B, C"."""
    first, comma, rest = text.partition(",")
    names = [name.strip() for name in rest.split(",")]
    return (
        bool(comma)
        and separator in first
        and all(1 <= len(name.split()) <= 2 and "&" not in name for name in names)
    )
