"""Item encoders that are not trained with the head: classical features and pretrained encoders.

Shapes: N texts, images or items, D the width of their vectors, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.descriptors import colour_histograms, oriented_gradients
from fusion.inference.featurizer import ItemInput, LazyImage
from fusion.inference.item_encoder import NO_ITEM, ItemEncoder, TaskInput
from schema.arrays import FloatArray

COMPONENTS = 256
STATEMENT_COMPONENTS = 128
IMAGE_COMPONENTS = 128
IMAGES_PER_BATCH = 256


class TextVectors(Protocol):
    """Something that turns texts into vectors whose cosine says how alike they are."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Return the vectors [N, D] of N texts."""
        ...


class ImageVectors(Protocol):
    """Something that turns images into vectors."""

    @property
    def image_size(self) -> int:
        """Pixels per side of the images that it reads."""
        ...

    def encode(self, pixels: Any) -> Any:
        """Return the vectors [N, D] of images [N, 3, S, S] uint8."""
        ...


class TfidfVectors:
    """TF-IDF of words, pairs of words and n-grams of characters, reduced by truncated SVD."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        least = 2 if len(texts) > 50 else 1
        self._vectorizers = [
            TfidfVectorizer(ngram_range=(1, 2), min_df=least, sublinear_tf=True),
            TfidfVectorizer(
                ngram_range=(2, 5), min_df=least, sublinear_tf=True, analyzer="char_wb"
            ),
        ]
        for each in self._vectorizers:
            each.fit(texts)
        self._reduction = _reduction(self._features(texts), COMPONENTS)

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors [N, D] of N texts."""
        return np.asarray(self._reduction.transform(self._features(texts)))

    def _features(self, texts: Sequence[str]) -> Any:
        from scipy.sparse import hstack

        return hstack([each.transform(texts) for each in self._vectorizers], format="csr")


class DescriptorVectors:
    """Histograms of oriented gradients and of colours, reduced by truncated SVD.

    Args:
        items: train items, whose images the reduction is fitted to
    """

    image_size = 64

    def __init__(self, items: Sequence[ItemInput]) -> None:
        pixels = list(_pixels(items, self.image_size).values())
        # Without images there is nothing to fit, and nothing to encode either.
        blank = np.zeros((2, 3, self.image_size, self.image_size), np.uint8)
        described = self._described(np.stack(pixels) if len(pixels) > 1 else blank)
        self._reduction = _reduction(described, IMAGE_COMPONENTS)

    def encode(self, pixels: Any) -> FloatArray:
        """Return the vectors [N, D] of images [N, 3, S, S]."""
        return np.asarray(self._reduction.transform(self._described(pixels)))

    def _described(self, pixels: Any) -> FloatArray:
        """Return the descriptors [N, F] of images [N, 3, S, S]."""
        parts = []
        for start in range(0, len(pixels), IMAGES_PER_BATCH):
            scaled = torch.from_numpy(pixels[start : start + IMAGES_PER_BATCH]).float() / 255
            parts.append(torch.cat([oriented_gradients(scaled), colour_histograms(scaled)], 1))
        return np.asarray(torch.cat(parts).numpy(), np.float64)


class StatementVectors:
    """Which statements an item has, reduced by truncated SVD.

    It gives the graph to encoders that read no statements, by concatenation.

    Args:
        items: train items, whose statements are known
    """

    def __init__(self, items: Sequence[ItemInput]) -> None:
        known = sorted({statement for item in items for statement in item.known})
        self._column = {statement: column for column, statement in enumerate(known)}
        self._reduction = _reduction(self._one_hot(items), STATEMENT_COMPONENTS)

    def encode(self, items: Sequence[ItemInput]) -> FloatArray:
        """Return the vectors [N, D] of N items."""
        return np.asarray(self._reduction.transform(self._one_hot(items)))

    def _one_hot(self, items: Sequence[ItemInput]) -> Any:
        from scipy.sparse import csr_matrix

        cells = [
            (row, self._column[statement])
            for row, item in enumerate(items)
            for statement in dict.fromkeys(item.known)
            if statement in self._column
        ]
        rows, columns = zip(*cells, strict=True) if cells else ((), ())
        shape = (len(items), max(1, len(self._column)))
        return csr_matrix((np.ones(len(cells)), (rows, columns)), shape=shape)


