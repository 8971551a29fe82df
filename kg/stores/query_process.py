"""A process that answers users' queries, and is killed when one exceeds a limit.

A query may want all memory, never end, or end its process by a fault of the library that answers
it. So it runs in a process of its own, which :mod:`kg.stores.query_child` describes. What such a
process sends is not trusted: it is JSON, and as much as the limits allow.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.stores.protocol import QueryResult
from kg.stores.query_child import (
    HEADER,
    REASON_CHARACTERS,
    Engine,
    Kind,
    files_of,
    frame,
)
from kg.stores.query_limits import AnswerSize, Deadline, QueryLimits, size_text
from schema.errors import (
    CatalographWarning,
    QueryLimitError,
    QueryTimeoutError,
    StoreError,
)
from schema.memory import resident_bytes

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.path[:] = {paths!r}; from kg.stores.query_child import main; main()"
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "TZ")
START_SECONDS = 60.0
"""How long a process may take to start; on an idle machine it takes a tenth of a second."""
MOST_KEPT_BYTES = 512_000_000
"""A process that still has more memory than this after a query is not kept for the next one."""
READ_BYTES = 1 << 18
MOST_REASON_CHARACTERS = 500
HELD_PER_BYTE = 8
"""Bytes that an answer may take in memory for each byte that it may have as JSON."""


@dataclass(frozen=True, slots=True)
class GraphSource:
    """Where a graph is: a file or a folder.

    With ``handle``, a file that the caller keeps open, that file is read whatever becomes of the
    path: a writer may have put another one in its place.
    """

    engine: Engine
    path: Path
    handle: int | None = None

    def path_in_process(self) -> Path:
        """Return the path at which a process that inherits the handle opens the graph."""
        return self.path.resolve() if self.handle is None else Path(f"/dev/fd/{self.handle}")

    def state(self) -> list[tuple[str, int, int, int]]:
        """Return what changes when the graph's files do; what has a handle never does."""
        state = []
        if self.handle is None:
            for file in (file for each in files_of(self.path) for file in _with_content(each)):
                # A writer may delete a file that was there a moment ago.
                with suppress(FileNotFoundError):
                    stat = file.stat()
                    state.append((file.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return sorted(state)


class QueryProcess:
    """A process that answers one query at a time.

    Raises StoreError if it cannot be started, or cannot open the graph.
    """

    def __init__(self, source: GraphSource, memory_bytes: int) -> None:
        self._state = source.state()
        self._memory_bytes = memory_bytes
        self._unread = bytearray()
        self._is_ready = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _program()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                # The environment may hold passwords.
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                # Ctrl-C is for this process alone, which then ends the other.
                start_new_session=True,
                pass_fds=() if source.handle is None else (source.handle,),
            )
        except OSError as error:
            raise StoreError(
                f"no process can be started for the query ({error.strerror}): "
                "end other programs, or raise the system's limits"
            ) from None
        try:
            missing = self._start(source)
            if missing:
                warnings.warn(
                    f"this system cannot take {', '.join(missing)} from the process that answers "
                    "queries: let only people query the catalogue whom you trust with that",
                    CatalographWarning,
                    stacklevel=2,
                )
        except BaseException:
            self.end()
            raise

    def _start(self, source: GraphSource) -> list[str]:
        """Open the graph in the process; return what the system could not take from it."""
        deadline = Deadline.after(START_SECONDS)
        path = source.path
        spec = {
            "engine": source.engine,
            "path": str(source.path_in_process()),
            "memory": self._memory_bytes,
        }
        try:
            self._write(frame(Kind.REQUEST, json.dumps(spec).encode()), deadline)
            kind, data = self._read_frame(deadline, AnswerSize(QueryLimits()))
            missing = _list(data) if kind is Kind.READY else []
        except QueryTimeoutError:
            raise StoreError(
                f"the process for queries did not start within {START_SECONDS:g} s: "
                "try again when the machine is less busy"
            ) from None
        except EOFError:
            raise StoreError(
                f"the process for queries ended while it opened {path} ({self._ending()}): "
                "run `catalograph verify`"
            ) from None
        except (ValueError, RecursionError) as error:
            raise _invalid(error) from None
        if kind is not Kind.READY:
            reason = _reason(data).replace(str(source.path_in_process()), str(path))
            raise StoreError(f"no query can be answered: {reason}")
        self._is_ready = True
        return [str(each) for each in missing]

    def can_answer(self, state: object, memory_bytes: int) -> bool:
        """Return whether the process lives, and has the graph in this state and this memory."""
        return (
            self._process.poll() is None
            and self._state == state
            and self._memory_bytes == memory_bytes
        )

    def is_reusable(self) -> bool:
        """Return whether the process waits for another query, without having grown too large."""
        return self._is_ready and resident_bytes(self._process.pid) <= MOST_KEPT_BYTES

    def answer(self, request: bytes, deadline: Deadline, limits: QueryLimits) -> QueryResult:
        """Answer a query, given as a frame."""
        self._is_ready = False
        try:
            self._write(request, deadline)
            result = self._read_answer(deadline, AnswerSize(limits))
        except EOFError:
            raise self._fatal_error() from None
        except (ValueError, RecursionError) as error:
            raise _invalid(error) from None
        return result

    def end(self) -> None:
        """Kill the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _read_answer(self, deadline: Deadline, size: AnswerSize) -> QueryResult:
        """Read the answer; raises ValueError if it is not one."""
        columns: list[str] = []
        rows: list[list[Any]] = []
        while True:
            kind, data = self._read_frame(deadline, size)
            match kind:
                case Kind.COLUMNS:
                    columns = [str(each) for each in _list(data)]
                case Kind.ROWS:
                    batch = _list(data)
                    _check_rows(batch, len(columns))
                    size.add_rows(len(batch))
                    rows += batch
                case Kind.END:
                    self._is_ready = True
                    return QueryResult(columns, rows)
                case Kind.FAILED:
                    self._is_ready = True
                    reason = _reason(data)[:REASON_CHARACTERS]
                    raise StoreError(f"the query failed ({reason}): correct it")
                case Kind.OUT_OF_MEMORY:
                    raise self._memory_error()
                case _:
                    raise ValueError(f"an answer has no frame {kind}")

    def _read_frame(self, deadline: Deadline, size: AnswerSize) -> tuple[Kind, bytes]:
        """Read a frame; raises EOFError, QueryLimitError, or ValueError if it is none."""
        name, length = HEADER.unpack(self._read(HEADER.size, deadline))
        size.add_bytes(length)
        data = self._read(length, deadline)
        size.add_bytes(max(held_bytes(data) // HELD_PER_BYTE - length, 0))
        return Kind(name.decode("latin-1")), data

    def _read(self, length: int, deadline: Deadline) -> bytes:
        """Read so many bytes of what the process sends."""
        stream = self._process.stdout
        if stream is None:
            raise EOFError
        while len(self._unread) < length:
            _wait(stream.fileno(), select.POLLIN, deadline)
            data = os.read(stream.fileno(), READ_BYTES)
            if not data:
                raise EOFError
            self._unread += data
        data = bytes(self._unread[:length])
        del self._unread[:length]
        return data

    def _write(self, data: bytes, deadline: Deadline) -> None:
        """Send bytes to the process."""
        stream = self._process.stdin
        if stream is None:
            raise EOFError
        rest = memoryview(data)
        while rest:
            _wait(stream.fileno(), select.POLLOUT, deadline)
            try:
                rest = rest[os.write(stream.fileno(), rest[: select.PIPE_BUF]) :]
            except BrokenPipeError:
                raise EOFError from None

    def _fatal_error(self) -> StoreError:
        """Return the error of a query that ended its process."""
        ending = self._ending()
        # So ends a program that is refused memory and cannot go on without.
        if ending == signal.SIGABRT.name:
            return self._memory_error()
        return StoreError(f"the query ended its process ({ending}): narrow it, or nest it less")

    def _memory_error(self) -> QueryLimitError:
        return QueryLimitError(
            f"the query needs more than {size_text(self._memory_bytes)} of memory: "
            "narrow it, or raise the limit (--max-memory)"
        )

    def _ending(self) -> str:
        """Return why a process that has closed its pipes ended, in a word or two."""
        # It may have closed them without ending.
        self._process.kill()
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def held_bytes(data: bytes) -> int:
    """Return about how many bytes the values of some JSON take in memory, or more.

    Lists, dictionaries, texts and numbers take more than what is written of them: ``[],`` takes 64
    bytes. What looks like one of them within a text is counted, too.
    """
    return (
        len(data)
        + 64 * data.count(b"[")
        + 240 * data.count(b"{")
        + 32 * data.count(b'"')
        + 40 * data.count(b",")
    )


def _invalid(error: Exception) -> StoreError:
    return StoreError(
        f"the process for queries gave no valid answer ({type(error).__name__}): try again"
    )


def _program() -> str:
    # Without the folder that the program was started in, where anybody may have put a module.
    paths = [str(ROOT), *(entry for entry in sys.path if Path(entry).is_absolute())]
    return PROGRAM.format(paths=paths)


def _list(data: bytes) -> list[Any]:
    """Return a list from JSON; raises ValueError if it has anything else."""
    values = json.loads(data)
    if not isinstance(values, list):
        raise ValueError("there is no list")
    return values


def _reason(data: bytes) -> str:
    """Return why something failed, as one line that is not too long."""
    return " ".join(str(json.loads(data)).split())[:MOST_REASON_CHARACTERS]


def _check_rows(rows: list[Any], columns: int) -> None:
    """Raise ValueError unless each row is a list with a value for each column."""
    if any(not isinstance(row, list) or len(row) != columns for row in rows):
        raise ValueError("a row does not fit its columns")


def _with_content(path: Path) -> list[Path]:
    return [path, *path.iterdir()] if path.is_dir() else [path]


def _wait(file: int, event: int, deadline: Deadline) -> None:
    """Wait until a pipe can be used; raises QueryTimeoutError when the time is up."""
    deadline.check()
    poller = select.poll()
    poller.register(file, event)
    if not poller.poll(deadline.seconds_left() * 1000):
        raise deadline.error()
