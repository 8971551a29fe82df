"""Message flows of cells, sampled from the training data's statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kg.message_flow import MessageFlow
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray, IntArray
from training.data import TrainingData

if TYPE_CHECKING:
    from kg.sampling.sampler import CellSampler


class TrainingFlows:
    """Samples at most ``max_known`` known statements per cell with DGL.

    The DGL graph is built when it is first used: it cannot be sent to worker processes, which
    build their own. It reads the data's arrays where they are, in files or in memory.
    """

    def __init__(self, data: TrainingData, max_known: int) -> None:
        self.data = data
        self.max_known = max_known
        self._sampler: CellSampler | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sampler": None}

    def __call__(
        self,
        index: IntArray,
        cell_item: IntArray,
        cell_property: IntArray,
        share: FloatArray,
        random: KeyedRandom,
    ) -> MessageFlow:
        """Sample the flow of N cells over items ``index`` [B].

        See :class:`kg.sampling.sampler.CellSampler`.
        """
        if self._sampler is None:
            self._sampler = self._build()
        flow: MessageFlow = self._sampler(index, cell_item, cell_property, share, random)
        return flow

    def _build(self) -> CellSampler:
        from kg.sampling.hetero import incoming_graph
        from kg.sampling.sampler import CellSampler

        data = self.data
        graph = incoming_graph(
            data.indptr,
            data.property,
            data.candidate,
            candidate_count=int(data.ranges[-1]),
        )
        return CellSampler(graph, self.max_known)
