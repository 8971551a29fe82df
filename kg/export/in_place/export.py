"""Export of sources in their own form: what was last read of them, with empty cells filled."""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from kg.export.in_place.check import comparison
from kg.export.in_place.delimited import DelimitedWriter
from kg.export.in_place.json_records import write_records
from kg.export.in_place.report import Filled
from kg.export.in_place.table import NOWHERE, TableFiller
from kg.export.in_place.wanted import WantedValues, wanted_values
from kg.export.in_place.workbook import write_workbook
from kg.export.source_options import NO_OPTIONS, SourceExport
from kg.home import Home
from kg.ingest.files import SourceFile
from kg.ingest.readers.delimited import DelimitedHead
from kg.ingest.readers.json_documents import JsonReader
from kg.ingest.readers.jsonl import JsonlReader
from kg.ingest.readers.sheets import SheetReader
from kg.ingest.source_plan import MappedPlan, TablePlan, plan_again, plan_table
from kg.marks import Marking, Marks
from kg.sources import GO_ON, KeptSource, KeptSources
from schema.errors import DataError, UsageError
from schema.files import atomic_file, atomic_folder
from schema.progress import ProgressCallback, no_progress

SOURCE_FORMAT = "source"
"""The name of this format beside those of :data:`kg.export.formats.EXPORT_FORMATS`."""
WORKBOOKS = (".xlsx", ".xlsm")
TEXTS = (".csv", ".tsv", ".tab", ".txt")
WRITABLE = frozenset({*WORKBOOKS, *JsonlReader.suffixes, *JsonReader.suffixes, *TEXTS})
"""Suffixes of the formats that can be written again in their own form."""
_COPY_BYTES = 1 << 20
_WRITTEN = "delimited text, JSONL, JSON, .xlsx and .xlsm"


@dataclass
class SourceExportReport:
    """The files that were written, what was filled in, and the seconds that it took."""

    source: str
    files: list[str] = field(default_factory=list)
    filled: Filled = field(default_factory=Filled)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return {
            "format": SOURCE_FORMAT,
            "files": self.files,
            "source": self.source,
            **self.filled.as_dict(),
            "seconds": self.seconds,
            "defused": self.filled.defused,
        }


@dataclass(frozen=True)
class _FileToFill:
    """A file of a source, how it is read, and what an ingest made of it; None for a template."""

    file: SourceFile
    plan: MappedPlan
    kept: KeptSource | None = None


def export_source(
    home: Home,
    out: Path,
    options: SourceExport = NO_OPTIONS,
    progress: ProgressCallback = no_progress,
    beside: pa.Table | None = None,
    marks: Marks | None = None,
) -> SourceExportReport:
    """Write a source in its own columns, order and dialect, with values in its empty cells.

    All other bytes are those that were read. Statements ``beside`` the store, in STATEMENT_SCHEMA,
    are filled in like those that it has. With ``marks``, what is filled in is marked in columns of
    its own behind the others, which need a header. ``out`` is a file, or a folder if the source
    consists of several files. Raises UsageError if it is not clear what to write, and DataError if
    the store no longer agrees with what is kept, or that is damaged.
    """
    started = time.monotonic()
    name, files = _to_fill(home, options)
    report = SourceExportReport(name)
    with (
        home.store(read_only=True) as store,
        wanted_values(store, options.ranks, beside) as wanted,
        _targets(files, Path(out)) as targets,
    ):
        for number, (each, target) in enumerate(zip(files, targets, strict=True)):
            marking = None if marks is None else Marking(marks)
            _write(each, target.path, wanted, report.filled, options.keep_formulas, marking)
            report.files.append(str(target.out))
            progress(number + 1, len(files))
        report.filled.others += wanted.count_of_others()
    report.seconds = round(time.monotonic() - started, 3)
    return report


def export_into_folder(
    home: Home,
    folder: Path,
    sources: Sequence[str],
    progress: ProgressCallback = no_progress,
    beside: pa.Table | None = None,
    marks: Marks | None = None,
) -> list[SourceExportReport]:
    """Write sources into a folder as :func:`export_source` does, all of them or none."""
    to_fill = [_to_fill(home, SourceExport(name)) for name in sources]
    names = iter(_names([each for _, files in to_fill for each in files]))
    done = 0
    total = sum(len(files) for _, files in to_fill)
    reports = []
    with home.store(read_only=True) as store, atomic_folder(folder) as working:
        for name, files in to_fill:
            started = time.monotonic()
            report = SourceExportReport(name)
            # What rows of one source say of an item is nothing to those of another.
            with wanted_values(store, NO_OPTIONS.ranks, beside) as wanted:
                for each in files:
                    file = next(names)
                    marking = None if marks is None else Marking(marks)
                    _write(each, working / file, wanted, report.filled, False, marking)
                    report.files.append(str(folder / file))
                    done += 1
                    progress(done, total)
                report.filled.others += wanted.count_of_others()
            report.seconds = round(time.monotonic() - started, 3)
            reports.append(report)
    return reports


