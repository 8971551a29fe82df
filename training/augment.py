"""Random changes to images that do not change the product in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from schema.arrays import FloatArray


def augment(pixels: Tensor, shift: int, uniform: FloatArray) -> Tensor:
    """Mirror half of the images [B, 3, S, S], and shift each by up to ``shift`` pixels over white.

    ``uniform`` [B, 3] are random numbers in [0, 1) for the vertical shift, the horizontal shift,
    and the mirroring.
    """
    size = pixels.shape[-1]
    padded = F.pad(pixels, (shift,) * 4, value=255)
    places = (uniform[:, :2] * (2 * shift + 1)).astype(np.int64)
    mirrored = uniform[:, 2] < 0.5
    out = torch.empty_like(pixels)
    for row, (top, left) in enumerate(places.tolist()):
        cut = padded[row, :, top : top + size, left : left + size]
        out[row] = cut.flip(-1) if mirrored[row] else cut
    return out
