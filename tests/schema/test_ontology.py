"""The ontology: its inference from a catalogue, and its TOML file."""

from dataclasses import replace

import pyarrow as pa
import pytest

from schema.errors import DataError, PropertyNotFoundError, SourceNotFoundError
from schema.ontology import Ontology, PropertySpec

CATEGORIES = {"1": "Home > Mugs", "2": "Home > Mugs", "3": "Home > Rugs", "4": None}
FACTS = [
    ("1", "colour", "red"),
    ("1", "colour", "blue"),
    ("2", "colour", "red"),
    ("3", "length", "12 cm"),
    ("4", "colour", "a"),
]


def infer(facts=FACTS, categories=CATEGORIES, **extra):
    items = pa.table(
        {"id": list(categories), "category": pa.array(list(categories.values()), pa.string())}
    )
    columns = {
        name: pa.array([fact[position] for fact in facts], pa.string())
        for position, name in enumerate(("item", "property", "value"))
    }
    return Ontology.infer(items, pa.table(columns | extra))


def test_values_are_ordered_by_frequency_then_text():
    assert infer().values_of("colour") == ("red", "a", "blue")
    assert infer()["colour"].counts == (2, 1, 1)


def test_datatype_unit_and_cardinality_are_inferred():
    ontology = infer()
    length = ontology["length"]
    assert (length.datatype, length.unit, length.cardinality) == ("quantity", "cm", "one")
    assert ontology["colour"].cardinality == "many"


def test_shares_are_counted_at_every_level_of_a_path():
    assert infer()["colour"].applies_to == {"Home": 0.6667, "Home > Mugs": 1.0}
    assert infer().categories == {"Home": 3, "Home > Mugs": 2, "Home > Rugs": 1}


@pytest.mark.parametrize(
    ("category", "names"),
    [
        ("Home > Mugs", ["colour"]),
        ("Home > Rugs", ["colour"]),
        ("Home > Lamps", ["colour"]),
        ("Garden", ["colour"]),
        (None, ["colour"]),
    ],
)
def test_an_unknown_category_or_one_of_a_single_item_is_treated_like_its_parent(category, names):
    assert infer().applicable(category) == names


def test_predicted_statements_do_not_count():
    ranks = pa.array(["asserted", "predicted", "accepted", "rejected", "asserted"])
    assert infer(rank=ranks).values_of("colour") == ("red", "a")
    assert "length" not in infer(rank=ranks).properties


def test_an_empty_catalogue_has_an_empty_ontology():
    ontology = infer([], {})
    assert ontology.properties == {}
    assert ontology.applicable(None) == []


def test_an_unknown_property_error_lists_the_known_ones():
    with pytest.raises(PropertyNotFoundError, match=r"'weight'.*colour, length"):
        infer().values_of("weight")


@pytest.mark.parametrize("name", ["a.b", 'quo"te', "顔色", "new\nline", "category", "values"])
def test_an_ontology_survives_a_round_trip_through_toml(name, tmp_path):
    ontology = infer([("1", name, 'v "1" \\ é\t漢'), ("2", name, "2")])
    ontology.save(tmp_path / "ontology.toml")
    loaded = Ontology.load(tmp_path / "ontology.toml")
    assert loaded == ontology
    assert loaded.content_hash() == ontology.content_hash()
    assert loaded.values_of(name) == ontology.values_of(name)


def test_the_hash_depends_on_the_content():
    assert infer().content_hash() != infer(FACTS[:-1]).content_hash()


def test_saving_leaves_no_other_file(tmp_path):
    infer().save(tmp_path / "ontology.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["ontology.toml"]


def test_a_missing_file_error_says_how_to_create_it(tmp_path):
    with pytest.raises(SourceNotFoundError, match="ingest"):
        Ontology.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense [",
        "property = 3",
        '[property.x]\ndatatype = "colour"',
        "[property.x]\nvalues = 1",
        "[categories]\na = []",
    ],
)
def test_a_damaged_file_is_a_one_line_error(text, tmp_path):
    (tmp_path / "o.toml").write_text(text)
    with pytest.raises(DataError) as caught:
        Ontology.load(tmp_path / "o.toml")
    assert "\n" not in str(caught.value)


def test_an_unknown_datatype_is_refused():
    with pytest.raises(DataError, match="use one of"):
        PropertySpec("x", datatype="colour")


