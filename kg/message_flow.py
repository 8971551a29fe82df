"""Sampled blocks as plain tensors (DGL's message flow), so that message passing is torch on any device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class MessageFlow:
    """The known triples around a set of destination cells.

    A *cell* is one question (item, property); N cells stand over B items, E triples reach them.

    - ``cell_item`` [N]: index of the cell's item in the batch
    - ``cell_property`` [N]: the property that is asked
    - ``edge_cell`` [E]: index of the cell that a triple reaches, ascending
    - ``edge_property`` [E], ``edge_value`` [E]: the triple's property and its candidate id (property-specific value)

    By construction no edge of a cell carries the cell's own property.
    """

    cell_item: Tensor
    cell_property: Tensor
    edge_cell: Tensor
    edge_property: Tensor
    edge_value: Tensor

    def without_triples(self) -> MessageFlow:
        """The same cells, of which nothing is known."""
        return MessageFlow(
            self.cell_item,
            self.cell_property,
            self.edge_cell[:0],
            self.edge_property[:0],
            self.edge_value[:0],
        )

    def to(self, device: str) -> MessageFlow:
        """The same flow on another device."""
        return MessageFlow(
            *(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__)
        )
