"""Views of a batch: titles whole, blinded or hidden, images shifted and mirrored, pieces and patches masked.

Cells are asked with all, some or none of the item's other statements known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from encoders.batch import ItemBatch, ngram_tensors, piece_tensor
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.message_flow import MessageFlow
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import Corruptor, type_constrained
from kg.sampling.ragged import first_random, join, spread
from training.batches import ItemView, MaskedTokens, StepBatch
from training.config import Recipe
from training.data import TrainingData
from training.objectives.link import Corruptions, LinkTargets
from training.objectives.mlm import mask_pieces
from training.objectives.mpm import mask_patches
from training.objectives.mrfr import mask_features
from training.objectives.vtm import swap_titles
from training.queries import Matcher
from training.schedule import QUERIES, SEEN, Stage

CELLS_STEP = 64
MASKED_TEXT = frozenset(("mlm", "gmlm"))
MASKED_IMAGE = frozenset(("mpm", "mrfr", "mrc", "gmrfr"))

Ints = NDArray[np.int64]
FlowSampler = Callable[[Ints, Ints, Ints, NDArray[np.float64], KeyedRandom], MessageFlow]


@dataclass(frozen=True)
class BatchContents:
    """What a batch is made of: ``items`` [B] to view, and ``pairs`` [N] of the query log, of which all processes have ``everyone`` [G].

    A process's own begin there at ``first``.
    """

    items: Ints
    pairs: Ints
    everyone: Ints
    first: int = 0


class Collator:
    """Makes a step's batch of items and pairs. All chance is the step's and the items' own: a batch may be made in parts, and anywhere.

    ``pool`` are the items of the train part, whose titles others may be given.
    """

    def __init__(
        self,
        data: TrainingData,
        tokenizer: CatalogTokenizer,
        recipe: Recipe,
        sampler: FlowSampler,
        config: ModelConfig,
        matcher: Matcher | None = None,
        pool: Ints | None = None,
    ) -> None:
        self.data = data
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.sampler = sampler
        self.matcher = matcher
        self.pool = np.arange(len(data.items)) if pool is None else pool
        self.max_title = config.max_title
        self.grid = config.image_grid
        self.reads_images = config.image_encoder != "none"
        self.reads_known = config.reads_known
        self.corruptor = None
        if recipe.link != "softmax":
            self.corruptor = Corruptor(
                data.ranges, data.indptr, data.candidate, recipe.corruption, data.category
            )

    def batch(self, stage: Stage, work: BatchContents, random: KeyedRandom) -> StepBatch:
        """The batch that a stage's terms need."""
        seen = masked = own = unseen = match = None
        if stage.has(SEEN):
            seen, masked, own = self._seen(stage, work.items, random)
        if stage.has(("lpm_unseen",)):
            unseen = self._unseen(work.items, random)
        if stage.has(QUERIES) and self.matcher is not None and len(work.pairs):
            match = self.matcher.batch(work.pairs, random, work.everyone, work.first)
        asked = [
            view.links for view in (seen, unseen) if view is not None and view.links is not None
        ]
        candidates = self._candidates(asked, random) if asked else None
        batch = StepBatch(seen, masked, own, unseen, candidates, match, {})
        return replace(batch, counts=counts_of(batch))

    def _seen(
        self, stage: Stage, index: Ints, random: KeyedRandom
    ) -> tuple[ItemView, MaskedTokens, Tensor]:
        """Items with title and image, some of them masked, some with another's title."""
        recipe = self.recipe
        shown = self.data.item_images(index)
        if shown.pixels is not None:
            shown = shown._replace(
                pixels=augment(
                    shown.pixels,
                    recipe.shift,
                    random.uniform("image", index[:, None], np.arange(3)),
                )
            )
        titles = self._titles(index, (recipe.title_full, recipe.title_blind), "seen", random)
        own, titles = self._swapped(stage, index, titles, shown.has_image.numpy(), random)
        rows = random.uniform("masked", index) < recipe.masked_rows
        hides_text = stage.has(MASKED_TEXT)
        hides_image = stage.has(MASKED_IMAGE) and self.reads_images
        # A masked title's n-grams would tell its masked pieces, so those rows go without them.
        grams = [
            [] if hidden and hides_text else words
            for words, hidden in zip(titles, rows.tolist(), strict=True)
        ]
        pieces = piece_tensor(self.tokenizer, titles, self.max_title)
        luck = random.uniform(
            "piece", index[:, None], np.arange(pieces.shape[1]), np.arange(3)[:, None, None]
        )
        hiding = torch.from_numpy(rows & hides_text)
        special = self.tokenizer.special
        hidden, chosen = mask_pieces(pieces, hiding, special, self.tokenizer.vocab_size, luck)
        there = (
            torch.ones(len(index), self.grid**2, dtype=torch.bool)
            if shown.regions is None
            else shown.regions.mask
        )
        luck = random.uniform(
            "patch", index[:, None], np.arange(there.shape[1]), np.arange(2)[:, None, None]
        )
        told = torch.from_numpy(rows & hides_image) & shown.has_image
        if stage.has(("mpm",)):
            patches = covered = mask_patches(there, told, luck[0])
        else:
            patches, covered = mask_features(there, told, luck)
        flat, offsets = ngram_tensors(self.tokenizer, grams)
        items = ItemBatch(hidden, flat, offsets, *shown)
        links = (
            self.links(index, own[1].numpy() | ~own[0].numpy(), "seen", random)
            if stage.has(("lpm",))
            else None
        )
        return ItemView(items, links), MaskedTokens(pieces, chosen, patches, covered), own

    def _unseen(self, index: Ints, random: KeyedRandom) -> ItemView:
        """The same items without their images, asked for other cells."""
        # Without an image an empty title leaves the known statements alone, which needs less practice.
        shares = min(1.0, self.recipe.title_full + 0.1), self.recipe.title_blind + 0.1
        titles = self._titles(index, shares, "unseen", random)
        pieces = piece_tensor(self.tokenizer, titles, self.max_title)
        items = ItemBatch(
            pieces,
            *ngram_tensors(self.tokenizer, titles),
            None,
            torch.zeros(len(index), dtype=torch.bool),
        )
        return ItemView(items, self.links(index, np.ones(len(index), dtype=bool), "unseen", random))

    def _titles(
        self, index: Ints, shares: tuple[float, float], view: str, random: KeyedRandom
    ) -> list[list[str]]:
        chosen = []
        lucks = random.uniform(f"title {view}", index)
        thins = random.uniform(f"thin {view}", index)
        for item, luck, thin in zip(index.tolist(), lucks, thins, strict=True):
            whole = luck < shares[0]
            words = (
                self.data.words[item]
                if whole
                else self.data.blind[item]
                if luck < sum(shares)
                else []
            )
            most, drop = (
                (self.recipe.thin_titles, self.recipe.drop_words)
                if whole
                else (self.recipe.thin_blind, self.recipe.drop_blind)
            )
            if words and thin < most:
                kept = random.uniform(f"word {view}", item, np.arange(len(words))) >= drop
                words = [word for word, keep in zip(words, kept, strict=True) if keep]
            chosen.append(words)
        return chosen

    def _swapped(
        self,
        stage: Stage,
        index: Ints,
        titles: list[list[str]],
        pictured: NDArray[np.bool_],
        random: KeyedRandom,
    ) -> tuple[Tensor, list[list[str]]]:
        """VTM's pairs: which items have both modalities, and which of those keep their own title, [2, B]; the titles as they are then."""
        pairs = pictured & np.array([bool(words) for words in titles])
        if not stage.has(("vtm",)):
            return torch.from_numpy(np.stack([pairs, pairs])), titles
        swapped, other = swap_titles(pairs, index, self.pool, random)
        theirs = [self.data.words[item] for item in other.tolist()]
        given = [
            new if swap and new else words
            for swap, new, words in zip(swapped, theirs, titles, strict=True)
        ]
        own = pairs & np.array([new == old for new, old in zip(given, titles, strict=True)])
        return torch.from_numpy(np.stack([pairs, own])), given

    def links(
        self, index: Ints, rows: NDArray[np.bool_], view: str, random: KeyedRandom
    ) -> LinkTargets:
        """Statements of the items in ``rows`` [B], at most ``max_cells`` each, and the flow that hides them."""
        data = self.data
        recipe = self.recipe
        statement, row = rows_of(data.indptr, index)
        keep = (
            first_random(
                row,
                recipe.max_cells,
                random.uniform(f"asked {view}", index[row], data.candidate[statement]),
            )
            & rows[row]
        )
        statement = statement[keep]
        row = row[keep]
        cells, cell = np.unique(
            np.stack([row, data.property[statement]]), axis=1, return_inverse=True
        )
        cells, cell = pad_cells(cells, cell.reshape(-1), len(index))
        luck, some = (
            random.uniform(f"{name} {view}", index[cells[0]], cells[1])
            for name in ("known", "some")
        )
        share = np.where(
            luck < recipe.known_all,
            1.0,
            np.where(luck < recipe.known_all + recipe.known_none, 0.0, some),
        )
        flow = (
            self.sampler(index, cells[0], cells[1], share, random)
            if self.reads_known
            else asked_alone(cells)
        )
        others = other_truths(data, index, cells, cell, data.candidate[statement])
        tensor = torch.from_numpy
        corrupted = self._corrupted(index, cells, cell, data.candidate[statement], random)
        return LinkTargets(
            flow,
            tensor(cell),
            tensor(data.candidate[statement]),
            (tensor(others[0]), tensor(others[1])),
            corrupted,
        )

    def _corrupted(
        self, index: Ints, cells: Ints, cell: Ints, candidate: Ints, random: KeyedRandom
    ) -> Corruptions | None:
        """Corruptions of the asked statements; Bernoulli ones replace the item too, by another of the batch that is asked the same."""
        if self.corruptor is None:
            return None
        item = index[cells[0][cell]]
        count = self.recipe.negatives
        values, possible = self.corruptor(item, candidate, count, random)
        heads = np.repeat(cell[:, None], count, axis=1)
        if self.recipe.corruption == "bernoulli" and len(cell):
            asked = cells[1][cell]
            replaced = (
                random.uniform("head", item[:, None], candidate[:, None], np.arange(count))
                < self.corruptor.head_share[asked][:, None]
            )
            order = np.argsort(asked, kind="stable")
            low, high = (np.searchsorted(asked[order], asked, side) for side in ("left", "right"))
            other = order[
                low[:, None]
                + random.integers(
                    (high - low)[:, None],
                    "other",
                    item[:, None],
                    candidate[:, None],
                    np.arange(count),
                )
            ]
            heads = np.where(replaced, cell[other], heads)
            values = np.where(replaced, candidate[:, None], values)
            possible = np.where(
                replaced, ~self.corruptor.facts.contains(item[other], candidate[:, None]), possible
            )
        return Corruptions(*(torch.from_numpy(part) for part in (heads, values, possible)))

    def _candidates(self, asked: list[LinkTargets], random: KeyedRandom) -> Tensor:
        """Every candidate in play: those asked, known, true or corrupted; for a softmax the asked properties' others, of many a part."""
        needed = [
            part.numpy().reshape(-1)
            for links in asked
            for part in (links.candidate, links.others[1], links.flow.edge_value)
        ]
        needed += [
            links.corrupted.candidate.numpy().reshape(-1)
            for links in asked
            if links.corrupted is not None
        ]
        positives = np.concatenate(needed)
        if self.corruptor is not None:
            return torch.from_numpy(np.unique(positives))
        properties = np.unique(
            np.concatenate([links.flow.cell_property.numpy() for links in asked])
        )
        most = self.recipe.max_candidates
        return torch.from_numpy(
            type_constrained(
                self.data.ranges, properties, positives, most, random.generator("values")
            )
        )


