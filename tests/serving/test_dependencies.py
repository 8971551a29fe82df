"""Which values go together, and what is not filled because it contradicts them."""

from __future__ import annotations

import numpy as np
import pytest

from kg.snapshot import GraphSnapshot
from serving.dependencies import MIN_SUPPORT, Dependencies
from serving.results import Candidate, Completion, Evidence

PROPERTIES = ["kind", "group", "colour"]
VALUES = ["shirt", "shoe", "topwear", "footwear", "red", "blue"]


def snapshot(rows: list[tuple[int, int, int]]) -> GraphSnapshot:
    triples = np.array(sorted(rows), np.int64).reshape(-1, 3)
    count = int(triples[:, 0].max()) + 1
    indptr = np.searchsorted(triples[:, 0], np.arange(count + 1))
    nothing: list[str | None] = [None] * count
    return GraphSnapshot(
        [f"I{n}" for n in range(count)],
        nothing,
        nothing,
        nothing,
        PROPERTIES,
        VALUES,
        triples,
        indptr,
    )


def shop(shirts: int = 100, exceptions: int = 0) -> GraphSnapshot:
    rows = []
    for number in range(2 * shirts):
        is_shoe = number % 2
        is_exception = number < 2 * exceptions
        rows.append((number, 0, is_shoe))
        rows.append((number, 1, 2 + (is_shoe != is_exception)))
        rows.append((number, 2, 4 + number % 4 // 2))
    return snapshot(rows)


def test_values_that_always_go_together_depend_on_each_other() -> None:
    found = Dependencies.find(shop(), PROPERTIES)
    assert found.implied["kind", "shirt"] == {"group": "topwear"}
    assert found.implied["group", "footwear"] == {"kind": "shoe"}
    assert ("colour", "red") not in found.implied


@pytest.mark.parametrize(("shirts", "exceptions"), [(MIN_SUPPORT - 1, 0), (100, 2)])
def test_few_items_and_exceptions_show_no_dependency(shirts: int, exceptions: int) -> None:
    assert Dependencies.find(shop(shirts, exceptions), PROPERTIES).implied == {}


def test_other_properties_do_not_count() -> None:
    assert Dependencies.find(shop(), ["kind", "colour"]).implied == {}


def filled(property: str, value: str, probability: float) -> Completion:
    return Completion("I0", property, (Candidate(value, probability),), "fill", Evidence())


def test_of_answers_that_contradict_each_other_the_most_probable_one_is_filled() -> None:
    dependencies = Dependencies.find(shop(), PROPERTIES)
    completions = [filled("group", "footwear", 0.98), filled("kind", "shirt", 0.99)]
    completions.append(filled("colour", "red", 0.97))
    group, kind, colour = dependencies.without_contradictions((), completions)
    assert (kind.decision, colour.decision) == ("fill", "fill")
    assert (group.decision, group.contradicts) == ("review", ("kind", "shirt"))
    assert group.as_dict()["contradicts"] == {"property": "kind", "value": "shirt"}


def test_what_is_known_holds() -> None:
    dependencies = Dependencies.find(shop(), PROPERTIES)
    (group,) = dependencies.without_contradictions(
        [("kind", "shirt")], [filled("group", "footwear", 0.999)]
    )
    assert group.decision == "review"
    (group,) = dependencies.without_contradictions(
        [("kind", "shirt")], [filled("group", "topwear", 0.99)]
    )
    assert group.decision == "fill"


def test_of_several_values_each_one_has_to_go_with_the_rest() -> None:
    dependencies = Dependencies.find(shop(), PROPERTIES)
    values = (Candidate("topwear", 0.99), Candidate("footwear", 0.98))
    both = Completion("I0", "group", values, "fill", Evidence(), several=values)
    (group,) = dependencies.without_contradictions([("kind", "shirt")], [both])
    assert (group.decision, group.filled_values()) == ("review", ())
    one = Completion("I0", "group", values, "fill", Evidence(), several=values[:1])
    assert dependencies.without_contradictions([("kind", "shirt")], [one]) == [one]
