"""Properties with several values: a probability for each, and what is still missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import ModelError
from schema.modalities import NETWORK_MODALITIES
from schema.ontology import Ontology, PropertySpec
from serving.calibration import CellGroup, ScoredCells, fit_calibration
from serving.cells import Cell
from serving.completion import CompletionOptions, complete_cells
from serving.deciding import CellLimits
from serving.results import Completion
from serving.several_values import SeveralValues, membership, shares_without
from serving.writeback import predicted_statement

COLOURS = ("red", "blue", "green", "white")
ONTOLOGY = Ontology(
    [PropertySpec("colour", cardinality="many", values=COLOURS, counts=(900, 900, 900, 900))]
)


def test_shares_are_those_of_the_values_that_are_not_known() -> None:
    shares = shares_without(
        np.array([[0.6, 0.2, 0.1, 0.0]]), np.array([[True, False, False, False]])
    )
    # The rest belongs to values that the model does not know.
    np.testing.assert_allclose(shares, [[0, 0.5, 0.25, 0]])


def test_membership_is_the_documented_equation() -> None:
    found = membership(np.array([0.5, 2.0, -1.0]), np.array([[0.3]]), np.array([True]))
    odds = 0.5 + 2 * np.log(0.3 / 0.7) - 1
    assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-odds)))


def made_cells(count: int = 3000) -> ScoredCells:
    """Half of the items have two colours; their scores say so, and those of the others as well."""
    rng = np.random.default_rng(0)
    true = np.zeros((count, 4), bool)
    logits = rng.normal(-4, 0.3, (count, 4)).astype(np.float32)
    for row in range(count):
        values = rng.permutation(4)[: 1 + row % 2]
        true[row, values] = True
        logits[row, values] = 2
    fold = np.arange(count) // 2 % 2
    return ScoredCells(logits, true, fold, np.arange(count), 4)


@pytest.fixture(scope="module")
def calibration() -> dict[str, object]:
    cells = made_cells()
    return fit_calibration({CellGroup("title", "colour"): cells}, range(3000), ontology=ONTOLOGY)


class TitleScorer:
    """Scores the colours that the title names, and no others."""

    name = "titles"
    ontology = ONTOLOGY
    modalities = NETWORK_MODALITIES

    def __init__(self, calibration: dict[str, object]) -> None:
        self.calibration = calibration

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        return "title"

    def encode(self, items: Sequence[ItemInput]) -> list[ItemInput]:
        return list(items)

    def score(
        self, encoded: list[ItemInput], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        return [
            np.array(
                [2.0 if each in (encoded[cell.item].title or "") else -4.0 for each in COLOURS]
            )
            for cell in cells
        ]


def complete(calibration: dict[str, object], title: str, *known: str, top_k: int = 5) -> Completion:
    item = ItemInput("I1", title=title, known=tuple(("colour", each) for each in known))
    scorer = TitleScorer(calibration)
    options = CompletionOptions(top_k, lambda cell: CellLimits(0.95))
    (completion,) = complete_cells(scorer, [item], [Cell(0, "colour")], options)
    return completion


def test_both_values_of_a_cell_are_filled(calibration: dict[str, object]) -> None:
    completion = complete(calibration, "red and blue")
    assert completion.decision == "fill"
    assert {each.value for each in completion.filled_values()} == {"red", "blue"}
    # Each has a probability of its own.
    assert all(each.probability > 0.9 for each in completion.filled_values())
    assert set(completion.as_dict()["values"]) == {"red", "blue"}


def test_how_many_candidates_are_shown_does_not_change_what_is_filled(
    calibration: dict[str, object],
) -> None:
    completion = complete(calibration, "red and blue", top_k=1)
    assert len(completion.candidates) == 1
    assert {each.value for each in completion.filled_values()} == {"red", "blue"}


def test_one_value_alone_is_filled_alone(calibration: dict[str, object]) -> None:
    assert [each.value for each in complete(calibration, "red").filled_values()] == ["red"]


def test_a_cell_that_is_partly_known_gets_what_is_missing(calibration: dict[str, object]) -> None:
    completion = complete(calibration, "red and blue", "red")
    assert [each.value for each in completion.filled_values()] == ["blue"]
    assert "red" not in {each.value for each in completion.candidates}


def test_nothing_is_added_to_a_cell_that_is_whole(calibration: dict[str, object]) -> None:
    completion = complete(calibration, "red", "red")
    assert completion.filled_values() == ()
    assert completion.candidates[0].probability < 0.2
    assert completion.decision == "abstain"


class ProvenScorer(TitleScorer):
    """A scorer whose precision is proven by the titles, whatever it says itself."""

    def score(
        self, encoded: list[ItemInput], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        return [np.array([-4.0, -4.0, 2.0, -4.0], np.float32) for _ in cells]

    def proving_scores(
        self, encoded: list[ItemInput], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        return super().score(encoded, cells)


def test_values_are_filled_by_the_scores_that_prove_them(calibration: dict[str, object]) -> None:
    item = ItemInput("I1", title="red and blue")
    scorer = ProvenScorer(calibration)
    options = CompletionOptions(limits_of=lambda cell: CellLimits(0.95))
    (completion,) = complete_cells(scorer, [item], [Cell(0, "colour")], options)
    assert {each.value for each in completion.filled_values()} == {"red", "blue"}


def test_each_filled_value_is_a_statement(calibration: dict[str, object]) -> None:
    completion = complete(calibration, "red and blue")
    statements = [
        predicted_statement(completion, each, "titles", "2026-01-01T00:00:00+00:00")
        for each in completion.filled_values()
    ]
    assert {each.value for each in statements} == {"red", "blue"}


def test_properties_with_one_value_are_as_before() -> None:
    ontology = Ontology([PropertySpec("colour", values=COLOURS, counts=(900,) * 4)])
    groups = {CellGroup("title", "colour"): made_cells()}
    fitted = fit_calibration(groups, range(3000), ontology=ontology)
    assert SeveralValues(fitted).properties == frozenset()


@pytest.mark.parametrize("data", [[], {"weights": {"colour": [1]}, "proven": {}}, {"weights": {}}])
def test_damage_is_told(data: object) -> None:
    with pytest.raises(ModelError, match="damaged"):
        SeveralValues({"several": data})
