"""The program of a process that answers users' queries on one graph, in a sandbox.

:mod:`kg.stores.query_process` starts it. It reads requests from stdin and writes answers to stdout,
in frames: a byte that says what it is, four bytes with the length of the rest, and JSON. It loads
as little as it can, because a command waits for its start: no pyarrow, and nothing that needs it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import threading
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from kg.stores import sandbox
from kg.stores.answer import OpenGraph, Rows
from schema.errors import StoreError

HEADER = struct.Struct(">cI")
BATCH_BYTES = 1 << 16
"""Bytes of rows that are sent at once."""
SPARE_SECONDS = 5.0
"""How long after its time limit a query ends its process if the parent has not done so."""
REASON_CHARACTERS = 200
NO_MEMORY = ("buffer pool is full", "bad_alloc", "allocate memory", "length_error")
"""What Ladybug and C++ say when a query needs more memory than there is."""


class Engine(StrEnum):
    """A library that answers queries."""

    LADYBUG = "ladybug"
    OXIGRAPH = "oxigraph"


class Kind(StrEnum):
    """What a frame is: its first byte."""

    READY = "="
    REQUEST = "?"
    COLUMNS = "C"
    ROWS = "R"
    END = "."
    FAILED = "F"
    OUT_OF_MEMORY = "M"


def main() -> None:
    """Answer requests until stdin ends; the first one says which graph to open."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.dup(1)
    # Libraries may print, which must not come between the frames.
    os.dup2(2, 1)
    spec = _read(requests)
    if spec is None:
        return
    try:
        graph, kept = _open(Engine(spec["engine"]), Path(spec["path"]), spec["memory"])
    except StoreError as error:
        _send(answers, Kind.FAILED, str(error))
        return
    except Exception as error:  # a library may let any through
        _send_failure(answers, error)
        return
    _send(answers, Kind.READY, kept)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while (request := _read(requests)) is not None:
            _answer(graph, request, answers)
    except MemoryError as error:  # for a request with large parameters
        _send_failure(answers, error)


def frame(kind: Kind, data: bytes = b"") -> bytes:
    """Return a frame with some JSON."""
    return HEADER.pack(kind.encode(), len(data)) + data


def _read(stream: BinaryIO) -> Any:
    """Return what the next frame holds, or None at the end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    _, size = HEADER.unpack(header)
    return json.loads(stream.read(size))


def _send(file: int, kind: Kind, content: Any) -> None:
    _write(file, frame(kind, json.dumps(content).encode()))


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _open(engine: Engine, path: Path, memory: int) -> tuple[OpenGraph, list[str]]:
    """Lock this process in and open the graph; also return what could not be taken from it.

    ``memory`` are the bytes that it may have besides those that it begins with.
    """
    # What has to be read from elsewhere comes first: the libraries, and what the kernel says of
    # this process. The graph comes last, because its threads are only locked in if they are new.
    opener = _opener(engine)
    status = sandbox.open_status()
    sandbox.limit_files()
    without_network = sandbox.refuse_calls() or sandbox.leave_network()
    without_files = sandbox.read_nothing_but(files_of(path))
    graph = opener(path, memory)
    with_limit = sandbox.limit_memory(status, memory - graph.reserved_bytes)
    taken = {
        "the network": without_network,
        "other files": without_files,
        "memory without a limit": with_limit,
    }
    return graph, [name for name, is_taken in taken.items() if not is_taken]


def _opener(engine: Engine) -> Any:
    match engine:
        case Engine.LADYBUG:
            from kg.stores.ladybug_answers import LadybugAnswers

            return LadybugAnswers
        case Engine.OXIGRAPH:
            from kg.stores.sparql import OxigraphAnswers

            return OxigraphAnswers


def files_of(path: Path) -> list[Path]:
    """Return a graph's folder, or its file and the write-ahead log beside it if there is one.

    A file that is only known by its handle has none.
    """
    log = path.with_name(f"{path.name}.wal")
    return [path, log] if log.exists() else [path]


def _end_with_parent() -> None:
    """End this process when the other end of stdin is closed, as the parent's death does too.

    A signal at the parent's death (PR_SET_PDEATHSIG) would come at the death of the thread that
    started this process.
    """
    poller = select.poll()
    poller.register(0, 0)
    poller.poll()
    os._exit(0)


def _answer(graph: OpenGraph, request: dict[str, Any], answers: int) -> None:
    """Send the answer to a request, or why there is none."""
    # In case that native code keeps Python from noticing that the parent has died.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + SPARE_SECONDS)
    try:
        answer = graph.answer(request["text"], request["params"])
        _send(answers, Kind.COLUMNS, answer.columns)
        _send_rows(answers, answer.rows)
        _write(answers, frame(Kind.END))
    except Exception as error:  # a library may let any through
        _send_failure(answers, error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _send_rows(answers: int, rows: Rows) -> None:
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode
    batch: list[bytes] = []
    size = 0
    for row in rows:
        data = encode(row).encode()
        batch.append(data)
        size += len(data)
        if size >= BATCH_BYTES:
            _write(answers, frame(Kind.ROWS, b"[%b]" % b",".join(batch)))
            batch.clear()
            size = 0
    if batch:
        _write(answers, frame(Kind.ROWS, b"[%b]" % b",".join(batch)))


def _send_failure(answers: int, error: Exception) -> None:
    text = " ".join(str(error).split())[:REASON_CHARACTERS] or type(error).__name__
    is_memory = isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY)
    _send(answers, Kind.OUT_OF_MEMORY if is_memory else Kind.FAILED, text)


def _plain(value: object) -> Any:
    """Return a value of a type that JSON does not have as a number or text."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return duration_text(value)
        case bytes():
            return value.hex()
        case UUID():
            return str(value)
    raise TypeError(f"a value of type {type(value).__name__} cannot be returned: return its parts")


def duration_text(value: timedelta) -> str:
    """Return a duration as ISO 8601 writes it, such as ``P3DT4.5S``."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    seconds = f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".")
    return f"{sign}P{value.days}DT{seconds}S"
