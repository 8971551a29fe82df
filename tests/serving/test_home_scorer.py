"""A model in the words of a home: other names, edited values, synonyms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion.extension import extended_ontology
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from kg.home_ontology import VocabularyEdits
from schema.errors import PropertyNotFoundError
from schema.ontology import Ontology, PropertySpec
from schema.property_maps import PropertyMap
from serving.calibration import Calibration
from serving.cells import Cell, probabilities
from serving.completion import CompletionOptions, complete_cells
from serving.deciding import CellLimits
from serving.home_scorer import HomeScorer
from serving.withheld import Withheld

from .fakes import COLOURS, ONTOLOGY, FakeScorer

MUG = ItemInput("m1", "a red mug", None, (("kind", "lamp"),))
CALIBRATION = {
    "version": 1,
    "temperatures": {
        "global": 1.0,
        "situations": {"title": {"all": 1.0, "properties": {"colour": 2.0}}},
    },
    "curves": {"title": {"colour": [[0.5, 1000, 0]]}, "title+known": {"colour": [[0.5, 1000, 0]]}},
}


def proving(property: str) -> dict[str, Any]:
    """A calibration of the present version, of one property."""
    steps = {"cells": 100, "steps": [[0.95, 0.5, 0.7]]}
    return {
        "version": 2,
        "temperatures": CALIBRATION["temperatures"],
        "proven": {"title": {property: steps}, "title+known": {property: steps}},
    }


def test_what_is_proven_is_proven_by_the_names_of_the_home():
    at_home = Ontology([replace(ONTOLOGY["colour"], name="Farbe")])
    scorer = HomeScorer(
        FakeScorer(calibration=proving("colour")), at_home, PropertyMap({"Farbe": "colour"}, {})
    )
    assert Calibration(scorer.calibration).threshold("title", "Farbe", 0.95) == 0.5
    item = ItemInput("m1", "a red mug")
    options = CompletionOptions(limits_of=lambda cell: CellLimits(0.95))
    (line,) = complete_cells(scorer, [item], [Cell(0, "Farbe")], options)
    assert (line.decision, line.proven) == ("fill", 0.95)


def test_another_value_stays_the_last_where_values_are_joined():
    class TellsOther(FakeScorer):
        def score(self, encoded, cells):
            return [np.append(row, np.float32(5)) for row in super().score(encoded, cells)]

    at_home = Ontology([replace(ONTOLOGY["colour"], synonyms={"red": ("blue",)})])
    scorer = HomeScorer(TellsOther(), at_home)
    assert scorer.ontology.values_of("colour") == ("black", "white", "red")
    (row,) = scorer.score(scorer.encode([MUG]), [CellQuery(0, "colour")])
    assert len(row) == 4
    assert row[-1] == 5


class TextScorer(FakeScorer):
    """A fake that scores values it was not trained on as well."""

    def with_values(self, added: Mapping[str, Sequence[str]]) -> TextScorer:
        ontology = extended_ontology(self.ontology, added)
        return TextScorer(calibration=self.calibration, ontology=ontology)


def home(*specs: PropertySpec) -> Ontology:
    return Ontology(specs)


def colour(name: str = "colour", values: Sequence[str] = COLOURS, **others: Any) -> PropertySpec:
    counts = tuple(range(len(values), 0, -1))
    return replace(PropertySpec(name), values=tuple(values), counts=counts, **others)


def logits(scorer: HomeScorer | FakeScorer, query: CellQuery, item: ItemInput = MUG) -> list[float]:
    (row,) = scorer.score(scorer.encode([item]), [query])
    return row.tolist()


def test_a_home_of_the_same_words_changes_nothing() -> None:
    plain = FakeScorer()
    scorer = HomeScorer(plain, ONTOLOGY, own=True)
    query = CellQuery(0, "colour", (("kind", "lamp"),))
    assert logits(scorer, query) == logits(plain, query)
    assert (scorer.ontology, scorer.removed, scorer.unscored) == (ONTOLOGY, {}, {})


def test_mapped_names_and_values_are_those_of_the_home() -> None:
    at_home = home(
        colour("Farbe", ("rot", "rosso", "blue")), PropertySpec("Art", values=("Lampe",))
    )
    mapping = PropertyMap(
        {"Farbe": "colour", "Art": "kind"},
        {"Farbe": {"rot": "red", "rosso": "red"}, "Art": {"Lampe": "lamp"}},
    )
    plain = FakeScorer(calibration=CALIBRATION)
    scorer = HomeScorer(plain, at_home, mapping)
    assert set(scorer.ontology.properties) == {"Farbe", "Art", "holds"}
    assert scorer.ontology.values_of("Farbe") == ("black", "white", "rot", "blue")
    assert scorer.ontology["Farbe"].position("rosso") == 2
    known = (("Art", "Lampe"), ("colour", "red"))
    assert logits(scorer, CellQuery(0, "Farbe", known)) == logits(
        plain, CellQuery(0, "colour", (("kind", "lamp"),))
    )
    assert scorer.calibration == {
        "version": 1,
        "temperatures": {
            "global": 1.0,
            "situations": {"title": {"all": 1.0, "properties": {"Farbe": 2.0}}},
        },
        "curves": {
            "title": {"Farbe": [[0.5, 1000, 0]]},
            "title+known": {"Farbe": [[0.5, 1000, 0]]},
        },
    }
    (line,) = complete_cells(scorer, [MUG], [Cell(0, "Farbe")])
    assert (line.property, line.candidates[0].value) == ("Farbe", "rot")
    with pytest.raises(PropertyNotFoundError):
        scorer.score(scorer.encode([MUG]), [CellQuery(0, "colour")])


def test_synonyms_that_a_person_added_have_the_sum_of_their_probabilities() -> None:
    at_home = home(colour(values=("dark", "red"), synonyms={"dark": ("black", "blue")}))
    plain = FakeScorer()
    scorer = HomeScorer(plain, at_home)
    assert scorer.ontology.values_of("colour") == ("dark", "white", "red")
    assert scorer.ontology["colour"].counts == (50, 30, 20)
    query = CellQuery(0, "colour")
    black, white, red, blue = probabilities(np.array(logits(plain, query)))
    joined = probabilities(np.array(logits(scorer, query)))
    np.testing.assert_allclose(joined, [black + blue, white, red], rtol=1e-5)


@pytest.mark.parametrize("own", [True, False])
def test_values_that_a_person_removed_are_withheld(own: bool) -> None:
    at_home = home(colour(values=("black", "blue")))
    edits = VocabularyEdits(removed={"colour": ("red",)}, properties=("kind",))
    scorer = HomeScorer(FakeScorer(calibration=CALIBRATION), at_home, edits=edits, own=own)
    # A model from elsewhere may know values that this home has not seen yet.
    assert scorer.removed == {"colour": ("white", "red") if own else ("red",)}
    assert scorer.removed_properties == ({"kind", "holds"} if own else {"kind"})
    assert "kind" not in scorer.ontology.properties
    options = CompletionOptions(withheld=Withheld(scorer.removed))
    (line,) = complete_cells(scorer, [MUG], [Cell(0, "colour")], options)
    assert "red" not in [each.value for each in line.candidates]
    # Its probability goes to no other value.
    (whole,) = complete_cells(scorer, [MUG], [Cell(0, "colour")])
    assert set(line.candidates) == {
        each for each in whole.candidates if each.value not in scorer.removed["colour"]
    }
    assert line.decision != "fill"


def test_values_that_a_person_added_are_offered_and_never_filled() -> None:
    at_home = home(colour(values=(*COLOURS, "turquoise")))
    edits = VocabularyEdits(added={"colour": ("turquoise",), "size": ("XL",)})
    scorer = HomeScorer(TextScorer(calibration=CALIBRATION), at_home, edits=edits, own=True)
    assert scorer.ontology["colour"].counts[-1] == 0
    item = ItemInput("m", "a turquoise mug")
    (line,) = complete_cells(scorer, [item], [Cell(0, "colour")])
    assert (line.candidates[0].value, line.decision) == ("turquoise", "review")
    (line,) = complete_cells(scorer, [ItemInput("m", "a red mug")], [Cell(0, "colour")])
    assert (line.candidates[0].value, line.decision) == ("red", "fill")


def test_values_that_a_model_cannot_score_are_told() -> None:
    at_home = home(colour(values=(*COLOURS, "turquoise")))
    edits = VocabularyEdits(added={"colour": ("turquoise", "Blue")})
    scorer = HomeScorer(FakeScorer(), at_home, edits=edits, own=True)
    assert scorer.unscored == {"colour": ("turquoise",)}
    assert scorer.ontology.values_of("colour") == COLOURS
