"""How well a model does on the validation part: hidden statements, pairs of query and item, or its own loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batch import ItemBatch, text_tensors
from fusion.fused import FusedItems, ImageParts
from fusion.inference.matching import match_logits
from fusion.model import ProductModel
from kg.message_flow import MessageFlow
from kg.sampling.keyed_random import KeyedRandom
from training.batches import move
from training.collate import BatchContents, Collator, rows_of
from training.objectives.joint import JointObjective
from training.queries import Matcher
from training.schedule import QUERIES, Stage

BATCH = 128
MOST_ITEMS = 512
LINKS = ("lpm", "lpm_unseen")


@dataclass
class Validator:
    """Holds out ``items`` [I] and positive ``pairs`` [N] of ``matcher``'s log, and says how well a stage is learned.

    Link prediction is told by Hits@1 of hidden statements, query matching by ROC-AUC, and where a stage has neither, its loss.
    """

    objective: JointObjective
    collator: Collator
    items: NDArray[np.int64]
    matcher: Matcher | None = None
    pairs: NDArray[np.int64] | None = None

    def __call__(self, stage: Stage) -> dict[str, float]:
        """The figures by their names; none where there is nothing to validate on."""
        metrics: dict[str, float] = {}
        if stage.has(LINKS) and len(self.items):
            metrics |= validate(self.objective.model, self.collator, self.items)
        if (
            stage.has(QUERIES)
            and self.matcher is not None
            and self.pairs is not None
            and len(self.pairs)
        ):
            metrics["roc_auc"] = roc_auc(
                self.objective.model, self.matcher, self.pairs[:MOST_ITEMS]
            )
        return metrics or self._loss(stage)

    def _loss(self, stage: Stage) -> dict[str, float]:
        index = self.items[:MOST_ITEMS]
        totals = []
        nobody = np.zeros(0, np.int64)
        if stage.only_queries or not len(index):
            return {}
        device = self.objective.model.patch_mask.device
        for start in range(0, len(index), BATCH):
            part = index[start : start + BATCH]
            batch = move(
                self.collator.batch(stage, BatchContents(part, nobody, nobody), KeyedRandom(0)),
                device,
            )
            totals += [float(self.objective(batch).total)] * len(part)
        return {"loss": float(np.mean(totals))}


def roc_auc(model: ProductModel, matcher: Matcher, pairs: NDArray[np.int64]) -> float:
    """ROC-AUC of positive ``pairs`` [N] against as many negatives."""
    from sklearn.metrics import roc_auc_score

    scores = []
    labels = []
    for start in range(0, len(pairs), BATCH // 2):
        batch = matcher.batch(pairs[start : start + BATCH // 2], KeyedRandom(0))
        items = matcher.items(np.tile(matcher.log.item[pairs[start : start + BATCH // 2]], 2))
        device = model.patch_mask.device
        scores += match_logits(model, items.to(device), batch.query.to(device)).float().tolist()
        labels += batch.label.tolist()
    return float(roc_auc_score(labels, scores)) if 0 < sum(labels) < len(labels) else 0.5


@torch.inference_mode()
def validate(model: ProductModel, collator: Collator, index: NDArray[np.int64]) -> dict[str, float]:
    """Hits@1, macro over properties, of every statement hidden in turn: a figure a setting and their mean, ``hits@1``.

    Settings are title full, blind or none by image or not by other statements known or not. Items [I] beyond 512 are left out.
    """
    index = index[:MOST_ITEMS]
    properties = len(collator.data.ranges) - 1
    asked = np.zeros(properties)
    hits: dict[str, NDArray[np.float64]] = {}
    device = model.patch_mask.device
    knowledge = model.know(torch.arange(model.links.candidate_property.shape[0], device=device))
    for start in range(0, len(index), BATCH):
        part = index[start : start + BATCH]
        statement, row = rows_of(collator.data.indptr, part)
        cells, cell = np.unique(
            np.stack([row, collator.data.property[statement]]), axis=1, return_inverse=True
        )
        if not len(statement):
            continue
        np.add.at(asked, cells[1], 1)
        truth = np.zeros((cells.shape[1], collator.data.ranges[-1]), dtype=bool)
        truth[cell.reshape(-1), collator.data.candidate[statement]] = True
        for setting, fused in _settings(model, collator, part):
            for known in (0.0, 1.0):
                flow = _flow(collator, part, cells, known).to(str(device))
                best = model.score(fused, flow, knowledge).argmax(1).cpu().numpy()
                key = f"{setting}/{'known' if known else 'alone'}"
                np.add.at(
                    hits.setdefault(key, np.zeros(properties)),
                    cells[1],
                    truth[np.arange(len(best)), best],
                )
    present = asked > 0
    scores = {key: float((count[present] / asked[present]).mean()) for key, count in hits.items()}
    return {"hits@1": float(np.mean(list(scores.values()))) if scores else 0.0, **scores}


def _flow(
    collator: Collator, part: NDArray[np.int64], cells: NDArray[np.int64], known: float
) -> MessageFlow:
    return collator.sampler(
        part, cells[0], cells[1], np.full(cells.shape[1], known), KeyedRandom(0)
    )


def _settings(
    model: ProductModel, collator: Collator, part: NDArray[np.int64]
) -> Iterator[tuple[str, FusedItems]]:
    """Every title by every image setting that has something to read."""
    shown = collator.data.item_images(part)
    nothing: list[list[str]] = [[] for _ in part]
    titles = {
        "full": [collator.data.words[i] for i in part],
        "blind": [collator.data.blind[i] for i in part],
        "none": nothing,
    }
    images: list[tuple[str, ImageParts | None]] = [("without", None)]
    for name, words in titles.items():
        pieces, grams, offsets = text_tensors(collator.tokenizer, words, collator.max_title)
        batch = ItemBatch(pieces, grams, offsets, *shown).to(model.patch_mask.device)
        if len(images) == 1 and shown.has_image.any():
            images.append(("image", model.encode_image(batch)))
        for setting, image in images:
            yield f"{name}/{setting}", model.fuse(batch, image)
