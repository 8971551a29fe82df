"""Items as an image encoder or a network reads them, for the vectors of an index.

Shapes: N items, D the width of a vector, S pixels per side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.batch import query_pieces
from encoders.regions import Regions
from fusion.inference.featurizer import ItemImage, ItemInput, LazyImage, Pixels
from fusion.inference.item_encoder import NO_ITEM, NetworkEncoder, TaskInput
from fusion.inference.scorer import CellScorer
from kg.image_decoding import DECODING, letterboxed
from schema.modalities import Modality
from serving.items import CatalogImage
from serving.search.parts import EMBEDDINGS, Part, QueryVectors, Vector
from serving.search.settings import network_space
from serving.search.vectors import digest_of_parts

if TYPE_CHECKING:
    from encoders.pretrained_image import ImagesEncoder
    from serving.items import CatalogItems

NETWORK_BATCH = 64
"""Items that a network reads at a time."""
OF_VTBERT = ("vtbert",)
"""Presets whose models are trained for VT-BERT's three embeddings."""


class ImageSource:
    """The first images of items, read by an image encoder."""

    parts = (Part.IMAGE,)

    def __init__(self, encoder: ImagesEncoder, items: CatalogItems) -> None:
        self.space = encoder.space
        self._encoder = encoder
        self._items = items

    def digests(self) -> Iterator[bytes | None]:
        """Yield a hash of each item's image file: its path, size and time."""
        for item in self._items:
            stamp = image_stamp(item.image)
            yield None if stamp is None else digest_of_parts(stamp)

    def encode(self, places: Sequence[int]) -> Mapping[Part, Sequence[Vector | None]]:
        """Return the vectors of the images."""
        size = self._encoder.image_size
        pixels = [_pixels(self._items[place].image, size) for place in places]
        readable = [each for each in pixels if each is not None]
        if not readable:
            return {Part.IMAGE: [None] * len(places)}
        vectors = iter(self._encoder.encode(np.stack(readable)))
        return {Part.IMAGE: [None if each is None else next(vectors) for each in pixels]}


class NetworkVectors:
    """A network that makes vectors of items and of queries.

    Attributes:
        parts: the item node, or VT-BERT's three embeddings; the image alone, unless
            ``with_images`` is false; where queries are, if it was trained to embed these
        space: a name that changes whenever the same item may get another vector
        reads_images: whether it can read the image of a query
        reads_statements: whether the known statements of an item count
    """

    def __init__(self, scorer: CellScorer, with_images: bool = True) -> None:
        self.scorer = scorer
        self.space = network_space(scorer.path)
        self.reads_images = scorer.reads_pixels
        self._encoder = NetworkEncoder(scorer)
        self.reads_statements = self._encoder.reads_statements
        self._nodes = EMBEDDINGS if scorer.config.preset in OF_VTBERT else (Part.NODE,)
        self._embeds_queries = scorer.trained_by("contrastive") and "terms" in scorer.about
        self.parts = (
            *self._nodes,
            *((Part.IMAGE,) if with_images and self.reads_images else ()),
            *((Part.MATCH,) if self._embeds_queries else ()),
        )

    def of_text(self, text: str) -> QueryVectors:
        """Return the vector of a query among items; none if it was not trained to embed any."""
        if not self._embeds_queries:
            return {}
        scorer = self.scorer
        pieces = query_pieces(scorer.featurizer.tokenizer, [text], scorer.config.max_query)
        return {Part.MATCH: self._match([NO_ITEM], pieces)[0]}

    def of_image(self, data: bytes) -> QueryVectors:
        """Return the vector of an image file's bytes, which is read like an item's image alone.

        It is not compared with item nodes, which say little of an image by itself. Raises
        ImageRefusedError if the bytes are none of an image.
        """
        pixels = letterboxed(data, self.scorer.config.image_size)
        return {Part.IMAGE: self._of_images([replace(NO_ITEM, image=pixels)])[0]}

    def of_items(self, items: Sequence[ItemInput]) -> dict[Part, list[Vector]]:
        """Return all vectors [N, D] of items."""
        found: dict[Part, list[Vector]] = {part: [] for part in self.parts}
        for start in range(0, len(items), NETWORK_BATCH):
            batch = items[start : start + NETWORK_BATCH]
            if Part.NODE in found:
                nodes = self._encoder.encode([TaskInput(item) for item in batch])
                found[Part.NODE] += _unit(nodes)
            else:
                states = self._encoder.states(batch)
                found[Part.GLOBAL] += _unit(states.global_embedding)
                found[Part.TITLE] += _unit(states.text_embedding)
                found[Part.PICTURE] += _unit(states.image_embedding)
            if Part.IMAGE in found:
                found[Part.IMAGE] += self._of_images(batch)
            if Part.MATCH in found:
                found[Part.MATCH] += list(self._match(batch))
        return found

    def _of_images(self, items: Sequence[ItemInput]) -> list[Vector]:
        """Return the mean states [N, D] of items' images, read without anything else."""
        alone = [replace(NO_ITEM, image=item.image) for item in items]
        return _unit(self._encoder.states(alone).image_embedding)

    @torch.inference_mode()
    def _match(self, items: Sequence[ItemInput], query: Tensor | None = None) -> list[Vector]:
        """Return where items, or a query [N, Q] without an item, lie among each other [N, D]."""
        scorer = self.scorer
        batch = scorer.featurizer.batch(items).to(scorer.device)
        query = None if query is None else query.to(scorer.device)
        with scorer.autocast():
            fused = scorer.model.fuse(batch, scorer.model.encode_image(batch), query)
            return list(scorer.model.match_head.embed(fused.node).float().cpu().numpy())


