"""Images as vectors without any learned weights: outlines and colours, projected at random.

Where there is no pretrained encoder, images can be compared all the same: by gradients, colours,
colours of the product, and darkness by place. A random projection keeps angles between vectors
(Johnson and Lindenstrauss, 1984), so that 256 numbers do in place of 4,473.

Shapes: N images, F features, W the width of the vectors, S pixels per side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders.descriptors import (
    colour_histograms,
    oriented_gradients,
    product_colours,
    thumbnails,
)
from encoders.pretrained_folder import Vectors

SIZE = 64
WIDTH = 256
BATCH = 4
"""Images that are described at once: what more of them need does not fit into a processor's caches,
and with 64 their colours take more than twice as long."""
VERSION = 1
"""Changes whenever the same image gets another vector than before, by more than rounding."""
_SEED = 0


class DescribedImages:
    """An image encoder that is the same for every catalogue.

    Attributes:
        space: a name that changes whenever the same image may get another vector
        image_size: pixels per side of the images that it reads
        width: the width W of the vectors
    """

    space = f"built-in-{VERSION}"
    image_size = SIZE
    width = WIDTH

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> Vectors:
        """Return the vectors [N, W] of N images [N, 3, S, S], each of length 1."""
        parts = [np.zeros((0, WIDTH), np.float32)]
        for start in range(0, len(pixels), BATCH):
            described = _described(torch.from_numpy(pixels[start : start + BATCH]))
            projected = described @ _projection(described.shape[1])
            parts.append(functional.normalize(projected, dim=1).numpy())
        return np.concatenate(parts)


def _described(pixels: Tensor) -> Tensor:
    """Return the features [N, F] of images [N, 3, S, S] uint8; each kind counts the same."""
    scaled = pixels.float() / 255
    kinds = (
        oriented_gradients(scaled),
        colour_histograms(scaled),
        product_colours(scaled),
        # Of darkness, so that a white background is nothing.
        1 - thumbnails(scaled),
    )
    return torch.cat([functional.normalize(each, dim=1) for each in kinds], 1)


@lru_cache(maxsize=1)
def _projection(features: int) -> Tensor:
    """Return orthonormal directions [F, W], always the same."""
    drawn = np.random.default_rng(_SEED).standard_normal((features, WIDTH))
    directions, upper = np.linalg.qr(drawn)
    # Signs that do not depend on the library that computes the decomposition.
    return torch.from_numpy((directions * np.sign(np.diag(upper))).astype(np.float32))
