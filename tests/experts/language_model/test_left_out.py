"""Learning a language model's weight from left-out cells, and scoring cells with it."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from experts import FittedExperts, fit_experts
from experts.labelled_items import HeldOutCells
from experts.language_model.asking import LanguageModel
from experts.language_model.left_out import (
    CONTROL,
    SOURCE,
    AnsweredCells,
    ask_left_out,
    fit_answers,
    sample_left_out,
)
from experts.language_model.scorer import AskedScorer, asked_name
from experts.language_model.settings import BudgetSettings
from experts.second_stage import Key, SecondStage, group_of
from experts.situations import every_situation
from experts.variants import KnownVariant, TitleVariant, variants
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from tests.experts.language_model.stand_in import Asked, Reply, StandIn, answered, stand_in
from tests.experts.made import ONTOLOGY, labelled, made_items

ITEMS = made_items(60)
BY_ID = {item.id: item for item in ITEMS}


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    return fit_experts("asked", ONTOLOGY, labelled(ITEMS))


def answers(value: Callable[[str, str], str | None]) -> Callable[[Asked], Reply]:
    """Answer each cell by the item's title and the property."""

    def behave(asked: Asked) -> Reply:
        return answered(
            [
                {
                    "item": item["id"],
                    "property": name,
                    "value": value(item.get("title", ""), name),
                    "confidence": 0.9,
                }
                for item in asked.items
                for name in item["ask"]
            ]
        )

    return behave


def true_value(title: str, name: str) -> str | None:
    """Return an item's value by the number in its title; None of an item without one."""
    words = title.split()
    number = words[-1] if words and words[-1].isdigit() else None
    return None if number is None else dict(BY_ID[f"I{number}"].known)[name]


def any_value(title: str, name: str) -> str:
    values = ONTOLOGY.values_of(name)
    return values[zlib.crc32(f"{title} {name}".encode()) % len(values)]


def asked_about(
    fitted: FittedExperts, value: Callable[[str, str], str | None], cells: int = 400
) -> AnsweredCells:
    sample = sample_left_out(fitted, cells)
    with stand_in(answers(value)) as server:
        model = LanguageModel(server.settings(items_per_request=40))
        return ask_left_out(model, fitted, sample, BY_ID)


def is_whole(fitted: FittedExperts, key: Key, cells: HeldOutCells, row: int) -> bool:
    """Return whether all is shown that is known of a cell's item."""
    variant = list(variants())[int(cells.variant[row])]
    item = ITEMS[int(cells.item[row])]
    return (
        (variant.title is TitleVariant.WHOLE or item.title is None)
        and (variant.image or item.image is None)
        and variant.known is KnownVariant.ALL
    )


def test_cells_are_drawn_evenly_and_so_is_every_beginning(fitted: FittedExperts) -> None:
    sizes: Counter[tuple[str, str]] = Counter()
    for key, cells in fitted.held_out.items():
        whole = [is_whole(fitted, key, cells, row) for row in range(len(cells.item))]
        sizes[group_of(key[0]), key[1]] += len(whole) - sum(whole)
    sample = sample_left_out(fitted, 240, seed=3)
    assert len(sample.order) == len(set(sample.order)) == 240
    for count in (60, 240):
        drawn = [
            (key, is_whole(fitted, key, sample.held_out[key], row))
            for key, row in sample.order[:count]
        ]
        assert sum(whole for _, whole in drawn) == count // 2
        others = Counter((group_of(key[0]), key[1]) for key, whole in drawn if not whole)
        most = max(others.values())
        assert all(others[each] >= min(most - 1, size) for each, size in sizes.items())
    for key, cells in sample.held_out.items():
        assert sorted(row for own, row in sample.order if own == key) == [*range(len(cells.item))]
    assert sample_left_out(fitted, 240, seed=3).order == sample.order


