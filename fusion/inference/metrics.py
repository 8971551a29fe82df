"""The area under the ROC curve, which both validation during training and evaluation report."""

from __future__ import annotations

import numpy as np

from schema.arrays import BoolArray, FloatArray


def roc_auc(score: FloatArray, label: BoolArray, weight: FloatArray | None = None) -> float:
    """Return the area under the ROC curve of scores [N] for labels [N] with sample weights [N].

    Ties count half. NaN if there are only positive or only negative labels.
    """
    from sklearn.metrics import roc_auc_score

    weights = np.ones(len(label)) if weight is None else weight
    if weights[label].sum() == 0 or weights[~label].sum() == 0:
        return float("nan")
    return float(roc_auc_score(label, score, sample_weight=weight))
