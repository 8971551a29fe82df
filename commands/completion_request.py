"""What the options of ``complete`` ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.engine import Engine, check_workers
from schema.dtypes import Dtype
from schema.errors import UsageError

TABLES = (".csv", ".tsv", ".tab", ".txt", ".xlsx", ".xlsm", ".parquet")
"""The endings of --out that make it a table, with the filled cells in place."""
RECORDS = (".json", ".jsonl", ".ndjson")
"""With --source, these do so, too; without it, such a file has a line for each cell."""
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class CompletionRequest:
    """The options of ``complete``, which are explained there.

    Attributes:
        items, properties: restrict what is completed
        cells_file: names the cells instead
        map_file: says which of the model's properties the home's are
        write_map: where to propose such a file, instead of completing
        llm: names a language model
        top_k: how many candidates of a cell are told
        target_precision: takes the place of the general one of the ontology
        out: where the completions are written
        write: whether the filled cells are written to the graph
        source: whose layout a table of ``out`` has
        mark: whether such a table gets columns of probabilities and decisions
        resume: whether the last run that was cut off goes on, with its options
        engine: where the cells are scored, of :class:`commands.engine.Engine`
        workers: how many workers of a cluster score them; None for one for each node
        dtype: what a network computes in, of :class:`schema.dtypes.Dtype`
    """

    model: str | None
    items: tuple[str, ...]
    properties: tuple[str, ...]
    cells_file: Path | None
    map_file: Path | None
    write_map: Path | None
    llm: Path | None
    top_k: int
    target_precision: float | None
    out: Path | None
    write: bool
    source: str | None = None
    mark: bool = False
    resume: bool = False
    engine: str = Engine.LOCAL
    workers: int | None = None
    dtype: str = Dtype.BF16

    @property
    def table_suffix(self) -> str | None:
        """The ending of a table of ``out``, in lower case and without that of a compression.

        It is None where ``out`` has a line for each cell.
        """
        if self.out is None:
            return None
        name = Path(self.out.name.lower())
        suffix = Path(name.stem).suffix if name.suffix in _COMPRESSED else name.suffix
        # What is no file of its own, such as a pipe, gets lines.
        is_special = self.out.is_symlink() or (self.out.exists() and not self.out.is_file())
        is_table = suffix in TABLES or (suffix in RECORDS and self.source is not None)
        return suffix if is_table and not is_special else None

    @property
    def is_folder(self) -> bool:
        """Whether ``out`` is a folder, into which all files of sources are written."""
        return self.out is not None and self.out.is_dir()

    def check(self) -> None:
        """Raise UsageError if the options do not fit together, before the model is loaded."""
        begun_elsewhere = {"engine": self.engine, "workers": self.workers}
        if self.resume and self != CompletionRequest(**_DEFAULTS | begun_elsewhere, resume=True):
            raise UsageError(
                "--resume goes on with the options of the run that was cut off: leave out others"
            )
        check_workers(self.engine, self.workers)
        if self.engine == Engine.RAY and self.llm is not None:
            raise UsageError(
                "--llm asks a service within one budget, and not from several machines: leave it "
                "out, or --engine ray"
            )
        target = self.target_precision
        if target is not None and not 0 < target < 1:
            raise UsageError(
                f"--target-precision {target} is not between 0 and 1: give a share like 0.99"
            )
        if self.cells_file is not None and (self.items or self.properties):
            raise UsageError(
                "--cells already names every cell: leave out --item and --property, or --cells"
            )
        if self.table_suffix is None and not self.is_folder:
            for option, value in (("--source", self.source), ("--mark", self.mark)):
                if value:
                    raise UsageError(
                        f"{option} is about a table: name one with --out, which ends in "
                        f"{', '.join(TABLES)}, or with --source in {', '.join(RECORDS)}, or name a "
                        "folder that exists, for all files"
                    )
        if self.out is not None and not self.out.parent.is_dir():
            raise UsageError(
                f"the folder {self.out.parent} for {self.out.name} does not exist: create it first"
            )


DEFAULT_TOP_K = 5
_DEFAULTS: dict[str, Any] = {
    "model": None,
    "items": (),
    "properties": (),
    "cells_file": None,
    "map_file": None,
    "write_map": None,
    "llm": None,
    "top_k": DEFAULT_TOP_K,
    "target_precision": None,
    "out": None,
    "write": False,
}
