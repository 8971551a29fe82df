"""Which of many items are learned from: every value stays, and otherwise chance decides."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experts.chosen_items import choose_items, learnable
from schema.ontology import Ontology, PropertySpec

RNG = 7


def chosen_of(known: list[list[tuple[str, str]]], count: int, of_value: int = 1) -> list[int]:
    return choose_items(known, count, np.random.default_rng(RNG), of_value).tolist()


@given(
    values=st.lists(st.lists(st.integers(0, 8), max_size=2, unique=True), min_size=1, max_size=40),
    count=st.integers(9, 40),
    of_value=st.integers(1, 4),
)
def test_no_value_is_lost(values: list[list[int]], count: int, of_value: int) -> None:
    known = [[("colour", str(value)) for value in each] for each in values]
    chosen = chosen_of(known, count, of_value)
    assert len(chosen) == min(count, len(known))
    assert chosen == sorted(set(chosen))
    kept = {statement for place in chosen for statement in known[place]}
    assert kept == {statement for each in known for statement in each}


def test_some_items_of_each_value_are_kept() -> None:
    known = [[("colour", "red")]] * 970 + [[("colour", f"{n % 10}")] for n in range(30)]
    chosen = chosen_of(known, 66, of_value=3)
    assert set(range(970, 1000)) <= set(chosen)
    # Without room for three of each, all values have one nevertheless.
    few = {known[place][0] for place in chosen_of(known, 12, of_value=3)}
    assert len(few) == 11


def test_the_others_are_drawn_at_random() -> None:
    known = [[("colour", "red" if n % 4 else "blue")] for n in range(4_000)]
    chosen = chosen_of(known, 1_000, of_value=3)
    blue = sum(known[place] == [("colour", "blue")] for place in chosen)
    assert abs(blue - 250) < 5 * np.sqrt(1_000 * 0.25 * 0.75)
    assert abs(np.mean(chosen) - 2_000) < 5 * 4_000 / np.sqrt(12 * 1_000)


def test_items_that_teach_nothing_come_last() -> None:
    known: list[list[tuple[str, str]]] = [[], [("colour", "red")], [], [("colour", "red")], []]
    assert chosen_of(known, 2) == [1, 3]
    assert len(chosen_of(known, 4)) == 4


def test_only_what_is_learned_counts() -> None:
    made = Ontology(
        [
            PropertySpec("colour", values=("red",), counts=(2,)),
            PropertySpec("ean", datatype="identifier", values=(), counts=()),
        ]
    )
    known = [[("colour", "red"), ("ean", "1")], [("ean", "2")], [("colour", "never seen")]]
    assert learnable(known, made) == [[("colour", "red")], [], []]
