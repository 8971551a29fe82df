"""What new data would change in the ontology of a home."""

import hashlib

import pytest

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.ontology_diff import diff_ontology
from kg.ingest.pipeline import ingest
from schema.ontology_changes import CHANGING

STORED = """id,title,category,colour,height,price,made,size
1,Mug,Home > Mugs,red,12 cm,"1,5",03.04.2024,4
2,Cup,Home > Mugs,blue,8 cm,"2,5",05.06.2024,5
3,Jug,Home > Jugs,red,20 cm,"3,5",07.08.2024,6
4,Jar,Home > Jugs,blue,9 cm,"4,5",08.08.2024,7
"""
NEW = """id,title,category,colour,height,price,made,size,finish
4,Jar,Home > Jars,blue,9 cm,"4,5",08.08.2024,7,matt
5,Bowl,Home > Bowls,green,3 kg,9.99,09.09.2024,large,gloss
6,Dish,Home > Mugs,red,5 cm,8.88,10.10.2024,small,gloss
"""


@pytest.fixture
def home(tmp_path):
    home = Home.open(tmp_path / "home", create=True)
    (tmp_path / "stored.csv").write_text(STORED)
    ingest(home, [tmp_path / "stored.csv"])
    return home


@pytest.fixture
def diff(home, tmp_path):
    """Compare a table with the home; return what would change."""

    def run(text=NEW, mapping=None):
        (tmp_path / "new.csv").write_text(text)
        if mapping is not None:
            (tmp_path / "new.toml").write_text(mapping)
            mapping = str(tmp_path / "new.toml")
        return diff_ontology(home, [tmp_path / "new.csv"], mapping=mapping)

    return run


def edit(home, old, new):
    text = home.ontology_path.read_text()
    assert old in text
    home.ontology_path.write_text(text.replace(old, new))


def files_of(home):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.path.rglob("*")
        if path.is_file()
    }


def test_it_says_what_an_ingest_then_does(home, diff, tmp_path):
    before = home.ontology()
    files = files_of(home)
    report = diff()
    assert files_of(home) == files
    assert (report.read, report.rejected, report.items) == (3, 0, 3)

    ingest(home, [tmp_path / "new.csv"])
    after = home.ontology()
    found = {(each.property, each.field): (each.before, each.after) for each in report.diff.changes}
    expected = {
        (name, field): (vars(spec)[field] or None, vars(after[name])[field] or None)
        for name, spec in before.properties.items()
        for field in CHANGING
        if vars(spec)[field] != vars(after[name])[field]
    }
    assert found == expected
    assert ("size", "datatype") in found
    new = {each.property: each for each in report.diff.new_properties}
    assert set(new) == set(after.properties) - set(before.properties) == {"finish"}
    assert (new["finish"].items, new["finish"].examples) == (3, ("gloss", "matt"))
    assert report.diff.new_categories == {
        name: count for name, count in after.categories.items() if name not in before.categories
    }
    # Nothing is new any more.
    assert diff().diff.as_dict() == {
        "new_properties": [],
        "changes": [],
        "new_values": [],
        "new_categories": [],
        "contradictions": [],
    }


def test_a_change_has_the_counts_that_make_it_so(diff):
    changes = {(each.property, each.field): each for each in diff().diff.changes}
    size = changes["size", "datatype"]
    assert (size.before, size.after) == ("integer", "string")
    assert size.stored == {"statements": 4, "read_as_integer": 4}
    assert size.new == {"statements": 3, "read_as_integer": 1}
    assert set(size.examples) == {"large", "small"}


def test_a_change_of_unit_counts_the_units(diff):
    rows = "".join(f"{number},Mug,{number} mm\n" for number in range(10, 20))
    (change,) = diff("id,title,height\n" + rows).diff.changes
    assert (change.field, change.before, change.after) == ("unit", "cm", "mm")
    assert (change.stored, change.new) == ({"cm": 4}, {"mm": 10})


