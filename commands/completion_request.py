"""What the options of ``complete`` ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schema.errors import UsageError


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

    def check(self) -> None:
        """Raise UsageError if the options do not fit together, before the model is loaded."""
        target = self.target_precision
        if target is not None and not 0 < target < 1:
            raise UsageError(
                f"--target-precision {target} is not between 0 and 1: give a share like 0.99"
            )
        if self.cells_file is not None and (self.items or self.properties):
            raise UsageError(
                "--cells already names every cell: leave out --item and --property, or --cells"
            )
        if self.out is not None and not self.out.parent.is_dir():
            raise UsageError(
                f"the folder {self.out.parent} for {self.out.name} does not exist: create it first"
            )
