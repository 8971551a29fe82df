"""Cells of a batch: questions (item, property), and the hidden statements that answer them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from kg.message_flow import MessageFlow
from kg.sampling.ragged import expand_ranges, find_in_sorted
from schema.arrays import IntArray
from training.batches import TrueAlternatives
from training.data import TrainingData

CELL_MULTIPLE = 64


@dataclass(frozen=True)
class Cells:
    """N questions (item, property) and the M statements that they hide.

    ``row`` and ``property`` [N]: the item's row in the batch, ascending, and the property.
    ``cell`` [M]: the question that each statement answers.
    """

    row: IntArray
    property: IntArray
    cell: IntArray


def flow_without_statements(cells: Cells) -> MessageFlow:
    """Return a flow of cells that no known statement reaches."""
    row = torch.from_numpy(np.ascontiguousarray(cells.row))
    property = torch.from_numpy(np.ascontiguousarray(cells.property))
    nothing = row.new_zeros(0)
    return MessageFlow(row, property, nothing, nothing, nothing)


def pad_cells(cells: Cells, batch: int) -> Cells:
    """Add cells that no statement answers, of property 0, to make up a multiple of 64.

    A CPU (oneDNN) prepares its matrix products again for every new shape: with few sizes, the bf16
    loop made 135 items/s instead of 112. The rows below ``batch`` that have the fewest
    cells get the additional ones, so that none is padded far.
    """
    counts = np.bincount(cells.row, minlength=batch)
    extra = []
    for _ in range(-len(cells.row) % CELL_MULTIPLE):
        row = int(counts.argmin())
        counts[row] += 1
        extra.append(row)
    rows = np.concatenate([cells.row, np.array(extra, dtype=np.int64)])
    properties = np.concatenate([cells.property, np.zeros(len(extra), dtype=np.int64)])
    order = np.argsort(rows, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Cells(rows[order], properties[order], place[cells.cell])


def statements_of(indptr: IntArray, index: IntArray) -> tuple[IntArray, IntArray]:
    """Return the numbers [M] of the statements of items ``index`` [B], and their batch rows [M]."""
    row, place = expand_ranges(indptr[index], indptr[index + 1])
    return place, row


def true_alternatives(
    data: TrainingData,
    index: IntArray,
    cells: Cells,
    candidate: IntArray,
) -> TrueAlternatives:
    """Find further true values of the hidden statements' cells.

    ``candidate`` [M] are the values of the hidden statements themselves.
    """
    statement, row = statements_of(data.indptr, index)
    width = len(data.ranges)
    key = row * width + data.property[statement]
    hidden_key = (cells.row * width + cells.property)[cells.cell]
    order = np.argsort(key, kind="stable")
    hidden, place = find_in_sorted(hidden_key, key[order])
    other = data.candidate[statement[order][place]]
    different = other != candidate[hidden]
    return TrueAlternatives(
        torch.from_numpy(hidden[different]),
        torch.from_numpy(other[different]),
    )
