"""Statements as a DGL heterograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kg.sampling.dgl_compat import dgl
from schema.arrays import IntArray

HAS = ("item", "has", "value")
OF = ("value", "of", "item")


def heterograph(
    item: IntArray,
    property: IntArray,
    candidate: IntArray,
    *,
    item_count: int,
    candidate_count: int,
) -> Any:
    """Build the graph item -has-> value and back from E statements.

    ``item``, ``property`` and ``candidate`` are [E]. A value node is a candidate, which is a value
    of one property. Both edge types have ``property`` [E] and ``statement`` [E], the statement's
    position in the arrays.
    """
    items = torch.from_numpy(np.ascontiguousarray(item))
    candidates = torch.from_numpy(np.ascontiguousarray(candidate))
    graph = dgl.heterograph(
        {HAS: (items, candidates), OF: (candidates, items)},
        num_nodes_dict={"item": item_count, "value": candidate_count},
    )
    for edge_type in (HAS, OF):
        data = graph.edges[edge_type].data
        data["property"] = torch.from_numpy(np.ascontiguousarray(property))
        data["statement"] = torch.arange(len(item))
    return graph
