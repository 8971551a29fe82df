"""A snapshot as a DGL heterograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kg.sampling.dgl_compat import dgl

HAS = ("item", "has", "value")
OF = ("value", "of", "item")


def heterograph(
    item: NDArray[np.int64],
    property: NDArray[np.int64],
    candidate: NDArray[np.int64],
    sizes: tuple[int, int],
) -> Any:
    """item -has-> value and back, over E statements: ``item``, ``property`` and ``candidate`` [E]; ``sizes`` items and candidates.

    A value node is a candidate (property-specific value); both edge types carry ``property`` [E] and ``statement`` [E], the place of the
    statement in the arrays.
    """
    ends = (
        torch.from_numpy(np.ascontiguousarray(item)),
        torch.from_numpy(np.ascontiguousarray(candidate)),
    )
    graph = dgl.heterograph(
        {HAS: ends, OF: ends[::-1]}, num_nodes_dict={"item": sizes[0], "value": sizes[1]}
    )
    for edge in (HAS, OF):
        graph.edges[edge].data["property"] = torch.from_numpy(np.ascontiguousarray(property))
        graph.edges[edge].data["statement"] = torch.arange(len(item))
    return graph
