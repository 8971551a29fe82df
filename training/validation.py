"""How well hidden statements of validation items are ranked, over the ways in which a catalogue hides them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.batch import ItemBatch, text_tensors
from fusion.fused import FusedItems, ImageParts
from fusion.model import ProductModel
from kg.message_flow import MessageFlow
from training.views import Viewer, rows_of

BATCH = 128
MOST_ITEMS = 512


@torch.inference_mode()
def validate(model: ProductModel, viewer: Viewer, index: NDArray[np.int64]) -> dict[str, float]:
    """Hits@1, macro over properties, of every statement hidden in turn: a figure a setting and their mean, ``hits@1``.

    Settings are title full, blind or none by picture or not by other statements known or not. Items [I] beyond 512 are left out.
    """
    index = index[:MOST_ITEMS]
    properties = len(viewer.data.ranges) - 1
    asked = np.zeros(properties)
    hits: dict[str, NDArray[np.float64]] = {}
    device = model.patch_mask.device
    knowledge = model.know(torch.arange(model.links.candidate_property.shape[0], device=device))
    for start in range(0, len(index), BATCH):
        part = index[start : start + BATCH]
        statement, row = rows_of(viewer.data.indptr, part)
        cells, cell = np.unique(np.stack([row, viewer.data.property[statement]]), axis=1, return_inverse=True)
        if not len(statement):
            continue
        np.add.at(asked, cells[1], 1)
        truth = np.zeros((cells.shape[1], viewer.data.ranges[-1]), dtype=bool)
        truth[cell.reshape(-1), viewer.data.candidate[statement]] = True
        for setting, fused in _settings(model, viewer, part):
            for known in (0.0, 1.0):
                flow = _flow(viewer, part, cells, known).to(str(device))
                best = model.score(fused, flow, knowledge).argmax(1).cpu().numpy()
                key = f"{setting}/{'known' if known else 'alone'}"
                np.add.at(hits.setdefault(key, np.zeros(properties)), cells[1], truth[np.arange(len(best)), best])
    present = asked > 0
    scores = {key: float((count[present] / asked[present]).mean()) for key, count in hits.items()}
    return {"hits@1": float(np.mean(list(scores.values()))) if scores else 0.0, **scores}


def _flow(viewer: Viewer, part: NDArray[np.int64], cells: NDArray[np.int64], known: float) -> MessageFlow:
    return viewer.sampler(part, cells[0], cells[1], np.full(cells.shape[1], known), np.random.default_rng(0))


def _settings(model: ProductModel, viewer: Viewer, part: NDArray[np.int64]) -> Iterator[tuple[str, FusedItems]]:
    """Every title by every picture setting that has something to read."""
    shown = viewer.data.pictures(part)
    nothing: list[list[str]] = [[] for _ in part]
    titles = {"full": [viewer.data.words[i] for i in part], "blind": [viewer.data.blind[i] for i in part], "none": nothing}
    pictures: list[tuple[str, ImageParts | None]] = [("without", None)]
    for name, words in titles.items():
        pieces, grams, offsets = text_tensors(viewer.tokenizer, words, viewer.max_title)
        batch = ItemBatch(pieces, grams, offsets, *shown).to(model.patch_mask.device)
        if len(pictures) == 1 and shown.has_image.any():
            pictures.append(("picture", model.encode_image(batch)))
        for picture, image in pictures:
            yield f"{name}/{picture}", model.fuse(batch, image)
