"""The whole chain on each store: ingest, train, complete --write, show."""

import pytest

import kg.stores.open
from tests.commands.drawn_catalogue import draw_catalogue
from tests.servers import emptied

SMALL = ("--size", "tiny", "--steps", "12", "--set", "log_every=6")


@pytest.fixture
def memory(monkeypatch):
    """The memory store, kept from one command to the next."""
    store = kg.stores.open.open_store("memory:")
    monkeypatch.setattr(kg.stores.open, "open_store", lambda url, **options: store)
    return "memory:"


@pytest.fixture(params=["memory", "ladybug", "neo4j", "rdf", "rdf+http"])
def url(request, tmp_path):
    if request.param == "memory":
        return request.getfixturevalue("memory")
    if request.param in ("ladybug", "rdf"):
        return f"{request.param}:{tmp_path}/graph"
    server = request.getfixturevalue({"neo4j": "neo4j", "rdf+http": "fuseki"}[request.param])
    return emptied(server.url)


def test_the_chain_runs_on_every_store(url, call, tmp_path):
    def run(*args):
        result = call("--store", url, *args, "--json")
        assert result.code == 0, result.err
        return result.json

    table = draw_catalogue(tmp_path / "drawn", 60)
    assert run("ingest", table)["new_statements"] == 60 + 48
    assert run("train", *SMALL)["steps"] == 12
    written = run("complete", "--target-precision", "0.01", "--write")["written"]
    ranks = {"asserted": 108}
    if written:
        ranks["predicted"] = written
    assert run("stats")["ranks"] == ranks
    shown = {fact["property"]: fact for fact in run("show", "1")["statements"]}
    assert (shown["colour"]["value"], shown["shape"]["rank"]) == ("green", "asserted")
