"""Every error that Catalograph raises on purpose.

    CatalographError                    exit code 1: the job failed
    ├── UsageError                      exit code 2: the request itself is wrong
    │   ├── SourceNotFoundError         a file or folder does not exist
    │   ├── MappingError                a mapping is unknown, or does not fit its source
    │   ├── ItemNotFoundError           the store has no such item
    │   ├── PropertyNotFoundError       the ontology has no such property
    │   ├── HomeNotFoundError           there is no catalogue home at that path
    │   ├── QueryRefusedError           a query is outside the read-only allow-list
    │   └── SplitError                  a split file cannot be used
    ├── RejectsError                    more rows were rejected than the limit allows
    ├── DataError                       input was read but cannot be used
    │   └── FileRefusedError            a file that others name must not be read
    │       └── ImageRefusedError       an image file must not be read, or cannot be decoded
    ├── StoreError                      the graph store failed
    │   ├── StoreLockedError            another process has the store open
    │   ├── StoreDamagedError           the journal or its projection fails verification
    │   ├── StoreUnavailableError       the disk, memory or a permission refuses it for now
    │   └── QueryLimitError             a query exceeded a limit
    │       └── QueryTimeoutError       it was its time limit
    ├── ProposalConflictError           a proposal has another state by now
    ├── ModelError                      a model folder is missing, damaged or does not fit
    ├── EngineError                     a cluster does not answer, does not fit, or is gone
    └── TrainingError                   training cannot go on
        └── LostProcessError            another process of it is gone, and nobody knows why

    CatalographWarning                  a remark for the user: the job goes on

A message is one line. It names the offending value, the limit or what was expected, and how to fix
it.
"""

from __future__ import annotations

from typing import Any


class CatalographError(Exception):
    """Base class of all errors raised on purpose; the text is one line to show to a user."""

    exit_code = 1


class CatalographWarning(UserWarning):
    """A remark for the user about something that is no error; the text is one line to show."""


class UsageError(CatalographError):
    """The request itself is wrong: the command has to change, not the data."""

    exit_code = 2


class SourceNotFoundError(UsageError):
    """A file or folder that the user named does not exist."""


class MappingError(UsageError):
    """A mapping is unknown, unreadable, or does not fit its source."""


class ItemNotFoundError(UsageError):
    """The store has no such item."""


class PropertyNotFoundError(UsageError):
    """The ontology has no such property."""


class HomeNotFoundError(UsageError):
    """There is no catalogue home at that path, or it cannot be read or created."""


class QueryRefusedError(UsageError):
    """A query uses something outside the read-only allow-list."""


class SplitError(UsageError):
    """A split file is unreadable, or puts no item into the train split."""


class RejectsError(CatalographError):
    """More rows were rejected than the limit allows; ``report`` says what was ingested anyway."""

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class DataError(CatalographError):
    """Input was read but cannot be used."""


class FileRefusedError(DataError):
    """A file that a source, a store or a model names must not be read.

    Unlike that of other errors, the text lacks the file's name: it goes on after it, as in
    "is a symbolic link", so that whoever knows how the file was named can put that in front.
    """


class ImageRefusedError(FileRefusedError):
    """An image file must not be read, or cannot be decoded; the text is like that above."""


class StoreError(CatalographError):
    """The graph store failed."""


class GraphNotFoundError(StoreError):
    """There is no graph yet where a store should be."""


class StoreLockedError(StoreError):
    """Another process has the store open."""


class StoreDamagedError(StoreError):
    """The journal or its projection fails verification."""


class StoreUnavailableError(StoreError):
    """The system refuses something for now: room on the disk, memory, file handles, permission.

    It says nothing about the store's content, which is as it was.
    """


class QueryLimitError(StoreError):
    """A query exceeded a limit: of its time, its memory, or the size of its answer."""


class QueryTimeoutError(QueryLimitError):
    """A query exceeded its time limit."""


class ProposalConflictError(CatalographError):
    """A proposal has another state by now than a decision about it expects."""


class ModelError(CatalographError):
    """A model folder is missing, damaged, or does not fit."""


class EngineError(CatalographError):
    """The engine that does the work does not answer, does not fit, or is gone."""


class TrainingError(CatalographError):
    """Training cannot go on."""


class LostProcessError(TrainingError):
    """Another process of a training run is gone, and has left no reason."""