def _to_fill(home: Home, options: SourceExport) -> tuple[str, list[_FileToFill]]:
    """Return the name of the source to write, and its files."""
    if options.template is not None:
        files = _template(options.template, options.mapping)
        name = options.source or files[0].file.name
    elif options.mapping is not None:
        raise UsageError("--mapping says how to read a --template: name the file to fill")
    else:
        name, kept = _choose(home, options.source)
        files = [_kept_file(home, each) for each in kept]
    for each in files:
        _check_form(each.file)
    return name, files


def _choose(home: Home, source: str | None) -> tuple[str, list[KeptSource]]:
    """Return the source to write, and the files of its newest run."""
    with home.ledger() as ledger:
        undone = ledger.undone_runs()
    newest = KeptSources(home.sources).newest(undone)
    if not newest:
        raise UsageError(f"the home {home.path} keeps no source: {GO_ON}")
    names = ", ".join(sorted(newest)[:8]) + (", …" if len(newest) > 8 else "")
    if source is None:
        if len(newest) > 1:
            raise UsageError(f"the home keeps several sources ({names}): name one with --source")
        return next(iter(newest.items()))
    if source not in newest:
        raise UsageError(f"the home keeps no source {source!r} (it keeps {names}): {GO_ON}")
    return source, newest[source]


@dataclass(frozen=True)
class KeptForm:
    """A source that the home keeps, and the suffixes of its files' formats.

    ``has_names`` says that each table of it has a header, so that it can get further columns.
    """

    source: str
    suffixes: tuple[str, ...]
    has_names: bool = True

    @property
    def is_writable(self) -> bool:
        """Whether it can be written again in its own form."""
        return all(suffix in WRITABLE for suffix in self.suffixes)


def kept_form(home: Home, source: str | None) -> KeptForm | None:
    """Return the source that :func:`export_source` would write; None if the home keeps none.

    Raises what that does, before any work: if it is not clear which source, or if what is kept is
    not what the store was last filled with.
    """
    if source is None and not KeptSources(home.sources).all():
        return None
    return _form_of(home, *_choose(home, source))


def kept_forms(home: Home) -> list[KeptForm]:
    """Return all sources that the home keeps, ordered by their names; raises as kept_form."""
    with home.ledger() as ledger:
        undone = ledger.undone_runs()
    newest = KeptSources(home.sources).newest(undone)
    return [_form_of(home, name, kept) for name, kept in sorted(newest.items())]


def _form_of(home: Home, name: str, kept: Sequence[KeptSource]) -> KeptForm:
    form = KeptForm(name, tuple(each.file.suffix for each in kept))
    if not form.is_writable:
        return form
    plans = [_kept_file(home, each).plan for each in kept]
    has_names = all(not isinstance(plan, TablePlan) or plan.source.head.header for plan in plans)
    return replace(form, has_names=has_names)


def _kept_file(home: Home, kept: KeptSource) -> _FileToFill:
    """Return a file that is kept, if it is what the store was last filled with."""
    kept.check()
    with home.ledger() as ledger:
        newer = ledger.newer_ingest(kept.source, kept.location, kept.run)
    if newer is not None:
        raise DataError(
            f"what was last read of {kept.source} (run {newer}) is not kept, only what run "
            f"{kept.run} read: {GO_ON}"
        )
    _check_form(kept.file)
    plan = plan_again(kept.file, kept.load_mapping())
    reading = plan.source.reading(plan.mapping)
    for name in ("dialect", "records", "columns"):
        if name in kept.reading and kept.reading[name] != reading.get(name):
            raise DataError(
                f"{kept.source} is no longer read as it was by run {kept.run} (other {name}): "
                f"{GO_ON}"
            )
    return _FileToFill(kept.file, plan, kept)


def _template(path: Path, mapping: str | None) -> list[_FileToFill]:
    plan = plan_table(path, mapping)
    return [_FileToFill(plan.source.file, plan)]


