"""A catalogue's home."""

import os

import pytest

from kg.home import Home
from schema.errors import HomeNotFoundError, SourceNotFoundError


def test_a_home_is_created_once_and_opened_again(tmp_path):
    home = Home.open(tmp_path / "deep" / "home", create=True)
    assert home.models.is_dir()
    assert Home.open(home.path).path == Home.open(home.path, create=True).path == home.path


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_missing_home_error_says_how_to_create_one(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeNotFoundError, match=r"init`.*ingest"):
        Home.open(tmp_path / name)


def test_a_home_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeNotFoundError, match="name a folder"):
        Home.open(tmp_path / "file", create=True)


def test_a_call_can_name_another_store(tmp_path):
    assert Home(tmp_path).store_url == f"ladybug:{tmp_path / 'graph'}"
    assert Home(tmp_path, store="memory:").store_url == "memory:"


def test_a_store_in_the_home_moves_with_it(tmp_path):
    home = Home.open(tmp_path / "old", create=True)
    home.set_default_store(f"rdf:{home.path / 'quads'}")
    assert home.path.rename(tmp_path / "new")
    assert Home.open(tmp_path / "new").store_url == f"rdf:{tmp_path / 'new' / 'quads'}"


def test_a_server_can_be_the_default_store_and_a_call_can_name_another(tmp_path):
    Home.open(tmp_path, create=True).set_default_store("neo4j://localhost:7687/shop")
    assert Home.open(tmp_path).store_url == "neo4j://localhost:7687/shop"
    assert Home.open(tmp_path, store="memory:").store_url == "memory:"


def test_a_damaged_home_file_is_an_error(tmp_path):
    Home.open(tmp_path, create=True)
    (tmp_path / "home.toml").write_text("store = ")
    with pytest.raises(HomeNotFoundError, match=r"home\.toml cannot be read"):
        Home.open(tmp_path)


def test_a_new_home_has_no_ontology_yet(tmp_path):
    with pytest.raises(SourceNotFoundError, match="ingest"):
        Home.open(tmp_path, create=True).ontology()


def test_the_ledger_is_in_the_home(tmp_path):
    with Home.open(tmp_path, create=True).ledger() as ledger:
        assert ledger.query_log() == []
    assert (tmp_path / "ledger.sqlite").is_file()


@pytest.mark.parametrize(
    "text",
    [
        "store = 5",
        "store = []",
        "store = {}",
        'store = "a\\u0000b"',
        'store = "rdf:\\u001b[31m"',
        "store",
        'store = "memory:"\nstore = "memory:"',
        "a = " + "[" * 100_000,
        "\ud800",
    ],
)
def test_a_marker_of_anything_is_one_line(tmp_path, text):
    (tmp_path / "home.toml").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(HomeNotFoundError, match=r"home\.toml") as caught:
        Home.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_marker_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "home.toml")
    with pytest.raises(HomeNotFoundError, match="is not a regular file"):
        Home.open(tmp_path)
