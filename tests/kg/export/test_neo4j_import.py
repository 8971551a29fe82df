"""The files for neo4j-admin, and a Neo4j server that loads them."""

import csv

import pytest

from kg.export.neo4j_import import IMPORT_OPTIONS
from kg.export.write import export
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from tests.conftest import require_java
from tests.contracts.rows import statement
from tests.kg.export.odd_store import ODD, odd_store, rows
from tests.servers import Neo4jServer


@pytest.fixture
def folder(tmp_path):
    export(odd_store(), "neo4j-import", tmp_path / "out")
    return tmp_path / "out"


def read(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_headers_give_types_and_labels(folder):
    assert {":LABEL", "id:ID(Item)", "images:string[]"} < set(read(folder / "items.csv")[0])
    assert {":START_ID(Item)", ":END_ID(Value)", "row:long", "confidence:double"} < set(
        read(folder / "statements.csv")[0]
    )


def test_image_paths_with_any_character_can_be_split_again(folder):
    cells = {row["id:ID(Item)"]: row["images:string[]"] for row in read(folder / "items.csv")}
    assert cells["a"].split("\x1f") == ["x|y;1.jpg", '/z".jpg']


def test_each_value_is_listed_once(folder):
    texts = [row["text:ID(Value)"] for row in read(folder / "values.csv")]
    assert sorted(texts) == sorted({" ", "3", "4", "NA", ODD})


def test_the_script_names_every_file(folder):
    script = (folder / "import.sh").read_text()
    assert "neo4j-admin database import full" in script
    assert all(name in script for name in ("items.csv", "values.csv", "statements.csv"))
    assert (folder / "import.sh").stat().st_mode & 0o100


@pytest.mark.slow
def test_neo4j_imports_what_the_store_holds(folder, tmp_path, monkeypatch):
    require_java()
    # This server has no authentication, and so needs no password.
    monkeypatch.delenv("NEO4J_PASSWORD", raising=False)
    monkeypatch.setenv("NEO4J_AUTH", "none")
    server = Neo4jServer(tmp_path / "server", authentication=False)
    server.load(folder, IMPORT_OPTIONS)
    with server, open_store(server.url) as store:
        assert rows(store) == rows(odd_store())
        assert store.content_hash() == odd_store().content_hash()
        before = store.counts().statements
        store.put(None, statements_table([statement("written without a password")]))
        assert store.counts().statements == before + 1
