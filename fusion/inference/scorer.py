"""Scores of cells by a model folder: encode items once, ask as often as needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.batch import ItemBatch, query_pieces
from fusion.build import candidates
from fusion.checkpoint import ModelFolder
from fusion.fused import FusedItems, Knowledge
from fusion.inference.featurizer import Featurizer, ItemInput, PixelReader
from fusion.inference.matching import match_logits
from kg.message_flow import MessageFlow
from schema.errors import PropertyNotFoundError
from schema.memory import keep_freed_memory
from schema.modalities import Modality

ENCODE_BATCH = 128
SCORE_BATCH = 2048


@dataclass(frozen=True, slots=True)
class CellQuery:
    """A question: the ``property`` of the item at index ``item``, given ``known`` statements, the property's own left out."""

    item: int
    property: str
    known: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Encoded:
    """Fused titles and images of I items, in batches of ``ENCODE_BATCH``; known statements come with the questions."""

    batches: list[FusedItems]

    def __len__(self) -> int:
        return sum(len(batch.node) for batch in self.batches)


class CellScorer:
    """Asks one model; everything is deterministic and without gradients."""

    def __init__(
        self, folder: ModelFolder, device: str = "cpu", read_pixels: PixelReader | None = None
    ) -> None:
        self.name = folder.name
        self.ontology = folder.ontology
        self.calibration = folder.calibration
        self.config = folder.config
        self.about = folder.about
        self.model = folder.model.to(device).eval()
        self.device = torch.device(device)
        self.featurizer = Featurizer(folder.tokenizer, folder.config, read_pixels)
        names, pairs = candidates(folder.ontology)
        self._property = {name: index for index, name in enumerate(names)}
        self._candidate = {pair: index for index, pair in enumerate(pairs)}
        ends = np.cumsum([0] + [len(folder.ontology.properties[name].values) for name in names])
        self._range = {
            name: (int(ends[index]), int(ends[index + 1])) for index, name in enumerate(names)
        }
        self._knowledge: Knowledge | None = None

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", read_pixels: PixelReader | None = None
    ) -> CellScorer:
        """Open a model folder; raises ModelError where it is missing or damaged."""
        keep_freed_memory()
        return cls(ModelFolder(folder), device, read_pixels)

    def encode(self, items: Sequence[ItemInput]) -> Encoded:
        """Read and fuse titles and images: the dear part."""
        starts = range(0, len(items), ENCODE_BATCH)
        return Encoded([self._encode(items[start : start + ENCODE_BATCH]) for start in starts])

    @torch.inference_mode()
    def _encode(self, items: Sequence[ItemInput]) -> FusedItems:
        batch = self.featurizer.batch(items).to(self.device)
        with self._autocast():
            return self.model.fuse(batch, self.model.encode_image(batch))

    def score(self, encoded: Encoded, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Logits of each cell over ``ontology.values_of(property)``; raises PropertyNotFoundError on a property unknown to the model."""
        for cell in cells:
            if cell.property not in self._property:
                raise PropertyNotFoundError(
                    f"the model does not know property {cell.property!r}: it has {', '.join(list(self._property)[:12])}"
                )
        order = sorted(range(len(cells)), key=lambda index: cells[index].item)
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for number, batch in enumerate(encoded.batches):
            low = number * ENCODE_BATCH
            high = (number + 1) * ENCODE_BATCH
            chosen = (
                [index for index in order if low <= cells[index].item < high]
                if len(encoded.batches) > 1
                else order
            )
            for start in range(0, len(chosen), SCORE_BATCH):
                part = chosen[start : start + SCORE_BATCH]
                for index, logits in zip(
                    part, self._score(batch, [cells[i] for i in part], low), strict=True
                ):
                    scores[index] = logits
        return scores

    @torch.inference_mode()
    def _score(
        self, fused: FusedItems, cells: Sequence[CellQuery], offset: int
    ) -> list[NDArray[np.float32]]:
        flow = self._flow(cells, offset).to(str(self.device))
        with self._autocast():
            logits = self.model.score(fused, flow, self._know()).float().cpu().numpy()
        ranges = [self._range[cell.property] for cell in cells]
        return [row[low:high].copy() for row, (low, high) in zip(logits, ranges, strict=True)]

    @torch.inference_mode()
    def match_logits(
        self, items: ItemBatch, query: Tensor, without: Modality | None = None
    ) -> NDArray[np.float32]:
        """Logits [N] of query pieces [N, L] matching ``items`` [N], perhaps with their titles or images removed."""
        with self._autocast():
            logits = match_logits(self.model, items.to(self.device), query.to(self.device), without)
        return logits.float().cpu().numpy()

    def match(self, text: str, items: Sequence[ItemInput]) -> NDArray[np.float32]:
        """The probability [I] that a query matches each of I items."""
        query = query_pieces(self.featurizer.tokenizer, [text], self.config.max_query)
        found = []
        for start in range(0, len(items), ENCODE_BATCH):
            part = items[start : start + ENCODE_BATCH]
            found.append(
                self.match_logits(self.featurizer.batch(part), query.expand(len(part), -1))
            )
        logits = np.concatenate(found) if found else np.zeros(0, np.float32)
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)

    def trained_by(self, *terms: str) -> bool:
        """Whether the model was trained by any of these terms; of a folder that does not say, it is taken to be."""
        told = self.about.get("terms")
        return told is None or bool(set(terms) & set(told))

    def _flow(self, cells: Sequence[CellQuery], offset: int) -> MessageFlow:
        """The questions as a flow; unknown properties and values among the known statements are passed over."""
        edges = [
            (number, self._property[name], candidate)
            for number, cell in enumerate(cells)
            for name, value in dict.fromkeys(cell.known)
            if name != cell.property
            and (candidate := self._candidate.get((name, value))) is not None
        ]
        columns = np.array(edges, dtype=np.int64).reshape(-1, 3)
        tensor = torch.from_numpy
        return MessageFlow(
            torch.tensor([cell.item - offset for cell in cells]),
            torch.tensor([self._property[cell.property] for cell in cells]),
            *(tensor(columns[:, column].copy()) for column in range(3)),
        )

    def _know(self) -> Knowledge:
        if self._knowledge is None:
            every = torch.arange(len(self._candidate), device=self.device)
            self._knowledge = self.model.know(every)
        return self._knowledge

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)
