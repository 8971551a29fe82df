"""Validation of a store against its ontology and shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg.home import Home
from kg.quality import validation
from kg.quality.validation import ValidationReport, load_shapes, validate
from kg.stores.open import open_store
from kg.stores.protocol import GraphStore
from kg.stores.sorting import with_statements
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology, PropertySpec
from schema.terms import Item, Rank, Statement
from schema.validation import Severity

MUGS = {"Mugs": 0.9}
ONTOLOGY = Ontology(
    [
        PropertySpec("size", "integer", applies_to=MUGS),
        PropertySpec("legs", applies_to={"Chairs": 0.9}),
        PropertySpec("colour"),
    ],
    categories={"Mugs": 10, "Chairs": 10},
)
FACTS = [
    Statement("1", "size", "big"),
    Statement("2", "size", "1"),
    Statement("2", "size", "2"),
    Statement("3", "legs", "none"),
    Statement("4", "size", "none", Rank.REJECTED),
    Statement("4", "flavour", "mint"),
]
ITEMS = [Item(name, "A mug", "Mugs") for name in "1234"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path, create=True)


def filled(url: str = "memory:") -> GraphStore:
    store = open_store(url)
    store.put(items_table(ITEMS), statements_table(FACTS))
    return store


def report_of(store: GraphStore, home: Home, limit: int = 100) -> ValidationReport:
    return validate(store, ONTOLOGY, load_shapes(home, ONTOLOGY)[0], limit)


def test_a_finding_of_both_ontology_and_shapes_counts_once(home: Home) -> None:
    report = report_of(filled(), home)
    assert [(each.item, each.property, each.check) for each in report.results] == [
        ("1", "size", "datatype"),
        ("2", "size", "cardinality"),
        ("4", "flavour", "unknown"),
        ("3", "legs", "applies"),
    ]
    assert report.checked == 4
    assert not report.conforms
    assert report.counts == {Severity.VIOLATION: 3, Severity.WARNING: 1}


def test_the_shapes_alone_find_what_the_ontology_does(home: Home) -> None:
    shapes, _ = load_shapes(home, ONTOLOGY)
    results = validate(filled(), Ontology(), shapes).results
    found = {(each.item, each.property, each.check) for each in results}
    assert ("1", "size", "datatype") in found
    assert ("2", "size", "cardinality") in found
    assert ("3", "legs", "applies") in found


def test_the_batch_size_does_not_matter(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report_of(filled(), home).as_dict()
    monkeypatch.setattr(validation, "ITEMS_PER_BATCH", 1)
    assert report_of(filled(), home).as_dict() == whole


@pytest.mark.parametrize("scheme", ["ladybug", "rdf"])
def test_every_store_gives_the_same_report(home: Home, tmp_path: Path, scheme: str) -> None:
    with filled(f"{scheme}:{tmp_path / 'graph'}") as store:
        assert report_of(store, home).as_dict() == report_of(filled(), home).as_dict()


def test_the_limit_cuts_the_results_but_not_the_counts(home: Home) -> None:
    report = report_of(filled(), home, limit=1)
    assert [each.item for each in report.results] == ["1"]
    assert sum(rule["count"] for rule in report.by_rule()) == 4


def test_an_empty_store_conforms(home: Home) -> None:
    assert report_of(open_store("memory:"), home).as_dict()["conforms"]


def test_items_are_joined_with_their_statements() -> None:
    store = filled()
    items = (row for batch in store.items() for row in batch.to_pylist())
    values = {
        row["id"]: sorted(fact["value"] for fact in facts)
        for row, facts in with_statements(items, store.scan())
    }
    assert values == {"1": ["big"], "2": ["1", "2"], "3": ["none"], "4": ["mint", "none"]}


def test_edited_shapes_are_reported_as_not_current(home: Home) -> None:
    load_shapes(home, ONTOLOGY)
    home.shapes_path.write_text("")
    assert not load_shapes(home, ONTOLOGY)[1]


def test_with_another_file_the_home_s_shapes_are_not_touched(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine.ttl").write_text("")
    assert load_shapes(home, ONTOLOGY, tmp_path / "mine.ttl")[1]
    assert not home.shapes_path.exists()


def test_the_worst_property_comes_first_with_counts_and_examples(home: Home) -> None:
    report = report_of(filled(), home).as_dict()
    found = [
        (each["property"], each["checked"], each["violations"], each["warnings"])
        for each in report["properties"]
    ]
    assert found == [("size", 3, 2, 0), ("flavour", 1, 1, 0), ("legs", 1, 0, 1)]
    size = {each["check"]: each for each in report["properties"][0]["checks"]}
    assert {name: check["count"] for name, check in size.items()} == {
        "datatype": 1,
        "cardinality": 1,
    }
    assert size["datatype"]["examples"] == [
        {"item": "1", "value": "big", "message": "'big' is not an integer"}
    ]
    total = sum(check["count"] for each in report["properties"] for check in each["checks"])
    assert total == sum(rule["count"] for rule in report["rules"] if rule["property"])


def test_examples_of_a_property_are_few(home: Home) -> None:
    store = open_store("memory:")
    facts = [Statement(str(number), "size", f"value {number}") for number in range(50)]
    store.put(items_table([Item(str(n), "A mug", "Mugs") for n in range(50)]), None)
    store.put(None, statements_table(facts))
    (size,) = report_of(store, home).as_dict()["properties"]
    (check,) = size["checks"]
    assert (check["count"], len(check["examples"])) == (50, 3)


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (
            PropertySpec("depth", "quantity", "cm"),
            "3 kg",
            "'3 kg' is not a quantity in cm, but in kg",
        ),
        (
            PropertySpec("depth", "decimal", "EUR"),
            "3 USD",
            "'3 USD' is not a decimal in EUR, but in USD",
        ),
    ],
)
def test_a_foreign_unit_is_told_from_what_is_none(
    home: Home, spec: PropertySpec, value: str, message: str
) -> None:
    store = open_store("memory:")
    facts = [Statement("1", "depth", value), Statement("2", "depth", "deep")]
    store.put(items_table([Item(id, "A mug", "Mugs") for id in "12"]), statements_table(facts))
    ontology = Ontology([spec], categories={"Mugs": 2})
    report = validate(store, ontology, load_shapes(home, ontology)[0])
    assert [(each.check, each.value) for each in report.results] == [
        ("unit", value),
        ("datatype", "deep"),
    ]
    assert report.results[0].message == message


def test_a_value_that_a_person_took_out_of_the_vocabulary_is_found(home: Home) -> None:
    store = open_store("memory:")
    facts = [Statement("1", "colour", "red"), Statement("2", "colour", "RED")]
    facts.append(Statement("3", "colour", "rad"))
    store.put(items_table([Item(id, "A mug", "Mugs") for id in "123"]), statements_table(facts))
    ontology = Ontology([PropertySpec("colour", values=("red",), counts=(2,))])
    report = validate(store, ontology, load_shapes(home, ontology)[0])
    assert [(each.check, each.severity, each.value) for each in report.results] == [
        ("vocabulary", Severity.WARNING, "rad")
    ]
    assert report.conforms
