"""Every error that Catalograph raises on purpose.

    CatalographError                    exit code 1: the job failed
    ├── UsageError                      exit code 2: the request itself is wrong
    │   ├── SourceNotFoundError         a file or folder that is not there
    │   ├── MappingError                an unknown mapping, or one that does not fit its source
    │   ├── ItemNotFoundError           no such item in the store
    │   ├── PropertyNotFoundError       no such property in the ontology
    │   ├── HomeNotFoundError           the catalogue's home was never made
    │   ├── QueryRefusedError           a query outside the read-only allow-list
    │   └── SplitError                  a split file that cannot be used
    ├── RejectsError                    more rows were rejected than the limit allows
    ├── DataError                       input that was read but cannot be used
    ├── StoreError                      the graph store failed
    │   ├── StoreLockedError            another process has it open
    │   ├── StoreDamagedError           the journal or the projection does not verify
    │   └── QueryTimeoutError           a query ran past its time limit
    ├── ModelError                      a model folder is missing, damaged or from another ontology
    └── TrainingError                   training could not go on

A message is one line and names the value, the limit or expectation, and the mend.
"""

from __future__ import annotations

from typing import Any


class CatalographError(Exception):
    """Base of all errors raised on purpose; its text is one line fit to show a user."""

    exit_code = 1


class UsageError(CatalographError):
    """The request itself is wrong: fix the command, not the data."""

    exit_code = 2


class SourceNotFoundError(UsageError):
    """A file or folder that the user named is not there."""


class MappingError(UsageError):
    """A mapping is unknown, unreadable, or does not fit its source."""


class ItemNotFoundError(UsageError):
    """No such item in the store."""


class PropertyNotFoundError(UsageError):
    """No such property in the ontology."""


class HomeNotFoundError(UsageError):
    """The catalogue's home folder was never made."""


class QueryRefusedError(UsageError):
    """A query uses something outside the read-only allow-list."""


class SplitError(UsageError):
    """A split file is unreadable or leaves a part empty."""


class RejectsError(CatalographError):
    """More rows were rejected than the limit allows; ``report`` is what the ingest did all the same."""

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class DataError(CatalographError):
    """Input was read but cannot be used."""


class StoreError(CatalographError):
    """The graph store failed."""


class StoreLockedError(StoreError):
    """Another process has the store open."""


class StoreDamagedError(StoreError):
    """The journal or its projection does not verify."""


class QueryTimeoutError(StoreError):
    """A query ran past its time limit."""


class ModelError(CatalographError):
    """A model folder is missing, damaged, or does not fit."""


class TrainingError(CatalographError):
    """Training could not go on."""
