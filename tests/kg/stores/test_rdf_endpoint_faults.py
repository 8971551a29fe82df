"""Failures of a SPARQL endpoint: each gives one line, in time, and never shows the password."""

import logging
import time
from urllib.parse import urlsplit

import pytest

from cli import main
from kg.stores.open import open_store
from kg.stores.query_limits import QueryLimits
from kg.stores.sparql_protocol import Endpoint
from kg.stores.tables import statements_table
from schema.errors import QueryLimitError, StoreError, UsageError
from tests.contracts.rows import statement
from tests.faulty import answering_server, cutting_proxy, dripping_server, hanging_server
from tests.servers import emptied

SECRET = "hush-hush"
YES = b'{"head": {}, "boolean": true}'
JSON = "application/sparql-results+json"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """A limit of two seconds, and a password that must not be shown."""
    monkeypatch.setenv("CATALOGRAPH_SPARQL_USERNAME", "me")
    monkeypatch.setenv("CATALOGRAPH_SPARQL_PASSWORD", SECRET)
    monkeypatch.setattr("kg.stores.sparql_protocol.CONNECT_SECONDS", 2.0)


def error_message(url, caplog, within=25.0):
    """Return the one line that opening a store fails with."""
    caplog.set_level(logging.DEBUG)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert time.monotonic() - began < within
    message = str(caught.value)
    assert SECRET not in message + repr(caught.value) + caplog.text
    assert "\n" not in message
    return message


def port_of(server):
    port = urlsplit(server.url).port
    assert port is not None
    return port


@pytest.mark.parametrize("url", ["rdf+http://127.0.0.1:1/ds", "rdf+http://nowhere.invalid/ds"])
def test_missing_endpoint_is_reported(caplog, url):
    address = url.removeprefix("rdf+")
    assert f"no SPARQL endpoint answers at {address}" in error_message(url, caplog)


def test_hanging_endpoint_is_given_up(caplog):
    with hanging_server() as port:
        message = error_message(f"rdf+http://127.0.0.1:{port}/ds", caplog)
    assert "did not answer within 2 s" in message


# Parts of messages, and the answers that cause them: status, content type, body.
BAD_ANSWERS = {
    "refused us": (401, "text/plain", b"who are you?"),
    "answered 500": (500, "text/html", b"<html>\n<h1>Ouch</h1>\n</html>"),
    "answered 302": (302, "text/plain", b""),
    "answered text/html instead": (200, "text/html", b"<html>Welcome to our shop</html>"),
    "broke off its answer": (200, JSON, YES[:-9]),
    "gave none": (200, JSON, b"<html>"),
}


@pytest.mark.parametrize("message", BAD_ANSWERS)
def test_bad_answer_gives_one_line(caplog, message):
    with answering_server(*BAD_ANSWERS[message]) as port:
        assert message in error_message(f"rdf+http://127.0.0.1:{port}/ds", caplog)


@pytest.mark.parametrize("allowed_bytes", [0, 20, 100])
def test_connection_cut_at_the_beginning_gives_one_line(fuseki, caplog, allowed_bytes):
    with cutting_proxy(port_of(fuseki), allowed_bytes) as proxy:
        error_message(f"rdf+http://127.0.0.1:{proxy.port}/ds", caplog)


def test_connection_cut_in_the_middle_of_an_answer_gives_one_line(fuseki):
    rows = [statement(str(number), value="x" * 200) for number in range(500)]
    with open_store(emptied(fuseki.url)) as store:
        store.put(None, statements_table(rows))
    with cutting_proxy(port_of(fuseki), 20_000) as proxy:
        for read in (
            lambda store: list(store.scan()),
            lambda store: store.sparql("SELECT * { ?s ?p ?o }"),
        ):
            with (
                open_store(f"rdf+http://127.0.0.1:{proxy.port}/ds") as store,
                pytest.raises(StoreError, match=r"broke off|no SPARQL") as caught,
            ):
                read(store)
            assert "\n" not in str(caught.value)


def test_headers_without_end_are_given_up(caplog):
    with dripping_server() as port:
        message = error_message(f"rdf+http://127.0.0.1:{port}/ds", caplog)
    assert "limit of 2 s" in message


def test_trickling_answer_is_ended(caplog):
    with answering_server(200, JSON, YES, pause=0.5) as port:
        message = error_message(f"rdf+http://127.0.0.1:{port}/ds", caplog)
    assert "did not answer within 2 s" in message


def test_endless_error_is_not_read(caplog):
    with answering_server(500, "text/plain", b"no!", is_endless=True) as port:
        assert "answered 500 (no!!!" in error_message(f"rdf+http://127.0.0.1:{port}/ds", caplog)


# The beginnings of answers that never end: in a literal, between rows, and within N-Triples.
ENDLESS_ANSWERS = {
    "literal": (
        JSON,
        b'{"head":{"vars":["x"]},"results":{"bindings":[{"x":{"type":"literal","value":"y',
    ),
    "spaces": (JSON, b'{"head":{"vars":["x"]},"results":{"bindings":[ '),
    "triples": ("application/n-triples", b"# a comment that does not end "),
}


@pytest.mark.parametrize("name", ENDLESS_ANSWERS)
def test_endless_answer_is_ended(name):
    media_type, beginning = ENDLESS_ANSWERS[name]
    with answering_server(200, media_type, beginning, is_endless=True) as port:
        endpoint = Endpoint(f"rdf+http://127.0.0.1:{port}/ds")
        with pytest.raises(QueryLimitError, match=r"larger|did not answer") as caught:
            endpoint.query("SELECT * { }", 5.0, limits=QueryLimits(answer_bytes=100_000))
        endpoint.close()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_commands_print_one_line_and_no_password(capfd, tmp_path, monkeypatch, verbose):
    monkeypatch.chdir(tmp_path)
    main(["init"])
    capfd.readouterr()
    with answering_server(401, "text/plain", b"no") as port:
        assert main(["stats", *verbose, "--store", f"rdf+http://127.0.0.1:{port}/ds"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert SECRET not in err
    assert "CATALOGRAPH_SPARQL_PASSWORD" in err.splitlines()[-1]


def test_password_in_the_address_for_updates_is_refused(monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_SPARQL_UPDATE", "http://me:hush@localhost/update")
    with pytest.raises(UsageError) as caught:
        open_store("rdf+http://127.0.0.1:1/ds")
    assert "hush@" not in str(caught.value)