def test_left_out_cells_are_asked_in_the_forms_that_the_experts_saw(
    fitted: FittedExperts,
) -> None:
    found = asked_about(fitted, true_value)
    assert found.report.answered > 100
    assert found.report.untold + found.report.answered == 400
    assert sum(len(cells.item) for cells in found.sourced.values()) == found.report.answered
    for key, cells in found.sourced.items():
        # The cells that are kept are those that are answered, each beside its own truth.
        np.testing.assert_array_equal(cells.probabilities[0] > 0.5, cells.true)
        np.testing.assert_array_equal(cells.logits, found.held_out[key].logits)
        assert cells.probabilities.shape == (1, *cells.true.shape)


def test_answers_join_only_where_they_help(fitted: FittedExperts) -> None:
    knows = fit_answers(asked_about(fitted, true_value).sourced).stage
    guesses = fit_answers(asked_about(fitted, any_value).sourced).stage
    assert knows.joins_anywhere
    assert not guesses.joins_anywhere


def scorer(
    fitted: FittedExperts, server: StandIn, budget: BudgetSettings | None = None
) -> AskedScorer:
    """Return experts with a model whose answers join everywhere, with some weight."""
    weights = np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 0.5]])
    situations = every_situation()
    stage = SecondStage((CONTROL, SOURCE), {group_of(each): weights for each in situations}, {})
    return AskedScorer(
        fitted.ensemble,
        LanguageModel(server.settings(budget, parallel_requests=1, items_per_request=1)),
        stage,
        {},
        [asked_name(each.name) for each in situations],
    )


SOME = [ItemInput(f"X{number}", title=f"Clou {number}") for number in (1, 2, 3)]


def test_answered_cells_are_a_situation_of_their_own(fitted: FittedExperts) -> None:
    cells = [CellQuery(index, "colour") for index in range(3)]
    with stand_in(answers(lambda title, name: None if "2" in title else "red")) as server:
        asked = scorer(fitted, server)
        encoded = asked.encode(SOME)
        logits = asked.score(encoded, cells)
        alone = fitted.ensemble.score(fitted.ensemble.encode(SOME), cells)
        names = [asked.situation(SOME[cell.item], cell) for cell in cells]
        red = ONTOLOGY.values_of("colour").index("red")
        for number in (0, 2):
            assert logits[number][red] > alone[number][red]
            assert names[number] == asked_name(fitted.ensemble.situation(SOME[number], cells[0]))
        # What is not answered is as without the model, to the last bit.
        np.testing.assert_array_equal(logits[1], alone[1])
        assert names[1] == fitted.ensemble.situation(SOME[1], cells[1])
        np.testing.assert_array_equal(asked.proving_scores(encoded, cells), alone)
        # The same form is not asked again, and another one is.
        asked.score(encoded, cells)
        assert len(server.asked) == 3
        asked.score(asked.encode([ItemInput("X1", title="Clou")]), [CellQuery(0, "colour")])
        assert len(server.asked) == 4


def test_what_is_asked_ahead_holds_in_every_form_and_nothing_more_is_asked(
    fitted: FittedExperts,
) -> None:
    cells = [CellQuery(index, "colour") for index in range(3)]
    with stand_in(answers(lambda title, name: "red")) as server:
        asked = scorer(fitted, server, BudgetSettings(calls=2))
        told = asked.ask_ahead(SOME, cells)
        assert [each is not None for each in told] == [True, True, False]
        without_title = [ItemInput(item.id, known=(("kind", "mug"),)) for item in SOME]
        known = [CellQuery(index, "colour", (("kind", "mug"),)) for index in range(3)]
        logits = asked.score(asked.encode(without_title), known)
        alone = fitted.ensemble.score(fitted.ensemble.encode(without_title), known)
        changed = [not np.array_equal(*pair) for pair in zip(logits, alone, strict=True)]
        assert changed == [True, True, False]
        assert len(server.asked) == 2


def test_situations_that_are_not_calibrated_are_not_asked(fitted: FittedExperts) -> None:
    with stand_in(answers(lambda title, name: "red")) as server:
        asked = scorer(fitted, server)
        asked._calibrated = frozenset()
        assert asked.ask_ahead(SOME, [CellQuery(0, "colour")]) == [None]
        assert not server.asked