def asked_alone(cells: Ints) -> MessageFlow:
    """A flow of ``cells`` [2, N] (row, property) of which nothing is known."""
    row, known = (torch.from_numpy(np.ascontiguousarray(part)) for part in cells)
    nothing = row.new_zeros(0)
    return MessageFlow(row, known, nothing, nothing, nothing)


def counts_of(batch: StepBatch) -> dict[str, float]:
    """Over how many things each term of a batch is a mean."""
    counts: dict[str, float] = {}
    for name, view in (("lpm", batch.seen), ("lpm_unseen", batch.unseen)):
        if view is not None and view.links is not None:
            counts[name] = len(view.links.cell)
    if batch.masked is not None and batch.own is not None:
        pieces, patches, pairs = (
            float(part.sum()) for part in (batch.masked.chosen, batch.masked.patches, batch.own[0])
        )
        counts |= {"mlm": pieces, "gmlm": pieces, "vtm": pairs} | dict.fromkeys(
            ("mpm", "mrfr", "mrc", "gmrfr"), patches
        )
    if batch.match is not None:
        pairs = float(len(batch.match.label))
        both = 2 * float(batch.match.both.sum())
        counts |= dict.fromkeys(("qi", "qt", "qv"), pairs) | {
            "kl": both,
            "rs": both,
            "contrastive": pairs / 2,
        }
    return counts


