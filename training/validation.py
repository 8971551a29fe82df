"""Validation by hidden statements, by held-out pairs of query and item, or by the stage's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from encoders.batch import ItemBatch, title_tensors
from fusion.fused import FusedItems, ImageFeatures, Knowledge
from fusion.inference.matching import match_logits
from fusion.inference.metrics import roc_auc
from fusion.link_prediction.own_candidates import own_candidates
from fusion.model import ProductModel
from kg.message_flow import MessageFlow
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray, IntArray
from schema.shares import ShareOut, compute_all
from training.cells import statements_of
from training.collate import BatchContents, Collator
from training.loader import NO_INDEX
from training.objectives.joint import JointObjective
from training.queries import QueryPairBuilder
from training.query_baseline import QueryBaseline, query_only_roc_auc
from training.schedule import LINK_TERMS, QUERY_TERMS, Stage

BATCH_ITEMS = 64
"""The items of a part of the work: several processes share out 512 items in eight parts."""
MAX_ITEMS = 512
"""The most items, and the most pairs, that are used, so that validation stays fast."""


@dataclass
class HeldOutPairs:
    """Matching ``pairs`` [N] of held-out items, by number in the query log of ``builder``.

    ``train_builder`` returns a builder of the train split's pairs, from which the baseline learns
    that sees only the query; None without it.
    """

    builder: QueryPairBuilder
    pairs: IntArray
    train_builder: Callable[[], QueryPairBuilder] | None = None

    @cached_property
    def query_only(self) -> float | None:
        """ROC-AUC of the baseline that sees only the query; None without train pairs."""
        if self.train_builder is None:
            return None
        baseline = QueryBaseline.train(self.train_builder())
        return query_only_roc_auc(baseline, self.builder, self.pairs, KeyedRandom(0))


def some_pairs(pairs: IntArray) -> IntArray:
    """Return ``pairs`` [N], or if they are more than ``MAX_ITEMS``, a random sample of so many.

    Pairs are numbered by their queries, so that the first ones would all have the same few.
    """
    order = np.argsort(KeyedRandom(0).uniform("held-out pairs", pairs), kind="stable")
    return np.sort(pairs[order[:MAX_ITEMS]])


@dataclass
class Validator:
    """Measures on the validation split how well a stage has been learned.

    Link prediction is measured by Hits@1 of hidden statements, query matching by ROC-AUC (beside
    that of a baseline that sees only the query), and a stage with neither by its loss. ``items``
    [I] are the held-out items. ``share_out`` lets several processes each compute a
    part; all of them get the metrics, which are those of one process.
    """

    objective: JointObjective
    collator: Collator
    items: IntArray
    held_out: HeldOutPairs | None = None
    share_out: ShareOut = compute_all

    def __call__(self, stage: Stage) -> dict[str, float]:
        """Return the metrics by name; none if there is nothing to validate on."""
        model = self.objective.model
        metrics: dict[str, float] = {}
        if LINK_TERMS & stage.weights.keys() and len(self.items):
            metrics |= hits_at_1(model, self.collator, self.items[:MAX_ITEMS], self.share_out)
        held_out = self.held_out
        if QUERY_TERMS & stage.weights.keys() and held_out is not None and len(held_out.pairs):
            metrics["roc_auc"] = matching_roc_auc(
                model, held_out.builder, held_out.pairs, self.share_out
            )
            # One part of work, which one process computes for all.
            (query_only,) = self.share_out([held_out], lambda pairs: pairs.query_only)
            if query_only is not None:
                metrics["roc_auc_query_only"] = query_only
        return metrics or self._loss(stage)

    def _loss(self, stage: Stage) -> dict[str, float]:
        index = self.items[:MAX_ITEMS]
        if stage.only_queries or not len(index):
            return {}
        device = self.objective.model.patch_mask.device

        def loss_of(part: IntArray) -> float:
            contents = BatchContents(items=part, pairs=NO_INDEX, all_pairs=NO_INDEX)
            # The same random numbers in every validation, so that their losses can be compared.
            batch = self.collator.batch(stage, contents, KeyedRandom(0)).to(device)
            return float(self.objective(batch).total) * len(part)

        return {"loss": sum(self.share_out(in_parts(index, BATCH_ITEMS), loss_of)) / len(index)}


def in_parts(index: IntArray, size: int) -> list[IntArray]:
    """Cut ``index`` [N] into parts of ``size``, the last of which may be smaller."""
    return [index[start : start + size] for start in range(0, len(index), size)]


def matching_roc_auc(
    model: ProductModel,
    pair_builder: QueryPairBuilder,
    pairs: IntArray,
    share_out: ShareOut = compute_all,
) -> float:
    """Return the ROC-AUC of matching ``pairs`` [N] against as many that do not match."""
    device = model.patch_mask.device

    def scores_of(part: IntArray) -> tuple[list[float], list[bool]]:
        queries = pair_builder.labelled_queries(part, KeyedRandom(0))
        # The pairs that do not match have the same items in the same order.
        items = pair_builder.items(np.tile(pair_builder.log.item[part], 2))
        pieces = pair_builder.query_pieces(queries)
        logits = match_logits(model, items.to(device), pieces.to(device))
        return logits.float().tolist(), queries.label.tolist()

    results = share_out(in_parts(pairs, BATCH_ITEMS // 2), scores_of)
    scores = [score for part, _ in results for score in part]
    labels = [label for _, part in results for label in part]
    area = roc_auc(np.array(scores), np.array(labels))
    return 0.5 if np.isnan(area) else area


@dataclass
class Hits:
    """Cells per property [P], and how many of them were predicted rightly in each setting."""

    cells: FloatArray
    right: dict[str, FloatArray] = field(default_factory=dict)

    def add(self, other: Hits) -> None:
        """Add those of other items."""
        self.cells += other.cells
        for setting, count in other.right.items():
            self.right[setting] = self.right.get(setting, 0.0) + count


@torch.inference_mode()
def hits_at_1(
    model: ProductModel,
    collator: Collator,
    index: IntArray,
    share_out: ShareOut = compute_all,
) -> dict[str, float]:
    """Return Hits@1 for the cells of items ``index``, each hidden in turn.

    It is averaged over properties. There is one figure for each setting (title full, blind or none;
    with or without the image; with or without the other statements), and their mean, ``hits@1``.
    """
    candidates = torch.arange(
        model.links.candidate_property.shape[0], device=model.patch_mask.device
    )
    knowledge = model.know(candidates)
    hits = Hits(np.zeros(len(collator.data.ranges) - 1))
    for part in share_out(
        in_parts(index, BATCH_ITEMS), lambda part: _hits_of(model, collator, part, knowledge)
    ):
        hits.add(part)
    present = hits.cells > 0
    shares = {
        setting: float((count[present] / hits.cells[present]).mean())
        for setting, count in hits.right.items()
    }
    mean = float(np.mean(list(shares.values()))) if shares else 0.0
    return {"hits@1": mean, **shares}


def _hits_of(model: ProductModel, collator: Collator, part: IntArray, knowledge: Knowledge) -> Hits:
    """Count the hits for the cells of items ``part`` [B]."""
    data = collator.data
    hits = Hits(np.zeros(len(data.ranges) - 1))
    statement, row = statements_of(data.indptr, part)
    if not len(statement):
        return hits
    pairs = np.stack([row, data.property[statement]])
    cells, cell = np.unique(pairs, axis=1, return_inverse=True)
    np.add.at(hits.cells, cells[1], 1)
    is_true = np.zeros((cells.shape[1], data.ranges[-1]), dtype=bool)
    is_true[cell.reshape(-1), data.candidate[statement]] = True
    own = own_candidates(cells[1], np.arange(data.ranges[-1]), data.ranges)
    first = own.first.numpy()
    own = own.to(model.patch_mask.device)
    for setting, fused in _readings(model, collator, part):
        # Known statements reach the cells after the fusion, which both settings share.
        for known, share in (("known", 1.0), ("alone", 0.0)):
            flow = _flow(collator, part, cells, share).to(str(model.patch_mask.device))
            scores = model.score_own(fused, flow, knowledge, own)
            best = first + scores.argmax(1).cpu().numpy()
            counts = hits.right.setdefault(f"{setting}/{known}", np.zeros_like(hits.cells))
            np.add.at(counts, cells[1], is_true[np.arange(len(best)), best])
    return hits


def _flow(collator: Collator, part: IntArray, cells: IntArray, share: float) -> MessageFlow:
    shares = np.full(cells.shape[1], share)
    return collator.flows(part, cells[0], cells[1], shares, KeyedRandom(0))


def _readings(
    model: ProductModel,
    collator: Collator,
    part: IntArray,
) -> Iterator[tuple[str, FusedItems]]:
    """Yield the fused items for every kind of title, without and (if there are any) with images."""
    data = collator.data
    images = data.item_images(part)
    titles: dict[str, list[list[str]]] = {
        "full": [list(data.words[i]) for i in part],
        "blind": [list(data.blind[i]) for i in part],
        "none": [[] for _ in part],
    }
    encoded: ImageFeatures | None = None
    for title, words in titles.items():
        texts = title_tensors(collator.tokenizer, words, collator.max_title)
        batch = ItemBatch.of(texts, images.pixels, images.has_image, images.regions)
        batch = batch.to(model.patch_mask.device)
        yield f"{title}/without", model.fuse(batch, None)
        if images.has_image.any():
            if encoded is None:
                encoded = model.encode_image(batch)
            yield f"{title}/image", model.fuse(batch, encoded)
