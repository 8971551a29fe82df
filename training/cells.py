"""The cells (item, property) of a batch, and the hidden statements that are their answers."""

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
"""The number of cells of a batch is padded to a multiple of this."""


@dataclass(frozen=True)
class Cells:
    """N cells (item, property) of a batch, and the M hidden statements that are their answers.

    - ``row`` and ``property`` [N]: each cell's item, as a row of the batch, ascending; and its
      property
    - ``cell`` [M]: the cell that each statement answers
    """

    row: IntArray
    property: IntArray
    cell: IntArray


def flow_without_statements(cells: Cells) -> MessageFlow:
    """Return a flow of cells that no known statement reaches."""
    row = torch.from_numpy(np.ascontiguousarray(cells.row))
    property = torch.from_numpy(np.ascontiguousarray(cells.property))
    nothing = row.new_zeros(0)
    return MessageFlow.of(row, property, nothing, nothing, nothing)


def pad_cells(cells: Cells, batch: int) -> Cells:
    """Pad the cells to a multiple of 64 with cells of property 0 that no statement answers.

    On a CPU, oneDNN prepares its matrix products again for every new shape: with few different
    sizes, the bf16 loop processed 135 items per second instead of 112. The additional cells go to
    those of the ``batch`` rows that have the fewest, so that no row becomes much longer.
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
    """Return the numbers [M] of the statements of items ``index`` [B], and the row [M] of each."""
    row, place = expand_ranges(indptr[index], indptr[index + 1])
    return place, row


def true_alternatives(
    data: TrainingData,
    index: IntArray,
    cells: Cells,
    candidate: IntArray,
) -> TrueAlternatives:
    """Find further true values of the cells of the hidden statements.

    ``candidate`` [M] are the hidden statements' own values.
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