def _check_form(file: SourceFile) -> None:
    """Raise UsageError if files of a form cannot be written again."""
    if file.suffix not in WRITABLE:
        raise UsageError(
            f"{file.name} is a {file.suffix} file, which cannot be written again in its own form "
            f"(that can be {_WRITTEN}): use --format csv --wide"
        )


@dataclass(frozen=True)
class _Target:
    """Where a file is written, and where it is afterwards."""

    path: Path
    out: Path


@contextmanager
def _targets(files: Sequence[_FileToFill], out: Path) -> Iterator[list[_Target]]:
    """Yield where each file is written; all of them are moved to ``out`` together."""
    if len(files) == 1:
        with atomic_file(out) as path:
            yield [_Target(path, out)]
        return
    if out.is_file():
        raise UsageError(
            f"{out} is a file, and the source has {len(files)} files: name a folder to write into"
        )
    with atomic_folder(out) as folder:
        yield [_Target(folder / name, out / name) for name in _names(files)]


def _names(files: Sequence[_FileToFill]) -> list[str]:
    """Return a name for each file, no two of which are the same."""
    names: dict[str, None] = {}
    for each in files:
        # An archive's member is a file of its own now.
        name = each.file.name.replace("\\", "/").rpartition("/")[2] or "source"
        path = Path(name)
        number = 2
        while name in names:
            name = f"{path.stem}-{number}{path.suffix}"
            number += 1
        names[name] = None
    return list(names)


def _write(
    source: _FileToFill,
    path: Path,
    wanted: WantedValues,
    filled: Filled,
    keep_formulas: bool,
    marking: Marking | None,
) -> None:
    """Write a file; raises DataError if an ingest would read it otherwise than it should."""
    before = filled.filled.total()
    with comparison() as compared:
        if not wanted.count:
            _copy(source.file, path)
            return
        with source.file.open() as stream, opened_output(path) as target:
            written = _filled(source, stream, target, wanted, filled, keep_formulas, marking)
            for statements in written:
                compared.expect(statements)
        if filled.filled.total() == before:
            return
        file = replace(SourceFile.of(path), name=source.file.name, suffix=source.file.suffix)
        marked = () if marking is None else marking.names
        again = plan_again(file, source.plan.mapping.with_ignored(marked))
        assembler = again.assembler(NOWHERE)
        for rows, batch in again.row_batches():
            compared.find(assembler.assemble_rows(rows, batch).statements)
        if differences := compared.differences():
            raise DataError(
                f"{source.file.name}: an ingest of the filled file would differ in "
                f"{differences:,} statements, so it is not written: "
                f"{'leave out --mark' if marked else 'use --format csv --wide'}, and report this"
            )


def _filled(
    source: _FileToFill,
    stream: BinaryIO,
    target: BinaryIO,
    wanted: WantedValues,
    filled: Filled,
    keep_formulas: bool,
    marking: Marking | None,
) -> Iterator[pa.Table]:
    """Write a file with what is filled in; yield the ids of the statements that it then has."""
    plan = source.plan
    reader = plan.source.reader
    if not isinstance(plan, TablePlan):
        yield from write_records(plan, stream, target, wanted, filled, marking)
        return
    if isinstance(reader, SheetReader):
        file = source.file
        yield from write_workbook(plan, file, target, wanted, filled, keep_formulas, marking)
        return
    writer = DelimitedWriter(cast(DelimitedHead, plan.source.head).detected, filled, keep_formulas)
    filler = TableFiller(plan, wanted, filled, writer.fault)
    batches = filler.filled_batches(lambda: plan.source.batches(plan.mapping, plan.batch_rows))
    if marking is None:
        written = writer.write(stream, target, batches)
    else:
        written = writer.write_marked(stream, target, batches, marking)
    for batch in written:
        yield batch.statements


def _copy(file: SourceFile, path: Path) -> None:
    with file.open() as stream, opened_output(path) as target:
        shutil.copyfileobj(stream, target, _COPY_BYTES)


@contextmanager
def opened_output(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, compressed if its name says so."""
    from backports import zstd

    match path.suffix.lower():
        case ".gz":
            # Without a time and a name, so that equal content is equal.
            with (
                path.open("wb") as raw,
                gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
            ):
                yield cast(BinaryIO, packed)
        case ".zst":
            with zstd.ZstdFile(path, "wb") as stream:
                yield cast(BinaryIO, stream)
        case _:
            with path.open("wb") as stream:
                yield stream
