from __future__ import annotations

import json

from serving.deciding import Decision
from serving.provable import ProvableTargets
from serving.results import Completion, Evidence


def completion(proven: float | None, decision: Decision = "review") -> Completion:
    return Completion("1", "colour", (), decision, Evidence(), proven=proven)


def counted(target: float, *proven: float | None) -> ProvableTargets:
    provable = ProvableTargets(target, 4100)
    for each in proven:
        decision: Decision = "fill" if each is not None and each >= target else "review"
        provable.add(completion(each, decision))
    return provable


def test_the_best_provable_target_is_the_highest_that_fills_more_than_little():
    provable = counted(0.99, *[0.97] * 61, *[0.9] * 20, *[None] * 18, 0.98)
    assert provable.is_little
    assert provable.best() == 0.97
    assert provable.explanation() == (
        "best provable target: 0.97 with 62% of the cells; 0.99 needs 368 known cells without a "
        "mistake, 138 of them of the property, in the same situation (the model was calibrated on "
        "4,100 cells of all situations)"
    )


def test_the_document_has_the_best_target_and_some_others():
    document = counted(0.99, *[0.97] * 61, *[0.9] * 20, *[None] * 19).as_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["best"] == {"target_precision": 0.97, "cells": 61, "share": 0.61}
    assert document["needed"] == {"together": 368, "of_property": 138}
    shares = {each["target_precision"]: each["share"] for each in document["targets"]}
    assert (shares[0.9], shares[0.95], shares[0.97], shares[0.98]) == (0.81, 0.61, 0.61, 0)


def test_more_cells_are_provable_at_lower_targets():
    provable = counted(0.99, *[0.999] * 3, *[0.98] * 5, *[0.9] * 2, None)
    cells = [provable.cells(target) for target in (0.999, 0.98, 0.95, 0.9, 0.5)]
    assert cells == [3, 8, 8, 10, 10]
    assert not provable.is_little


def test_where_nothing_is_proven_there_is_no_best_target():
    provable = counted(0.99, *[None] * 10)
    assert provable.best() is None
    assert provable.explanation().startswith("nothing is proven for 95% of the cells")
    assert counted(0.99).best() is None


def test_a_model_that_was_never_calibrated_says_so():
    provable = ProvableTargets(0.99, 0)
    provable.add(completion(None))
    assert "calibrated on no cells" in provable.explanation()


def test_a_precision_of_one_needs_no_number_of_cells():
    assert counted(1.0, 0.9).as_dict()["needed"] is None
