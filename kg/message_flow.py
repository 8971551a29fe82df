"""Sampled message-flow blocks as plain tensors, so that message passing is torch on any device.

DGL samples on the CPU only (its PyPI wheel has no CUDA); what it samples is copied into these.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class MessageFlow:
    """The known triples around a set of cells.

    A *cell* is one question (item, property): what is the item's value? There are N cells about B
    items, and E triples reach them.

    - ``cell_item`` [N]: the index of the cell's item in the batch
    - ``cell_property`` [N]: the property that the cell asks for
    - ``edge_cell`` [E]: the index of the cell that a triple reaches, ascending
    - ``edge_property`` [E]: the triple's property
    - ``edge_value`` [E]: the triple's candidate id (a candidate is a value of one property)
    - ``most_cells``: the largest number of cells of one item, counted where the flow is made: on a
      GPU, counting waits for the device

    By construction no edge of a cell has the cell's own property: that would leak the answer.
    """

    cell_item: Tensor
    cell_property: Tensor
    edge_cell: Tensor
    edge_property: Tensor
    edge_value: Tensor
    most_cells: int

    @staticmethod
    def of(
        cell_item: Tensor,
        cell_property: Tensor,
        edge_cell: Tensor,
        edge_property: Tensor,
        edge_value: Tensor,
    ) -> MessageFlow:
        """Return the flow of N cells and E triples, which are on a CPU."""
        most_cells = int(cell_item.bincount().max()) if len(cell_item) else 0
        return MessageFlow(
            cell_item, cell_property, edge_cell, edge_property, edge_value, most_cells
        )

    def without_triples(self) -> MessageFlow:
        """Return the same cells with no known triples."""
        return MessageFlow(
            self.cell_item,
            self.cell_property,
            self.edge_cell[:0],
            self.edge_property[:0],
            self.edge_value[:0],
            self.most_cells,
        )

    def to(self, device: str) -> MessageFlow:
        """Return the same flow on another device."""
        return MessageFlow(
            self.cell_item.to(device, non_blocking=True),
            self.cell_property.to(device, non_blocking=True),
            self.edge_cell.to(device, non_blocking=True),
            self.edge_property.to(device, non_blocking=True),
            self.edge_value.to(device, non_blocking=True),
            self.most_cells,
        )
