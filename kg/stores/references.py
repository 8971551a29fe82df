"""References: what each source says of an item or of a statement, and what is shown of it.

A *reference* is Wikidata's word for where a statement comes from. Several sources may make the
same statement, and several may describe the same item; each of them has one reference. The columns
of a row show the leading reference, and the column ``references`` has all of them as JSON, in the
order in which they arrived; it is null where there is no more than one.

An item's reference also has what its source says of the item: title, description, category and
images. Of each of these an item shows that of the first reference that has it, by
:meth:`SourceOrder.sorted_items`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from schema.documents import parse_json
from schema.terms import DECIDED_RANKS, OWN_SOURCES, PREDICTION_SOURCE, REVIEW_SOURCE, Rank

Columns = dict[str, Any]
"""A row of a table, or a part of it, by column name."""
Reference = Columns
"""The columns of STATEMENT_REFERENCE or ITEM_REFERENCE, by name."""

INHERITED = "inherited from "
"""How the evidence of what a variant inherits begins; the id of its product follows."""

STATEMENT_REFERENCE = (
    "rank",
    "source",
    "batch",
    "row",
    "model",
    "confidence",
    "evidence",
    "reviewer",
    "time",
)
"""The columns of a statement's reference."""
ITEM_FIELDS = ("title", "description", "category", "images")
"""What a source says of an item itself."""
ITEM_REFERENCE = (*ITEM_FIELDS, "source", "batch", "row", "evidence", "time")
"""The columns of an item's reference."""
INSIGNIFICANT = ("batch", "row", "time")
"""Columns whose change alone changes nothing.

Loading the same file again gives every row another run, line and time. That must change nothing,
or else a second ingest would write the whole catalogue once more.
"""


NOTHING: tuple[Any, ...] = (None, "", [])
"""What stores may keep as each other."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose reference it is: that of a source, or what is inherited, whatever source said it."""

    source: str
    is_inherited: bool = False

    @classmethod
    def of(cls, reference: Reference) -> Origin:
        """Return whose reference it is."""
        if (reference["evidence"] or "").startswith(INHERITED):
            return cls("", is_inherited=True)
        return cls(reference["source"] or "")


INHERITED_ORIGIN = Origin("", is_inherited=True)
UNKNOWN_ORIGIN = Origin("")
"""That of what earlier versions stored of items, and of what is put without a source."""


@dataclass(frozen=True)
class SourceOrder:
    """The sources from the most to the least trusted; those not named come after, newest first."""

    sources: tuple[str, ...] = ()
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {name: i for i, name in enumerate(self.sources)})

    def place(self, source: str | None) -> int:
        """Return the place of a source; the lower it is, the more the source is trusted."""
        return self._places.get(source or "", len(self.sources))

    def told(self) -> str:
        """Return whose value is shown, in words."""
        if not self.sources:
            return "the newest"
        return f"that of {', '.join(self.sources)}, and then the newest"

    def leading_statement(self, references: Sequence[Reference]) -> Reference:
        """Return the reference that a statement shows.

        What a reviewer decided stands before what sources assert, whatever their order and however
        new that is; what is stated before what is inherited; and a model's guess after all others.
        """

        def key(place: int) -> tuple[bool, bool, bool, int, int]:
            reference = references[place]
            return (
                reference["rank"] == Rank.PREDICTED,
                Origin.of(reference).is_inherited,
                reference["rank"] not in DECIDED_RANKS,
                self.place(reference["source"]),
                -place,
            )

        return references[min(range(len(references)), key=key)]

    def sorted_items(self, references: Sequence[Reference]) -> list[Reference]:
        """Return an item's references, those to be shown first.

        What a reviewer decided comes first, then what sources say, then what is inherited, and a
        model's guess last.
        """

        def key(place: int) -> tuple[bool, bool, bool, int, int]:
            reference = references[place]
            source = reference["source"]
            return (
                source == PREDICTION_SOURCE,
                Origin.of(reference).is_inherited,
                source != REVIEW_SOURCE,
                self.place(source),
                -place,
            )

        return [references[place] for place in sorted(range(len(references)), key=key)]


NEWEST_FIRST = SourceOrder()
"""No source is trusted more than another: what arrived last is shown."""


_STATEMENT_NOTHING = {"source": "", "batch": "", "time": ""}
_ITEM_NOTHING: Reference = {"images": []}


def statement_references(row: Columns) -> list[Reference]:
    """Return the references of a row of STATEMENT_SCHEMA, in the order of their arrival."""
    if row["references"] is None:
        return [{name: row[name] for name in STATEMENT_REFERENCE}]
    return _parsed(row["references"], STATEMENT_REFERENCE, _STATEMENT_NOTHING)


def sources_of(text: str) -> set[str]:
    """Return the sources in a column ``references``, without those of predictions."""
    documents: list[Reference] = parse_json(text)
    return {each.get("source", "") for each in documents if each.get("rank") != Rank.PREDICTED} - {
        ""
    }


def item_references(row: Columns) -> list[Reference]:
    """Return the references of a row of ITEM_SCHEMA; an item that nobody describes has none."""
    if row["references"] is not None:
        return _parsed(row["references"], ITEM_REFERENCE, _ITEM_NOTHING)
    reference = item_reference(row)
    return [reference] if _says_something(reference) else []


def item_reference(row: Columns) -> Reference:
    """Return what a row of ITEM_SCHEMA shows, as one reference."""
    reference = {name: row[name] for name in ITEM_REFERENCE}
    reference["images"] = list(row["images"] or [])
    return reference


def statement_row(row: Columns, references: Sequence[Reference], order: SourceOrder) -> Columns:
    """Return the row of a statement with some references, of which there is at least one."""
    leading = order.leading_statement(references)
    return {**row, **leading, "references": written_references(references)}


def item_row(id: str, references: Sequence[Reference], order: SourceOrder) -> Columns:
    """Return the row of an item with some references."""
    row: Columns = {"id": id, **dict.fromkeys(ITEM_REFERENCE), "images": []}
    ordered = order.sorted_items(references)
    # Who completed or confirmed a category does not supply the item.
    leading = next((each for each in ordered if each["source"] not in OWN_SOURCES), None)
    leading = leading or next(iter(ordered), None)
    if leading is not None:
        row |= {name: leading[name] for name in ITEM_REFERENCE if name not in ITEM_FIELDS}
    for reference in ordered:
        for name in ITEM_FIELDS:
            row[name] = row[name] or reference[name]
    row["images"] = list(row["images"] or [])
    row["references"] = written_references(references)
    return row


def is_same(new: Reference, old: Reference) -> bool:
    """Return whether two references of the same origin say the same."""
    return all(
        new[name] == old[name] or (new[name] in NOTHING and old[name] in NOTHING)
        for name in new
        if name not in INSIGNIFICANT
    )


def without(references: Iterable[Reference], origin: Origin) -> list[Reference]:
    """Return references without that of an origin."""
    return [each for each in references if Origin.of(each) != origin]


def _says_something(reference: Reference) -> bool:
    return any(value not in NOTHING for value in reference.values())


def written_references(references: Sequence[Reference]) -> str | None:
    """Return the column ``references`` for some references: null for fewer than two."""
    if len(references) < 2:
        return None
    documents = [
        {name: value for name, value in each.items() if value not in NOTHING} for each in references
    ]
    return json.dumps(documents, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _parsed(text: str, columns: Sequence[str], nothing: Reference) -> list[Reference]:
    documents: list[dict[str, Any]] = parse_json(text)
    return [{name: each.get(name, nothing.get(name)) for name in columns} for each in documents]