@pytest.mark.parametrize(
    "text",
    [
        "property = 5",
        "property = []",
        "[property]\na = 5",
        "[property.a]\ndatatype = []",
        "[property.a]\ndatatype = {}",
        "[property.a]\nunit = 5",
        "[property.a]\ncardinality = []",
        "[property.a]\nvalues = []",
        "[property.a.values]\nred = 1.5",
        "[property.a.values]\nred = inf",
        "[property.a.values]\nred = -1",
        "[property.a.values]\nred = 9999999999999999999999",
        "[property.a.values]\nred = 'x'",
        "[property.a.applies_to]\nmugs = nan",
        "[property.a.applies_to]\nmugs = true",
        "[property.a]\ncoverage = 1e999",
        "categories = []",
        "categories = {a = {}}",
        "threshold = 'x'",
        "threshold = nan",
        "threshold = 1\nthreshold = 2",
        "a = " + "[" * 100_000,
        "a" + ".a" * 10_000 + " = 1\nproperty = 1",
    ],
    ids=range(23),
)
def test_an_ontology_of_anything_is_one_line(text):
    with pytest.raises(DataError) as caught:
        Ontology.from_toml(text, "file.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


WEIGHTS = [
    ("1", "weight", "1.2 kg"),
    ("2", "weight", "1200 g"),
    ("3", "weight", "1.2 kg"),
    ("4", "weight", "2 kg"),
    ("1", "weight", "1200 g"),
]


def test_equal_values_are_one_and_an_item_counts_once():
    weight = infer(WEIGHTS)["weight"]
    assert weight.values == ("1.2 kg", "2 kg")
    assert weight.counts == (3, 1)
    assert weight.cardinality == "one"
    assert weight.spellings == {"1.2 kg": ("1200 g",)}
    assert weight.shown("1200G") == "1.2 kg"
    assert weight.position("2000 g") == 1
    assert weight.shown("3 kg") == "3 kg"
    assert weight.position("3 kg") is None


def test_synonyms_are_merged_and_hold_at_once():
    def edit(spec):
        return replace(spec, synonyms={"grey": ("gray",)}) if spec.name == "colour" else spec

    facts = [("1", "colour", "gray"), ("2", "colour", "Gray"), ("3", "colour", "grey")]
    items = pa.table({"id": list("123"), "category": pa.array([None] * 3, pa.string())})
    rows = pa.table(dict(zip(("item", "property", "value"), zip(*facts, strict=True), strict=True)))
    colour = Ontology.infer(items, rows, edit=edit)["colour"]
    assert (colour.values, colour.counts) == (("grey",), (3,))
    before = replace(infer(facts)["colour"], synonyms={"grey": ("gray",)})
    assert before.shown("GRAY") == "grey"


def test_values_of_an_older_ontology_stay_apart():
    spec = PropertySpec("x", values=("Yes", "yes", "no"), counts=(2, 1, 1))
    assert [spec.position(text) for text in ("Yes", "yes", "YES", "No")] == [0, 1, 0, 2]


def test_what_a_person_can_set_survives_a_round_trip():
    spec = PropertySpec(
        "x",
        "date",
        decimal_mark=",",
        date_order="dmy",
        case_sensitive=True,
        values=("a",),
        counts=(1,),
        spellings={"a": ("A", "Ä")},
        synonyms={"a": ("b",)},
        remark="a remark",
    )
    assert Ontology.from_toml(Ontology([spec]).to_toml())["x"] == spec


def test_the_decimal_mark_of_the_other_properties_counts():
    facts = [
        ("1", "price", "12,90"),
        ("1", "length", "45,5 cm"),
        ("1", "stock", "1.000"),
        ("2", "stock", "12.500"),
    ]
    stock = infer(facts)["stock"]
    assert (stock.datatype, stock.decimal_mark) == ("integer", ",")
    assert stock.parse("12.500") == 12500


@pytest.mark.parametrize(
    "text",
    [
        "[property.a]\ndecimal_mark = 5",
        "[property.a]\ndecimal_mark = 'x'",
        "[property.a]\ndate_order = 'ymd'",
        "[property.a]\ncase_sensitive = 'yes'",
        "[property.a.synonyms]\nred = 5",
        "[property.a]\nsynonyms = []",
    ],
)
def test_settings_of_anything_are_one_line(text):
    with pytest.raises(DataError) as caught:
        Ontology.from_toml(text, "file.toml")
    assert "\n" not in str(caught.value)


def shop(described, bare=(), properties=("colour",)):
    """Return items and facts: ``described`` items of each category have all properties."""
    rows = [
        (f"{category}{number}", category)
        for category, count in described
        for number in range(count)
    ]
    facts = [(item, name, f"v{len(item) % 3}") for item, _ in rows for name in properties]
    rows += [(f"bare {category} {number}", category) for category, n in bare for number in range(n)]
    return facts, dict(rows)


def asked(ontology, categories):
    return {category: ontology.applicable(category) for category in categories}


def test_a_feed_of_bare_items_changes_nothing_that_is_asked():
    described = [("Mugs", 20), ("Rugs", 10), ("Rugs > Small", 4)]
    categories = ("Mugs", "Rugs", "Rugs > Small", "Rugs > New", "Lamps", None)
    before = infer(*shop(described))
    after = infer(*shop(described, [("Mugs", 600), ("Rugs > New", 400), ("Lamps", 200)]))
    assert asked(after, categories) == asked(before, categories)
    assert all(names == ["colour"] for names in asked(after, categories).values())
    assert after.described == {"Lamps": 0, "Mugs": 20, "Rugs": 14, "Rugs > New": 0}
    assert (after.categories["Mugs"], after["colour"].coverage) == (620, 0.0276)


def test_items_that_only_have_a_price_are_bare():
    facts, categories = shop([("Mugs", 10)])
    categories |= {f"new{number}": "Mugs" for number in range(100)}
    facts += [(f"new{number}", "price", f"{number}.90") for number in range(100)]
    facts += [(f"new{number}", "ean", f"40123456{number:05}") for number in range(100)]
    ontology = infer(facts, categories)
    assert ontology.share("colour", "Mugs") == 1
    assert ontology.described == {"Mugs": 10}


@pytest.mark.parametrize(("items", "applies"), [(1, False), (3, False), (6, True)])
def test_a_small_category_is_believed_only_from_some_items_on(items, applies):
    facts, categories = shop([("Home > Mugs", 50)], [])
    own, others = shop([("Home > Rugs", items)], properties=("pile",))
    ontology = infer(facts + own, categories | others)
    assert ontology.applies("pile", "Home > Rugs") is applies
    # Its own single item is no mistake, either.
    assert ontology.may_have("pile", "Home > Rugs")
    assert not ontology.may_have("pile", "Home > Mugs")


def test_shares_of_an_earlier_version_and_edited_ones_are_taken_as_they_are():
    facts, categories = shop([("Home > Mugs", 50)], [("Home > Rugs", 1)])
    ontology = infer(facts, categories)
    assert ontology.applies("colour", "Home > Rugs")
    text = ontology.to_toml()
    specs = [replace(ontology["colour"], inferred_shares="")]
    former = Ontology(specs, categories=ontology.categories)
    assert not former.applies("colour", "Home > Rugs")
    edited = text.replace('"Home > Mugs" = 1.0', '"Home > Mugs" = 0.1')
    assert edited != text
    assert not Ontology.from_toml(edited).applies("colour", "Home > Mugs")


def column(texts, name="x"):
    facts = [(str(number), name, text) for number, text in enumerate(texts)]
    return infer(facts, dict.fromkeys(map(str, range(len(texts)))))[name]


COMMON = ["8 GB", "16 GB", "32 GB"] * 40 + ["40 GB", "48 GB"]


@pytest.mark.parametrize(
    ("texts", "name", "reason"),
    [
        ([f"{n % 97}.{n % 89:02} EUR" for n in range(2000)], "x", "numbers"),
        ([f"{n}.90" for n in range(50)], "Preis", "numbers"),
        ([f"{n * 7 % 501}" for n in range(2000)], "stock_quantity", "numbers"),
        ([f"{n * 7 % 2001}" for n in range(4000)], "x", "numbers"),
        ([f"{n * 3 % 1801} g" for n in range(4000)], "x", "numbers"),
        ([f"{2000 + n % 20}-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(99)], "x", "date"),
        (
            [
                f"Cut {n % 80} from one piece of oak, and oiled by hand four times."
                for n in range(900)
            ],
            "x",
            "text",
        ),
        ([f"4012345{n:06}" for n in range(100)], "EAN", "identifier"),
        (COMMON, "memory", None),
        ([str(2000 + n % 20) for n in range(400)], "year", None),
        (["yes", "no"] * 20, "in stock", None),
        ([f"Brand {n % 800}" for n in range(1000)], "brand", None),
        ([f"Mug {n % 950}" for n in range(1000)], "name", "unique"),
        (["Wash at 30 degrees and do not tumble dry or bleach, please."] * 9, "care", None),
    ],
    ids=range(14),
)
def test_what_is_no_class_is_recognised_from_the_data(texts, name, reason):
    spec = column(texts, name)
    assert spec.not_learned == reason
    assert spec.is_learned is (reason is None)


def test_dates_that_only_a_person_can_read_are_no_classes():
    dates = column([f"{n % 12 + 1:02}/{n % 11 + 1:02}/2024" for n in range(60)], "launched")
    assert (dates.datatype, dates.learn, dates.not_learned) == ("string", False, "learn_false")
    assert "date_order" in dates.remark


def test_a_person_decides_what_is_learned_and_completed():
    price = column([f"{n}.90" for n in range(50)], "price")
    assert replace(price, learn=True).is_learned
    colour = replace(column(["red"] * 9, "colour"), learn=False)
    assert (colour.not_learned, colour.not_completed) == ("learn_false", "learn_false")
    size = replace(column(["XL"] * 9, "size"), complete=False)
    assert (size.not_learned, size.not_completed) == (None, "complete_false")
    for spec in (price, colour, size):
        assert Ontology.from_toml(Ontology([spec]).to_toml())[spec.name] == spec


@pytest.mark.parametrize(
    "text",
    [
        "[property.a]\nlearn = 'no'",
        "[property.a]\ncomplete = 0",
        "[property.a]\ndescribed_share = 'x'",
        "[property.a]\ninferred_shares = 5",
        "[described]\nMugs = -1",
        "described = 5",
    ],
)
def test_flags_of_anything_are_one_line(text):
    with pytest.raises(DataError) as caught:
        Ontology.from_toml(text, "file.toml")
    assert "\n" not in str(caught.value)
