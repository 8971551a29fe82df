"""The model's states for a step's batch, each computed once, when an objective first reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from fusion.architectures.base import Reading
from fusion.architectures.bert_stream import BertFusion
from fusion.fused import FusedItems, ImageFeatures, Knowledge, QueryViews
from fusion.model import ProductModel
from training.batches import StepBatch
from training.objectives.base import QUERY_VIEWS, ItemReading

T = TypeVar("T")


class StepStates:
    """The model's states for ``batch``.

    Objectives share the passes over the model: a state that several of them read is computed once,
    when it is first read. (Not by ``cached_property``, whose lock torch.compile cannot trace.)

    Args:
        model: the model
        batch: the step's batch, or a micro-batch of it
        wanted: the readings of items that the step's objectives use: they are computed together
            when one of them is first needed
    """

    def __init__(
        self,
        model: ProductModel,
        batch: StepBatch,
        wanted: frozenset[ItemReading] = frozenset(),
    ) -> None:
        self.model = model
        self.batch = batch
        self.wanted = wanted
        self._results: dict[Callable[[StepStates], Any], Any] = {}
        self._readings: dict[ItemReading, FusedItems | None] = {}

    def once(self, compute: Callable[[StepStates], T]) -> T:
        """Return ``compute(self)``, computed when an objective first asks for it.

        For what several objectives need and only they know how to compute.
        """
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: T = self._results[compute]
        return result

    @property
    def knowledge(self) -> Knowledge | None:
        """Vectors of the properties and of the batch's candidate values."""
        return self.once(_encode_knowledge)

    @property
    def image(self) -> ImageFeatures | None:
        """The images of the items, with covered patches hidden; None if no item has one."""
        return self.once(_encode_image)

    @property
    def items(self) -> FusedItems | None:
        """The items, fused from masked titles and images."""
        return self.reading(ItemReading.ITEMS)

    @property
    def patches(self) -> Tensor | None:
        """States [B, P, D] of the items' patches or regions; None if no item has an image."""
        if self.image is None or self.items is None or self.items.image is None:
            return None
        return self.image.patch_states(self.items.image.hidden)

    @property
    def items_without_image(self) -> FusedItems | None:
        """The items, fused from their titles alone."""
        return self.reading(ItemReading.ITEMS_WITHOUT_IMAGE)

    @property
    def pair_image(self) -> ImageFeatures | None:
        """The images of the N items of the query pairs; None if none has one."""
        return self.once(_encode_pair_image)

    @property
    def query_views(self) -> QueryViews | None:
        """The 2N pairs of query and item in MBSD's three readings.

        If no item has an image, all are h^t.
        """
        return self.once(_encode_query_views)

    def reading(self, kind: ItemReading) -> FusedItems | None:
        """Return the items read in one way; None if the batch has no such items."""
        if kind not in self._readings:
            missing = {*self.wanted, kind} - self._readings.keys()
            if self._single_stream is not None:
                missing -= QUERY_VIEWS - {kind}
            # In the order of the enumeration: that of a set differs from run to run.
            kinds = [each for each in ItemReading if each in missing]
            inputs = [self._input_of(each) for each in kinds]
            fused = iter(self.model.fuse_all([each for each in inputs if each is not None]))
            for each, given in zip(kinds, inputs, strict=True):
                self._readings[each] = None if given is None else next(fused)
        return self._readings[kind]

    @property
    def _single_stream(self) -> BertFusion | None:
        """The model's fusion, if it has a pass of its own for MBSD's three readings."""
        fusion = self.model.fusion
        return fusion if isinstance(fusion, BertFusion) and fusion.reads_title else None

    def _input_of(self, kind: ItemReading) -> Reading | None:
        """Return what is read; None if the batch has no such items."""
        batch = self.batch
        if kind is ItemReading.ITEMS:
            return None if batch.items is None else Reading(batch.items.items, self.image)
        if kind is ItemReading.ITEMS_WITHOUT_IMAGE:
            view = batch.items_without_image
            return None if view is None else Reading(view.items)
        pairs = batch.pairs
        if pairs is None:
            return None
        if kind is ItemReading.PAIR_ITEMS:
            return Reading(pairs.items, self.pair_image)
        if kind is ItemReading.PAIR_QUERIES:
            alone = pairs.items.without_titles()
            queries = pairs.query[: len(pairs.items)]
            return Reading(alone, None, queries, pairs.query_limit)
        # The N matching pairs and the N others have the same items.
        items = pairs.items.repeated()
        if kind is ItemReading.QUERY_TITLE:
            return Reading(items, None, pairs.query, pairs.query_limit)
        if self.pair_image is None:
            return None
        image = self.pair_image.repeated()
        if kind is ItemReading.QUERY_ITEM:
            return Reading(items, image, pairs.query, pairs.query_limit)
        return Reading(items.without_titles(), image, pairs.query, pairs.query_limit)


def _encode_knowledge(states: StepStates) -> Knowledge | None:
    candidates = states.batch.candidates
    return None if candidates is None else states.model.know(candidates, states.batch.strings)


def _encode_image(states: StepStates) -> ImageFeatures | None:
    if states.batch.items is None or states.batch.masked is None:
        return None
    # Patches are hidden after the encoder: MBSD replaces the output of its patchify network.
    items = states.batch.items.items
    image = states.model.encode_image(items)
    covered = states.batch.masked.covered
    if image is None or covered is None:
        return image
    return states.model.hide_patches(items, image, covered)


def _encode_pair_image(states: StepStates) -> ImageFeatures | None:
    pairs = states.batch.pairs
    return None if pairs is None else states.model.encode_image(pairs.items)


def _encode_query_views(states: StepStates) -> QueryViews | None:
    pairs = states.batch.pairs
    if pairs is None:
        return None
    # A single BERT stream encodes all three in one pass, which shares the work on the query.
    stream = states._single_stream
    if states.pair_image is not None and stream is not None:
        image = states.pair_image.repeated()
        return stream.encode_query_views(pairs.items.repeated(), image, pairs.query)
    title = states.reading(ItemReading.QUERY_TITLE)
    if title is None:
        return None
    item = states.reading(ItemReading.QUERY_ITEM)
    image_view = states.reading(ItemReading.QUERY_IMAGE)
    return QueryViews(
        item=title.node if item is None else item.node,
        title=title.node,
        image=title.node if image_view is None else image_view.node,
    )
