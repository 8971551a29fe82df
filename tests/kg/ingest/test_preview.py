"""The preview of a dry run, and the mapping that is saved."""

import pytest

from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.stores.memory import MemoryStore
from schema.errors import UsageError
from schema.mapping import load_mapping

TABLE = """WineID,WineName,Code,Weight (kg),photo,notes
W1,Rioja,ES,1.2,https://x/1.jpg,
W2,Barolo,IT,1.3,https://x/2.jpg,dry
W3,Chablis,FR,1.25,,
W4,Priorat,ES,1.1,,
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    return Home.open(tmp_path / "home", create=True)


def write(folder, text, name="wines.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_the_preview_says_how_each_column_is_read_and_why(tmp_path):
    report = ingest(Home(tmp_path / "none"), [write(tmp_path, TABLE)], dry_run=True)
    (preview,) = report.previews
    columns = {each["column"]: each for each in preview.columns}
    assert {name: each["role"] for name, each in columns.items()} == {
        "WineID": "id",
        "WineName": "title",
        "Code": "property",
        "Weight (kg)": "property",
        "photo": "images",
        "notes": "property",
    }
    weight = columns["Weight (kg)"]
    assert (weight["property"], weight["filled"], weight["example"]) == ("Weight", 1.0, "1.2")
    assert columns["photo"]["filled"] == 0.5
    assert "'Code' has only 3 different texts" in columns["WineID"]["why"]
    assert preview.items[0] == {
        "id": "W1",
        "title": "Rioja",
        "description": None,
        "category": None,
        "images": ["https://x/1.jpg"],
        "properties": {"Code": ["ES"], "Weight": ["1.2 kg"]},
        "inherited": [],
    }
    assert report.changes is None
    assert report.as_dict()["preview"][0]["source"] == "wines.csv"


def test_a_product_is_shown_with_a_variant_as_it_would_be_stored(home, tmp_path):
    text = "sku,name,parent,brand,size\nT,Tee,,Acme,\nC,Cap,,Acme,\nB,Bag,,,\nT1,,T,,S\nT2,,T,,M\n"
    report = ingest(home, [write(tmp_path, text, "shop.csv")], dry_run=True)
    items = report.previews[0].items
    assert [each["id"] for each in items] == ["T", "T1", "C", "B"]
    assert (items[1]["title"], items[1]["inherited"]) == ("Tee", ["brand"])
    assert items[1]["properties"] == {"brand": ["Acme"], "size": ["S"], "variant of": ["T"]}


def test_the_preview_says_what_would_change(home, tmp_path):
    ingest(home, [write(tmp_path, TABLE)])
    changed = TABLE.replace("Rioja", "Rioja Reserva").replace("W4,Priorat", "W5,Priorat")
    report = ingest(home, [write(tmp_path, changed)], dry_run=True)
    assert report.as_dict()["changes"]["items"] == {
        "new": 1,
        "changed": 1,
        "unchanged": 2,
        "retired": 0,
    }
    (example,) = report.properties["title"].examples
    assert (example["before"], example["after"]) == ("Rioja", "Rioja Reserva")
    assert home.store().item("W5") is None


def test_a_saved_mapping_gives_the_same_catalogue(home, tmp_path):
    path = write(tmp_path, TABLE)
    saved = tmp_path / "wines.toml"
    report = ingest(home, [path], write_mapping=saved)
    assert home.store().counts().items == 0
    assert saved.read_text().startswith("# wines.csv: mapping generic")
    again = ingest(home, [path], mapping=str(saved), dry_run=True)
    assert again.mapping == "wines"
    assert again.previews[0].items == report.previews[0].items
    assert load_mapping(str(saved)).id == ("WineID",)


def test_a_mapping_is_not_saved_over_a_file_or_for_several_sources(home, tmp_path):
    path = write(tmp_path, TABLE)
    with pytest.raises(UsageError, match="there is such a file"):
        ingest(home, [path], write_mapping=path)
    with pytest.raises(UsageError, match="name one source"):
        ingest(home, [path, path], write_mapping=tmp_path / "m.toml")
    with pytest.raises(UsageError, match="cannot be written"):
        ingest(home, [path], write_mapping=path / "m.toml")
