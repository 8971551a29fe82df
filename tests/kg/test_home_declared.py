"""What mappings say of how properties are read holds in the ontology of a home."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from kg.home import Home
from kg.home_declared import load_declared
from kg.home_ontology import refresh_ontology
from kg.home_salvage import salvage_home
from kg.home_verification import verify_home
from kg.ingest.pipeline import ingest
from schema.errors import DataError, MappingError
from schema.ontology import Ontology

TABLE = """id,title,Preis,Gewicht,Seit,Nummer,Zustand
1,Mug,1.299,1.200,03.04.2024,1,0
2,Cup,2.500,2.500,05.06.2024,2,1
3,Jug,3.750,3.100,07/08/2024,3,1
"""
MAPPING = """
id = "id"
title = "title"
locale = "de-DE"
[columns."Gewicht"]
property = "weight"
unit = "g"
[columns."Nummer"]
datatype = "identifier"
"""


@pytest.fixture
def home(tmp_path):
    return Home.open(tmp_path / "a home", create=True)


@pytest.fixture
def load(home, tmp_path):
    """Load a table by a mapping; returns the report."""

    def run(text=TABLE, mapping=MAPPING, name="shop"):
        (tmp_path / f"{name}.csv").write_text(text)
        (tmp_path / f"{name}.toml").write_text(mapping)
        return ingest(home, [tmp_path / f"{name}.csv"], mapping=str(tmp_path / f"{name}.toml"))

    return run


def infer(home):
    with home.store(read_only=True) as store:
        return refresh_ontology(home, store)


def edit(home, old, new):
    text = home.ontology_path.read_text()
    assert old in text
    home.ontology_path.write_text(text.replace(old, new))


def edit_property(home, name, **settings):
    """Set fields of a property in ontology.toml, as a person does."""
    ontology = home.ontology()
    properties = {**ontology.properties, name: replace(ontology[name], **settings)}
    edited = Ontology(
        properties.values(), categories=ontology.categories, threshold=ontology.threshold
    )
    text = home.ontology_path.read_text()
    comments = "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
    home.ontology_path.write_text(comments + edited.to_toml())


def test_datatype_unit_and_locale_of_a_mapping_hold_on_every_refresh(home, load):
    load()
    for _ in range(3):
        ontology = home.ontology()
        # 1.299 alone would be read as a decimal between 1 and 2.
        assert ontology["Preis"].parse("1.299") == 1299
        assert (ontology["Preis"].datatype, ontology["Preis"].decimal_mark) == ("integer", ",")
        assert (ontology["weight"].datatype, ontology["weight"].unit) == ("quantity", "g")
        assert ontology["weight"].parse("1.200 g") == 1200
        assert str(ontology["Seit"].parse("07/08/2024")) == "2024-08-07"
        assert ontology["Nummer"].datatype == "identifier"
        infer(home)


def test_without_a_mapping_the_values_decide(home, load):
    load(mapping='id = "id"\ntitle = "title"')
    ontology = home.ontology()
    assert ontology["Preis"].parse("1.299") == 1.299
    assert ontology["Nummer"].datatype == "integer"
    assert not home.declared_path.exists()


def test_the_locale_of_a_column_wins_over_that_of_the_mapping(home, load):
    load(mapping=MAPPING + '[columns."Preis"]\nlocale = "en-US"\n')
    assert home.ontology()["Preis"].parse("1.299") == 1.299
    assert home.ontology()["weight"].parse("1.200") == 1200


def test_a_locale_that_there_is_not_is_refused(load):
    with pytest.raises(MappingError, match="locale='german' is no known locale"):
        load(mapping='id = "id"\nlocale = "german"')


def test_named_and_packed_properties_are_read_as_their_mapping_says(home, load):
    text = "id,title,extra,Merkmal,Wert\n1,Mug,size=1.299;made=02/03/2024,Tiefe,1.250\n"
    mapping = """
