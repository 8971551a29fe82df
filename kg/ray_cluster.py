"""The Ray cluster that a command works on: the one that RAY_ADDRESS names, or one for the run.

Ray is imported only here and where work is given to it, and only when it is asked for. The nodes of
a cluster must run the same Catalograph as the command and see the same folder of the home, which
is checked on each of them before any work, and by each worker that starts later.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

from schema.errors import CatalographError, EngineError, UsageError
from schema.settings import shown

ADDRESS = "RAY_ADDRESS"
"""Ray's own environment variable for the address of a cluster."""
INSTALL = "pip install 'catalograph[ray]'"
CONNECT_SECONDS = 10.0
"""How long a cluster has to accept a connection."""
PROBE_SECONDS = 300.0
"""How long a node has to start a process and to answer whether it fits."""
OBJECT_STORE_BYTES = 512 * 2**20
"""The shared memory of a cluster that is started for a run, in which blocks travel."""
LONGEST_TEMPORARY = 36
"""Characters of a folder for Ray's files, whose sockets may have names of 107 bytes."""
ENDING = (signal.SIGTERM, signal.SIGHUP)
"""The signals that end a command, beside that of Ctrl-C."""
RAY_THREADS = "ray_"
"""How the names begin of the threads by which Ray prints what befalls the cluster."""
SETTINGS = {
    # Nothing is told to Ray's makers.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A call that comes after the end would start a cluster of its own.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # Workers use the interpreter of their node, also where `uv run` has started the command.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # What goes wrong is raised as well; the rest is for those who work on Ray.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Without it, Ray warns that it will treat GPUs differently some day.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
CODE = Path(__file__).absolute().parents[1]
"""The folder of Catalograph's packages."""
PACKAGES = (
    "schema",
    "kg",
    "encoders",
    "fusion",
    "experts",
    "training",
    "serving",
    "evaluation",
    "commands",
)


@dataclass(frozen=True)
class Requirement:
    """What a worker must have in common with the command that it works for.

    Attributes:
        code: the digest of Catalograph's files
        folder: a folder that all nodes share, such as the home; None if they need none
        token: a file in it, whose text is its own name
    """

    code: str
    folder: Path | None
    token: str

    def check(self) -> None:
        """Raise EngineError if this process has other code, or does not see the folder."""
        node = f"node {socket.gethostname()}"
        own = code_digest()
        if own != self.code:
            raise EngineError(
                f"{node} has another version of Catalograph in {CODE} ({own[:12]}) than this "
                f"command ({self.code[:12]}): install the same one on all nodes"
            )
        if self.folder is None:
            return
        place = self.folder / self.token
        try:
            text = place.read_text(encoding="utf-8")
        except OSError:
            text = ""
        if text != self.token:
            raise EngineError(
                f"{node} does not see the folder {self.folder}: put it on a file system that all "
                "nodes have at the same path"
            )


@dataclass(frozen=True)
class RayCluster:
    """A cluster that this process is connected to.

    Attributes:
        requirement: what a worker checks before it works
        nodes: how many nodes there were at the start
        processors: how many processors they have together
        is_own: whether the cluster was started for this run, on this machine alone
        gpus: how many GPUs it counts together
    """

    requirement: Requirement
    nodes: int
    processors: int
    is_own: bool
    gpus: int = 0


@contextmanager
def ray_cluster(folder: Path | None) -> Iterator[RayCluster]:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine for the block.

    All nodes must see ``folder``, if there is one. What fails in a worker is raised as it would be
    here. Raises UsageError if Ray is missing or the address cannot be used, and EngineError if no
    cluster answers, or if a node does not fit.
    """
    _require_ray()
    import ray

    # A program that uses Catalograph as a library may be connected already.
    connected = ray.is_initialized()
    with contextlib.ExitStack() as stack:
        if not connected:
            former = stack.enter_context(_interrupted_at_end())
            stack.enter_context(contextlib.redirect_stdout(cast(TextIO, _WithoutRay(sys.stdout))))
            _connect(stack, former)
        requirement = stack.enter_context(_shared(folder))
        nodes = check_nodes(requirement)
        processors = int(ray.cluster_resources().get("CPU", 0))
        is_own = not connected and not os.environ.get(ADDRESS)
        with errors_of_workers():
            yield RayCluster(requirement, nodes, processors, is_own, living_gpus())


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """Raise a worker's CatalographError as it is, and what befell the cluster as EngineError."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        cause = _cause(error)
        if isinstance(cause, CatalographError):
            raise cause from None
        raise EngineError(
            f"a worker of the Ray cluster failed: {_last_line(cause)} (-v shows the traceback)"
        ) from error
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"the Ray cluster does not go on: {_first_line(error)} (`ray status` says what is left "
            "of it)"
        ) from error


