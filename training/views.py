"""Views of a batch: titles whole, blinded or hidden, pictures shifted and mirrored.

Cells are asked with all, some or none of the item's other statements known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from encoders.batch import ItemBatch, ngram_tensors, piece_tensor, rounded, text_tensors
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.message_flow import MessageFlow
from kg.negatives import type_constrained
from kg.ragged import first_random, join, spread
from training.config import Recipe
from training.data import QueryPairs, TrainingData
from training.objectives.link import LinkTargets
from training.objectives.mpm import mask_patches
from training.objectives.mrfr import mask_features

CELLS_STEP = 64

FlowSampler = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], np.random.Generator], MessageFlow]


@dataclass(frozen=True)
class View:
    """One reading of a batch and what it asks: ``items`` without pixels, link ``targets``, rows [B] whose title and picture are masked."""

    items: ItemBatch
    targets: LinkTargets
    masked: Tensor


@dataclass(frozen=True)
class StepBatch:
    """A step's material: pictures encoded once, the views with and without them, the candidates in play, the queries' pairs.

    ``patches`` [B, P] are to be told, of which the ``covered`` ones are hidden.
    """

    pictures: ItemBatch
    seen: View
    unseen: View
    candidates: Tensor
    patches: Tensor
    covered: Tensor
    match: MatchBatch | None


@dataclass(frozen=True)
class MatchBatch:
    """N positive (query, item) pairs, then N negative ones.

    ``query`` pieces [2N, L], their ``items``, ``label`` [2N], and ``same`` [N, N]: which positive queries match which positive items.
    """

    query: Tensor
    items: ItemBatch
    label: Tensor
    same: Tensor


def move(batch: StepBatch, device: torch.device) -> StepBatch:
    """The step's batch on another device."""
    if device.type == "cpu":
        return batch
    match = batch.match
    if match is not None:
        match = MatchBatch(match.query.to(device), match.items.to(device), match.label.to(device), match.same.to(device))
    views = [View(v.items.to(device), v.targets.to(device), v.masked.to(device)) for v in (batch.seen, batch.unseen)]
    candidates, patches, covered = (part.to(device) for part in (batch.candidates, batch.patches, batch.covered))
    return StepBatch(batch.pictures.to(device), views[0], views[1], candidates, patches, covered, match)


