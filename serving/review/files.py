"""Write proposals to a file in which a colleague decides about them.

That is a table for a spreadsheet, or tasks for Label Studio. :mod:`serving.review.answers` reads it
back.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kg.export.selection import Selection
from kg.export.xlsx import write_sheets
from kg.stores.merge import StoredRows
from kg.stores.protocol import GraphStore
from kg.stores.tables import Row, chunks
from schema.errors import UsageError
from schema.files import atomic_file, write_atomically
from schema.proposals import Proposal
from serving.review.graph import CellName, rows_of_cells

CANDIDATES = 5
"""Other candidates of a proposal that a file has."""
SEPARATOR = "|"
"""Stands between several values in a cell."""
_AT_ONCE = 10_000
"""Proposals whose items are looked up together."""
_LETTERS = "bcdfghjkmnpqrstv"
"""Sixteen signs that no spreadsheet takes for a number, a date or a word."""
_CANDIDATE_COLUMNS = tuple(f"candidate {number}" for number in range(1, CANDIDATES + 1))
COLUMNS = (
    "proposal",
    "item",
    "title",
    "image",
    "property",
    "proposed",
    "probability",
    *_CANDIDATE_COLUMNS,
    "stored",
    "decision",
    "value",
    "reviewer",
    "state",
    "fingerprint",
)
_NUMERIC = ("proposal", "probability")


class FileFormat(StrEnum):
    """The formats of a file for reviewers."""

    CSV = "csv"
    XLSX = "xlsx"
    LABEL_STUDIO = "label-studio"


_BY_ENDING = {
    ".csv": FileFormat.CSV,
    ".xlsx": FileFormat.XLSX,
    ".json": FileFormat.LABEL_STUDIO,
}


@dataclass(frozen=True, slots=True)
class ReviewedCell:
    """A proposal and what the catalogue has of its cell.

    Attributes:
        proposal: the proposal
        title: the item's title, if it has one
        image: the path of the item's first image, if it has one
        stored: the values of the cell, each with its rank, in order
        fingerprint: tells whether the proposal's state and the cell are the same as before
    """

    proposal: Proposal
    title: str
    image: str
    stored: tuple[tuple[str, str], ...]
    fingerprint: str

    @property
    def told_stored(self) -> str:
        """The stored values as one text."""
        return f" {SEPARATOR} ".join(f"{value} ({rank})" for value, rank in self.stored)

    def cells(self) -> dict[str, str]:
        """Return what a file says of it, by its columns; those to fill in are empty."""
        proposal = self.proposal
        others = [each for each in proposal.candidates if each.value not in proposal.values]
        told = [f"{each.value} ({each.probability:.1%})" for each in others[:CANDIDATES]]
        told += [""] * (CANDIDATES - len(told))
        return dict.fromkeys(COLUMNS, "") | {
            "proposal": str(proposal.id),
            "item": proposal.item,
            "title": self.title,
            "image": self.image,
            "property": proposal.property,
            "proposed": joined(proposal.values),
            "probability": f"{proposal.probability:.4f}",
            **dict(zip(_CANDIDATE_COLUMNS, told, strict=True)),
            "stored": self.told_stored,
            "state": str(proposal.state),
            "fingerprint": self.fingerprint,
        }


@dataclass
class ReviewFileReport:
    """What was written: the ``files``, and how many proposals.

    ``defused`` is the number of texts with an apostrophe that keeps spreadsheets from running them,
    ``image_folder`` the folder that Label Studio has to serve images from, and ``notes`` say what
    the format could not hold.
    """

    format: FileFormat
    files: list[str] = field(default_factory=list)
    proposals: int = 0
    defused: int = 0
    image_folder: str | None = None
    notes: list[str] = field(default_factory=list)


def format_of(path: Path) -> FileFormat:
    """Return the format that a file name's ending says. Raises UsageError if it says none."""
    found = _BY_ENDING.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            f"{path.name} ends in none of {', '.join(_BY_ENDING)}: name the file so, or give "
            f"--format {'|'.join(FileFormat)}"
        )
    return found


def joined(values: Collection[str]) -> str:
    """Return values as the text of one cell; of several, one that holds the separator is quoted."""
    if len(values) == 1:
        return next(iter(values))
    return f" {SEPARATOR} ".join(map(_quoted, values))


def _quoted(value: str) -> str:
    if SEPARATOR not in value and '"' not in value:
        return value
    return '"' + value.replace('"', '""') + '"'


def split(text: str) -> tuple[str, ...]:
    """Return the values in the text of one cell, as :func:`joined` writes several."""
    reader = csv.reader([text], delimiter=SEPARATOR, skipinitialspace=True)
    return tuple(each.strip() for row in reader for each in row if each.strip())


