"""What a process that answers queries cannot do any more, whatever made it try."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest

from kg.stores import sandbox
from kg.stores.open import open_store
from kg.stores.query_child import Engine
from kg.stores.query_limits import QueryLimits
from kg.stores.query_pool import QueryPool
from kg.stores.query_process import GraphSource
from kg.stores.tables import statements_table
from schema.errors import StoreError
from tests.contracts.rows import statement

SCHEMES = {Engine.LADYBUG: "ladybug", Engine.OXIGRAPH: "rdf"}
LIMITS = QueryLimits(memory_bytes=400_000_000)
# Arguments: an engine, its graph, a file beside it, and a port that somebody listens at.
ATTEMPTS = """
import ctypes, json, mmap, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from kg.stores import query_child
engine, graph, other, port = sys.argv[1:]
graph, other = Path(graph), Path(other)
parent = os.getppid()
opened, missing = query_child._open(query_child.Engine(engine), graph, 400_000_000)
libc = ctypes.CDLL(None, use_errno=True)
done = []

def attempt(name, action):
    try:
        action()
    except (OSError, MemoryError, ValueError) as error:
        return
    done.append(name)

def call(number, *arguments):
    if libc.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def in_thread(action):
    errors = []
    def run():
        try:
            action()
        except OSError as error:
            errors.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]

inside = graph if graph.is_file() else next(graph.iterdir())
attempt("internet socket", socket.socket)
attempt("internet socket in a thread", lambda: in_thread(socket.socket))
attempt("local socket", lambda: socket.socket(socket.AF_UNIX))
attempt("pair of sockets", socket.socketpair)
attempt("connection", lambda: socket.create_connection(("127.0.0.1", int(port))))
attempt("name look-up", lambda: socket.create_connection(("localhost", int(port))))
attempt("io_uring", lambda: call(425, 1, ctypes.create_string_buffer(200)))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("program", lambda: subprocess.run(["/bin/true"]))
attempt("execve", lambda: os.execv("/bin/true", ["true"]))
attempt("signal to the parent", lambda: os.kill(parent, 0))
attempt("signal to itself by kill", lambda: os.kill(os.getpid(), 0))
attempt("limits of the parent", lambda: __import__("resource").prlimit(parent, 7))
attempt("reading a file elsewhere", lambda: Path("/etc/passwd").read_bytes())
attempt("reading a file beside the graph", other.read_bytes)
attempt("reading a file of the parent", lambda: Path(f"/proc/{parent}/environ").read_bytes())
attempt("reading one of its own", lambda: Path("/proc/self/environ").read_bytes())
attempt("reading a file in a thread", lambda: in_thread(other.read_bytes))
attempt("listing a folder", lambda: os.listdir("/"))
attempt("listing the store", lambda: os.listdir(other.parent))
attempt("writing a file", lambda: os.open(inside, os.O_WRONLY))
attempt("writing a file at its end", lambda: os.open(inside, os.O_RDWR | os.O_APPEND))
attempt("emptying a file", lambda: os.open(inside, os.O_RDONLY | os.O_TRUNC))
attempt("making a file", lambda: os.open(graph.with_name("new"), os.O_CREAT))
attempt("making a file without a name", lambda: os.open(graph.parent, os.O_TMPFILE | os.O_RDWR))
attempt("making a folder", lambda: os.mkdir(graph.with_name("new")))
attempt("deleting a file", lambda: os.unlink(inside))
attempt("renaming a file", lambda: os.rename(inside, graph.with_name("new")))
attempt("linking a file", lambda: os.link(inside, graph.with_name("new")))
attempt("a symlink", lambda: os.symlink(inside, graph.with_name("new")))
attempt("truncating a file", lambda: os.truncate(inside, 0))
attempt("changing a file's mode", lambda: os.chmod(inside, 0o777))
attempt("changing a file's time", lambda: os.utime(inside))
attempt("changing an attribute", lambda: os.setxattr(inside, "user.x", b"x"))
attempt("making a pipe with a name", lambda: os.mkfifo(graph.with_name("new")))
attempt("memory in a file", lambda: os.memfd_create("x"))
attempt("a namespace", lambda: libc.unshare(0x10000000) and call(-1))
attempt("much memory", lambda: bytearray(500_000_000))
attempt("very much shared memory", lambda: mmap.mmap(-1, 1 << 40))
attempt("a higher limit of memory", lambda: __import__("resource").setrlimit(9, (-1, -1)))
# What it needs.
attempt("reading the graph", inside.read_bytes)
attempt("a thread", lambda: in_thread(lambda: None))
attempt("some memory", lambda: bytearray(100_000_000))
text = {"ladybug": "RETURN 1 AS one", "oxigraph": "SELECT (1 AS ?one) { }"}[engine]
attempt("a query", lambda: list(opened.answer(text, {}).rows))
print(json.dumps([missing, done]))
"""
NEEDED = {"reading the graph", "a thread", "some memory", "a query"}


class Listener:
    """A server at a port of this machine, which counts who connects and answers nobody."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                connection.close()

    def close(self):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def listener():
    found = Listener()
    yield found
    found.close()