class Viewer:
    """Makes the step's batch from the items' indices; all chance comes from the generator that it is given."""

    def __init__(self, data: TrainingData, tokenizer: CatalogTokenizer, recipe: Recipe, sampler: FlowSampler, config: ModelConfig) -> None:
        self.data, self.tokenizer, self.recipe, self.sampler = data, tokenizer, recipe, sampler
        self.max_title, self.grid = config.max_title, config.image_grid

    def batch(self, index: NDArray[np.int64], rng: np.random.Generator) -> StepBatch:
        """The step's batch of items ``index`` [B]."""
        recipe = self.recipe
        shown = self.data.pictures(index)
        if shown.pixels is not None:
            shown = shown._replace(pixels=augment(shown.pixels, recipe.shift, rng))
        with_image = (recipe.title_full, recipe.title_blind)
        # Without a picture an empty title leaves the known statements alone, which needs less practice.
        alone = (with_image[0] + 0.1, with_image[1] + 0.1)
        masked = torch.from_numpy(rng.random(len(index)) < recipe.masked_rows)
        seen = self._view(index, self._titles(index, with_image, rng), masked, rng)
        unseen = self._view(index, self._titles(index, alone, rng), torch.zeros_like(masked), rng)
        pictures = ItemBatch(seen.items.pieces, seen.items.ngrams, seen.items.ngram_offsets, *shown)
        patches, covered = self._patches(masked & shown.has_image & (shown.regions is None))
        match = self._match(self.data.queries, len(index), rng) if self.data.queries is not None else None
        return StepBatch(pictures, seen, unseen, self._candidates((seen, unseen), rng), patches, covered, match)

    def _patches(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [B, P] of ``rows`` [B] to tell, and to hide: MBSD's half, or VT-BERT's 15% of which 80%."""
        if self.recipe.loss_mrfr > 0:
            return mask_features(torch.ones(len(rows), self.grid**2, dtype=torch.bool), rows)
        patches = mask_patches(rows, self.grid**2)
        return patches, patches

    def _titles(self, index: NDArray[np.int64], shares: tuple[float, float], rng: np.random.Generator) -> list[list[str]]:
        chosen = []
        for item, luck in zip(index, rng.random(len(index)), strict=True):
            whole = luck < shares[0]
            words = self.data.words[item] if whole else self.data.blind[item] if luck < sum(shares) else []
            thin, drop = (self.recipe.thin_titles, self.recipe.drop_words) if whole else (self.recipe.thin_blind, self.recipe.drop_blind)
            if words and rng.random() < thin:
                words = [word for word, keep in zip(words, rng.random(len(words)), strict=True) if keep >= drop]
            chosen.append(words)
        return chosen

    def _view(self, index: NDArray[np.int64], titles: list[list[str]], masked: Tensor, rng: np.random.Generator) -> View:
        # A masked title's n-grams would tell its masked pieces, so those rows go without them.
        grams = [[] if hidden else words for words, hidden in zip(titles, masked.tolist(), strict=True)]
        pieces = piece_tensor(self.tokenizer, titles, self.max_title)
        ngrams, offsets = ngram_tensors(self.tokenizer, grams)
        items = ItemBatch(pieces, ngrams, offsets, None, torch.zeros(len(index), dtype=torch.bool))
        return View(items, self._targets(index, rng), masked)

    def _targets(self, index: NDArray[np.int64], rng: np.random.Generator) -> LinkTargets:
        data, recipe = self.data, self.recipe
        statement, row = rows_of(data.indptr, index)
        keep = first_random(row, recipe.max_cells, rng)
        statement, row = statement[keep], row[keep]
        cells, cell = np.unique(np.stack([row, data.property[statement]]), axis=1, return_inverse=True)
        cells, cell = fill_up(cells, cell.reshape(-1), len(index))
        luck = rng.random(cells.shape[1])
        some = rng.random(cells.shape[1])
        share = np.where(luck < recipe.known_all, 1.0, np.where(luck < recipe.known_all + recipe.known_none, 0.0, some))
        flow = self.sampler(index, cells[0], cells[1], share, rng)
        others = other_truths(data, index, cells, cell, data.candidate[statement])
        tensor = torch.from_numpy
        return LinkTargets(flow, tensor(cell), tensor(data.candidate[statement]), (tensor(others[0]), tensor(others[1])))

    def _candidates(self, views: tuple[View, View], rng: np.random.Generator) -> Tensor:
        """Every candidate in play: those asked, known or true, and the asked properties' others, drawn down to ``max_candidates``."""
        needed = [part for v in views for part in (v.targets.candidate, v.targets.other_candidate, v.targets.flow.edge_value)]
        asked = np.unique(np.concatenate([v.targets.flow.cell_property.numpy() for v in views]))
        positives = np.concatenate([part.numpy() for part in needed])
        return torch.from_numpy(type_constrained(self.data.ranges, asked, positives, self.recipe.max_candidates, rng))

    def _match(self, log: QueryPairs, size: int, rng: np.random.Generator) -> MatchBatch:
        count = max(2, size // 4)
        chosen = rng.choice(len(log.query), min(count, len(log.query)), replace=False)
        query, item = log.query[chosen], log.item[chosen]
        wide = len(self.data.items)
        same = np.isin(query[:, None] * wide + item[None, :], log.query * wide + log.item)
        # The negative of a query is its neighbour's item, which may match it as well and is then labelled so.
        neighbour = np.roll(np.arange(len(item)), 1)
        label = np.concatenate([np.ones(len(item)), same[np.arange(len(item)), neighbour]]).astype(np.float32)
        both = np.concatenate([item, item[neighbour]])
        pieces, grams, offsets = text_tensors(self.tokenizer, [self.data.words[i] for i in both], self.max_title)
        asked = pad([log.pieces[q] for q in np.concatenate([query, query])])
        items = ItemBatch(pieces, grams, offsets, *self.data.pictures(both))
        return MatchBatch(asked, items, torch.from_numpy(label), torch.from_numpy(same))


def pad(rows: list[list[int]]) -> Tensor:
    """Pad lists of piece ids with 0: [N, L]."""
    out = torch.zeros(len(rows), rounded(max(len(row) for row in rows), 4), dtype=torch.int64)
    for index, row in enumerate(rows):
        out[index, : len(row)] = torch.tensor(row)
    return out


def fill_up(cells: NDArray[np.int64], cell: NDArray[np.int64], batch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add cells that nobody asks, of property 0, to make up a multiple of 64: a CPU prepares its matrix products anew for each shape.

    ``cells`` [2, N] (row, property), rows ascending below ``batch``; ``cell`` [M] points into them and is moved along. The items with the
    fewest cells get them, so that none is padded far.
    """
    counts = np.bincount(cells[0], minlength=batch)
    extra = []
    for _ in range(-cells.shape[1] % CELLS_STEP):
        extra.append(int(counts.argmin()))
        counts[extra[-1]] += 1
    filled = np.concatenate([cells, np.stack([extra, np.zeros(len(extra))]).astype(np.int64)], 1) if extra else cells
    order = np.argsort(filled[0], kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return filled[:, order], place[cell]


def rows_of(indptr: NDArray[np.int64], index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions [M] of the statements of items ``index`` [B], and the batch row [M] of each."""
    row, place = spread(indptr[index], indptr[index + 1])
    return place, row


def other_truths(
    data: TrainingData, index: NDArray[np.int64], cells: NDArray[np.int64], cell: NDArray[np.int64], candidate: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (asked statement, candidate) of further true values in the asked statement's cell."""
    statement, row = rows_of(data.indptr, index)
    width = len(data.ranges)
    key = row * width + data.property[statement]
    cell_key = (cells[0] * width + cells[1])[cell]
    order = np.argsort(key, kind="stable")
    key, statement = key[order], statement[order]
    asked, place = join(cell_key, key)
    other = data.candidate[statement[place]]
    different = other != candidate[asked]
    return asked[different], other[different]


def augment(pixels: Tensor, shift: int, rng: np.random.Generator) -> Tensor:
    """Mirror half of the pictures [B, 3, S, S] and move each by up to ``shift`` pixels over white."""
    size = pixels.shape[-1]
    padded = F.pad(pixels, (shift,) * 4, value=255)
    places = rng.integers(0, 2 * shift + 1, (len(pixels), 2))
    mirror = rng.random(len(pixels)) < 0.5
    out = torch.empty_like(pixels)
    for row, ((top, left), flip) in enumerate(zip(places.tolist(), mirror.tolist(), strict=True)):
        cut = padded[row, :, top : top + size, left : left + size]
        out[row] = cut.flip(-1) if flip else cut
    return out
