"""The model's states for a step's batch, each computed once, when an objective first reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor

from encoders.batch import ItemBatch
from fusion.architectures.bert_stream import BertFusion
from fusion.fused import FusedItems, ImageFeatures, Knowledge, QueryViews
from fusion.model import ProductModel
from training.batches import StepBatch

T = TypeVar("T")


class StepStates:
    """The model's states for ``batch``.

    Objectives share the passes over the model: a state that several of them read is computed once,
    and one that none of them reads is never computed.
    """

    def __init__(self, model: ProductModel, batch: StepBatch) -> None:
        self.model = model
        self.batch = batch
        self._results: dict[Callable[[StepStates], Any], Any] = {}

    def once(self, compute: Callable[[StepStates], T]) -> T:
        """Return ``compute(self)``, computed when an objective first asks for it.

        For what several objectives need and only they know how to compute.
        """
        if compute not in self._results:
            self._results[compute] = compute(self)
        result: T = self._results[compute]
        return result

    @cached_property
    def knowledge(self) -> Knowledge | None:
        """Vectors of the properties and of the batch's candidate values."""
        candidates = self.batch.candidates
        return None if candidates is None else self.model.know(candidates, self.batch.strings)

    @cached_property
    def image(self) -> ImageFeatures | None:
        """The images of the items, with covered patches hidden; None if no item has one."""
        if self.batch.items is None or self.batch.masked is None:
            return None
        # Patches are hidden after the encoder: MBSD replaces the output of its patchify network.
        items = self.batch.items.items
        image = self.model.encode_image(items)
        covered = self.batch.masked.covered
        if image is None or covered is None:
            return image
        return self.model.hide_patches(items, image, covered)

    @cached_property
    def items(self) -> FusedItems | None:
        """The items, fused from masked titles and images."""
        view = self.batch.items
        return None if view is None else self.model.fuse(view.items, self.image)

    @cached_property
    def patches(self) -> Tensor | None:
        """States [B, P, D] of the items' patches or regions; None if no item has an image."""
        if self.image is None or self.items is None or self.items.image is None:
            return None
        return self.image.patch_states(self.items.image.hidden)

    @cached_property
    def items_without_image(self) -> FusedItems | None:
        """The items, fused from their titles alone."""
        view = self.batch.items_without_image
        return None if view is None else self.model.fuse(view.items, None)

    @cached_property
    def pair_image(self) -> ImageFeatures | None:
        """The images of the N items of the query pairs; None if none has one."""
        pairs = self.batch.pairs
        return None if pairs is None else self.model.encode_image(pairs.items)

    @cached_property
    def query_views(self) -> QueryViews | None:
        """The 2N pairs of query and item in MBSD's three readings.

        If no item has an image, all are h^t.
        """
        pairs = self.batch.pairs
        if pairs is None:
            return None
        items = pairs.items.repeated()
        if self.pair_image is None:
            title = self.model.fuse(items, None, pairs.query).node
            return QueryViews(title, title, title)
        return read_query_views(self.model, items, self.pair_image.repeated(), pairs.query)


def read_query_views(
    model: ProductModel,
    items: ItemBatch,
    image: ImageFeatures,
    query: Tensor,
) -> QueryViews:
    """Encode N pairs of ``query`` pieces [N, L] and ``items`` in MBSD's three ways.

    A single BERT stream encodes all three in one pass, which shares the work on the query.
    """
    if isinstance(model.fusion, BertFusion) and model.fusion.reads_title:
        return model.fusion.encode_query_views(items, image, query)
    return QueryViews(
        item=model.fuse(items, image, query).node,
        title=model.fuse(items, None, query).node,
        image=model.fuse(items.without_titles(), image, query).node,
    )
