"""A Ray cluster of two nodes on this machine for tests, of which one can be killed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from kg.ray_cluster import set_environment

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
LOOK_SECONDS = 0.05
NODE_NAME = "TEST_NODE"
"""What runs on the second node finds ``second`` in this environment variable."""


class TwoNodes:
    """A head node and a second one, of one processor each."""

    def __init__(self) -> None:
        # Ray's sockets are here, whose names may not be long.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._cluster: Any = None
        self._second: Any = None
        self._before: dict[str, str | None] = {}

    @property
    def address(self) -> str:
        """The address of the head node."""
        return str(self._cluster.address)

    def start(self) -> None:
        """Start both nodes."""
        settings = {
            # A machine whose memory others use is no reason to kill our workers.
            "RAY_memory_monitor_refresh_ms": "0",
            # Where Ray leaves the address of the machine's newest cluster, in a folder "ray".
            "RAY_TMPDIR": str(self.folder),
            # Otherwise workers hardly get a processor on a machine that does other work.
            "RAY_worker_niceness": "0",
            # Told by the head node only after so long that a node is gone that was killed.
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_timeout_ms": "2000",
        }
        (self.folder / "ray").mkdir()
        self._set(settings)
        set_environment()
        # It logs that this cluster is now the machine's newest one.
        logging.getLogger("ray").setLevel(logging.ERROR)
        from ray.cluster_utils import Cluster

        # Ray notes here which cluster was started last.
        (Path(tempfile.gettempdir()) / "ray").mkdir(exist_ok=True)
        head = {**NODE, "temp_dir": str(self.folder)}
        with _sigterm_as_before():
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.add_second()

    def add_second(self) -> None:
        """Start the second node, unless it runs.

        A thread may do so while a test runs in a folder that outlives the cluster.
        """
        if self._second is not None:
            return
        # Only the main thread may set up how Ray handles signals for a node.
        main = threading.current_thread() is threading.main_thread()
        self._cluster._shutdown_at_exit = main
        # Its workers are in the same folder, which a test may remove: MKL would not start there.
        with chdir(self.folder) if main else nullcontext(), _sigterm_as_before():
            self._second = self._cluster.add_node(**NODE, env_vars={NODE_NAME: "second"})
        self._cluster.wait_for_nodes()

    def kill_second(self) -> None:
        """Kill the second node with all that it runs, as if its plug were pulled."""
        second = self._second
        self._second = None
        if second is not None:
            self._cluster.remove_node(second, allow_graceful=False)

    @contextmanager
    def second_killed_when(self, event: Callable[[], bool]) -> Iterator[threading.Event]:
        """Kill the second node as soon as ``event`` is true; the result tells whether it was.

        An event is something that the work itself has done, such as a file that it has written.
        The node is there again after the ``with`` block.
        """
        killed = threading.Event()
        over = threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_SECONDS):
                if event():
                    self.kill_second()
                    killed.set()
                    return

        watcher = threading.Thread(target=watch, name="killer", daemon=True)
        watcher.start()
        try:
            yield killed
        finally:
            over.set()
            watcher.join()
            self.add_second()

    def stop(self) -> None:
        """Stop all nodes, and remove what they have written."""
        import ray

        ray.shutdown()
        self._cluster.shutdown()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """Return the processes of the cluster that run, but for its workers."""
        running = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if str(self.folder).encode() in path.read_bytes():
                    running.append(int(path.parent.name))
        return running

    def _set(self, settings: dict[str, str]) -> None:
        for name, value in settings.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value


@contextmanager
def _sigterm_as_before() -> Iterator[None]:
    """Put back what handles SIGTERM, since Ray ends its nodes there, in forked processes too."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)
