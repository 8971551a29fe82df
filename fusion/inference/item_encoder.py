"""Item encoders: what turns items, and texts that are asked about them, into vectors for a task.

A task such as classification or alignment (:mod:`evaluation.tasks`) puts a small head on these
vectors. A network's encoder has gradients, so that it can be trained together with the head.

Shapes: N inputs, D the encoder's width, Q pieces of a text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor, nn

from encoders.batch import query_pieces
from fusion.fused import FusedItems, ItemStates
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellScorer
from fusion.link_prediction.aggregation import Triples

ENCODE_BATCH = 128
"""Inputs that are encoded at a time without gradients."""


@dataclass(frozen=True)
class TaskInput:
    """What a model reads for a task: an item, a text, or a text that is asked about an item.

    Attributes:
        item: the item; :data:`NO_ITEM` for a text by itself
        text: a query, a question, an answer, or a value with its property; None for an item alone
    """

    item: ItemInput
    text: str | None = None


NO_ITEM = ItemInput("")
"""An item of which nothing is known, beside a text by itself."""


class ItemEncoder(nn.Module, ABC):
    """Something that turns task inputs into vectors, with gradients if it has parameters.

    Attributes:
        name: what tables call it
        width: the width D of its vectors
    """

    name: str
    width: int

    @abstractmethod
    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        """Return the vectors [N, D] of N inputs."""

    @torch.inference_mode()
    def encode(self, inputs: Sequence[TaskInput], batch: int = ENCODE_BATCH) -> Tensor:
        """Return the vectors [N, D] of N inputs in single precision, without gradients."""
        starts = range(0, len(inputs), batch)
        parts = [self(inputs[start : start + batch]).float().cpu() for start in starts]
        return torch.cat([torch.zeros(0, self.width), *parts])


class TextReading(StrEnum):
    """How a network reads a text that is asked about an item."""

    NONE = "none"
    """Not at all: the task has none."""
    WITH_ITEM = "with item"
    """Before the title, as MBSD reads tags and queries, and K3M questions: one vector [D]."""
    APART = "apart"
    """By itself, as a title: [item || text || item * text], which learns from far fewer examples.

    Each of the two is the node and the mean of the title's states, VT-BERT's e_t: [6D] in all.
    """


class NetworkEncoder(ItemEncoder):
    """The item node of a network.

    That is c* (K3M), which has aggregated the item's known statements, if the network has learned
    to by link prediction; and the state of [CLS] (MBSD, VT-BERT), or K3M's c, otherwise.

    Args:
        scorer: the network; its weights are shared, not copied
        statements: whether known statements are read
        reading: how texts are read
    """

    def __init__(
        self,
        scorer: CellScorer,
        statements: bool = True,
        reading: TextReading = TextReading.NONE,
    ) -> None:
        super().__init__()
        self.name = scorer.name
        self.width = scorer.config.dim * (6 if reading is TextReading.APART else 1)
        self.reading = reading
        self.scorer = scorer
        self.network = scorer.model
        self.reads_statements = (
            statements
            and scorer.config.reads_known
            and scorer.completes
            and bool(scorer.ontology.learned())
        )

    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        """Return the vectors [N, D] of N inputs, [N, 3D] if texts are read apart."""
        items = [each.item for each in inputs]
        if not items:
            return torch.zeros(0, self.width)
        match self.reading:
            case TextReading.NONE:
                return self._nodes(items, [None] * len(items))
            case TextReading.WITH_ITEM:
                return self._nodes(items, [each.text for each in inputs])
            case TextReading.APART:
                # Questions share items and texts, which are encoded once.
                by_identity = {id(item): item for item in items}
                vectors = self._with_title_mean(list(by_identity.values()))
                own = _rows(vectors, by_identity, map(id, items))
                texts = [each.text or "" for each in inputs]
                distinct = dict.fromkeys(texts)
                of_texts = _rows(self._of_texts(list(distinct)), distinct, texts)
                return torch.cat([own, of_texts, own * of_texts], 1)

    @torch.inference_mode()
    def states(self, items: Sequence[ItemInput]) -> ItemStates:
        """Return all representations of N items that the papers name."""
        scorer = self.scorer
        batch = scorer.featurizer.batch(items).to(scorer.device)
        with scorer.autocast():
            return scorer.model.states(batch, self._triples(items))

    def _with_title_mean(self, items: Sequence[ItemInput], query: Tensor | None = None) -> Tensor:
        """Return the item nodes and the means of the titles' states, side by side [N, 2D]."""
        fused, node = self._fused(items, query)
        return torch.cat([node, fused.title_span.mean()], 1)

    def _of_texts(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of texts by themselves [N, 2D]."""
        if self.scorer.config.reads_title:
            return self._with_title_mean([replace(NO_ITEM, title=text) for text in texts])
        # A model of images alone reads queries all the same.
        return self._with_title_mean([NO_ITEM] * len(texts), self._pieces(texts))

    def _pieces(self, texts: Sequence[str]) -> Tensor:
        """Return the pieces [N, Q] of texts that are read as queries."""
        tokenizer = self.scorer.featurizer.tokenizer
        return query_pieces(tokenizer, texts, self.scorer.config.max_query)

    def _nodes(
        self, items: Sequence[ItemInput], texts: Sequence[str | None] | None = None
    ) -> Tensor:
        """Return the item nodes [N, D] of items, those with a text read together with it."""
        texts = [None] * len(items) if texts is None else texts
        with_text = [row for row, text in enumerate(texts) if text is not None]
        alone = [row for row, text in enumerate(texts) if text is None]
        parts = []
        if with_text:
            pieces = self._pieces([texts[row] or "" for row in with_text])
            parts.append(self._read([items[row] for row in with_text], pieces))
        if alone:
            parts.append(self._read([items[row] for row in alone], None))
        order = torch.tensor([*with_text, *alone]).argsort().to(parts[0].device)
        return torch.cat(parts).index_select(0, order)

    def _read(self, items: Sequence[ItemInput], query: Tensor | None) -> Tensor:
        """Return the nodes [N, D] of items, each read behind its ``query`` pieces [N, Q]."""
        return self._fused(items, query)[1]

    def _fused(self, items: Sequence[ItemInput], query: Tensor | None) -> tuple[FusedItems, Tensor]:
        """Return fused items, and their nodes [N, D] with known statements if these are read."""
        scorer = self.scorer
        batch = scorer.featurizer.batch(items).to(scorer.device)
        query = None if query is None else query.to(scorer.device)
        with scorer.autocast():
            fused = scorer.model.fuse(batch, scorer.model.encode_image(batch), query)
            node = self._with_statements(fused, items) if self.reads_statements else fused.node
        return fused, node

    def _with_statements(self, fused: FusedItems, items: Sequence[ItemInput]) -> Tensor:
        triples = self._triples(items)
        ids, row = triples.value.unique(return_inverse=True)
        return self.scorer.model.links.aggregate_triples(
            nodes=fused.node,
            items=fused.node,
            knowledge=self.scorer.model.know(ids),
            triples=Triples(triples.node, triples.property, row),
            triple_item=triples.node,
        )

    def _triples(self, items: Sequence[ItemInput]) -> Triples:
        """Return the known statements of the items that the network has in its ontology."""
        rows = [
            (node, property, candidate)
            for node, item in enumerate(items)
            if self.reads_statements
            for property, candidate in self.scorer.known_candidates(item.known)
        ]
        columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).to(self.scorer.device)
        return Triples(columns[:, 0], columns[:, 1], columns[:, 2])


def _rows(vectors: Tensor, keys: Iterable[Hashable], wanted: Iterable[Hashable]) -> Tensor:
    """Return the rows of ``vectors`` [K, D], which belong to K ``keys``, that are wanted [N, D]."""
    row_of = {key: row for row, key in enumerate(keys)}
    rows = torch.tensor([row_of[key] for key in wanted], device=vectors.device)
    return vectors.index_select(0, rows)
