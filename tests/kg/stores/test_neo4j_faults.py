"""Failures of a Neo4j server: each gives one line, in time, and never shows the password."""

import logging
import threading
import time

import pytest

from cli import main
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.errors import StoreError
from tests.contracts.rows import statement
from tests.faulty import cutting_proxy, hanging_server
from tests.kg.stores.killing import kill_repeatedly
from tests.servers import Neo4jServer, emptied, free_port

SECRET = "hush-hush"


@pytest.fixture
def impatient(monkeypatch):
    """Limits of two seconds, and a password that must not be shown."""
    monkeypatch.delenv("NEO4J_AUTH", raising=False)
    monkeypatch.setenv("NEO4J_PASSWORD", SECRET)
    for name in ("CONNECT", "ACQUIRE", "RETRY"):
        monkeypatch.setenv(f"CATALOGRAPH_NEO4J_{name}", "2")


def error_message(url, caplog, within=25.0):
    """Return the one line that opening a store fails with."""
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        open_store(url, read_only=True)
    assert time.monotonic() - began < within
    message = str(caught.value)
    assert SECRET not in message + repr(caught.value) + caplog.text
    assert "\n" not in message
    return message


def port_of(server):
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize(
    "url", ["bolt://127.0.0.1:1", "neo4j://127.0.0.1:1", "bolt://nowhere.invalid"]
)
def test_missing_server_is_reported(impatient, caplog, url):
    message = error_message(url, caplog)
    assert f"no Neo4j answers at {url}" in message


@pytest.mark.parametrize("scheme", ["bolt", "neo4j", "bolt+s"])
def test_hanging_server_is_given_up(impatient, caplog, scheme):
    with hanging_server() as port:
        assert "no Neo4j answers" in error_message(f"{scheme}://127.0.0.1:{port}", caplog)


def test_wrong_password_is_reported_and_not_shown(neo4j, impatient, caplog):
    assert "refused the user neo4j" in error_message(neo4j.url, caplog)


def test_missing_database_is_named(neo4j):
    with pytest.raises(StoreError, match="no database 'nosuch'"):
        open_store(f"{neo4j.url}/nosuch")


def test_old_server_is_refused(neo4j, monkeypatch):
    monkeypatch.setattr("neo4j.api.ServerInfo.agent", property(lambda self: "Neo4j/4.4.2"))
    with pytest.raises(StoreError, match=r"Neo4j/4\.4\.2, older than 5\.7: upgrade"):
        open_store(neo4j.url)


@pytest.mark.parametrize("allowed_bytes", [3, 20, 100])
def test_connection_cut_in_the_handshake_gives_one_line(neo4j, caplog, allowed_bytes):
    with cutting_proxy(port_of(neo4j), allowed_bytes) as proxy:
        error_message(f"bolt://127.0.0.1:{proxy.port}", caplog)


def test_connection_cut_in_the_middle_of_an_answer_gives_one_line(neo4j, monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_RETRY", "2")
    rows = [statement(str(number), value="x" * 200) for number in range(400)]
    with open_store(emptied(neo4j.url)) as store:
        store.put(None, statements_table(rows))
    with (
        cutting_proxy(port_of(neo4j), 20_000) as proxy,
        open_store(f"bolt://127.0.0.1:{proxy.port}", read_only=True) as store,
    ):
        for read in (
            lambda: list(store.scan()),
            lambda: store.query("MATCH (i:Item)-[h:HAS]->(v:Value) RETURN i.id, h.id, v.text"),
        ):
            with pytest.raises(StoreError, match="no Neo4j answers") as caught:
                read()
            assert "\n" not in str(caught.value)


def test_put_is_repeated_after_its_connection_was_cut(neo4j, monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_RETRY", "30")
    emptied(neo4j.url)
    with (
        cutting_proxy(port_of(neo4j), 10_000_000) as proxy,
        open_store(f"bolt://127.0.0.1:{proxy.port}") as store,
    ):
        # The next answer cuts the open connection; later connections are not cut.
        proxy.allowed_bytes = 1
        threading.Timer(1.5, setattr, (proxy, "allowed_bytes", 10_000_000)).start()
        rows = [statement(str(number)) for number in range(50)]
        report = store.put(None, statements_table(rows))
        assert (report.new_items, report.new_statements) == (50, 50)
    with open_store(neo4j.url, read_only=True) as store:
        assert store.counts().statements == 50


@pytest.mark.parametrize(
    "arguments", [["stats"], ["stats", "-v"], ["init"], ["cypher", "RETURN 1"]], ids=" ".join
)
def test_commands_print_one_line_and_no_password(
    impatient, capfd, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    main(["init"])
    capfd.readouterr()
    url = f"bolt://127.0.0.1:{free_port()}"
    assert main([*arguments, "--store", url]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert SECRET not in err
    assert err.splitlines()[-1].startswith("error: no Neo4j answers")
    assert "-v" in arguments or len(err.splitlines()) == 1


def test_keyring_gives_the_password(neo4j, monkeypatch):
    entries = {("catalograph", f"neo4j@{neo4j.url}"): Neo4jServer.password}
    monkeypatch.setattr("keyring.get_password", lambda *entry: entries[entry])
    monkeypatch.delenv("NEO4J_PASSWORD")
    with open_store(neo4j.url, read_only=True) as store:
        assert store.url == neo4j.url


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_server_loses_and_duplicates_nothing(neo4j):
    if not isinstance(neo4j, Neo4jServer):
        pytest.skip("CATALOGRAPH_TEST_NEO4J_URL names a server of somebody else's")
    # The other tests' own, which takes them no harm: to start one more takes a quarter of a minute.
    emptied(neo4j.url)
    report = kill_repeatedly(neo4j, kills=1)
    assert (report["lost"], report["beyond"]) == (0, 0)
    assert report["statements_there"] == report["statements_expected"]
    assert report["told_whole"] == report["batches"] >= 1


@pytest.mark.parametrize("carried_out", [True, False])
def test_commit_whose_answer_is_lost_is_carried_out_once(neo4j, monkeypatch, carried_out):
    import neo4j as driver

    calls: list[bool] = []
    execute_write = driver.Session.execute_write

    def lose_the_first_answer(session, work):
        is_first = not calls
        calls.append(is_first)
        result = execute_write(session, work) if carried_out or not is_first else None
        if is_first:
            raise driver.exceptions.IncompleteCommit("gone")
        return result

    with open_store(emptied(neo4j.url)) as store:
        monkeypatch.setattr(driver.Session, "execute_write", lose_the_first_answer)
        report = store.put(None, statements_table([statement(), statement("b")]))
        assert (report.new_items, report.new_statements) == (2, 2)
        assert store.counts().statements == 2