def pad_cells(cells: Ints, cell: Ints, batch: int) -> tuple[Ints, Ints]:
    """Add cells that nobody asks, of property 0, to make up a multiple of 64: a CPU prepares its matrix products anew for each shape.

    ``cells`` [2, N] (row, property), rows ascending below ``batch``; ``cell`` [M] points into them and is moved along. The items with the
    fewest cells get them, so that none is padded far.
    """
    counts = np.bincount(cells[0], minlength=batch)
    extra = []
    for _ in range(-cells.shape[1] % CELLS_STEP):
        extra.append(int(counts.argmin()))
        counts[extra[-1]] += 1
    filled = (
        np.concatenate([cells, np.stack([extra, np.zeros(len(extra))]).astype(np.int64)], 1)
        if extra
        else cells
    )
    order = np.argsort(filled[0], kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return filled[:, order], place[cell]


def rows_of(indptr: Ints, index: Ints) -> tuple[Ints, Ints]:
    """Positions [M] of the statements of items ``index`` [B], and the batch row [M] of each."""
    row, place = spread(indptr[index], indptr[index + 1])
    return place, row


def other_truths(
    data: TrainingData, index: Ints, cells: Ints, cell: Ints, candidate: Ints
) -> tuple[Ints, Ints]:
    """Pairs (asked statement, candidate) of further true values in the asked statement's cell."""
    statement, row = rows_of(data.indptr, index)
    width = len(data.ranges)
    key = row * width + data.property[statement]
    cell_key = (cells[0] * width + cells[1])[cell]
    order = np.argsort(key, kind="stable")
    key = key[order]
    statement = statement[order]
    asked, place = join(cell_key, key)
    other = data.candidate[statement[place]]
    different = other != candidate[asked]
    return asked[different], other[different]


def augment(pixels: Tensor, shift: int, luck: NDArray[np.float64]) -> Tensor:
    """Mirror half of the images [B, 3, S, S] and move each by up to ``shift`` pixels over white; ``luck`` [B, 3] in [0, 1)."""
    size = pixels.shape[-1]
    padded = F.pad(pixels, (shift,) * 4, value=255)
    places = (luck[:, :2] * (2 * shift + 1)).astype(np.int64)
    out = torch.empty_like(pixels)
    for row, ((top, left), flip) in enumerate(
        zip(places.tolist(), (luck[:, 2] < 0.5).tolist(), strict=True)
    ):
        cut = padded[row, :, top : top + size, left : left + size]
        out[row] = cut.flip(-1) if flip else cut
    return out
