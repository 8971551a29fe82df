"""The file of ``complete --out``: a line for each cell, or a table with the cells filled in."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from commands.base import Context
from commands.completion_request import CompletionRequest
from commands.progress import bar
from kg.export.completed import ENDINGS, write_completed
from kg.export.in_place.export import (
    KeptForm,
    SourceExportReport,
    export_into_folder,
    export_source,
    kept_form,
    kept_forms,
)
from kg.export.source_options import SourceExport
from kg.home import Home
from kg.marks import Mark
from kg.stores.tables import statements_table
from schema.errors import UsageError
from schema.files import atomic_file
from schema.terms import PREDICTION_SOURCE, Provenance, Rank, Statement, now


class Output(Protocol):
    """What takes completions."""

    def add(self, line: str) -> None:
        """Take the line of a completion, which may come from a run that was cut off."""


@dataclass(frozen=True)
class Layout:
    """How the file of ``--out`` is laid out.

    Attributes:
        suffix: the ending of a table, without that of a compression; None for a line for each cell
        source: the source whose own layout it has; None for one row for each item
        sources: those whose files are written into the folder that ``--out`` is
    """

    suffix: str | None = None
    source: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether the filled cells are put in place."""
        return self.suffix is not None or bool(self.sources)


def choose_layout(context: Context, home: Home, request: CompletionRequest) -> Layout:
    """Return the layout of ``--out``, and say so where it is not the source's own.

    Raises UsageError or DataError, before anything is completed, if the file cannot be written.
    """
    suffix = request.table_suffix
    if request.is_folder:
        return _layout_of_folder(home, request)
    if suffix is None or request.out is None:
        return Layout()
    form = kept_form(home, request.source)
    if form is None:
        reason = "this home keeps no source to write again"
    elif not form.is_writable or not _is_same_form(form, suffix):
        reason = f"{form.source} is a {form.suffixes[0]} file, and {request.out.name} is none"
        if form.is_writable and suffix not in ENDINGS:
            raise UsageError(
                f"{reason}: name a file that ends in {form.suffixes[0]}, or in one of "
                f"{', '.join(ENDINGS)}"
            )
    elif len(form.suffixes) > 1:
        raise UsageError(
            f"{form.source} has {len(form.suffixes)} files, and --out names one: name a folder "
            f"that exists, such as `mkdir filled` makes it (--source {form.source} --out filled)"
        )
    elif request.mark and not form.has_names:
        reason = f"{form.source} has no header, which --mark needs to name its columns"
    else:
        return Layout(suffix, form.source)
    if suffix not in ENDINGS:
        raise UsageError(
            f"--out {request.out}: {reason}: name a file that ends in {', '.join(ENDINGS)}"
        )
    context.note(f"{reason}: {request.out.name} gets a row for each item of the catalogue")
    return Layout(suffix)


def _layout_of_folder(home: Home, request: CompletionRequest) -> Layout:
    """Return which sources are written into a folder; raises UsageError if one cannot be."""
    if request.source is None:
        forms = kept_forms(home)
    else:
        forms = list(filter(None, [kept_form(home, request.source)]))
    if not forms:
        raise UsageError(
            f"--out {request.out} is a folder for sources, and this home keeps none to write "
            f"again: name a file that ends in {', '.join(ENDINGS)}"
        )
    for form in forms:
        if not form.is_writable:
            raise UsageError(
                f"{form.source} is a {form.suffixes[0]} file, which cannot be written again: name "
                "another source with --source, or a file in place of the folder"
            )
        if request.mark and not form.has_names:
            raise UsageError(
                f"{form.source} has no header, which --mark needs to name its columns: leave out "
                "--mark, or name another source with --source"
            )
    return Layout(sources=tuple(form.source for form in forms))


def _is_same_form(form: KeptForm, suffix: str) -> bool:
    # A file of text has the separators of the source, whatever it is called.
    texts = {".csv", ".txt"}
    return all(each == suffix or {each, suffix} == texts for each in form.suffixes)


