from __future__ import annotations

import pytest

from schema.decisions import DecisionLimits, Decisions
from schema.edits import merge_edits
from schema.errors import DataError
from schema.ontology import Ontology, PropertySpec

TOML = """
threshold = 0.5

[decisions]
target_precision = 0.98
review_above = 0.3

[decisions.property.brand]
target_precision = 0.999

[decisions.category."Apparel > Shoes"]
target_precision = 0.9

[decisions.source.marketplace]
target_precision = 1
review_above = 0.6

[property.brand]
"""
DECISIONS = Ontology.from_toml(TOML).decisions


def test_the_general_limits_hold_where_nothing_else_is_set():
    assert DECISIONS.of("colour", "Apparel > Hats") == DecisionLimits(0.98, 0.3)
    assert Decisions().of("colour") == DecisionLimits()


def test_a_special_limit_holds_over_the_general_one_even_if_it_is_laxer():
    assert DECISIONS.of("brand") == DecisionLimits(0.999, 0.3)
    assert DECISIONS.of("colour", "Apparel > Shoes") == DecisionLimits(0.9, 0.3)


def test_a_category_takes_the_limits_of_its_nearest_parent():
    assert DECISIONS.of("colour", "Apparel > Shoes > Boots").target_precision == 0.9
    assert DECISIONS.of("colour", "Apparel").target_precision == 0.98
    assert DECISIONS.of("colour", None).target_precision == 0.98


def test_the_strictest_of_several_special_limits_holds():
    assert DECISIONS.of("brand", "Apparel > Shoes").target_precision == 0.999
    several = DECISIONS.of("brand", "Apparel > Shoes", ["erp", "marketplace"])
    assert several == DecisionLimits(1.0, 0.6)


def test_decisions_survive_toml_and_change_the_hash():
    ontology = Ontology([PropertySpec("brand")], decisions=DECISIONS)
    again = Ontology.from_toml(ontology.to_toml())
    assert again.decisions == DECISIONS
    assert again == ontology
    assert ontology.content_hash() != Ontology([PropertySpec("brand")]).content_hash()


def test_an_ontology_without_decisions_is_written_as_before():
    assert "decisions" not in Ontology([PropertySpec("brand")]).to_toml()


def test_decisions_are_kept_when_the_ontology_is_inferred_again():
    base = Ontology([PropertySpec("brand")])
    edited = Ontology([PropertySpec("brand")], decisions=DECISIONS)
    inferred = Ontology([PropertySpec("brand"), PropertySpec("colour")])
    assert merge_edits(base, edited, inferred).decisions == DECISIONS
    # Removed by hand, they stay out.
    assert merge_edits(edited, base, inferred).decisions == Decisions()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("decisions = 3", "write a table"),
        ("[decisions]\ntarget_precision = 2", "decisions.target_precision = 2: give a share"),
        ("[decisions]\ntarget_precision = 0", "give a share"),
        ("[decisions]\ntarget_precision = nan", "give a share"),
        ("[decisions]\ntarget_precision = true", "give a share"),
        ("[decisions]\nreview_above = -0.1", "give a probability"),
        ("[decisions]\nreview_above = '0.1'", "give a probability"),
        ("[decisions]\nfill_above = 0.9", "it takes target_precision, review_above, apply"),
        ("[decisions.property]\nbrand = 0.9", "'brand' = 0.9: write a table"),
        ("[decisions]\nsource = 1", "decisions.source = 1: write a table"),
        ("[decisions.category.Hats]\ntarget = 1", "it takes target_precision"),
    ],
)
def test_wrong_decisions_are_refused_in_one_line(table, words):
    with pytest.raises(DataError) as caught:
        Ontology.from_toml(table, "ontology.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
