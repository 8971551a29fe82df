"""Where tests write, and the servers and the cluster that they share.

Each is started once per process, if it is installed.
"""

import gc
import os
import signal
import sys
import tempfile
from multiprocessing.util import Finalize

import pytest

from kg.stores import shared_journal
from schema import ledger
from tests.in_memory import Folder, has_room
from tests.new_ledgers import RememberedMigrations
from tests.ray_cluster import TwoNodes
from tests.servers import (
    FusekiServer,
    Neo4jServer,
    ObjectStoreServer,
    PostgresServer,
    RunningServer,
    missing_requirement,
    postgres_programs,
)

IN_MEMORY = pytest.StashKey[Folder]()


def pytest_configure(config):
    """Keep compiled code, and let tests write to memory unless TMPDIR or --basetemp says where to.

    They sync tens of thousands of small files, which on a disk takes minutes. No test can tell the
    difference: what is killed loses nothing that has been written, synced or not.
    """
    # Hundreds of processes would each compile the code anew.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    _stop_ignoring_signals()
    # The processes of xdist are started with the TMPDIR of the one that starts them.
    if os.environ.get("TMPDIR") or config.option.basetemp or not has_room():
        return
    folder = Folder()
    config.stash[IN_MEMORY] = folder
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.path)


def _stop_ignoring_signals():
    """Let processes that tests start be interrupted, also where the tests themselves are not.

    A shell has SIGINT ignored by what it starts in the background, nohup SIGHUP, and every process
    that is started by these takes that over.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Find the tests without collecting garbage, and never look through what they consist of.

    It stays until the end: twelve thousand tests, and all modules that they import.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session, exitstatus):
    """Remove what tests wrote to memory; after a failure it stays until the next run."""
    folder = session.config.stash.get(IN_MEMORY, None)
    if folder is not None and exitstatus == pytest.ExitCode.OK:
        # At the end of the process, after multiprocessing has removed what is in it (at -100).
        Finalize(None, folder.remove, exitpriority=-200)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Start the longest files first, and each server in one process only."""
    if config.option.dist != "loadfile":
        return None
    from tests.scheduling import LongestFirst

    return LongestFirst(config, log)


MIGRATIONS = RememberedMigrations(ledger._run_migrations)


@pytest.fixture(scope="module", autouse=True)
def _remembered_migrations(request):
    """Make new ledgers quickly, but where ledgers themselves are tested."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.parent.name != "schema":
            patch.setattr(ledger, "_run_migrations", MIGRATIONS)
        yield


def require_java():
    """Skip the test if servers cannot be started, or fail if they are required."""
    missing = missing_requirement()
    if missing and os.environ.get("CATALOGRAPH_TEST_SERVERS") == "required":
        pytest.fail(missing)
    if missing:
        pytest.skip(f"no server: {missing}")


def pytest_terminal_summary(terminalreporter):
    """Print one line about the servers whose tests were skipped."""
    missing = missing_requirement()
    if missing:
        terminalreporter.write_line(
            f"the tests of Neo4j, of a SPARQL server and of Spark were skipped: {missing}"
        )


@pytest.fixture(scope="session")
def neo4j(tmp_path_factory):
    """A Neo4j server whose password is in the environment.

    CATALOGRAPH_TEST_NEO4J_URL may name a running one to use instead.
    """
    url = os.environ.get("CATALOGRAPH_TEST_NEO4J_URL")
    if url:
        yield RunningServer(url)
        return
    require_java()
    with Neo4jServer(tmp_path_factory.mktemp("neo4j")) as server:
        os.environ["NEO4J_PASSWORD"] = server.password
        os.environ.pop("NEO4J_AUTH", None)  # it would take precedence
        yield server


@pytest.fixture(scope="session")
def fuseki(tmp_path_factory):
    """A SPARQL server."""
    require_java()
    with FusekiServer(tmp_path_factory.mktemp("fuseki")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server; its ``url`` is that of a new database each time."""
    if postgres_programs() is None:
        if os.environ.get("CATALOGRAPH_TEST_SERVERS") == "required":
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("no server: PostgreSQL is not installed")
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def running_ray():
    """A Ray cluster of two nodes; tests take ``ray_nodes``."""
    nodes = TwoNodes()
    nodes.start()
    yield nodes
    nodes.stop()


@pytest.fixture
def ray_nodes(running_ray, monkeypatch):
    """A Ray cluster of two nodes that RAY_ADDRESS names, of which the second can be killed."""
    monkeypatch.setenv("RAY_ADDRESS", running_ray.address)
    running_ray.add_second()
    yield running_ray
    running_ray.add_second()


@pytest.fixture
def object_store(object_store_server, monkeypatch):
    """An object store; its ``url`` is that of a new folder each time.

    Every reader asks it what is new, whatever a server in this process has asked for.
    """
    monkeypatch.setattr(shared_journal._check_age, "seconds", 0.0)
    return object_store_server


@pytest.fixture(scope="session")
def object_store_server(tmp_path_factory):
    """The server of ``object_store``. Credentials and address are in the environment."""
    with ObjectStoreServer(tmp_path_factory.mktemp("object-store")) as server:
        os.environ.update(server.environment(server.endpoint))
        yield server