class NetworkSource:
    """Items, read by a network."""

    def __init__(self, network: NetworkVectors, items: CatalogItems) -> None:
        self.parts = network.parts
        self.space = network.space
        self._network = network
        self._items = items

    def digests(self) -> Iterator[bytes | None]:
        """Yield a hash of what the network reads of each item; None if that is nothing."""
        for place in range(len(self._items)):
            item = self._visible(place)
            if any(item.has(modality) for modality in Modality):
                content = [item.title, sorted(item.known)]
                stamp = image_stamp(item.image) or b""
                yield digest_of_parts(json.dumps(content).encode(), stamp)
            else:
                yield None

    def encode(self, places: Sequence[int]) -> Mapping[Part, Sequence[Vector | None]]:
        """Return the vectors of the items."""
        size = self._network.scorer.config.image_size
        visible = [self._visible(place) for place in places]
        # Each image is decoded once, though it may be read twice.
        items = [
            replace(item, image=_pixels(item.image, size))
            if isinstance(item.image, LazyImage)
            else item
            for item in visible
        ]
        found: dict[Part, Sequence[Vector | None]] = dict(self._network.of_items(items))
        if Part.IMAGE in found:
            found[Part.IMAGE] = [
                vector if item.image is not None else None
                for item, vector in zip(items, found[Part.IMAGE], strict=True)
            ]
        return found

    def _visible(self, place: int) -> ItemInput:
        """Return what the network reads of an item."""
        item = self._items[place]
        config = self._network.scorer.config
        known = item.known if self._network.reads_statements else ()
        return ItemInput(
            item.id,
            title=item.title if config.reads_title else None,
            image=item.image if config.image_encoder != "none" else None,
            known=known,
        )


def image_stamp(image: ItemImage) -> bytes | None:
    """Return what tells an item's image from others; None if there is none."""
    match image:
        case CatalogImage():
            status = image.files.status(image.image)
            if status is None:
                return None
            size, time = status.st_size, status.st_mtime_ns
            return json.dumps([image.image, size, time, DECODING]).encode()
        case Regions():
            return digest_of_parts(image.features.tobytes(), image.boxes.tobytes())
        case _:
            return None


def _pixels(image: ItemImage, size: int) -> Pixels | None:
    return image.pixels(size) if isinstance(image, LazyImage) else None


def _unit(vectors: Tensor) -> list[Vector]:
    """Return vectors [N, D] at length 1."""
    return list(F.normalize(vectors.float(), dim=1).cpu().numpy())