def check_nodes(requirement: Requirement) -> int:
    """Check on every node what a worker needs, and return the number of nodes.

    Raises EngineError if there is no node, or if one does not fit or does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, max_retries=0)(_check)
    answers = {}
    for node in living_nodes():
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        answers[probe.options(scheduling_strategy=place).remote(requirement)] = node
    _, late = ray.wait(list(answers), num_returns=len(answers), timeout=PROBE_SECONDS)
    names = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    if late:
        raise EngineError(
            f"node {names[answers[late[0]]]} of the Ray cluster does not answer within "
            f"{PROBE_SECONDS:.0f} seconds: see `ray status`, and stop Ray on that node"
        )
    for answer, node in answers.items():
        try:
            ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            cause = _cause(error)
            if isinstance(cause, EngineError):
                raise cause from None
            raise _unfit(names[node], cause) from None
        except ray.exceptions.RayError as error:
            # A node that has gone does no harm.
            if node in living_nodes():
                raise _unfit(names[node], error) from None
    living = living_nodes()
    if not living:
        raise EngineError("the Ray cluster has no node: start one with `ray start`")
    return len(living)


@functools.cache
def code_digest() -> str:
    """Return a digest of the files of Catalograph's packages, in hexadecimal."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((CODE / package).rglob("*")):
            if path.suffix in (".py", ".toml", ".ttl"):
                digest.update(f"{path.relative_to(CODE)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def set_environment() -> None:
    """Set what Ray reads when it is imported, unless the user has."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def quiet_data() -> None:
    """Let Ray Data draw no bars and log nothing: what goes wrong is raised."""
    # It warns of what it uses itself.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _check(requirement: Requirement) -> None:
    """Run on a node: see :meth:`Requirement.check`."""
    requirement.check()


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise UsageError(f"--engine ray needs Ray, which is not installed: {INSTALL}")
    set_environment()


def _connect(stack: contextlib.ExitStack, former: Mapping[signal.Signals, Any]) -> None:
    """Connect to a cluster or start one; the ``stack`` undoes that.

    ``former`` is what handled the signals by which a command ends, of which Ray takes one over.
    """
    import ray

    address = os.environ.get(ADDRESS, "").strip()
    options: dict[str, Any] = {"address": address}
    if address:
        _check_address(address)
    else:
        temporary = _temporary_folder()
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        options = {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(temporary),
            # Ray's own default is 15: on a busy machine, workers would hardly get a processor.
            "_system_config": {"worker_niceness": 0},
        }
    stack.callback(_disconnect)
    try:
        # Ray puts the current folder first in the workers' sys.path: they are to find Catalograph's
        # packages there, and not those of the same name that a user's folder may have.
        with contextlib.chdir(CODE), _ends_left_to_command():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            _interrupt_at(former)
    except Exception as error:
        # Of no class of its own where a busy machine takes too long to start its processes.
        if address:
            raise EngineError(
                f"{ADDRESS}={address}: {_first_line(error)}: run the command on a node of a "
                "cluster of the same versions of Python and Ray, and with RAY_AUTH_MODE=token if "
                "the cluster asks for a token"
            ) from error
        raise EngineError(f"Ray does not start on this machine: {_first_line(error)}") from error


@contextmanager
def _ends_left_to_command() -> Iterator[None]:
    """Let the processes that are started in the block not take part in what ends the command.

    A terminal that closes, ``kill`` of a process group and systemd send their signals to all of
    them. The command ends the cluster itself, when it has saved what there is to save. Ray deals
    with SIGINT in this way.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _disconnect() -> None:
    """End the connection, and the cluster if it was started for the run."""
    import ray

    # What Ray has not printed yet it prints now, from this thread.
    with contextlib.redirect_stdout(sys.stderr):
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise UsageError or EngineError if no cluster can be at an address.

    Ray itself waits for minutes before it ends the process.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UsageError(
            f"{ADDRESS}={shown(address)} is no HOST:PORT such as 10.0.0.1:6379: name the cluster's "
            "head node, and run the command on one of its nodes"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"no Ray cluster answers at {ADDRESS}={address} ({error}): start one with "
            "`ray start --head`, or unset the variable to have one started for the run"
        ) from None


@contextmanager
def _shared(folder: Path | None) -> Iterator[Requirement]:
    """Leave a file in a folder, by which nodes see that theirs is the same."""
    if folder is None:
        yield Requirement(code_digest(), None, "")
        return
    token = f".shared-{secrets.token_hex(8)}"
    place = folder / token
    place.write_text(token, encoding="utf-8")
    try:
        yield Requirement(code_digest(), folder, token)
    finally:
        place.unlink(missing_ok=True)


def living_nodes(*, working: bool = False) -> list[str]:
    """Return the ids of the nodes that are there, or of those of them that have a processor."""
    import ray

    return [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and (node["Resources"].get("CPU", 0) > 0 or not working)
    ]


def living_gpus() -> int:
    """Return how many GPUs the nodes count together that are there."""
    import ray

    return sum(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"])


def _temporary_folder() -> Path:
    """Make a folder for the files of a cluster, by a short name."""
    usual = tempfile.gettempdir()
    parent = usual if len(usual) <= LONGEST_TEMPORARY - len("/ray-12345678") else "/tmp"
    return Path(tempfile.mkdtemp(prefix="ray-", dir=parent))


class _WithoutRay:
    """Standard output without what Ray prints on it of lost nodes, which goes to stderr."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text to where it belongs."""
        by_ray = threading.current_thread().name.startswith(RAY_THREADS)
        return (sys.stderr if by_ray else self._stream).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _interrupted_at_end() -> Iterator[Mapping[signal.Signals, Any]]:
    """Let the signals by which a command ends interrupt the block; return what handled them before.

    Otherwise what is scored would not be kept, and files of the run would stay.
    """
    former: dict[signal.Signals, Any] = {}
    # Other threads may not set handlers, and what is not Python's could not be put back.
    if threading.current_thread() is threading.main_thread():
        handlers = {each: signal.getsignal(each) for each in ENDING}
        former = {each: handler for each, handler in handlers.items() if handler is not None}
    _interrupt_at(former)
    try:
        yield former
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt_at(former: Mapping[signal.Signals, Any]) -> None:
    """Let signals do what Ctrl-C does, unless they are ignored.

    Each of them does so once: a closed terminal may send its signal twice.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number, handler in former.items():
        signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else interrupt)


def _unfit(node: str, error: BaseException) -> EngineError:
    return EngineError(
        f"node {node} of the Ray cluster cannot run this Catalograph ({_last_line(error)}): "
        "install the same one on all nodes"
    )


def _cause(error: Any) -> BaseException:
    """Return what a worker raised, without what Ray has put around it."""
    cause = error.cause
    return cause if isinstance(cause, BaseException) else error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
