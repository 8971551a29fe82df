from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from evaluation.matching import evaluate_matching
from schema.modalities import Modality

PAIRS = 100


class FakePairBuilder:
    """Pairs of two per item, each followed by a negative; an item is its number."""

    log = SimpleNamespace(item=np.arange(PAIRS) // 2)

    def batch(self, pairs: np.ndarray, random: object) -> Any:
        label = torch.cat([torch.ones(len(pairs)), torch.zeros(len(pairs))])
        return SimpleNamespace(query=label, label=label)

    def items(self, index: np.ndarray) -> np.ndarray:
        return index


class FakeMatchScorer:
    """Gives matching pairs higher logits unless the title is removed."""

    name = "fake"

    def match_logits(
        self, items: np.ndarray, query: torch.Tensor, without: Modality | None
    ) -> np.ndarray:
        return np.zeros(len(query)) if without is Modality.TITLE else query.numpy()


def test_pairs_are_scored_whole_and_without_each_content_modality():
    pair_builder: Any = FakePairBuilder()
    scorer: Any = FakeMatchScorer()
    calls: list[tuple[int, int]] = []
    report = evaluate_matching(
        scorer,
        pair_builder,
        np.arange(PAIRS),
        resamples=3,
        progress=lambda *counts: calls.append(counts),
    )
    assert (report.items, report.positive, report.negative) == (PAIRS // 2, PAIRS, PAIRS)
    areas = {name: estimates["roc_auc"].value for name, estimates in report.settings.items()}
    assert areas == {"whole": 1.0, "without title": 0.5, "without image": 1.0}
    assert calls[-1] == (PAIRS, PAIRS)
    heading, *rows = report.as_rows()
    assert {len(row) for row in rows} == {len(heading)}
