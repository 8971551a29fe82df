"""Documents: what the index keeps of an item."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from kg.snapshot import GraphSnapshot
from schema.ontology import Ontology, PropertySpec
from schema.terms import CATEGORY_SEPARATOR
from serving.search.words import BREAK, codes, is_code, last_characters, sequence, words

MAX_VALUE = 200
"""Characters of a value; a longer one is a description."""
_NUMBERS = ("integer", "decimal", "date")
_TRUE = frozenset(("true", "yes", "y", "1", "ja", "oui", "si", "sí"))
_PARTS = re.compile("[,;/|]")


@dataclass(frozen=True)
class SearchedItem:
    """An item as it is shown and searched for, with its (property, value) statements."""

    id: str
    title: str
    category: str
    description: str
    statements: tuple[tuple[str, str], ...]

    @cached_property
    def digest(self) -> bytes:
        """A hash of all of it."""
        content = [self.id, self.title, self.category, self.description, self.statements]
        return hashlib.sha256(json.dumps(content).encode()).digest()[:16]

    @cached_property
    def text(self) -> str:
        """The text that a text encoder reads: the title and the description."""
        parts = [self.title, self.category.replace(CATEGORY_SEPARATOR, ", "), self.description]
        return ". ".join(part for part in parts if part)

    @cached_property
    def text_digest(self) -> bytes:
        """A hash of the text."""
        return hashlib.sha256(self.text.encode()).digest()[:16]


@dataclass(frozen=True)
class Document:
    """The words of an item, each field a sequence; see :mod:`serving.search.words`.

    ``codes`` has its id, its identifiers and model numbers, and characters that are found alone;
    ``wholes`` are the words that are the whole value of a property.
    """

    title: tuple[str, ...]
    category: tuple[str, ...]
    description: tuple[str, ...]
    values: tuple[str, ...]
    codes: tuple[str, ...]
    wholes: tuple[str, ...]

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The sequences in which phrases have heads."""
        return self.title, self.category, self.description


class DocumentReader:
    """Turns items into documents, by what the ontology says of their properties."""

    def __init__(self, ontology: Ontology | None) -> None:
        self._specs: Mapping[str, PropertySpec] = ontology.properties if ontology else {}
        self._value_words = lru_cache(maxsize=200_000)(_value_words)

    def read(self, item: SearchedItem) -> Document:
        """Return an item's document."""
        value_words: list[str] = []
        found_codes = [item.id, *codes(item.title), *codes(item.description)]
        ends = last_characters(f"{item.title} {item.category}")
        wholes: dict[str, None] = {}
        for name, value in item.statements:
            spec = self._specs.get(name)
            datatype = "string" if spec is None else spec.datatype
            if datatype == "identifier":
                found_codes.append(value)
            elif datatype == "boolean":
                if value.casefold() in _TRUE:
                    value_words += (*self._value_words(name.replace("_", " ")), BREAK)
            elif datatype not in _NUMBERS:
                value_words += (*self._value_words(value[:MAX_VALUE]), BREAK)
                wholes.update(dict.fromkeys(_wholes(value)))
        return Document(
            title=tuple(sequence(item.title)),
            category=tuple(sequence(item.category.rpartition(CATEGORY_SEPARATOR)[2])),
            description=tuple(sequence(item.description)),
            values=tuple(value_words),
            codes=(*_joined_codes(found_codes), *ends),
            wholes=tuple(wholes),
        )


def items_of(snapshot: GraphSnapshot) -> Iterator[SearchedItem]:
    """Yield the items of a snapshot that was read with details."""
    details = snapshot.details
    for index, id in enumerate(snapshot.items):
        yield SearchedItem(
            id,
            snapshot.titles[index] or "",
            snapshot.categories[index] or "",
            (details.description(index) if details is not None else None) or "",
            tuple(snapshot.statements_of(index)),
        )


def _value_words(text: str) -> tuple[str, ...]:
    return tuple(sequence(text))


@lru_cache(maxsize=100_000)
def _wholes(value: str) -> tuple[str, ...]:
    """Return the words that are a whole part of a short value, such as red and black/white."""
    if len(value) > MAX_VALUE:
        return ()
    found = (words(part) for part in _PARTS.split(value))
    return tuple(part[0] for part in found if len(part) == 1)


def _joined_codes(texts: Iterable[str]) -> list[str]:
    """Return identifiers as single words, and their parts that look like model numbers."""
    found: dict[str, None] = {}
    for text in texts:
        parts = words(text[:MAX_VALUE])
        found["".join(parts)[:64]] = None
        found.update(dict.fromkeys(part for part in parts if is_code(part)))
    return [code for code in found if code]


def told(sequences: Sequence[str]) -> str:
    """Return a sequence as one text, in which each word has a space on both sides."""
    return f" {' '.join(sequences)} "