def reviewed_cells(store: GraphStore, proposals: Sequence[Proposal]) -> Iterator[ReviewedCell]:
    """Yield proposals with what the store has of their cells."""
    for some in chunks(proposals, _AT_ONCE):
        items = list(dict.fromkeys(each.item for each in some))
        stored = store.rows_about(items) if items else StoredRows()
        rows: dict[CellName, list[Row]] = rows_of_cells(stored, {each.cell for each in some})
        for each in some:
            item = stored.items.get(each.item)
            images = (item["images"] if item else None) or ()
            values = sorted({(row["value"], str(row["rank"])) for row in rows.get(each.cell, ())})
            yield ReviewedCell(
                each,
                (item["title"] if item else None) or "",
                images[0] if images else "",
                tuple(values),
                _fingerprint(each, values),
            )


def _fingerprint(proposal: Proposal, stored: Iterable[tuple[str, str]]) -> str:
    told = json.dumps([*proposal.cell, proposal.id, proposal.state, proposal.values, list(stored)])
    digest = hashlib.blake2b(told.encode(), digest_size=5).hexdigest()
    return "".join(_LETTERS[int(digit, 16)] for digit in digest)


def write_review_file(
    store: GraphStore, proposals: Sequence[Proposal], path: Path, format: FileFormat
) -> ReviewFileReport:
    """Write proposals for a colleague, completely or not at all.

    For Label Studio, a configuration of the project is written beside the tasks.
    """
    report = ReviewFileReport(format, [str(path)], len(proposals))
    found = reviewed_cells(store, proposals)
    if format is FileFormat.LABEL_STUDIO:
        _write_tasks(list(found), path, report)
        return report
    selection = Selection(store)
    rows = (list(each.cells().values()) for each in found)
    with atomic_file(path) as whole:
        if format is FileFormat.XLSX:
            numeric = [name in _NUMERIC for name in COLUMNS]
            write_sheets(whole, "review", COLUMNS, numeric, rows, selection)
        else:
            # Excel takes a file for UTF-8 by its mark alone.
            with whole.open("w", encoding="utf-8-sig", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\r\n")
                writer.writerow(COLUMNS)
                writer.writerows([selection.safe(cell) for cell in row] for row in rows)
    report.defused = selection.defused
    report.notes = [f"{count:,} {note}" for note, count in selection.notes.items()]
    return report


# Label Studio

CANDIDATE_TAG = "candidate"
OWN_DATA = ("proposal", "item", "title", "property", "proposed", "stored", "state", "fingerprint")
_CONFIGURATION = """\
<View>
  <Header value="$title"/>
{image}  <Text name="cell" value="$question"/>
  <Choices name="decision" toName="cell" choice="single" required="true" showInline="true">
    <Choice value="accept"/>
    <Choice value="reject"/>
    <Choice value="edit"/>
    <Choice value="skip"/>
  </Choices>
  <View visibleWhen="choice-selected" whenTagName="decision" whenChoiceValue="edit">
    <Header value="The right value: one of these, or another"/>
    <Choices name="candidate" toName="cell" choice="single" value="$options"/>
    <TextArea name="value" toName="cell" rows="1" editable="true"/>
  </View>
</View>
"""
_IMAGE = '  <Image name="image" value="$image" zoom="true"/>\n'


PRE_ACCEPTED = 0.5
"""From this probability on Label Studio is told that the model would accept its proposal."""


def _prediction(proposal: Proposal) -> dict[str, Any]:
    """Return what the model says in Label Studio's form: by the score tasks can be sorted there."""
    accept = {
        "id": f"proposal{proposal.id}",
        "from_name": "decision",
        "to_name": "cell",
        "type": "choices",
        "value": {"choices": ["accept"]},
    }
    return {
        "model_version": proposal.model or str(proposal.origin),
        "score": round(proposal.probability, 4),
        "result": [accept] if proposal.probability >= PRE_ACCEPTED else [],
    }


def _write_tasks(found: Sequence[ReviewedCell], path: Path, report: ReviewFileReport) -> None:
    images = [Path(each.image).absolute().parent for each in found if each.image]
    folder = os.path.commonpath(images) if images else None
    tasks = []
    for each in found:
        proposal = each.proposal
        cells = each.cells()
        others = [
            {"value": other.value}
            for other in proposal.candidates
            if other.value not in proposal.values
        ]
        stored = f" Stored: {cells['stored']}." if each.stored else ""
        question = (
            f"{proposal.property}: {cells['proposed']} ({proposal.probability:.1%}, "
            f"item {proposal.item}).{stored}"
        )
        data = {
            **{name: cells[name] for name in OWN_DATA},
            "proposal": proposal.id,
            "probability": round(proposal.probability, 4),
            "title": each.title or proposal.item,
            "question": question,
            "options": others[:CANDIDATES],
            "image": "",
        }
        if each.image and folder is not None:
            relative = Path(each.image).absolute().relative_to(folder)
            data["image"] = "/data/local-files/?d=" + quote(relative.as_posix())
        tasks.append({"data": data, "predictions": [_prediction(proposal)]})
    configuration = path.with_suffix(".xml")
    write_atomically(configuration, _CONFIGURATION.format(image=_IMAGE if images else ""))
    write_atomically(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    report.files.append(str(configuration))
    report.image_folder = folder
