"""What a model can still answer after an ontology has changed."""

from __future__ import annotations

from dataclasses import replace

from kg.home_ontology import VocabularyEdits
from kg.model_answers import Answers
from schema.ontology import Ontology, PropertySpec

COLOUR = PropertySpec("colour", values=("red", "blue"), counts=(3, 2), coverage=1.0)
FIT = PropertySpec("fit", values=("slim", "wide"), counts=(4, 4), coverage=1.0)
MODEL = Ontology([COLOUR, FIT])


def test_nothing_is_said_of_what_has_not_changed() -> None:
    answers = Answers.of(MODEL, MODEL)
    assert (answers.word, answers.lines()) == ("the same", [])


def test_a_renamed_property_is_proposed() -> None:
    home = Ontology([replace(COLOUR, name="Color"), FIT])
    answers = Answers.of(home, MODEL)
    assert (answers.answered, answers.removed, answers.unknown) == (
        ("fit",),
        ("colour",),
        ("Color",),
    )
    assert answers.word == "answers 1 of 2"
    assert answers.as_dict()["renamed"] == {"Color": "colour"}
    assert any("Color = colour" in line and "--write-map" in line for line in answers.lines())


def test_values_that_are_new_or_gone_are_named() -> None:
    home = Ontology([replace(COLOUR, values=("red", "green"), counts=(3, 1)), FIT])
    answers = Answers.of(home, MODEL)
    assert answers.word == "other values"
    assert answers.removed_values == {"colour": ("blue",)}
    assert answers.new_values == {"colour": ("green",)}
    assert "blue" in answers.lines()[0]
    assert "green" in answers.lines()[1]


def test_of_a_foreign_model_only_what_a_person_has_taken_out_is_gone() -> None:
    home = Ontology([replace(COLOUR, values=("red",), counts=(3,))])
    foreign = Answers.of(home, MODEL, own=False)
    assert (foreign.removed, foreign.removed_values) == ((), {})
    edits = VocabularyEdits(removed={"colour": ("blue",)}, properties=("fit",))
    edited = Answers.of(home, MODEL, edits, own=False)
    assert (edited.removed, edited.removed_values) == (("fit",), {"colour": ("blue",)})
