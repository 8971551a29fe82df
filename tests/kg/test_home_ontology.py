"""The ontology of a home: killed anywhere, edited anyhow, it is refreshed and keeps its edits."""

import signal
import subprocess
import sys

import pytest

from kg.home import Home
from kg.home_ontology import Origin, VocabularyEdits, is_current, refresh_ontology
from kg.ingest.pipeline import ingest
from kg.stores.open import open_store
from kg.stores.tables import items_table, statements_table
from schema.edits import merge_edits
from schema.errors import CatalographWarning, DataError
from schema.ontology import Ontology
from schema.stamps import Condition, examine
from schema.terms import Item
from tests.contracts.rows import statement
from tests.servers import emptied

ITEMS = "id,title,colour,height\n1,Mug,red,12 cm\n2,Cup,blue,8 cm\n"
MORE = ITEMS + "3,Jug,green,20 cm\n"


@pytest.fixture
def home(tmp_path):
    return Home.open(tmp_path / "a home", create=True)


@pytest.fixture
def table(tmp_path):
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path / "items.csv"


def edit(home, old, new):
    text = home.ontology_path.read_text()
    assert old in text
    home.ontology_path.write_text(text.replace(old, new))


def test_the_ontology_says_what_it_was_inferred_from(home, table):
    ingest(home, [table])
    origin = Origin.of(home.ontology_path)
    assert origin is not None
    with home.store(read_only=True) as store:
        assert (origin.store, origin.revision) == ("ladybug:graph", store.revision())
        assert is_current(home, store)
    assert origin.revision.startswith("journal version 0, ")
    assert examine(home.ontology_path.read_bytes()).condition is Condition.INTACT
    assert [path.stem for path in home.inferred_ontologies.iterdir()] == [origin.inferred]


def test_decisions_are_kept_when_more_is_ingested(home, table):
    ingest(home, [table])
    text = home.ontology_path.read_text()
    home.ontology_path.write_text(
        f"{text}\n[decisions]\ntarget_precision = 0.9\n[decisions.source.shop]\nreview_above = 1\n"
    )
    table.write_text(MORE)
    ingest(home, [table])
    ontology = home.ontology()
    assert "green" in ontology.values_of("colour")
    assert ontology.decisions.of("colour").target_precision == 0.9
    assert ontology.decisions.of("colour", sources=["shop"]).review_above == 1


# Ends the process at one of the places at which an ingest can be killed.
KILLED = """
import os, signal, sys
from pathlib import Path
import kg.home_ontology, kg.ingest.pipeline, schema.stamps
from kg.home import Home

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

place = sys.argv[1]
if place == "before the ontology":
    kg.ingest.pipeline.refresh_ontology = die
elif place == "before the inferred one":
    kg.home_ontology.write_atomically = die
elif place == "between the two":
    kg.home_ontology.write_stamped = die
kg.ingest.pipeline.ingest(Home(Path(sys.argv[2])), [sys.argv[3]])
"""
PLACES = ["before the ontology", "before the inferred one", "between the two"]


