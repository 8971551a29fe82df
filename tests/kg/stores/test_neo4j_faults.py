"""What goes wrong between us and a Neo4j server: one line within its time, and never the password."""

import logging
import threading
import time

import pytest
from keyring.errors import KeyringLocked, NoKeyringError

from cli import main
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.errors import CatalographError, StoreError, UsageError
from tests.contracts.store_contract import fact
from tests.faulty import cutting, hanging
from tests.kg.stores.killing import outlived
from tests.servers import Neo4jServer, emptied, free_port

SECRET = "hush-hush"


@pytest.fixture
def impatient(monkeypatch):
    """Limits of two seconds, and a password that must not be seen."""
    monkeypatch.setenv("NEO4J_PASSWORD", SECRET)
    for name in ("CONNECT", "ACQUIRE", "RETRY"):
        monkeypatch.setenv(f"CATALOGRAPH_NEO4J_{name}", "2")


def failure(url, caplog, within=8.0):
    """The one line that opening a store ends with."""
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        open_store(url, read_only=True)
    assert time.monotonic() - began < within
    said = str(caught.value)
    assert SECRET not in said + repr(caught.value) + caplog.text
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    "url", ["bolt://127.0.0.1:1", "neo4j://127.0.0.1:1", "bolt://nowhere.invalid"]
)
def test_a_server_that_is_not_there_is_one_line(impatient, caplog, url):
    assert url in failure(url, caplog)


@pytest.mark.parametrize("scheme", ["bolt", "neo4j", "bolt+s"])
def test_a_server_that_never_answers_is_given_up(impatient, caplog, scheme):
    with hanging() as port:
        assert "no Neo4j answers" in failure(f"{scheme}://127.0.0.1:{port}", caplog)


def test_a_wrong_password_is_one_line_and_is_not_shown(neo4j, impatient, caplog):
    assert "refused the user neo4j" in failure(neo4j.url, caplog)


def test_a_database_that_is_not_there_is_named(neo4j):
    with pytest.raises(StoreError, match="no database 'nosuch'"):
        open_store(f"{neo4j.url}/nosuch")


def test_an_old_server_is_told_to_be_upgraded(neo4j, monkeypatch):
    monkeypatch.setattr("neo4j.api.ServerInfo.agent", property(lambda self: "Neo4j/4.4.2"))
    with pytest.raises(StoreError, match=r"Neo4j/4\.4\.2, older than 5\.7: upgrade"):
        open_store(neo4j.url)


@pytest.mark.parametrize("size", [3, 20, 100])
def test_a_line_that_is_cut_while_shaking_hands_is_one_line(neo4j, monkeypatch, caplog, size):
    with cutting(int(neo4j.url.rpartition(":")[2]), size) as (port, _):
        failure(f"bolt://127.0.0.1:{port}", caplog)


def test_a_line_that_is_cut_in_the_middle_of_an_answer_is_one_line(neo4j, monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_RETRY", "2")
    with open_store(emptied(neo4j.url)) as store:
        store.put(
            None, statements_table([fact(str(number), value="x" * 200) for number in range(400)])
        )
    with (
        cutting(int(neo4j.url.rpartition(":")[2]), 20_000) as (port, _),
        open_store(f"bolt://127.0.0.1:{port}", read_only=True) as store,
    ):
        for ask in (
            lambda: list(store.scan()),
            lambda: store.query("MATCH (i:Item)-[h:HAS]->(v:Value) RETURN i.id, h.id, v.text"),
        ):
            with pytest.raises(StoreError, match="no Neo4j answers") as caught:
                ask()
            assert "\n" not in str(caught.value)


def test_a_cut_line_is_taken_up_again_by_a_put(neo4j, monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_RETRY", "30")
    emptied(neo4j.url)
    with (
        cutting(int(neo4j.url.rpartition(":")[2]), 10_000_000) as (port, sizes),
        open_store(f"bolt://127.0.0.1:{port}") as store,
    ):
        sizes[0] = 1
        # The connection that is open is cut by its next answer; those that follow are whole.
        threading.Timer(1.5, lambda: sizes.__setitem__(0, 10_000_000)).start()
        report = store.put(None, statements_table([fact(str(number)) for number in range(50)]))
        assert (report.new_items, report.new_statements) == (50, 50)
    with open_store(neo4j.url, read_only=True) as store:
        assert store.counts().statements == 50


@pytest.mark.parametrize(
    "arguments", [["stats"], ["stats", "-v"], ["init"], ["cypher", "RETURN 1"]], ids=" ".join
)
def test_the_command_says_one_line_and_shows_no_password(
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


def test_limits_that_are_no_numbers_are_named(monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", SECRET)
    monkeypatch.setenv("CATALOGRAPH_NEO4J_CONNECT", "soon")
    with pytest.raises(UsageError, match="CATALOGRAPH_NEO4J_CONNECT='soon'"):
        open_store("bolt://127.0.0.1:1")


def test_without_a_password_the_mend_is_named(monkeypatch):
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    monkeypatch.setattr("keyring.get_password", lambda service, user: None)
    with pytest.raises(CatalographError, match="keyring set catalograph neo4j@bolt://127"):
        open_store("bolt://127.0.0.1:1")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoKeyringError, "no password for neo4j"),
        (KeyringLocked, "unlock it, or set NEO4J_PASSWORD"),
    ],
)
def test_a_keyring_that_cannot_be_asked_is_one_line(monkeypatch, error, said):
    def ask(*entry):
        raise error

    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    monkeypatch.setattr("keyring.get_password", ask)
    with pytest.raises(CatalographError, match=said):
        open_store("bolt://127.0.0.1:1")


def test_the_keyring_gives_the_password(neo4j, monkeypatch):
    known = {("catalograph", f"neo4j@{neo4j.url}"): "for tests only"}
    monkeypatch.setattr("keyring.get_password", lambda *entry: known[entry])
    monkeypatch.delenv("NEO4J_PASSWORD")
    with open_store(neo4j.url, read_only=True) as store:
        assert store.url == neo4j.url


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_killed_under_a_writer_loses_and_doubles_nothing(
    neo4j, tmp_path, monkeypatch
):
    server = Neo4jServer(tmp_path)
    monkeypatch.setenv("NEO4J_PASSWORD", server.password)
    server.start()
    try:
        report = outlived(server, kills=3)
    finally:
        server.kill()
    assert (report["lost"], report["beyond"]) == (0, 0)
    assert report["statements_there"] == report["statements_expected"]
    assert report["told_whole"] == report["batches"] >= 3


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_commit_whose_answer_is_lost_is_done_once(neo4j, monkeypatch, carried_out):
    import neo4j as driver

    lost: list[bool] = []
    real = driver.Session.execute_write

    def write(session, work):
        first = not lost
        done = None if first and not carried_out else real(session, work)
        if first:
            lost.append(True)
            raise driver.exceptions.IncompleteCommit("gone")
        return done

    with open_store(emptied(neo4j.url)) as store:
        monkeypatch.setattr(driver.Session, "execute_write", write)
        report = store.put(None, statements_table([fact(), fact("b")]))
        assert (report.new_items, report.new_statements) == (2, 2)
        assert store.counts().statements == 2
