"""The model's states for a step's batch, each computed once, when an objective first reads it."""

from __future__ import annotations

from collections.abc import Callable
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
    and one that none of them reads is never computed. (Not by ``cached_property``, whose lock
    torch.compile cannot trace.)
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
        return self.once(_fuse_items)

    @property
    def patches(self) -> Tensor | None:
        """States [B, P, D] of the items' patches or regions; None if no item has an image."""
        if self.image is None or self.items is None or self.items.image is None:
            return None
        return self.image.patch_states(self.items.image.hidden)

    @property
    def items_without_image(self) -> FusedItems | None:
        """The items, fused from their titles alone."""
        return self.once(_fuse_items_without_image)

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


def _fuse_items(states: StepStates) -> FusedItems | None:
    view = states.batch.items
    return None if view is None else states.model.fuse(view.items, states.image)


def _fuse_items_without_image(states: StepStates) -> FusedItems | None:
    view = states.batch.items_without_image
    return None if view is None else states.model.fuse(view.items, None)


def _encode_pair_image(states: StepStates) -> ImageFeatures | None:
    pairs = states.batch.pairs
    return None if pairs is None else states.model.encode_image(pairs.items)


def _encode_query_views(states: StepStates) -> QueryViews | None:
    pairs = states.batch.pairs
    if pairs is None:
        return None
    items = pairs.items.repeated()
    if states.pair_image is None:
        title = states.model.fuse(items, None, pairs.query).node
        return QueryViews(title, title, title)
    return read_query_views(states.model, items, states.pair_image.repeated(), pairs.query)


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
