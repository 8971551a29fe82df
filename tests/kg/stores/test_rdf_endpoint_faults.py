"""What goes wrong between us and a SPARQL endpoint: one line within its time, and never the password."""

import logging
import time

import pytest

from cli import main
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.errors import StoreError, UsageError
from tests.contracts.store_contract import fact
from tests.faulty import answering, cutting, hanging
from tests.servers import emptied

SECRET = "hush-hush"
YES = b'{"head": {}, "boolean": true}'
JSON = "application/sparql-results+json"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """A limit of two seconds, and a password that must not be seen."""
    monkeypatch.setenv("CATALOGRAPH_SPARQL_USERNAME", "me")
    monkeypatch.setenv("CATALOGRAPH_SPARQL_PASSWORD", SECRET)
    monkeypatch.setattr("kg.stores.sparql_protocol.CONNECT", 2.0)


def failure(url, caplog, within=8.0):
    """The one line that opening a store ends with."""
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert time.monotonic() - began < within
    said = str(caught.value)
    assert SECRET not in said + repr(caught.value) + caplog.text
    assert "\n" not in said
    return said


@pytest.mark.parametrize("url", ["rdf+http://127.0.0.1:1/ds", "rdf+http://nowhere.invalid/ds"])
def test_an_endpoint_that_is_not_there_is_one_line(caplog, url):
    assert "no SPARQL endpoint answers" in failure(url, caplog)


def test_an_endpoint_that_never_answers_is_given_up(caplog):
    with hanging() as port:
        assert "did not answer within 2 s" in failure(f"rdf+http://127.0.0.1:{port}/ds", caplog)


ANSWERS = {
    "refused us": (401, "text/plain", b"who are you?"),
    "answered 500": (500, "text/html", b"<html>\n<h1>Ouch</h1>\n</html>"),
    "answered 302": (302, "text/plain", b""),
    "answered text/html instead": (200, "text/html", b"<html>Welcome to our shop</html>"),
    "broke off its answer": (200, JSON, YES[:-9]),
    "gave none": (200, JSON, b"<html>"),
}


@pytest.mark.parametrize("said", ANSWERS)
def test_an_answer_that_is_none_is_one_line(caplog, said):
    with answering(*ANSWERS[said]) as port:
        assert said in failure(f"rdf+http://127.0.0.1:{port}/ds", caplog)


@pytest.mark.parametrize("size", [0, 20, 100])
def test_a_line_that_is_cut_at_once_is_one_line(fuseki, caplog, size):
    with cutting(int(fuseki.url.rpartition(":")[2].partition("/")[0]), size) as (port, _):
        failure(f"rdf+http://127.0.0.1:{port}/ds", caplog)


def test_a_line_that_is_cut_in_the_middle_of_an_answer_is_one_line(fuseki):
    with open_store(emptied(fuseki.url)) as store:
        store.put(
            None, statements_table([fact(str(number), value="x" * 200) for number in range(500)])
        )
    with cutting(int(fuseki.url.rpartition(":")[2].partition("/")[0]), 20_000) as (port, _):
        for ask in (
            lambda store: list(store.scan()),
            lambda store: store.sparql("SELECT * { ?s ?p ?o }"),
        ):
            with (
                open_store(f"rdf+http://127.0.0.1:{port}/ds") as store,
                pytest.raises(StoreError, match=r"broke off|no SPARQL") as caught,
            ):
                ask(store)
            assert "\n" not in str(caught.value)


def test_an_answer_that_trickles_is_ended(caplog):
    with answering(200, JSON, YES, pause=0.5) as port:
        assert "did not answer within 2 s" in failure(f"rdf+http://127.0.0.1:{port}/ds", caplog)


@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_the_command_says_one_line_and_shows_no_password(capfd, tmp_path, monkeypatch, verbose):
    monkeypatch.chdir(tmp_path)
    main(["init"])
    capfd.readouterr()
    with answering(401, "text/plain", b"no") as port:
        assert main(["stats", *verbose, "--store", f"rdf+http://127.0.0.1:{port}/ds"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert SECRET not in err
    assert "CATALOGRAPH_SPARQL_PASSWORD" in err.splitlines()[-1]


def test_a_password_in_the_address_for_updates_is_refused(monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_SPARQL_UPDATE", "http://me:hush@localhost/update")
    with pytest.raises(UsageError) as caught:
        open_store("rdf+http://127.0.0.1:1/ds")
    assert "hush@" not in str(caught.value)
