"""What one item states completes another that is the same product."""

from __future__ import annotations

import numpy as np
import pytest

from kg.snapshot import GraphSnapshot
from schema.ontology import Ontology, PropertySpec
from schema.terms import SAME_AS
from serving.cells import Cell
from serving.completion import CompletionOptions
from serving.deciding import CellLimits
from serving.proof import precision_bound
from serving.results import Completion, Evidence, Source
from serving.same_items import SameItems
from serving.withheld import Withheld

ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=("red", "blue"), counts=(50, 50)),
        PropertySpec("size", values=("S", "M"), counts=(5, 5)),
    ]
)
PAIRS = 40


def snapshot_of(statements: list[tuple[str, str, str]]) -> GraphSnapshot:
    items = sorted({item for item, _, _ in statements} | {"a", "b", "c"})
    properties = sorted({name for _, name, _ in statements})
    values = sorted({value for _, _, value in statements})
    triples = np.array(
        sorted(
            (items.index(item), properties.index(name), values.index(value))
            for item, name, value in statements
        )
    )
    nothing: list[str | None] = [None] * len(items)
    indptr = np.searchsorted(triples[:, 0], np.arange(len(items) + 1))
    return GraphSnapshot(items, nothing, nothing, nothing, properties, values, triples, indptr)


def made(agreeing: int = PAIRS) -> list[tuple[str, str, str]]:
    """Return pairs that state a colour, of which so many agree; a, b and c are one product."""
    statements = []
    for number in range(PAIRS):
        other = "red" if number < agreeing else "blue"
        statements += [
            (f"l{number}", SAME_AS, f"r{number}"),
            (f"l{number}", "colour", "red"),
            (f"r{number}", "colour", other),
        ]
    return [*statements, ("a", SAME_AS, "b"), ("c", SAME_AS, "b")]


def limits(target: float) -> CellLimits:
    return CellLimits(target_precision=target)


def completed(
    statements: list[tuple[str, str, str]], property: str = "colour", **options: object
) -> Completion:
    """Complete the property of item a, which the model would abstain from."""
    snapshot = snapshot_of(statements)
    abstained = Completion("a", property, (), "abstain", Evidence())
    same = SameItems.of(snapshot, ONTOLOGY)
    (found,) = same.complete([abstained], CompletionOptions(**options))  # type: ignore[arg-type]
    return found


def test_a_value_of_the_same_product_fills_a_cell_if_pairs_prove_it() -> None:
    found = completed([*made(), ("c", "colour", "Red")], limits_of=lambda cell: limits(0.9))
    (candidate,) = found.candidates
    assert (found.decision, candidate.value) == ("fill", "red")
    assert candidate.source is Source.SAME_PRODUCT
    assert candidate.probability == pytest.approx((PAIRS + 4 * 41 / 42) / (PAIRS + 4))
    assert found.proven == precision_bound(PAIRS, 0)
    assert found.evidence.same_as == ("c",)
    assert found.as_dict()["evidence"]["same_as"] == ["c"]


def test_what_pairs_do_not_prove_is_reviewed() -> None:
    stated = ("b", "colour", "blue")
    assert completed([*made(), stated]).decision == "review"  # 40 of 40 prove .93, not .99
    often = completed([*made(20), stated], limits_of=lambda cell: limits(0.9))
    assert often.decision == "review"
    assert often.candidates[0].probability == pytest.approx((20 + 4 * 21 / 42) / 44)
    # Of sizes no pair tells anything, and colours agree.
    assert completed([*made(), ("b", "size", "M")], "size").decision == "review"


def test_two_values_of_the_same_product_are_reviewed() -> None:
    stated = [("b", "colour", "blue"), ("c", "colour", "red")]
    found = completed([*made(), *stated], limits_of=lambda cell: limits(0.9))
    assert found.decision == "review"
    assert [each.value for each in found.candidates] == ["blue", "red"]


def test_what_is_withheld_or_not_stated_is_left_to_the_model() -> None:
    stated = ("b", "colour", "blue")
    withheld = Withheld(of_cell={("a", "colour"): ("Blue",)})
    assert completed([*made(), stated], withheld=withheld).decision == "abstain"
    assert completed(made()).candidates == ()
    does_not_apply = {Cell(0, "colour")}
    found = completed(
        [*made(), stated], not_filled=does_not_apply, limits_of=lambda cell: limits(0.9)
    )
    assert found.decision == "review"


def test_without_same_as_statements_completions_are_untouched() -> None:
    snapshot = snapshot_of([("a", "size", "S"), ("b", "colour", "red")])
    abstained = Completion("a", "colour", (), "abstain", Evidence())
    same = SameItems.of(snapshot, ONTOLOGY)
    assert list(same.complete([abstained], CompletionOptions())) == [abstained]
