"""Write one item as a source gives it: exactly as it is, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kg.home import Home
from kg.image_files import is_address
from kg.ingest.run_id import new_run_id
from kg.source_order import bring_up_to_date
from kg.stores.protocol import PutReport
from kg.stores.tables import items_table, statements_table
from schema.errors import UsageError
from schema.terms import CATEGORY_SEPARATOR, Item, Provenance, Statement, now
from schema.validation import check_item


@dataclass(frozen=True)
class WrittenItem:
    """What writing an item changed.

    Attributes:
        run: the run that did so
        report: what it changed
        notes: what a user should know, a line each
    """

    run: str
    report: PutReport
    notes: tuple[str, ...] = ()


def write_item(
    home: Home, item: Item, values: Sequence[tuple[str, str]], source: str
) -> WrittenItem:
    """Store what a source says of an item, with its (property, value) pairs.

    It takes the place of all that this source said of the item before; what others say stays.
    Raises UsageError if a text cannot be stored, or an image is not among the home's.
    """
    run = new_run_id()
    checked = _checked(home, item)
    provenance = Provenance(_text(source, "the source"), run, time=now())
    statements = [
        Statement(
            checked.id,
            _text(name, "a property"),
            _text(value, f"the value of {name!r}"),
            provenance=provenance,
        )
        for name, value in dict.fromkeys(values)
    ]
    notes = _notes(home, checked, statements)
    with home.store() as store:
        report = store.put(
            items_table([replace(checked, provenance=provenance)]),
            statements_table(statements),
            replaces=source,
            run=run,
        )
        bring_up_to_date(home, store, run)
    return WrittenItem(run, report, tuple(notes))


def _checked(home: Home, item: Item) -> Item:
    """Return an item whose texts can be stored, with its category as the graph writes it."""
    id = _text(item.id, "the id")
    if id != id.strip():
        raise UsageError(f"the id {id!r} begins or ends with a space: leave it out")
    category = None
    if item.category:
        levels = [level.strip() for level in item.category.split(CATEGORY_SEPARATOR.strip())]
        category = CATEGORY_SEPARATOR.join(level for level in levels if level) or None
    files = home.image_files()
    for image in item.images:
        if not is_address(image) and files.status(_text(image, "an image")) is None:
            raise UsageError(
                f"the image {image!r} {files.failures[image]}: put it below a folder of the home's "
                "images, or give an address"
            )
    return Item(
        id,
        title=_optional(item.title, "the title"),
        category=_optional(category, "the category"),
        images=tuple(dict.fromkeys(item.images)),
        description=_optional(item.description, "the description"),
    )


def _optional(text: str | None, what: str) -> str | None:
    return _text(text, what) if text and text.strip() else None


def _text(text: str, what: str) -> str:
    """Return a text that can be stored. Raises UsageError if it is empty or has control codes."""
    if not text.strip():
        raise UsageError(f"{what} is empty: leave it out, or write one")
    for character in text:
        if (character < " " and character not in "\t\n\r") or "\ud800" <= character <= "\udfff":
            raise UsageError(
                f"{what} {text[:40]!r} has the character U+{ord(character):04X}, which no text "
                "has: leave it out"
            )
    return text


def _notes(home: Home, item: Item, statements: Sequence[Statement]) -> list[str]:
    """Say what does not go with the ontology."""
    ontology = home.ontology_or_none()
    if ontology is None:
        return []
    pairs = [(each.property, each.value) for each in statements]
    return list(dict.fromkeys(found.message for found in check_item(ontology, item, pairs)))