def test_a_change_of_cardinality_counts_the_items(diff):
    (change,) = diff("id,title,colour\n7,Mug,red|blue\n8,Cup,red\n").diff.changes
    assert (change.field, change.before, change.after) == ("cardinality", "one", "many")
    assert change.stored == {"items": 4, "with_several": 0}
    assert change.new == {"items": 2, "with_several": 1}


def test_a_change_of_the_decimal_mark_counts_the_numbers(diff):
    rows = "".join(f'{number},Mug,"{number}.75"\n' for number in range(10, 60))
    (change,) = diff("id,title,price\n" + rows).diff.changes
    assert (change.field, change.before, change.after) == ("decimal_mark", ",", ".")
    assert change.stored == {"point": 0, "comma": 4, "either": 0}
    assert change.new == {"point": 50, "comma": 0, "either": 0}


def test_new_values_of_a_small_vocabulary_are_listed(diff):
    (values,) = diff().diff.new_values
    assert (values.property, values.known, values.count) == ("colour", 2, 1)
    assert values.values == {"green": 1}
    # Not those that are only written in another way.
    assert diff("id,title,colour\n9,Mug,RED\n").diff.new_values == []


def test_what_contradicts_a_person_is_counted_with_examples(home, diff):
    edit(home, 'datatype = "integer"', 'datatype = "decimal"')
    edit(home, "blue = 2\n", "")
    edit(home, 'unit = "cm"', 'unit = "mm"')
    with home.store(read_only=True) as store:
        refresh_ontology(home, store)
    found = {(each.property, each.field): each for each in diff().diff.contradictions}
    assert set(found) == {("size", "datatype"), ("colour", "values"), ("height", "unit")}
    size = found["size", "datatype"]
    assert (size.value, size.statements, size.of) == ("decimal", 2, 3)
    assert set(size.examples) == {"large", "small"}
    colour = found["colour", "values"]
    assert (colour.statements, colour.of, colour.examples) == (1, 3, ("blue",))
    height = found["height", "unit"]
    assert (height.statements, height.examples) == (1, ("3 kg",))


def test_a_person_s_one_and_removed_properties_are_contradicted(home, diff):
    (home.path.parent / "stored.csv").write_text(STORED + '5,Pot,,red|blue,1 cm,"1,5",,1\n')
    ingest(home, [home.path.parent / "stored.csv"])
    edit(home, 'cardinality = "many"', 'cardinality = "one"')
    text = home.ontology_path.read_text()
    start = text.index("[property.made]")
    end = text.index("[property.price]")
    home.ontology_path.write_text(text[:start] + text[end:])
    report = diff("id,title,colour,made\n7,Mug,red|blue,03.04.2024\n8,Cup,red,03.04.2024\n").diff
    found = {(each.property, each.field): each for each in report.contradictions}
    assert set(found) == {("colour", "cardinality"), ("made", "property")}
    one = found["colour", "cardinality"]
    assert (one.value, one.statements, one.of) == ("one", 1, 2)
    assert (found["made", "property"].value, found["made", "property"].statements) == ("removed", 2)
    # It stays removed.
    assert report.new_properties == []


def test_a_mapping_s_settings_count_and_are_not_kept(home, diff):
    mapping = 'id = "id"\ntitle = "title"\n[columns."size"]\ndatatype = "identifier"\n'
    (change,) = diff("id,title,size\n8,Mug,9\n", mapping).diff.changes
    assert (change.property, change.field, change.after) == ("size", "datatype", "identifier")
    assert not home.declared_path.exists()


def test_a_new_home_has_everything_to_learn(tmp_path):
    home = Home.open(tmp_path / "empty", create=True)
    (tmp_path / "stored.csv").write_text(STORED)
    report = diff_ontology(home, [tmp_path / "stored.csv"])
    assert len(report.diff.new_properties) == 5
    assert not home.ontology_path.exists()
    assert not (home.path / "graph").exists()