id = "id"
title = "title"
locale = "de-DE"
[[packed]]
column = "extra"
pair = "="
item = ";"
[[pairs]]
name = "Merkmal"
value = "Wert"
[columns."size"]
property = "Grösse"
datatype = "decimal"
"""
    load(text, mapping)
    ontology = home.ontology()
    assert ontology["Grösse"].parse("1.299") == 1299
    assert ontology["Grösse"].datatype == "decimal"
    assert str(ontology["made"].parse("02/03/2024")) == "2024-03-02"
    assert ontology["Tiefe"].parse("1.250") == 1250


def test_values_that_are_not_of_the_declared_datatype_are_said(home, load):
    text = "id,title,Preis\n1,Mug,1.299\n2,Cup,auf Anfrage\n3,Jug,2.499\n"
    load(text, MAPPING + '[columns."Preis"]\ndatatype = "decimal"\n')
    preis = home.ontology()["Preis"]
    assert (preis.datatype, preis.parse("1.299")) == ("decimal", 1299)
    assert preis.remark == "1 of its 3 values are no decimal, such as 'auf Anfrage'"


def test_numbers_that_prove_another_locale_are_said(home, load):
    load("id,title,Preis\n1,Mug,12.99\n2,Cup,1.299\n")
    assert "1 of its numbers have a decimal point" in home.ontology()["Preis"].remark


def test_a_number_with_a_unit_of_measure_is_a_quantity(home, load):
    mapping = MAPPING.replace('unit = "g"', 'unit = "GRM"\ndatatype = "decimal"')
    load(mapping=mapping)
    weight = home.ontology()["weight"]
    assert (weight.datatype, weight.unit) == ("quantity", "g")


def test_a_unit_that_the_values_do_not_measure_is_said(home, load):
    load("id,title,Gewicht\n1,Mug,12 cm\n2,Cup,13 cm\n")
    weight = home.ontology()["weight"]
    assert (weight.unit, weight.remark) == ("cm", "its values are in cm, not in g")


def test_edits_of_a_person_win_and_stay(home, load):
    load()
    edit(home, 'datatype = "identifier"', 'datatype = "string"')
    edit(home, 'unit = "g"', 'unit = "kg"')
    infer(home)
    # Also over what the mapping says later.
    load(mapping=MAPPING.replace('"identifier"', '"text"'))
    for _ in range(2):
        ontology = infer(home)
        assert ontology["Nummer"].datatype == "string"
        assert ontology["weight"].unit == "kg"
        assert ontology["Preis"].decimal_mark == ","


ARTICLES = """id,title,Masse,Menge,Seit
1,Mug,1.310,nach Wahl,03/04/2024
2,Cup,2.500,nach Wahl,05/06/2024
3,Jug,3.750,7,07/08/2024
4,Pan,auf Anfrage,8,09/10/2024
5,Pot,auf Anfrage,9,11/12/2024
"""
"""Masse is a text, because of some of its cells; its numbers can be read in two ways."""


def test_what_an_edited_datatype_leaves_open_is_decided_by_the_locale_of_the_mapping(home, load):
    load(ARTICLES, 'id = "id"\ntitle = "title"\nlocale = "de-DE"\n')
    assert home.ontology()["Masse"].datatype == "string"
    edit_property(home, "Masse", datatype="quantity", unit="g")
    for _ in range(3):
        masse = infer(home)["Masse"]
        assert (masse.datatype, masse.unit, masse.decimal_mark) == ("quantity", "g", ",")
        assert masse.parse("1.310") == 1310
        assert masse.remark == "2 of its 5 values are no quantity in g, such as 'auf Anfrage'"


def test_a_mapping_decides_again_after_a_person_has_edited_something_else(home, load):
    load(ARTICLES, 'id = "id"\ntitle = "title"\nlocale = "de-DE"\n')
    edit_property(home, "Masse", datatype="decimal")
    assert infer(home)["Masse"].parse("1.310") == 1310
    # The decimal mark that followed from the edit is no edit.
    load(ARTICLES, 'id = "id"\ntitle = "title"\nlocale = "en-US"\n')
    assert home.ontology()["Masse"].parse("1.310") == 1.31


def test_a_mapping_that_was_edited_says_something_else(home, load):
    load()
    # Nothing new is stored, but the ontology is inferred again.
    report = load(mapping=MAPPING.replace('"identifier"', '"decimal"'))
    assert (report.new_items, report.new_statements) == (0, 0)
    assert home.ontology()["Nummer"].datatype == "decimal"
    said = "decimal_mark ',', date_order 'dmy'"
    assert (
        f"mapping shop now says datatype 'decimal', {said}, and no longer datatype 'identifier', "
        f"{said}, of Nummer"
    ) in report.notes

    load(mapping='id = "id"\ntitle = "title"')
    assert home.ontology()["Preis"].parse("1.299") == 1.299
    assert load_declared(home).digest() == ""


def test_a_source_without_the_column_takes_nothing_back(home, load):
    load()
    load("id,title\n9,Pot\n")
    assert home.ontology()["Preis"].decimal_mark == ","
    assert home.ontology()["Nummer"].datatype == "identifier"


def test_two_mappings_that_contradict_each_other_are_said_and_neither_holds(home, load):
    load()
    us = 'id = "id"\ntitle = "title"\nlocale = "en-US"\n[columns."Nummer"]\ndatatype = "integer"'
    other = "id,title,Preis,Seit,Nummer\n7,Bowl,1.999,03/04/2024,7\n8,Pan,2.999,05/06/2024,8\n"
    notes = [note for note in load(other, us, "us").notes if "by mapping" in note]
    assert notes == [
        "Nummer: its datatype is 'identifier' by mapping 'shop' (column 'Nummer') and 'integer' "
        "by mapping 'us' (column 'Nummer'): its values decide until you set datatype in "
        "ontology.toml",
        "Preis: its decimal_mark is ',' by mapping 'shop' (column 'Preis') and '.' by mapping "
        "'us' (column 'Preis'): numbers such as 1,250 are not read until you set decimal_mark in "
        "ontology.toml",
        "Seit: its date_order is 'dmy' by mapping 'shop' (column 'Seit') and 'mdy' by mapping "
        "'us' (column 'Seit'): dates such as 03/04/2024 are not read until you set date_order in "
        "ontology.toml",
    ]
    preis = home.ontology()["Preis"]
    assert preis.decimal_mark == "unclear"
    assert preis.parse("1.299") is None
    assert "by mapping 'us'" in preis.remark
    assert home.ontology()["Seit"].parse("03/04/2024") is None

    # A person decides, and it is not said again.
    edit(home, 'decimal_mark = "unclear"', 'decimal_mark = ","')
    notes = [note for note in load(other, us, "us").notes if note.startswith("Preis")]
    assert notes == []
    assert infer(home)["Preis"].decimal_mark == ","


KILLED = """
import os, signal, sys
from pathlib import Path
import kg.ingest.pipeline, kg.home_declared, kg.home_ontology
from kg.home import Home

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

