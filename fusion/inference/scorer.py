"""Scores of cells by a model folder: items are encoded once and can then be scored repeatedly."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.batch import ItemBatch, query_pieces
from fusion.build import candidates, first_candidates
from fusion.checkpoint import ModelFolder
from fusion.extension import extend_model, extended_ontology
from fusion.fused import FusedItems, Knowledge
from fusion.inference.featurizer import Featurizer, ItemInput, PixelReader, PropertyValue
from fusion.inference.matching import match_logits
from fusion.link_prediction.own_candidates import own_candidates
from kg.message_flow import MessageFlow
from schema.dtypes import Dtype
from schema.errors import PropertyNotFoundError
from schema.memory import keep_freed_memory
from schema.modalities import NETWORK_MODALITIES, Modality

ENCODE_BATCH = 128
SCORE_BATCH = 2048


@dataclass(frozen=True, slots=True)
class CellQuery:
    """A cell to score: which value does an item have for a property?

    Attributes:
        item: the item's index among the encoded items
        property: the property
        known: the item's known statements; those of ``property`` itself are ignored
        category: the levels of the item's category that may be used for this cell; None if those
            of the item may
    """

    item: int
    property: str
    known: tuple[PropertyValue, ...] = ()
    category: tuple[str, ...] | None = None


def situation_of(
    item: ItemInput, cell: CellQuery, read: Collection[Modality] = NETWORK_MODALITIES
) -> str:
    """Name the modalities that a cell is predicted from, for example ``title+image+known``.

    The item gives its content, the cell the statements that the model may use. What is not ``read``
    does not count. The name is ``nothing`` if all modalities are missing.
    """
    present = [modality.value for modality in item.content_modalities(read)]
    if cell.known:
        present.append(Modality.STATEMENTS.value)
    return "+".join(present) or "nothing"


@dataclass(frozen=True)
class EncodedItems:
    """Fused titles and images of items, in batches of ``ENCODE_BATCH``.

    They do not depend on known statements, which come with each :class:`CellQuery`.
    """

    batches: list[FusedItems]

    def __len__(self) -> int:
        return sum(len(batch.node) for batch in self.batches)


class CellScorer:
    """Inference with one model, deterministic and without gradients.

    Args:
        folder: the model
        device: where it runs, such as ``cpu`` or ``cuda``
        read_pixels: reads images that are given as paths
        dtype: the type that its matrix products are computed in
    """

    def __init__(
        self,
        folder: ModelFolder,
        device: str = "cpu",
        read_pixels: PixelReader | None = None,
        dtype: Dtype = Dtype.BF16,
    ) -> None:
        self.name = folder.name
        self.path = folder.path
        self._folder = folder
        self.ontology = folder.ontology
        self.calibration = folder.calibration
        self.config = folder.config
        self.about = folder.about
        self.model = folder.model.to(device).eval()
        self.device = torch.device(device)
        self.dtype = dtype
        self.featurizer = Featurizer(folder.tokenizer, folder.config, read_pixels)
        properties, pairs = candidates(folder.ontology)
        self._property_index = {name: index for index, name in enumerate(properties)}
        self._firsts = first_candidates(folder.ontology)
        self._candidates = len(pairs)
        # The candidates of a property are consecutive.
        sizes = [len(folder.ontology.properties[name].values) for name in properties]
        self._ranges = np.cumsum([0, *sizes])
        self._knowledge: Knowledge | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        read_pixels: PixelReader | None = None,
        dtype: Dtype = Dtype.BF16,
    ) -> CellScorer:
        """Open a model folder; raises ModelError if it is missing or damaged."""
        keep_freed_memory()
        return cls(ModelFolder(folder), device, read_pixels, dtype)

    def with_values(self, added: Mapping[str, Sequence[str]]) -> CellScorer:
        """Return a scorer with further values of properties, which it knows by their text alone.

        They come behind the others, and no item of the training has them. Raises UsageError if
        there is no room for them.
        """
        ontology = extended_ontology(self.ontology, added)
        folder = copy.copy(self._folder)
        folder.model = extend_model(
            self.model, self.config, folder.tokenizer, self.ontology, ontology
        )
        folder.ontology = ontology
        return CellScorer(folder, str(self.device), self.featurizer.read_pixels, self.dtype)

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that it reads."""
        return self.config.modalities

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name the modalities that a cell is predicted from."""
        return situation_of(item, cell, self.modalities)

    def encode(self, items: Sequence[ItemInput]) -> EncodedItems:
        """Read and fuse titles and images, which is the expensive part of scoring."""
        starts = range(0, len(items), ENCODE_BATCH)
        return EncodedItems([self._encode(items[start : start + ENCODE_BATCH]) for start in starts])

    @torch.inference_mode()
    def _encode(self, items: Sequence[ItemInput]) -> FusedItems:
        batch = self.featurizer.batch(items).to(self.device)
        with self.autocast():
            return self.model.fuse(batch, self.model.encode_image(batch))

    def score(self, encoded: EncodedItems, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``.

        Raises PropertyNotFoundError on a property that the model does not know.
        """
        for cell in cells:
            if cell.property not in self._property_index:
                available = ", ".join(list(self._property_index)[:12])
                raise PropertyNotFoundError(
                    f"the model does not know property {cell.property!r}: it has {available}"
                )
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        # A message flow needs its cells in the order of their items.
        order = sorted(range(len(cells)), key=lambda index: cells[index].item)
        sorted_items = [cells[index].item for index in order]
        for number, batch in enumerate(encoded.batches):
            first_item = number * ENCODE_BATCH
            low = bisect_left(sorted_items, first_item)
            high = bisect_left(sorted_items, first_item + ENCODE_BATCH)
            for start in range(low, high, SCORE_BATCH):
                part = order[start : min(high, start + SCORE_BATCH)]
                logits = self._score(batch, [cells[index] for index in part], first_item)
                for index, row in zip(part, logits, strict=True):
                    scores[index] = row
        return scores

    @torch.inference_mode()
    def _score(
        self, fused: FusedItems, cells: Sequence[CellQuery], first_item: int
    ) -> list[NDArray[np.float32]]:
        flow = self._flow(cells, first_item)
        every_candidate = np.arange(self._ranges[-1])
        own = own_candidates(flow.cell_property.numpy(), every_candidate, self._ranges)
        counts = own.count.tolist()
        with self.autocast():
            logits = self.model.score_own(
                fused,
                flow.to(str(self.device)),
                self._all_knowledge(),
                own.to(self.device),
            )
        # Copies, since slices would keep the scores of longer rows in memory as well.
        rows = logits.float().cpu().numpy()
        return [row[:count].copy() for row, count in zip(rows, counts, strict=True)]

    @torch.inference_mode()
    def match_logits(
        self, items: ItemBatch, query: Tensor, without: Modality | None = None
    ) -> NDArray[np.float32]:
        """Return logits [N] of query pieces ``query`` [N, L] matching ``items`` [N].

        The items can be scored ``without`` their titles or images.
        """
        with self.autocast():
            logits = match_logits(self.model, items.to(self.device), query.to(self.device), without)
        return logits.float().cpu().numpy()

    def match(self, text: str, items: Sequence[ItemInput]) -> NDArray[np.float32]:
        """Return the probability that a query matches each of N items [N]."""
        query = query_pieces(self.featurizer.tokenizer, [text], self.config.max_query)
        logits = [np.zeros(0, np.float32)]
        for start in range(0, len(items), ENCODE_BATCH):
            part = items[start : start + ENCODE_BATCH]
            batch = self.featurizer.batch(part)
            logits.append(self.match_logits(batch, query.expand(len(part), -1)))
        return np.asarray(1 / (1 + np.exp(-np.concatenate(logits))), dtype=np.float32)

    @property
    def reads_pixels(self) -> bool:
        """Whether the model reads the pixels of images."""
        return self.config.reads_pixels

    @property
    def reads_details(self) -> bool:
        """Whether it reads descriptions or more than one image of an item."""
        return False

    @property
    def reads_regions(self) -> bool:
        """Whether the model reads regions that a detector found in images."""
        return self.config.image_encoder == "regions"

    @property
    def completes(self) -> bool:
        """Whether the model was trained to complete cells, by link prediction."""
        return self.trained_by("lpm", "lpm_unseen")

    def trained_by(self, *terms: str) -> bool:
        """Return whether the model was trained by any of these terms of the loss.

        A folder from before its terms were recorded counts as trained by all of them.
        """
        recorded = self.about.get("terms")
        return recorded is None or bool(set(terms) & set(recorded))

    def known_candidates(self, known: Iterable[PropertyValue]) -> Iterator[tuple[int, int]]:
        """Yield the numbers of property and candidate of each distinct statement in the ontology.

        What the model does not know is left out.
        """
        seen: set[int] = set()
        for name, value in known:
            position = self.ontology.position(name, value)
            if position is None:
                continue
            candidate = self._firsts[name] + position
            # Each value once, as in training: a repeated one would weigh twice.
            if candidate not in seen:
                seen.add(candidate)
                yield self._property_index[name], candidate

    def _flow(self, cells: Sequence[CellQuery], first_item: int) -> MessageFlow:
        """Return the cells as a message flow over the batch that begins with ``first_item``.

        Known statements whose property or value is not in the ontology are left out.
        """
        edge_cell = []
        edge_property = []
        edge_value = []
        for number, cell in enumerate(cells):
            # A statement of the cell's own property would be the answer.
            known = [each for each in cell.known if each[0] != cell.property]
            for property, candidate in self.known_candidates(known):
                edge_cell.append(number)
                edge_property.append(property)
                edge_value.append(candidate)
        return MessageFlow.of(
            cell_item=torch.tensor([cell.item - first_item for cell in cells]),
            cell_property=torch.tensor([self._property_index[cell.property] for cell in cells]),
            edge_cell=torch.tensor(edge_cell, dtype=torch.int64),
            edge_property=torch.tensor(edge_property, dtype=torch.int64),
            edge_value=torch.tensor(edge_value, dtype=torch.int64),
        )

    def _all_knowledge(self) -> Knowledge:
        """Return the vectors of all candidates, which are computed once."""
        if self._knowledge is None:
            everything = torch.arange(self._candidates, device=self.device)
            self._knowledge = self.model.know(everything)
        return self._knowledge

    def autocast(self) -> torch.autocast:
        """Return the context that the network computes in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is Dtype.BF16)
