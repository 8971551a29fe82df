"""Reading graphs in this process: starting one of its own takes most of a second."""

import resource

import pytest

from kg.stores import graph_remains, journaled, scan_process, verification
from schema.errors import StoreUnavailableError


class ScanHere:
    """Stands in for ScanProcess; the graph must not end the process."""

    def __init__(self, open_scan, graph, task, limits=None, progress=lambda rows: None):
        self._graph = graph
        self._open_scan = open_scan
        self._task = task
        self._activity = scan_process.Activity("while it was opened")
        self._progress = progress

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def version(self):
        with self._as_reported():
            self._scan = self._open_scan(self._graph)
            return self._scan.version()

    def result(self):
        with self._as_reported():
            result = self._task.run(self._scan, self._report)
            self._scan.close()
            return result

    def _report(self, activity):
        self._activity = activity
        self._progress(activity.rows)

    def _as_reported(self):
        return Reported(self)


class Reported:
    """Raises what the child process would report."""

    def __init__(self, scan):
        self._scan = scan

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, StoreUnavailableError):
            reason = " ".join(str(error).split())
            raise scan_process.GraphUnreadableError(
                self._scan._graph, reason, self._scan._activity
            ) from None


@pytest.fixture
def scans_here(monkeypatch):
    """Let graphs be read in this process."""
    for module in (scan_process, verification, graph_remains, journaled):
        monkeypatch.setattr(module, "ScanProcess", ScanHere)


@pytest.fixture
def no_room():
    """Let no file grow beyond 20 bytes, as if the disk of temporary files were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
