"""Logarithms of sums of exponentials, against SciPy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp

from schema.log_sums import log_sum_exp


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e9, 1e4)))
def test_log_sums_are_those_of_scipy(logits: np.ndarray) -> None:
    expected = logsumexp(logits, axis=1)
    # A sum near zero has lost digits to the greatest logit: of 1 + x, those of x below 1e-16.
    np.testing.assert_allclose(log_sum_exp(logits), expected, rtol=1e-12, atol=1e-14)
