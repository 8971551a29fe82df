"""Values that no item has: ranked by the title, and weighed against the known ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from experts.open_values import (
    GATE_FEATURES,
    LEAST_SHARE,
    GateExamples,
    SpanExample,
    Writing,
    add_unknown,
    fit_gate,
    fit_ranker,
    gate_features,
    rank_spans,
    share_of_new_values,
)
from experts.said_values import SAID_FEATURES
from experts.situations import TitleState
from experts.title_spans import FEATURES
from schema.ontology import PropertySpec


def row(**features: float) -> np.ndarray:
    """Return the features of a span, by the number of each."""
    values = np.zeros(len(FEATURES))
    values[-1] = 1
    for name, value in features.items():
        values[int(name.removeprefix("f"))] = value
    return values


def test_a_ranker_learns_what_tells_values_from_other_spans() -> None:
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(200):
        spans = np.stack([row(f0=rng.normal(3), f4=rng.normal(-1)) for _ in range(5)])
        value = int(rng.integers(5))
        spans[value] = row(f0=0, f4=rng.normal(2))
        examples.append(SpanExample(spans, value))
    silent = [SpanExample(np.stack([row(f0=3, f4=-1)] * 3), None) for _ in range(50)]
    shared, own = fit_ranker({"colour": examples + silent, "kind": []})
    assert set(own) == {"colour"}
    ranked = rank_spans(own["colour"], np.arange(2), np.stack([row(f0=3, f4=-1), row(f4=2)]))
    assert ranked.spans[0] == 1
    assert ranked.probabilities[0] > 0.8
    assert ranked.evidence > 0
    nothing = rank_spans(shared, np.arange(1), np.stack([row(f0=3, f4=-1)]))
    assert nothing.probabilities.sum() < 0.5
    assert nothing.evidence < 0


def test_probabilities_of_spans_leave_out_that_of_silence() -> None:
    ranked = rank_spans(np.zeros(len(FEATURES)), np.arange(3), np.stack([row()] * 3))
    # Three spans and silence, all alike.
    np.testing.assert_allclose(ranked.probabilities, 0.25)
    assert ranked.evidence == pytest.approx(np.log(3))


def test_a_title_without_spans_speaks_against_an_unknown_value() -> None:
    ranked = rank_spans(np.ones(len(FEATURES)), np.zeros(0, np.int64), np.zeros((0, len(FEATURES))))
    assert ranked.evidence < -5


UNSAID = np.zeros((1, SAID_FEATURES))


def logits(*probabilities: float) -> np.ndarray:
    return np.log(np.array([probabilities]))


def test_a_gate_adds_the_probability_of_an_unknown_value() -> None:
    gate = np.zeros(GATE_FEATURES)
    gate[3] = 1
    known = logits(0.6, 0.3, 0.1)
    with_unknown = add_unknown(gate, known, TitleState.OTHERS, np.array([2.0]), UNSAID)
    every = np.exp(with_unknown[0])
    assert every.sum() == pytest.approx(1, abs=1e-6)
    assert every[3] == pytest.approx(expit(2.0), abs=1e-6)
    # Known values keep their proportions.
    np.testing.assert_allclose(every[:3] / every[:3].sum(), [0.6, 0.3, 0.1], atol=1e-6)


def test_features_of_a_gate_are_finite_for_certain_predictions() -> None:
    features = gate_features(logits(1.0, 1e-300, 1e-300), TitleState.SAYS, np.array([0.0]), UNSAID)
    assert features.shape == (1, GATE_FEATURES)
    assert np.isfinite(features).all()


def test_a_gate_is_fitted_to_the_share_that_the_weights_give() -> None:
    """Without anything that tells them apart, the probability is the share of unknown cells."""
    features = np.zeros((1000, GATE_FEATURES))
    features[:, 0] = 1
    unknown = np.arange(1000) < 500
    weights = np.where(unknown, 0.02 / 500, 0.98 / 500)
    gate = fit_gate({"colour": GateExamples(features, unknown, weights)})[1]["colour"]
    assert expit(features[0] @ gate) == pytest.approx(0.02, rel=0.05)


def test_the_share_of_new_values_is_goods_estimate() -> None:
    assert share_of_new_values([5, 3, 1, 1]) == pytest.approx(2.5 / 11)
    assert share_of_new_values([500, 300]) == LEAST_SHARE
    # Three of four items have a value that is not learned, and of the fourth's it may be new.
    assert share_of_new_values([5, 3, 1, 1], 0.75) == pytest.approx(0.75 + 0.25 * 2.5 / 11)


@pytest.mark.parametrize(
    ("values", "pairs", "text", "written"),
    [
        (("Shirts", "Shoes"), [("Shirt", "Shirts"), ("Shoes", "Shoes")], "Scarf", "Scarfs"),
        (("Shirts", "Shoes"), [("Shirt", "Shirts"), ("Shoes", "Shoes")], "Boots", "Boots"),
        (("lamp", "chair"), [("lamps", "lamp")], "mugs", "mug"),
        (
            ("Navy Blue", "Red"),
            [("navy blue", "Navy Blue"), ("red", "Red")],
            "sea green",
            "Sea Green",
        ),
        (("navy blue", "red"), [("Navy Blue", "navy blue")], "Sea Green", "sea green"),
        # Titles write them as they are.
        (("Puma", "Nike"), [("Puma", "Puma"), ("Nike", "Nike")], "ADIDAS", "ADIDAS"),
        (("red", "Red wine", "BLUE"), [], "Sea Green", "Sea Green"),
    ],
)
def test_values_are_written_like_the_propertys_own(
    values: tuple[str, ...], pairs: list[tuple[str, str]], text: str, written: str
) -> None:
    spec = PropertySpec("property", values=values, counts=(1,) * len(values))
    assert Writing.of(spec, pairs).write(text) == written