@pytest.fixture(params=Engine)
def engine(request):
    return request.param


@pytest.fixture
def graph(engine, tmp_path):
    url = f"{SCHEMES[engine]}:{tmp_path / engine}"
    with open_store(url) as store:
        store.put(None, statements_table([statement()]))
    with open_store(url, read_only=True) as opened:
        reader: Any = opened
        return reader._graph.queries._source.path


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these guards")


@needs_linux
def test_only_what_a_query_needs_is_left(engine, graph, tmp_path, listener):
    other = graph.with_name("other")
    other.write_text("secret")
    process = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, engine, graph, other, str(listener.port)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    missing, done = json.loads(process.stdout)
    assert missing == []
    assert set(done) == NEEDED
    assert listener.connections == 0
    assert not graph.with_name("new").exists()


@pytest.mark.parametrize("engine", [Engine.OXIGRAPH], indirect=True)
def test_query_past_the_guard_reaches_no_server(graph, engine, listener):
    processes = QueryPool(GraphSource(engine, graph))
    for service in ("SERVICE", "SERVICE SILENT"):
        text = f"SELECT * {{ {service} <http://127.0.0.1:{listener.port}/> {{ ?s ?p ?o }} }}"
        with suppress(StoreError):
            processes.answer(text, {}, 10.0, LIMITS)
    processes.close()
    assert listener.connections == 0
    # The library itself would have sent it.
    from pyoxigraph import Store

    with suppress(OSError):
        text = f"SELECT * {{ SERVICE <http://127.0.0.1:{listener.port}/> {{ }} }}"
        solutions: Any = Store().query(text)
        list(solutions)
    assert listener.connections > 0


@pytest.mark.parametrize("engine", [Engine.LADYBUG], indirect=True)
def test_query_past_the_guard_reads_and_writes_no_file(graph, engine):
    other = graph.with_name("other.csv")
    other.write_text("secret,word\n")
    processes = QueryPool(GraphSource(engine, graph))
    for text in (
        f"LOAD FROM '{other}' RETURN *",
        f"LOAD FROM '{other}' (header=false) RETURN *",
        "LOAD FROM '/etc/passwd' (file_format='csv', delim=':') RETURN *",
        f"COPY (MATCH (i:Item) RETURN i.id) TO '{graph.with_name('new.csv')}'",
        f"EXPORT DATABASE '{graph.with_name('new')}'",
        f"ATTACH '{other}' AS x (dbtype lbug)",
        "CREATE (:Item {id: 'new'})",
        "INSTALL json",
        "INSTALL httpfs",
    ):
        with pytest.raises(StoreError) as caught:
            processes.answer(text, {}, 20.0, LIMITS)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert processes.answer("MATCH (i:Item) RETURN i.id", {}, 20.0, LIMITS).rows == [["a"]]
    processes.close()
    assert {path.name for path in graph.parent.iterdir()} & {"new", "new.csv"} == set()


def test_numbers_of_system_calls_are_each_refused_once():
    for column in (0, 1):
        numbers = [each[column] for each in sandbox.REFUSED_CALLS.values() if each[column]]
        assert len(numbers) == len(set(numbers)) > 60


@pytest.mark.parametrize("machine", sandbox.MACHINES.values(), ids=sandbox.MACHINES)
def test_filter_is_a_program_that_the_kernel_accepts(machine):
    code = sandbox._filter(machine)
    assert len(code) % 8 == 0
    instructions = [code[start : start + 8] for start in range(0, len(code), 8)]
    # Every jump leads to an instruction, and the last one returns.
    for number, instruction in enumerate(instructions):
        if instruction[0] & 0x07 == 0x05:
            assert number + 1 + max(instruction[2], instruction[3]) < len(instructions)
    assert instructions[-1][0] == sandbox.RETURN


ALONE = """
import socket, sys
from kg.stores import sandbox
print(sandbox.leave_network())
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
except OSError as error:
    print(type(error).__name__)
"""


@needs_linux
def test_network_of_its_own_reaches_nobody(listener):
    process = subprocess.run(
        [sys.executable, "-c", ALONE, str(listener.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    is_alone, *rest = process.stdout.split()
    if is_alone == "False":
        pytest.skip("this system allows no networks of one's own")
    assert rest == ["OSError"]
    assert listener.connections == 0


def test_other_machines_are_left_as_they_are(monkeypatch):
    class Machine:
        machine = "riscv64"

    monkeypatch.setattr("os.uname", Machine)
    assert sandbox.refuse_calls() is False
