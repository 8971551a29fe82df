"""Scores of many cells together, whose contents are compared once: as one kernel row at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import experts.ensemble
from experts import FittedExperts, fit_experts
from experts.ensemble import EXPERTS, Expert, Part
from experts.image_kernel import describe
from experts.situations import others_of
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.modalities import Modality
from tests.experts.made import ONTOLOGY, labelled, made_items

PROPERTY = "colour"


@pytest.fixture(scope="module")
def fitted() -> FittedExperts:
    return fit_experts("experts-1", ONTOLOGY, labelled(made_items(40)))


def variants() -> list[ItemInput]:
    """Return items with everything, without one modality, and one that comes again."""
    items = made_items(9, seed=3)
    items += [item.without(Modality.TITLE) for item in items]
    items += [item.without(Modality.IMAGE) for item in items[:9]]
    return [*items, replace(items[1], id="again")]


def direct(fitted: FittedExperts, expert: Expert, item: ItemInput, cell: CellQuery) -> np.ndarray:
    """Return what an expert says [V], by the kernel row of the item alone."""
    kernels = fitted.ensemble.kernels
    image = item.image if isinstance(item.image, np.ndarray) else None
    one_hot = kernels.statements.features([others_of(cell.known, PROPERTY)])
    rows = {
        Part.TITLE: kernels.title.rows([item.title]),
        Part.BLIND_TITLE: kernels.blind.rows([fitted.ensemble.words.blind(item.title)]),
        Part.IMAGE: kernels.image.rows(
            describe([[image] if isinstance(image, np.ndarray) else []])
        ),
        Part.STATEMENTS: kernels.statements.rows(one_hot, PROPERTY),
    }
    learned = fitted.ensemble.learned[expert, PROPERTY]
    total = np.sum([rows[part][0] for part in expert.parts], axis=0)
    return np.asarray(total @ learned.coefficients + learned.mean)


def test_scores_are_those_of_single_kernel_rows(fitted: FittedExperts) -> None:
    items = variants()
    cells = [
        CellQuery(place, PROPERTY, known)
        for place, item in enumerate(items)
        for known in (item.known, item.known[:1], ())
    ]
    encoded = fitted.ensemble.encode(items)
    learned = [expert for expert in EXPERTS if (expert, PROPERTY) in fitted.ensemble.learned]
    assert len(learned) == 11
    found = fitted.ensemble.expert_scores(encoded[0], cells, PROPERTY, learned)
    for expert, scores in zip(learned, found, strict=True):
        for cell, row in zip(cells, scores, strict=True):
            expected = direct(fitted, expert, items[cell.item], cell)
            np.testing.assert_allclose(row, expected, atol=2e-4)


def test_batches_and_chunks_do_not_change_scores(
    fitted: FittedExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = variants()
    cells = [CellQuery(place, PROPERTY, item.known) for place, item in enumerate(items)]
    together = fitted.ensemble.score(fitted.ensemble.encode(items), cells)
    monkeypatch.setattr(experts.ensemble, "ENCODED_TOGETHER", 4)
    monkeypatch.setattr(experts.ensemble, "MAX_SCORES", 10)
    apart = fitted.ensemble.score(fitted.ensemble.encode(items), cells)
    np.testing.assert_allclose(np.exp(np.stack(apart)), np.exp(np.stack(together)), atol=1e-5)
