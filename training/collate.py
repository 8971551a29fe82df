"""Collate items and query pairs into a step's batch.

Titles are shown in full, blinded (without the words of values) or hidden. Images are shifted and
mirrored. Word pieces and patches are masked. The statements to predict are chosen in
:mod:`training.link_targets`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from encoders.batch import ItemBatch, TitleTensors
from encoders.knowledge import StringSizes
from encoders.tokenizer import CatalogTokenizer
from fusion.config import ModelConfig
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import Candidates
from schema.arrays import IntArray
from training.batches import ItemView, MaskedTokens, StepBatch, TitlePairs, TokenPlaces
from training.config import Recipe
from training.data import ItemImages, Shifts, TrainingData
from training.flows import TrainingFlows
from training.link_targets import LinkTargetBuilder
from training.objectives import OBJECTIVES, Need
from training.objectives.mlm import cumulative_frequencies, mask_pieces
from training.objectives.mpm import mask_patches
from training.objectives.mrfr import mask_features
from training.objectives.vtm import swap_titles
from training.queries import QueryPairBuilder
from training.schedule import Stage
from training.titles import ShownTitles, TitleTable


@dataclass(frozen=True)
class BatchContents:
    """The numbers of the items [B] and of the query log's pairs [N] that make up a batch.

    ``all_pairs`` [G] are the pairs of all processes, among which this process's begin at ``first``.
    """

    items: IntArray
    pairs: IntArray
    all_pairs: IntArray
    first: int = 0


@dataclass(frozen=True)
class TitleShares:
    """Shares of titles that are shown ``full`` and ``blind``; the rest is hidden."""

    full: float
    blind: float


class Collator:
    """Builds a step's batch from items and query pairs.

    All random numbers are keyed by step and item, so that a batch can be built in micro-batches and
    in any process.

    Args:
        data: the items.
        tokenizer: splits words into pieces and n-grams.
        recipe: the shares, rates and limits.
        flows: samples the known statements around cells.
        config: the model's limits, and the modalities that it reads.
        pairs: builds batches of query pairs; None without a query log.
        train: the items of the train split, whose titles VTM may give to other items, whose pieces
            are counted for MLM, and whose statements corruptions depend on; all items if None.
        string_lengths: the word pieces of the name of each property, then of each candidate; if
            None, the model counts them itself.
    """

    def __init__(
        self,
        data: TrainingData,
        tokenizer: CatalogTokenizer,
        recipe: Recipe,
        flows: TrainingFlows,
        config: ModelConfig,
        pairs: QueryPairBuilder | None = None,
        train: IntArray | None = None,
        string_lengths: IntArray | None = None,
    ) -> None:
        self.data = data
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.flows = flows
        self.pairs = pairs
        self.train = np.arange(len(data.items)) if train is None else train
        self.string_lengths = string_lengths
        self.max_title = config.max_title
        self.patches = config.image_grid**2
        self.reads_images = config.image_encoder != "none"
        titles = data.titles
        self.titles = TitleTable.of(tokenizer, data.words, data.blind) if titles is None else titles
        self.cumulative_frequencies = None
        if recipe.random_pieces == "unigram":
            self.cumulative_frequencies = cumulative_frequencies(
                (
                    tokenizer.pieces(data.words[item], config.max_title)
                    for item in self.train.tolist()
                ),
                tokenizer.special,
                tokenizer.vocab_size,
            )
        self.links = LinkTargetBuilder(data, recipe, flows, config.reads_known, self.train)

    def batch(self, stage: Stage, contents: BatchContents, random: KeyedRandom) -> StepBatch:
        """Build the batch that a stage's objectives need."""
        batch = StepBatch()
        if Need.ITEMS in stage.needs:
            batch = self._with_items(batch, stage, contents.items, random)
        if Need.ITEMS_WITHOUT_IMAGE in stage.needs:
            view = self._view_without_image(contents.items, random)
            batch = replace(batch, items_without_image=view)
        if Need.QUERY_PAIRS in stage.needs and self.pairs is not None and len(contents.pairs):
            pairs = self.pairs.batch(
                contents.pairs,
                self.pairs.labelled_queries(contents.pairs, random),
                all_pairs=contents.all_pairs,
                first=contents.first,
            )
            batch = replace(batch, pairs=pairs)
        targets = [
            view.links
            for view in (batch.items, batch.items_without_image)
            if view is not None and view.links is not None
        ]
        if targets:
            candidates = self.links.candidates(targets, random)
            batch = replace(
                batch,
                items=self._compared(batch.items, candidates),
                items_without_image=self._compared(batch.items_without_image, candidates),
                candidates=torch.from_numpy(candidates.ids),
                strings=self._sizes(candidates.ids),
            )
        counts = {
            objective.name: objective.count(batch)
            for objective in OBJECTIVES
            if objective.name in stage.weights
        }
        return replace(batch, counts=counts)

    def _sizes(self, candidates: IntArray) -> StringSizes | None:
        """Return the sizes of all properties' names and of those of ``candidates`` [C']."""
        if self.string_lengths is None:
            return None
        # The candidates' names follow those of the properties.
        properties = len(self.data.ranges) - 1
        names = np.concatenate([np.arange(properties), properties + candidates])
        return StringSizes.of(self.string_lengths[names])

    def _compared(self, view: ItemView | None, candidates: Candidates) -> ItemView | None:
        """Compare the hidden statements of a view, if it has any, with the batch's candidates."""
        if view is None or view.links is None:
            return view
        return replace(view, links=self.links.compare(view.links, candidates))

    def _with_items(
        self,
        batch: StepBatch,
        stage: Stage,
        index: IntArray,
        random: KeyedRandom,
    ) -> StepBatch:
        """Add items with title and image; some are masked, some have another item's title."""
        recipe = self.recipe
        shifts = Shifts(recipe.shift, random.uniform("image", index[:, None], np.arange(3)))
        images = self.data.item_images(index, shifts)
        shares = TitleShares(recipe.title_full, recipe.title_blind)
        titles = self._titles(index, shares, "seen", random)
        title_pairs, titles = self._swap_titles(stage, index, titles, images, random)
        # Masks are put on what the model is shown, swapped titles included (VT-BERT's Figure 4).
        items, masked = self._mask(stage, index, titles, images, random)
        links = None
        if Need.HIDDEN_STATEMENTS in stage.needs:
            # A statement must not be predicted from another item's title.
            has_own_title = np.ones(len(index), dtype=bool)
            has_own_title[title_pairs.complete.numpy()] = title_pairs.matching.numpy()
            links = self.links.build(index, has_own_title, "seen", random)
        return replace(
            batch,
            items=ItemView(items, links),
            masked=masked,
            title_pairs=title_pairs,
        )

    def _view_without_image(self, index: IntArray, random: KeyedRandom) -> ItemView:
        """Return the same items without their images, with other statements hidden."""
        # Without title and image only the known statements are left. Predicting from these alone
        # needs less practice, so fewer titles are hidden here.
        shares = TitleShares(
            full=min(1.0, self.recipe.title_full + 0.1),
            blind=self.recipe.title_blind + 0.1,
        )
        titles = self._titles(index, shares, "unseen", random)
        items = ItemBatch.of(
            self.titles.tensors(titles, self.max_title),
            pixels=None,
            has_image=torch.zeros(len(index), dtype=torch.bool),
        )
        every_row = np.ones(len(index), dtype=bool)
        return ItemView(items, self.links.build(index, every_row, "unseen", random))

    def _titles(
        self,
        index: IntArray,
        shares: TitleShares,
        view: str,
        random: KeyedRandom,
    ) -> ShownTitles:
        """Choose the words of each title that are shown: full or blind, thinned or not, or none."""
        recipe = self.recipe
        kinds = random.uniform(f"title {view}", index)
        thins = random.uniform(f"thin {view}", index)
        full = kinds < shares.full
        blind = ~full & (kinds < shares.full + shares.blind)
        titles = self.titles.shown(index, blind, hidden=~full & ~blind)

        thinned = thins < np.where(full, recipe.thin_titles, recipe.thin_blind)
        drop_share = np.where(full, recipe.drop_words, recipe.drop_blind)
        row = titles.row
        place = np.arange(len(row)) - np.searchsorted(row, row)
        candidates = np.flatnonzero(thinned[row])
        of_row = row[candidates]
        uniform = random.uniform(f"word {view}", index[of_row], place[candidates])
        kept = np.ones(len(row), dtype=bool)
        kept[candidates] = uniform >= drop_share[of_row]
        return ShownTitles(titles.words[kept], row[kept], titles.count)

    def _swap_titles(
        self,
        stage: Stage,
        index: IntArray,
        titles: ShownTitles,
        images: ItemImages,
        random: KeyedRandom,
    ) -> tuple[TitlePairs, ShownTitles]:
        """Give some items another item's title if VTM needs it; return all titles."""
        complete = images.has_image.numpy() & (titles.lengths > 0)
        if Need.SWAPPED_TITLES not in stage.needs:
            rows = torch.from_numpy(np.flatnonzero(complete))
            return TitlePairs(rows, torch.ones_like(rows, dtype=torch.bool)), titles
        swapped, donor = swap_titles(complete, index, self.train, random)
        donated = self.titles.full(donor)
        shown = titles.replaced_by(donated, swapped & (donated.lengths > 0))
        # The other item's title may happen to have the same words; then the pair does match.
        unchanged = shown.equal(titles)
        both = np.flatnonzero(complete)
        return TitlePairs(torch.from_numpy(both), torch.from_numpy(unchanged[both])), shown

    def _mask(
        self,
        stage: Stage,
        index: IntArray,
        titles: ShownTitles,
        images: ItemImages,
        random: KeyedRandom,
    ) -> tuple[ItemBatch, MaskedTokens]:
        """Mask titles and images of some items; return the items and what is hidden of them."""
        rows = random.uniform("masked", index) < self.recipe.masked_rows
        title_rows = rows & (Need.MASKED_TITLES in stage.needs)
        pieces = self.titles.piece_tensor(titles, self.max_title)
        masked_pieces, chosen = mask_pieces(
            pieces,
            torch.from_numpy(title_rows),
            self.tokenizer.special,
            self.tokenizer.vocab_size,
            random.uniform(
                "piece",
                index[:, None],
                np.arange(pieces.shape[1]),
                np.arange(3)[:, None, None],
            ),
            cumulative=self.cumulative_frequencies,
        )
        masks_images = Need.MASKED_IMAGES in stage.needs and self.reads_images
        image_rows = torch.from_numpy(rows & masks_images) & images.has_image
        patches, covered = self._mask_images(stage, index, images, image_rows, random)

        # The n-grams of a masked title would reveal its masked pieces: these rows go without.
        with_ngrams = titles.only(~title_rows)
        shown = TitleTensors(masked_pieces, *self.titles.ngram_tensors(with_ngrams))
        items = ItemBatch.of(shown, images.pixels, images.has_image, images.regions)
        masked = MaskedTokens(
            pieces=TokenPlaces.of(chosen),
            target=pieces[chosen],
            patches=TokenPlaces.of(patches),
            covered=covered if covered.any() else None,
        )
        return items, masked

    def _mask_images(
        self,
        stage: Stage,
        index: IntArray,
        images: ItemImages,
        rows: Tensor,
        random: KeyedRandom,
    ) -> tuple[Tensor, Tensor]:
        """Choose the patches or regions [B, P] to predict, and which of these are covered."""
        if images.regions is not None:
            present = images.regions.mask
        else:
            present = torch.ones(len(index), self.patches, dtype=torch.bool)
        uniform = random.uniform(
            "patch",
            index[:, None],
            np.arange(present.shape[1]),
            np.arange(2)[:, None, None],
        )
        if Need.COVERED_PATCHES in stage.needs:
            patches = mask_patches(present, rows, uniform[0])
            return patches, patches
        return mask_features(present, rows, uniform, cover_rate=self.recipe.cover_rate)