@dataclass
class TableOutput:
    """Collects what fills cells, and writes it into a table at the end."""

    home: Home
    layout: Layout
    request: CompletionRequest
    out: Path
    model: str
    time: str = field(default_factory=now)
    statements: list[Statement] = field(default_factory=list)
    marks: dict[str, dict[str, Mark]] = field(default_factory=lambda: defaultdict(dict))
    written: dict[str, Any] | None = None

    def add(self, line: str) -> None:
        """Take the line of a completion."""
        completion = json.loads(line)
        item, name = completion["item"], completion["property"]
        probabilities = {each["value"]: each["probability"] for each in completion["candidates"]}
        if completion["decision"] == "fill":
            values = completion.get("values", list(probabilities)[:1])
            self.statements += [
                Statement(
                    item,
                    name,
                    value,
                    Rank.PREDICTED,
                    Provenance(
                        PREDICTION_SOURCE,
                        model=self.model,
                        confidence=probabilities.get(value),
                        time=self.time,
                    ),
                )
                for value in values
            ]
        if self.request.mark:
            best = next(iter(probabilities.values()), None)
            self.marks[name][item] = Mark(best, completion["decision"])

    def write(self, context: Context) -> None:
        """Write the table; say what could not be put in place."""
        beside = statements_table(self.statements)
        marks = self.marks if self.request.mark else None
        with bar("writing", "rows") as progress:
            if self.layout.sources:
                sources = self.layout.sources
                reports = export_into_folder(self.home, self.out, sources, progress, beside, marks)
                self.written = {
                    "layout": "folder",
                    "sources": [
                        {"files": each.files, **_told(context, each, len(sources) > 1)}
                        for each in reports
                    ],
                }
                return
            if self.layout.source is not None:
                options = SourceExport(self.layout.source)
                report = export_source(self.home, self.out, options, progress, beside, marks)
                self.written = {"layout": "source", **_told(context, report)}
                return
            table = write_completed(
                self.home, self.out, self.layout.suffix or "", beside, marks, progress
            )
        for note in table.notes:
            context.note(note)
        filled = Counter(each.property for each in self.statements)
        self.written = {
            "layout": "wide",
            "source": None,
            "filled": dict(sorted(filled.items())),
            "not_filled": [],
            "already_there": 0,
            "of_other_items": 0,
            "defused": table.defused,
        }


def _told(
    context: Context, report: SourceExportReport, is_of_several: bool = False
) -> dict[str, Any]:
    """Say what could not be put in place in a source, and return what was, for the JSON.

    Where it is one of several sources, items that it lacks are those of the others.
    """
    for line in report.filled.lines(others=not is_of_several):
        context.note(f"{report.source}: {line}" if is_of_several else line)
    return {
        "source": report.source,
        **report.filled.as_dict(),
        "defused": report.filled.defused,
    }


@dataclass(frozen=True)
class LineOutput:
    """Writes a line for each cell."""

    file: IO[str]

    def add(self, line: str) -> None:
        """Write a line."""
        self.file.write(line)


@contextmanager
def opened_output(
    context: Context, home: Home, request: CompletionRequest, layout: Layout, model: str
) -> Iterator[Output | None]:
    """Open the file of ``--out``, which is written completely or not at all; None without it."""
    path = request.out
    if path is None:
        yield None
    elif layout.is_table:
        table = TableOutput(home, layout, request, path, model)
        yield table
        table.write(context)
    elif path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        # A pipe, or a link such as /dev/stdout: a finished file must not take its place.
        with path.open("w", encoding="utf-8") as file:
            yield LineOutput(file)
    else:
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield LineOutput(file)


def written_table(output: Output | None) -> dict[str, Any] | None:
    """Return what was put into a table, for the command's JSON; None if none was written."""
    return output.written if isinstance(output, TableOutput) else None
