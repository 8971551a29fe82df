"""Salvage of a whole home."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from kg.home import Home
from kg.home_models import promote, read_champion
from kg.home_ontology import is_current
from kg.home_salvage import REPORT, salvage_home
from kg.home_verification import verify_home
from kg.ingest.pipeline import ingest
from schema.errors import HomeNotFoundError, UsageError
from schema.ledger import QueryRow


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    (folder / "items.csv").write_text("id,title,colour,height\n1,Mug,red,1 cm\n2,Cup,blue,2 cm\n")
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "items.csv"])
    text = home.ontology_path.read_text()
    home.ontology_path.write_text(text.replace('unit = "cm"', 'unit = "inch"'))
    home.shapes_path.write_text("# mine\n")
    with home.ledger() as ledger:
        ledger.put_queries([QueryRow("mug", "1", 1)])
    for name in ("whole", "damaged"):
        model = home.models / name
        model.mkdir()
        (model / "model.safetensors").write_bytes(name.encode())
        digest = hashlib.sha256(b"whole").hexdigest()
        (model / "manifest.json").write_text(json.dumps({"sha256": {"model.safetensors": digest}}))
        (model / "log.jsonl").write_text("{}\n")
    (home.path / "notes.txt").write_text("of the user")
    return home.path


@pytest.fixture
def damaged(written, tmp_path):
    shutil.copytree(written, tmp_path / "damaged")
    return tmp_path / "damaged"


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_that_is_whole_is_in_the_new_home(damaged, tmp_path):
    shutil.rmtree(damaged / "graph" / "journal" / "_delta_log")
    before = snapshot(damaged)
    report = salvage_home(damaged, tmp_path / "new")
    assert snapshot(damaged) == before

    home = Home.open(tmp_path / "new")
    with home.store(read_only=True) as store:
        assert (store.counts().items, store.counts().statements) == (2, 4)
        assert is_current(home, store)
    with home.ledger() as ledger:
        assert ledger.query_log() == [QueryRow("mug", "1", 1)]
    assert home.ontology()["height"].unit == "inch"
    assert home.shapes_path.read_text() == "# mine\n"
    assert report.models == ["whole"]
    assert (home.models / "whole" / "log.jsonl").exists()
    assert not (home.models / "damaged").exists()
    (lost,) = report.lost
    assert "damaged/model.safetensors is damaged" in lost
    assert any("notes.txt" in note for note in report.notes)
    assert json.loads((home.path / REPORT).read_text())["report"]["items"]["rescued"] == 2
    assert verify_home(home, quick=True).problems == []


@pytest.mark.parametrize("name", ["whole", "damaged"])
def test_the_champion_is_kept_if_its_model_is_whole(damaged, tmp_path, name):
    champion = promote(Home.open(damaged), name, "ann")
    report = salvage_home(damaged, tmp_path / "new")
    is_whole = name == "whole"
    assert read_champion(Home.open(tmp_path / "new")) == (champion if is_whole else None)
    assert any("the champion" in line for line in report.lost) != is_whole


def test_a_salvage_that_was_cut_off_goes_on(damaged, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    new = tmp_path / "new"
    with monkeypatch.context() as patch:
        patch.setattr("kg.home_salvage._salvage_ledger", interrupt)
        with pytest.raises(KeyboardInterrupt):
            salvage_home(damaged, new)
    other = tmp_path / "other"
    shutil.copytree(damaged, other)
    with pytest.raises(UsageError, match="not empty"):
        salvage_home(other, new)
    assert salvage_home(damaged, new).items.both == 2
    with pytest.raises(UsageError, match="not empty"):
        salvage_home(damaged, new)


def test_one_altered_byte_of_settings_and_shapes_is_restored(damaged, tmp_path):
    home = Home(damaged)
    home.set_default_store(f"ladybug:{damaged / 'graph'}")
    home.allow_images([tmp_path])
    for path in (home.settings.path, home.ontology_path):
        data = path.read_bytes()
        place = data.rindex(b"=")
        path.write_bytes(data[:place] + b"\x00" + data[place + 1 :])
    with pytest.raises(HomeNotFoundError):
        home.image_folders()
    report = salvage_home(damaged, tmp_path / "new")
    assert report.items.total == 2
    new = Home.open(tmp_path / "new")
    assert new.ontology().properties
    assert str(tmp_path) in new.image_folders()


@pytest.mark.parametrize(
    ("text", "folders"),
    [('format = 1\nimage_folders = ["/photos", 5]', ["/photos"]), ("a = " + "[" * 100_000, [])],
)
def test_what_can_be_read_of_the_settings_is_kept(damaged, tmp_path, text, folders):
    (damaged / "home.toml").write_text(text)
    assert salvage_home(damaged, tmp_path / "new").items.total == 2
    found = Home.open(tmp_path / "new").image_folders()
    assert set(folders) <= set(found)
    # Without any, they are the folders of the sources.
    assert all(Path(folder).is_absolute() for folder in found)


def test_what_cannot_be_salvaged_is_refused_before_anything_is_written(damaged, tmp_path):
    new = tmp_path / "new"
    (tmp_path / "empty").mkdir()
    for path, error in (
        (tmp_path / "none", HomeNotFoundError),
        (tmp_path / "empty", HomeNotFoundError),
    ):
        with pytest.raises(error):
            salvage_home(path, new)
    with pytest.raises(UsageError, match="inside the damaged home"):
        salvage_home(damaged, damaged / "new")
    beside = damaged / ".." / "beside"
    assert salvage_home(damaged, beside).items.total == 2
    assert not new.exists()


def test_a_home_without_a_journal_of_its_own_keeps_its_server(damaged, tmp_path):
    Home(damaged).set_default_store("neo4j://localhost/shop")
    report = salvage_home(damaged, tmp_path / "new")
    assert "is a server" in report.notes[0]
    assert Home.open(tmp_path / "new").store_url == "neo4j://localhost/shop"
