"""Reading graphs in this process: starting one of its own takes most of a second."""

import pytest

from kg.stores import graph_remains, scan_process, verification


class ScanHere:
    """Stands in for ScanProcess; the graph must not end the process."""

    def __init__(self, open_scan, graph, task, limits=None, progress=lambda rows: None):
        self._graph = graph
        self._open_scan = open_scan
        self._task = task
        self._doing = scan_process.Doing("while it was opened")
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
            result = self._task.run(self._scan, self._tell)
            self._scan.close()
            return result

    def _tell(self, doing):
        self._doing = doing
        self._progress(doing.rows)

    def _as_reported(self):
        return Reported(self)


class Reported:
    """Raises what the child process would report."""

    def __init__(self, scan):
        self._scan = scan

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception):
            reason = " ".join(str(error).split())
            raise scan_process.GraphUnreadableError(
                self._scan._graph, reason, self._scan._doing
            ) from None


@pytest.fixture
def scans_here(monkeypatch):
    """Let graphs be read in this process."""
    for module in (scan_process, verification, graph_remains):
        monkeypatch.setattr(module, "ScanProcess", ScanHere)