place = sys.argv[1]
if place == "before the ontology":
    kg.ingest.pipeline.refresh_ontology = die
elif place == "between the two":
    kg.home_ontology.write_stamped = die
elif place == "before what is declared":
    kg.ingest.pipeline.save_declared = die
elif place == "before the statements":
    kg.ingest.pipeline.StoreSink.put = die
kg.ingest.pipeline.ingest(Home(Path(sys.argv[2])), [sys.argv[3]], mapping=sys.argv[4])
"""


@pytest.mark.parametrize(
    "place",
    ["before what is declared", "before the statements", "before the ontology", "between the two"],
)
@pytest.mark.parametrize("again", ["ingest", "infer"])
def test_a_killed_ingest_loses_nothing_that_its_mapping_says(home, load, tmp_path, place, again):
    (tmp_path / "shop.csv").write_text(TABLE)
    (tmp_path / "shop.toml").write_text(MAPPING)
    arguments = [place, home.path, tmp_path / "shop.csv", tmp_path / "shop.toml"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    if again == "ingest":
        load()
    elif (home.path / "graph").exists():
        infer(home)
    for spec in home.ontology().properties.values() if home.ontology_path.exists() else ():
        assert spec.name not in ("Preis", "weight") or spec.decimal_mark == ","
        assert spec.name != "Nummer" or spec.datatype == "identifier"
    load()
    assert home.ontology()["Preis"].parse("1.299") == 1299


def test_what_is_declared_survives_what_may_be_deleted(home, load):
    load()
    for name in ("cache", "ontology.inferred"):
        shutil.rmtree(home.path / name)
    home.ontology_path.unlink()
    assert infer(home)["Preis"].parse("1.299") == 1299


def test_a_damaged_file_is_an_error_and_stores_nothing(home, load):
    load()
    data = home.declared_path.read_bytes()
    home.declared_path.write_bytes(data.replace(b'"dmy"', b'"dmx"', 1))
    with pytest.raises(DataError, match=r"date_order = 'dmx' is none of dmy, mdy"):
        load("id,title,Preis\n9,Pot,1.000\n")
    home.declared_path.write_bytes(data.replace(b"Nummer", b"Nammer", 1))
    with pytest.raises(DataError, match="is damaged"):
        load("id,title,Preis\n9,Pot,1.000\n")
    with home.store(read_only=True) as store:
        assert store.counts().items == 3
    assert any("ontology.declared.toml" in line for line in verify_home(home).problems)


def test_it_is_rescued_with_the_home(home, load, tmp_path):
    load()
    report = salvage_home(home.path, tmp_path / "new")
    assert report.lost == []
    assert not any("declared" in note for note in report.notes)
    assert Home(tmp_path / "new").ontology()["Preis"].parse("1.299") == 1299


def test_the_preview_reads_columns_as_the_mapping_says(home, tmp_path):
    (tmp_path / "shop.csv").write_text(TABLE)
    (tmp_path / "shop.toml").write_text(MAPPING)
    report = ingest(
        home, [tmp_path / "shop.csv"], mapping=str(tmp_path / "shop.toml"), dry_run=True
    )
    datatypes = {each["column"]: each["datatype"] for each in report.previews[0].columns}
    assert datatypes["Nummer"] == "identifier"
    assert datatypes["Preis"] == "integer"
    assert datatypes["Seit"] == "date"
    assert not home.declared_path.exists()