class FrozenEncoder(ItemEncoder):
    """Vectors of title, image and statements, and of a text that is asked about the item, joined.

    Beside a text's own vector stands its product with the title's, from which a head can tell how
    alike the two are. What is missing, or not encoded, is zeros.

    Args:
        name: what tables call it
        text: encodes titles and texts; None if they are not read
        image: encodes images; None if they are not read
        statements: encodes known statements; None if they are not read
    """

    def __init__(
        self,
        name: str,
        text: TextVectors | None = None,
        image: ImageVectors | None = None,
        statements: StatementVectors | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self._text = text
        self._image = image
        self._statements = statements
        self._image_width = 0
        if image is not None:
            size = image.image_size
            self._image_width = image.encode(np.zeros((1, 3, size, size), np.uint8)).shape[1]
        self.width = self([TaskInput(NO_ITEM, "")]).shape[1]

    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        """Return the vectors [N, D] of N inputs."""
        parts = []
        if self._text is not None:
            titles = _of_texts(self._text, [each.item.title for each in inputs])
            texts = _of_texts(self._text, [each.text for each in inputs])
            parts += [titles, texts, titles * texts]
        if self._image is not None:
            items = [each.item for each in inputs]
            parts.append(_of_images(self._image, self._image_width, items))
        if self._statements is not None:
            parts.append(self._statements.encode([each.item for each in inputs]))
        joined = np.concatenate([np.zeros((len(inputs), 0)), *parts], 1)
        return torch.from_numpy(joined.astype(np.float32))


def _of_texts(encoder: TextVectors, texts: Sequence[str | None]) -> FloatArray:
    """Return the vectors [N, D] of texts; zeros where there is none."""
    vectors = np.array(encoder.encode([text or "" for text in texts]), np.float64)
    vectors[[row for row, text in enumerate(texts) if not text]] = 0
    return vectors


def _of_images(encoder: ImageVectors, width: int, items: Sequence[ItemInput]) -> FloatArray:
    """Return the vectors [N, ``width``] of the items' images; zeros where there is none."""
    pixels = _pixels(items, encoder.image_size)
    vectors = np.zeros((len(items), width))
    if pixels:
        vectors[list(pixels)] = encoder.encode(np.stack(list(pixels.values())))
    return vectors


def _pixels(items: Sequence[ItemInput], size: int) -> dict[int, Any]:
    """Return the images [3, S, S] of the items that have one which can be read, by row."""
    return {
        row: image
        for row, item in enumerate(items)
        if isinstance(item.image, LazyImage)
        if (image := item.image.pixels(size)) is not None
    }


class WithStatements(ItemEncoder):
    """An encoder that reads no statements, with their vectors beside its own: the graph added.

    Args:
        encoder: the encoder
        statements: encodes known statements
    """

    def __init__(self, encoder: ItemEncoder, statements: StatementVectors) -> None:
        super().__init__()
        self.name = f"{encoder.name} with statements"
        self.encoder = encoder
        self._statements = statements
        self.width = encoder.width + statements.encode([NO_ITEM]).shape[1]

    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        """Return the vectors [N, D] of N inputs."""
        vectors = self.encoder(inputs)
        known = self._statements.encode([each.item for each in inputs])
        added = torch.from_numpy(known.astype(np.float32)).to(vectors.device)
        return torch.cat([vectors.float(), added], 1)


def _reduction(features: Any, components: int) -> Any:
    """Fit a truncated SVD to features [N, F]; fewer components where there is less."""
    from sklearn.decomposition import TruncatedSVD

    count = max(1, min(components, min(features.shape) - 1))
    return TruncatedSVD(count, random_state=0).fit(features)
