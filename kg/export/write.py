"""Write a store's graph to files for other tools."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kg.export.formats import find_export_format
from kg.export.not_shown import NotShown, not_shown
from kg.export.selection import Selection
from kg.export.separators import Separators
from kg.stores.protocol import GraphStore
from schema.files import atomic_file, atomic_folder
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.terms import Rank


@dataclass(frozen=True)
class ExportReport:
    """The files that an export wrote, how much is in them, and the seconds it took.

    ``defused`` is the number of texts with an apostrophe that keeps spreadsheets from running them.
    ``notes`` say what the format could not hold, and ``lacking`` counts the items without what it
    requires, by its name.
    """

    format: str
    files: list[str]
    items: int
    statements: int
    seconds: float
    defused: int = 0
    notes: list[str] = field(default_factory=list)
    lacking: dict[str, int] = field(default_factory=dict)


def export(
    store: GraphStore,
    format: str,
    out: Path,
    ranks: Sequence[Rank] = (),
    progress: ProgressCallback = no_progress,
    keep_formulas: bool = False,
    separators: Separators | None = None,
    ontology: Ontology | None = None,
    all_sources: bool = False,
) -> ExportReport:
    """Write the items of a store and its statements of these ranks, completely or not at all.

    ``format`` is a name in :data:`kg.export.formats.EXPORT_FORMATS`, which also has the ranks that
    are written if none are given. With ``keep_formulas``, a table for spreadsheets has every text
    as it is. ``separators`` stand between the values of a cell. Where sources differ by the
    ``ontology``, tables of items have what the catalogue shows, or with ``all_sources`` what all of
    them state. Raises UsageError if ``out`` is a file but has to be a folder, or the other way
    around.
    """
    start = time.monotonic()
    out = Path(out)
    export_format = find_export_format(format)
    hidden = NotShown()
    if export_format.is_shown and not all_sources:
        hidden = not_shown(store, ontology)
    selection = Selection(
        store,
        ranks or export_format.default_ranks,
        progress,
        keep_formulas=keep_formulas,
        separators=separators,
        left_out=hidden.ids,
    )
    write = export_format.load_writer()
    if export_format.is_folder:
        with atomic_folder(out) as folder:
            write(selection, folder)
            files = sorted(str(out / path.name) for path in folder.iterdir())
    else:
        with atomic_file(out) as path:
            write(selection, path)
        files = [str(out)]
    return ExportReport(
        format=export_format.name,
        files=files,
        items=selection.item_count,
        statements=selection.statement_count,
        seconds=round(time.monotonic() - start, 3),
        defused=selection.defused,
        notes=[
            *hidden.notes(),
            *(f"{count:,} {note}" for note, count in selection.notes.items()),
        ],
        lacking=dict(selection.lacking),
    )
