"""Servers that tests share: each is started once a process, where Java and Maven are there."""

import os

import pytest

from tests.servers import FusekiServer, Neo4jServer, RunningServer, lacks


def running(kind, folder, before=lambda server: None):
    """A started server, ``before`` called on it first; skips, or fails where servers are required, where there is no Java."""
    missing = lacks()
    if missing and os.environ.get("CATALOGRAPH_TEST_SERVERS") == "required":
        pytest.fail(missing)
    if missing:
        pytest.skip(f"no {kind.__name__}: {missing}")
    server = kind(folder)
    before(server)
    server.start()
    return server


def pytest_terminal_summary(terminalreporter):
    """One line on the servers whose tests were skipped."""
    missing = lacks()
    if missing:
        terminalreporter.write_line(
            f"the tests of Neo4j and of a SPARQL server were skipped: {missing}"
        )


@pytest.fixture(scope="session")
def neo4j(tmp_path_factory):
    """A Neo4j server whose password the environment has; CATALOGRAPH_TEST_NEO4J_URL names one that runs."""
    given = os.environ.get("CATALOGRAPH_TEST_NEO4J_URL")
    if given:
        yield RunningServer(given)
        return
    server = running(Neo4jServer, tmp_path_factory.mktemp("neo4j"))
    os.environ["NEO4J_PASSWORD"] = server.password
    yield server
    server.kill()


@pytest.fixture(scope="session")
def fuseki(tmp_path_factory):
    """A SPARQL server."""
    server = running(FusekiServer, tmp_path_factory.mktemp("fuseki"))
    yield server
    server.kill()
