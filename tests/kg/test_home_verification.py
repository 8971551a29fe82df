"""Verification of everything in a home."""

import hashlib
import json
import shutil

import pytest

from kg.home import Home
from kg.home_verification import verify_home
from kg.ingest.pipeline import ingest
from kg.stores.copying import copy_store
from kg.stores.neo4j import Neo4jStore
from kg.stores.open import open_store
from kg.stores.tables import statements_table
from schema.manifests import manifest_problems
from tests.contracts.rows import statement
from tests.servers import emptied


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    (folder / "items.csv").write_text("id,title,colour\n1,Mug,red\n2,Cup,blue\n")
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "items.csv"])
    model = home.models / "m"
    for name in ("model.safetensors", "config.json"):
        path = model / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"0" * 1000)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model.iterdir()}
    (model / "manifest.json").write_text(json.dumps({"sha256": digests}))
    checkpoint = model / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    shutil.copy(model / "config.json", checkpoint)
    digest = {"config.json": digests["config.json"]}
    (checkpoint / "manifest.json").write_text(json.dumps(digest))
    return home.path


@pytest.fixture
def home(written, tmp_path):
    shutil.copytree(written, tmp_path / "home")
    return Home.open(tmp_path / "home")


def verify(home):
    return verify_home(home, quick=True)


def test_an_intact_home_has_no_problem(home):
    report = verify(home)
    assert (report.problems, report.notes) == ([], [])
    assert (report.items, report.statements) == (2, 2)


@pytest.mark.parametrize(
    "name",
    [
        "models/m/model.safetensors",
        "models/m/manifest.json",
        "models/m/checkpoints/step-00000001/config.json",
        "ledger.sqlite",
        "graph/journal/_head.json",
    ],
)
def test_a_damaged_file_is_named(home, name):
    path = home.path / name
    data = bytearray(path.read_bytes())
    # The last page of a ledger is often an unused one.
    place = data.rindex(b"items.csv") if path.suffix == ".sqlite" else len(data) - 20
    data[place] ^= 255
    path.write_bytes(data)
    (problem,) = verify(home).problems
    assert str(path) in problem


def test_a_damaged_inferred_ontology_is_named(home):
    (path,) = home.inferred_ontologies.iterdir()
    path.write_text(path.read_text().replace("red", "rad"))
    assert str(path) in verify(home).problems[0]


def test_an_ontology_of_no_sense_is_a_problem(home):
    home.ontology_path.write_text('threshold = "many"\n')
    report = verify(home)
    assert "is not a readable ontology" in report.problems[0]
    assert "no checksum" in report.notes[0]


def test_a_lost_store_is_noticed_by_the_ontology(home):
    shutil.rmtree(home.path / "graph")
    (problem,) = verify(home).problems
    assert "inferred from version 0 of the journal, which ends at -1" in problem


def test_an_ontology_that_is_behind_is_a_remark(home):
    with home.store() as store:
        store.put(None, statements_table([statement()]))
    report = verify(home)
    assert report.problems == []
    assert "older than the graph" in report.notes[0]


@pytest.mark.parametrize("name", ["ledger.sqlite", "ontology.toml"])
def test_a_file_that_is_missing_is_a_remark(home, name):
    (home.path / name).unlink()
    report = verify(home)
    assert report.problems == []
    (note,) = report.notes
    assert f"there is no {home.path / name}" in note


def test_manifests_with_other_content_are_problems(tmp_path):
    for text in ("", "[]", "{}", '{"sha256": 1}', '{"../x": "0"}', '{"x": "0"}'):
        (tmp_path / "manifest.json").write_text(text)
        (problem,) = manifest_problems(tmp_path, "go on")
        assert problem.endswith(": go on")
        assert "\n" not in problem


def test_a_server_is_checked_by_itself(home, neo4j):
    url = emptied(neo4j.url)
    with home.store(read_only=True) as source, open_store(url) as target:
        copy_store(source, target)
        assert isinstance(target, Neo4jStore)
        target._execute("MATCH (v:Value {text: 'red'}) SET v.text = 'rad'")
    report = verify_home(Home(home.path, url))
    assert "1 statements have an id" in report.problems[0]
    assert "keeps no journal" in report.notes[0]
