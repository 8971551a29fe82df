"""How frequent a property's values are."""

from __future__ import annotations

import numpy as np

from schema.arrays import FloatArray
from schema.ontology import PropertySpec


def value_frequencies(spec: PropertySpec) -> FloatArray:
    """Return the shares [V] of a property's values, with add-one smoothing.

    A value that was added to the ontology by hand may have no item yet, and its logarithm must be
    finite all the same.
    """
    counts = np.asarray(spec.counts, dtype=np.float64) + 1
    return np.asarray(counts / counts.sum())
