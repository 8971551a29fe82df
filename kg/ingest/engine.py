"""What reads the files of an ingest: this process, or the nodes of a cluster together with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from kg.ingest.assemble import AssembledBatch, Origin
from kg.ingest.source_plan import SourcePlan


class IngestEngine(ABC):
    """Makes items and statements of the files of an ingest, which are read one after another."""

    @abstractmethod
    def expect(self, files: Sequence[tuple[SourcePlan, Origin]]) -> None:
        """Take note of files that will be read, in their order, and may be read ahead."""

    @abstractmethod
    def batches(self, plan: SourcePlan, origin: Origin) -> Iterator[AssembledBatch]:
        """Read a file by its plan, and assemble its items and statements batch by batch.

        Raises what the plan does when it reads the file.
        """

    def notes(self) -> Sequence[str]:
        """Return what there is to say of how the files were read."""
        return ()


class LocalEngine(IngestEngine):
    """Reads all files in this process."""

    def expect(self, files: Sequence[tuple[SourcePlan, Origin]]) -> None:
        """Read nothing ahead."""

    def batches(self, plan: SourcePlan, origin: Origin) -> Iterator[AssembledBatch]:
        """Read a file by its plan."""
        return plan.assembled_batches(origin)
