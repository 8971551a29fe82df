"""Statements as DGL graphs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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


def incoming_graph(
    indptr: IntArray,
    property: IntArray | NDArray[np.int32],
    candidate: IntArray,
    *,
    candidate_count: int,
) -> Any:
    """Build the graph item <-of- value from statements in CSR form, without copying them.

    ``indptr`` [I + 1] are where the statements of each item begin, ``property`` and ``candidate``
    [E] are theirs; the edges have ``property`` [E]. The arrays may be memory-mapped: of 20 million
    statements in files, DGL sampled without memory of its own.
    """
    begins, indices, properties = (_shared(each) for each in (indptr, candidate, property))
    # No edge has another number than its place.
    in_order = torch.zeros(0, dtype=torch.int64)
    graph = dgl.heterograph(
        {OF: ("csc", (begins, indices, in_order))},
        num_nodes_dict={"item": len(indptr) - 1, "value": candidate_count},
    )
    graph.edges[OF].data["property"] = properties
    return graph


def _shared(array: IntArray | NDArray[np.int32]) -> torch.Tensor:
    """Return a tensor of the same memory, which is not written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))
