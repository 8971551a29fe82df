"""Same-product retrieval by embeddings, without any training for it: VT-BERT's first task.

Shapes: Q queries, I items of the index, D the width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.tasks.measures import Measured, from_sums
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import (
    ENCODE_BATCH,
    ItemEncoder,
    NetworkEncoder,
    TaskInput,
)
from schema.arrays import FloatArray

CUTOFF = 10
LARGEST = "largest"
"""The largest cosine of the three embeddings (VT-BERT, Eq. 9)."""


@dataclass(frozen=True)
class SameProducts:
    """Measures by embedding: ``global``, ``text`` and ``image`` and ``largest``, or ``item``."""

    queries: int
    index: int
    measured: Mapping[str, Measured]


def retrieve_same_products(
    encoder: ItemEncoder,
    items: Sequence[ItemInput],
    queries: Sequence[ItemInput],
    same: Mapping[str, Set[str]],
) -> SameProducts:
    """Rank ``items`` for each query by the cosine of their embeddings.

    ``queries`` may have been changed, as by K3M's protocol; the items are the whole index, and
    a query itself is left out of its ranking. Queries without a same product in the index are not
    asked. Returns MAR@10 and MAP@10: the means over the queries of recall and of average precision
    among the first ten, of which the paper gives no formula.
    """
    ids = [item.id for item in items]
    present = set(ids)
    asked = [item for item in queries if same.get(item.id, frozenset()) & present]
    of_index = embeddings(encoder, items)
    of_queries = embeddings(encoder, asked)
    similarity = {name: (of_queries[name] @ of_index[name].T).numpy() for name in of_index}
    if len(similarity) > 1:
        similarity[LARGEST] = np.max(list(similarity.values()), axis=0)
    return SameProducts(
        len(asked),
        len(items),
        {name: _measure(each, ids, asked, same) for name, each in similarity.items()},
    )


def embeddings(encoder: ItemEncoder, items: Sequence[ItemInput]) -> dict[str, Tensor]:
    """Return embeddings [N, D] of length 1 by name; a network has three (VT-BERT, Eq. 6, 7)."""
    if not isinstance(encoder, NetworkEncoder):
        return {"item": F.normalize(encoder.encode([TaskInput(item) for item in items]), dim=1)}
    parts: dict[str, list[Tensor]] = {"global": [], "text": [], "image": []}
    for start in range(0, len(items), ENCODE_BATCH):
        states = encoder.states(items[start : start + ENCODE_BATCH])
        parts["global"].append(states.global_embedding.float().cpu())
        parts["text"].append(states.text_embedding.float().cpu())
        parts["image"].append(states.image_embedding.float().cpu())
    return {
        name: F.normalize(torch.cat([torch.zeros(0, encoder.width), *each]), dim=1)
        for name, each in parts.items()
    }


def _measure(
    similarity: FloatArray,
    ids: Sequence[str],
    queries: Sequence[ItemInput],
    same: Mapping[str, Set[str]],
) -> Measured:
    """Measure similarities [Q, I]."""
    sums = np.zeros((len(queries), 3))
    for row, query in enumerate(queries):
        order = np.argsort(-similarity[row], kind="stable")[: CUTOFF + 1]
        found = [ids[index] for index in order if ids[index] != query.id][:CUTOFF]
        relevant = same[query.id] & set(ids)
        hits = np.array([id in relevant for id in found], dtype=np.float64)
        precision = hits.cumsum() / np.arange(1, len(hits) + 1)
        possible = min(len(relevant), CUTOFF)
        sums[row] = hits.sum() / len(relevant), (precision * hits).sum() / possible, 1

    def means(total: FloatArray) -> dict[str, FloatArray]:
        return {
            f"MAR@{CUTOFF}": total[:, 0] / total[:, 2],
            f"MAP@{CUTOFF}": total[:, 1] / total[:, 2],
        }

    return from_sums(sums, np.arange(len(queries)), means)