@pytest.mark.parametrize("is_edited", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_ingest_is_made_up_for_by_one_that_adds_nothing(home, table, place, is_edited):
    ingest(home, [table])
    if is_edited:
        edit(home, 'unit = "cm"', 'unit = "in"')
    table.write_text(MORE)
    killed = subprocess.run([sys.executable, "-c", KILLED, place, home.path, table], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "green" not in home.ontology().values_of("colour")

    report = ingest(home, [table])
    assert (report.new_items, report.new_statements) == (0, 0)
    ontology = home.ontology()
    assert set(ontology.values_of("colour")) == {"red", "blue", "green"}
    assert ontology["height"].unit == ("in" if is_edited else "cm")

    # Nothing of the time before was taken for an edit: values that go away go away.
    with home.store() as store:
        store.retract([statement("3", "colour", "green").id])
        after = refresh_ontology(home, store)
    assert "green" not in after.values_of("colour")
    assert after["height"].unit == ("in" if is_edited else "cm")


def test_a_run_that_adds_nothing_does_not_read_the_graph(home, table, monkeypatch):
    ingest(home, [table])
    monkeypatch.setattr("kg.ingest.pipeline.refresh_ontology", None)
    ingest(home, [table])


def test_an_ontology_that_nobody_edited_is_not_read_to_be_inferred_again(home, table, monkeypatch):
    ingest(home, [table])
    table.write_text(MORE)
    with monkeypatch.context() as patched:
        patched.setattr(Home, "ontology", lambda home: pytest.fail("it was read"))
        ingest(home, [table])
    assert home.ontology()["colour"].values == ("blue", "green", "red")
    home.ontology_path.write_text("threshold = 0.7\n" + home.ontology_path.read_text())
    with home.store(read_only=True) as store, pytest.raises(DataError, match="not a readable"):
        refresh_ontology(home, store, accept=True)


@pytest.mark.parametrize("lost", ["cache", "ontology.inferred"])
def test_edits_survive_if_other_files_are_deleted(home, table, lost):
    import shutil

    ingest(home, [table])
    edit(home, 'unit = "cm"', 'unit = "in"')
    shutil.rmtree(home.path / lost)
    table.write_text(MORE)
    ingest(home, [table])
    assert home.ontology()["height"].unit == "in"
    assert "green" in home.ontology().values_of("colour")


def test_edits_of_a_home_of_an_earlier_version_are_kept(home, table):
    ingest(home, [table])
    base = home.ontology()
    base.save(home.former_inferred_path)
    for path in home.inferred_ontologies.iterdir():
        path.unlink()
    edited = home.ontology_path.read_text().partition("\n\n")[2].replace('"cm"', '"in"')
    home.ontology_path.write_text(edited)
    table.write_text(MORE)
    ingest(home, [table])
    assert home.ontology()["height"].unit == "in"
    assert not home.former_inferred_path.exists()


def test_comments_may_be_dropped(home, table):
    ingest(home, [table])
    without = home.ontology().to_toml().replace('unit = "cm"', 'unit = "in"')
    home.ontology_path.write_text(without)
    table.write_text(MORE)
    ingest(home, [table])
    assert home.ontology()["height"].unit == "in"


def test_what_looks_damaged_is_said(home, table):
    ingest(home, [table])
    edit(home, "red = 1", "rad = 1")
    table.write_text(MORE)
    with pytest.warns(CatalographWarning, match=r"looks damaged .* was b'e' and is b'a'"):
        ingest(home, [table])
    edit(home, "rad = 1", "rat = 1")
    with home.store(read_only=True) as store:
        refresh_ontology(home, store, accept=True)


def test_an_origin_with_any_text_is_read_back(tmp_path):
    origin = Origin('rdf:a "b"\nc', "x\n[property]", "0" * 64)
    (tmp_path / "o.toml").write_text(origin.comment() + "threshold = 0.5\n")
    assert Origin.of(tmp_path / "o.toml") == origin
    assert Ontology.load(tmp_path / "o.toml").properties == {}


def changes_its_revision(store):
    """Check that the revision of an empty store changes with the content, and only with it."""
    revisions = [store.revision()]

    def changed():
        revisions.append(store.revision())
        return revisions[-1] != revisions[-2]

    store.put(items_table([Item("a", "t")]), statements_table([statement()]))
    assert changed()
    store.put(items_table([Item("a", "t")]), statements_table([statement()]))
    assert not changed()
    # Neither the items nor the statements become more.
    store.put(None, statements_table([statement(source="other")]))
    assert changed()
    store.retract([statement("nobody").id])
    assert not changed()
    store.retract([statement().id])
    assert changed()
    assert len(set(revisions)) == 4


@pytest.mark.parametrize("url", ["memory:", "ladybug:graph", "rdf:graph"])
def test_a_revision_changes_with_the_content(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with open_store(url) as store:
        changes_its_revision(store)


def test_a_revision_of_neo4j_changes_with_the_content(neo4j):
    with open_store(emptied(neo4j.url)) as store:
        changes_its_revision(store)


def test_a_revision_of_an_endpoint_changes_with_the_content(fuseki):
    with open_store(emptied(fuseki.url)) as store:
        changes_its_revision(store)


def test_a_merge_with_itself_changes_nothing(home, table):
    ingest(home, [table])
    ontology = home.ontology()
    assert merge_edits(ontology, ontology, ontology) == ontology


def test_synonyms_of_a_person_hold_when_the_ontology_is_inferred_again(home, table):
    table.write_text(ITEMS.replace("blue", "gray"))
    ingest(home, [table])
    edit(
        home,
        "[property.colour.values]",
        "[property.colour.synonyms]\ngrey = ['gray']\n[property.colour.values]",
    )
    table.write_text(ITEMS.replace("blue", "gray") + "3,Jug,Grey,20 cm\n4,Jar,GRAY,20 cm\n")
    for _ in range(2):
        ingest(home, [table])
        with home.store(read_only=True) as store:
            refresh_ontology(home, store)
        colour = home.ontology()["colour"]
        assert (colour.values, colour.counts) == (("grey", "red"), (3, 1))
        assert colour.synonyms == {"grey": ("gray",)}
    assert {value for _, value in home.snapshot().statements_of(1)} >= {"grey"}


def test_case_matters_where_a_person_says_so(home, table):
    table.write_text(ITEMS.replace("blue", "Red"))
    ingest(home, [table])
    assert home.ontology().values_of("colour") == ("Red",)
    edit(home, "[property.colour]", "[property.colour]\ncase_sensitive = true")
    with home.store(read_only=True) as store:
        refresh_ontology(home, store)
    assert home.ontology().values_of("colour") == ("Red", "red")


EDITS = [
    ('unit = "cm"', 'unit = "in"'),
    ("[property.colour]", "[property.colour]\ncase_sensitive = true"),
    ("threshold = 0.5", "threshold = 0.3"),
    ("blue = 1\n", ""),
    (
        "[property.colour.values]",
        '[property.colour.synonyms]\nred = ["RED"]\n[property.colour.values]',
    ),
]
OWN = '\n[property.care]\ndatatype = "string"\ncardinality = "many"\n'


def edited_by_hand(home):
    for old, new in EDITS:
        edit(home, old, new)
    home.ontology_path.write_text(home.ontology_path.read_text() + OWN)


def assert_edits_hold(ontology):
    assert ontology["height"].unit == "in"
    assert ontology["colour"].case_sensitive
    assert ontology.threshold == 0.3
    assert "blue" not in ontology.values_of("colour")
    assert ontology["colour"].synonyms == {"red": ("RED",)}
    assert ontology["care"].cardinality == "many"


def infer(home, url=None):
    with Home(home.path, url).store(read_only=True) as store:
        return refresh_ontology(Home(home.path, url), store)


@pytest.mark.parametrize("url", ["ladybug:graph", "rdf:graph"])
def test_edits_hold_after_a_rebuild(home, table, url):
    if url.startswith("rdf"):
        home.set_default_store(f"rdf:{home.path / 'graph'}")
    ingest(home, [table])
    edited_by_hand(home)
    with home.store() as store:
        store.rebuild()
    assert_edits_hold(infer(home))
    table.write_text(MORE)
    ingest(home, [table])
    assert_edits_hold(home.ontology())
    assert "green" in home.ontology().values_of("colour")


def test_edits_hold_in_a_home_whose_graph_was_copied_to_another_store(home, table):
    from kg.stores.copying import copy_store

    ingest(home, [table])
    edited_by_hand(home)
    other = f"rdf:{home.path / 'copied'}"
    with home.store(read_only=True) as source, open_store(other) as target:
        copy_store(source, target)
    assert_edits_hold(infer(home, other))
    home.set_default_store(other)
    table.write_text(MORE)
    ingest(home, [table])
    assert_edits_hold(home.ontology())


def test_edits_hold_if_the_same_is_loaded_again(home, table):
    ingest(home, [table])
    edited_by_hand(home)
    written = home.ontology_path.read_bytes()
    ingest(home, [table])
    assert home.ontology_path.read_bytes() == written
    for _ in range(3):
        assert_edits_hold(infer(home))


def test_case_matters_also_if_what_was_inferred_is_lost(home, table):
    import shutil

    table.write_text(ITEMS.replace("blue", "Red"))
    ingest(home, [table])
    edit(home, "[property.colour]", "[property.colour]\ncase_sensitive = true")
    shutil.rmtree(home.inferred_ontologies)
    assert infer(home).values_of("colour") == ("Red", "red")


def test_comments_may_be_dropped_although_a_run_was_killed(home, table):
    ingest(home, [table])
    home.ontology_path.write_text(home.ontology().to_toml().replace('unit = "cm"', 'unit = "in"'))
    table.write_text(MORE)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "between the two", home.path, table], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(list(home.inferred_ontologies.iterdir())) == 2
    # What the killed run had inferred is no ontology from which a person took anything away.
    ontology = infer(home)
    assert "green" in ontology.values_of("colour")
    assert ontology["height"].unit == "in"
    # And nothing of the time before was taken for an edit.
    with home.store() as store:
        store.retract([statement("1", "colour", "red").id])
    assert "red" not in infer(home).values_of("colour")


MASSES = """id,title,mass,length,brand
1,A,1.310 g,"45,5 cm",x
2,B,2.500 g,"12,5 cm",1.5
3,C,by request,"13,5 cm",2
4,D,by request,"14,5 cm",3
"""
"""Half of the masses are texts. Their numbers can be read in two ways; the lengths have commas."""


def test_what_an_edited_datatype_leaves_open_is_inferred_again(home, table):
    table.write_text(MASSES)
    ingest(home, [table])
    mass = home.ontology()["mass"]
    assert (mass.datatype, mass.decimal_mark) == ("string", ".")
    edit(home, '[property.mass]\ndatatype = "string"', '[property.mass]\ndatatype = "quantity"')
    for _ in range(3):
        mass = infer(home)["mass"]
        assert (mass.datatype, mass.unit, mass.decimal_mark) == ("quantity", "g", ",")
        # By the decimal mark of the catalogue's other numbers.
        assert mass.parse("1.310 g") == 1310

    # What followed from the edit goes with it.
    edit(home, '[property.mass]\ndatatype = "quantity"', '[property.mass]\ndatatype = "string"')
    mass = infer(home)["mass"]
    assert (mass.datatype, mass.unit, mass.decimal_mark) == ("string", None, ".")


def test_the_columns_own_numbers_decide_how_an_edited_datatype_is_read(home, table):
    table.write_text(MASSES.replace("2.500 g", '"2,5 g"'))
    ingest(home, [table])
    edit(home, '[property.mass]\ndatatype = "string"', '[property.mass]\ndatatype = "quantity"')
    assert infer(home)["mass"].parse("1.310 g") == 1310
    # Beside numbers with a comma there is now one with a point. The comma was no edit.
    both = MASSES.replace("2.500 g", '"2,5 g"').replace("3,C,by request", "3,C,1.31 g")
    table.write_text(both)
    ingest(home, [table])
    mass = home.ontology()["mass"]
    assert (mass.datatype, mass.decimal_mark) == ("quantity", "unclear")
    assert mass.remark


def test_numbers_are_whole_or_not_by_the_decimal_mark_that_a_person_sets(home, table):
    table.write_text(MASSES.replace("by request", "3.000 g").replace(" g", ""))
    ingest(home, [table])
    mass = home.ontology()["mass"]
    assert (mass.datatype, mass.parse("1.310")) == ("integer", 1310)
    text = home.ontology_path.read_text()
    start = text.index("[property.mass]")
    edited = text[start:].replace('decimal_mark = ","', "decimal_mark = '.'", 1)
    home.ontology_path.write_text(text[:start] + edited)
    for _ in range(2):
        mass = infer(home)["mass"]
        assert (mass.datatype, mass.parse("1.310")) == ("decimal", 1.31)


@pytest.mark.parametrize("mark", [".", ","])
def test_a_decimal_mark_that_a_remark_asks_for_makes_numbers_of_texts(home, table, mark):
    table.write_text('id,title,mass\n1,A,1.5 kg\n2,B,"2,5 kg"\n3,C,"1,250 kg"\n')
    ingest(home, [table])
    assert "set decimal_mark in ontology.toml" in home.ontology()["mass"].remark
    edit(home, 'decimal_mark = "unclear"', f'decimal_mark = "{mark}"')
    for _ in range(2):
        mass = infer(home)["mass"]
        assert (mass.datatype, mass.unit, mass.decimal_mark) == ("quantity", "kg", mark)
        assert mass.parse("1,250 kg") == (1250 if mark == "." else 1.25)


def test_a_property_added_by_hand_gets_what_nobody_wrote_from_the_data(home, table):
    ingest(home, [table])
    own = '\n[property.mass]\ndatatype = "quantity"\ncardinality = "many"\n'
    home.ontology_path.write_text(home.ontology_path.read_text() + own)
    table.write_text(MASSES)
    ingest(home, [table])
    for _ in range(2):
        mass = infer(home)["mass"]
        assert (mass.datatype, mass.unit, mass.cardinality) == ("quantity", "g", "many")
        assert mass.parse("1.310 g") == 1310
        assert mass.values[0] == "by request"
        assert mass.coverage == 1.0
        assert mass.remark == "2 of its 4 values are no quantity in g, such as 'by request'"


def test_what_a_person_saves_meanwhile_is_kept(home, table, monkeypatch):
    ingest(home, [table])
    table.write_text(MORE)
    infer_counted = Ontology.infer_counted
    saved: list[str] = []

    def slow(*arguments, **settings):
        if not saved:
            saved.append(edit(home, 'unit = "cm"', 'unit = "in"'))
        return infer_counted(*arguments, **settings)

    monkeypatch.setattr(Ontology, "infer_counted", slow)
    ingest(home, [table])
    assert home.ontology()["height"].unit == "in"
    assert "green" in home.ontology().values_of("colour")


def test_values_that_a_person_added_and_removed_are_told(home, table):
    ingest(home, [table])
    assert VocabularyEdits.of(home) == VocabularyEdits()
    edit(home, "blue = 1\n", "turquoise = 0\n")
    told = VocabularyEdits(added={"colour": ("turquoise",)}, removed={"colour": ("blue",)})
    assert VocabularyEdits.of(home) == told
    infer(home)
    assert VocabularyEdits.of(home) == told


def test_a_value_that_became_a_synonym_is_not_removed(home, table):
    ingest(home, [table])
    with home.ontology_path.open("a") as file:
        file.write('[property.colour.synonyms]\nred = ["blue", "rouge"]\n')
    edit(home, "blue = 1\n", "")
    assert VocabularyEdits.of(home) == VocabularyEdits()


def test_a_property_that_a_person_removed_is_told(home, table):
    ingest(home, [table])
    ontology = home.ontology()
    del ontology.properties["height"]
    home.ontology_path.write_text(
        home.ontology_path.read_text().split("version")[0] + ontology.to_toml()
    )
    assert VocabularyEdits.of(home).properties == ("height",)
