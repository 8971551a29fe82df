"""Random changes to images that do not change the product in them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schema.arrays import FloatArray, IntArray

WHITE = 255


def augmented_images(
    pixels: NDArray[np.uint8],
    index: IntArray,
    shift: int,
    uniform: FloatArray,
) -> Tensor:
    """Read images ``index`` [B] of ``pixels`` [I, 3, S, S]; shift them, and mirror half of them.

    Each is shifted by up to ``shift`` pixels over white. ``uniform`` [B, 3] are random numbers in
    [0, 1) for the vertical shift, the horizontal shift, and the mirroring.

    Each image goes straight from the (memory-mapped) array to its place in the batch, instead of
    through a batch that is read, one with margins, and the final one: their memory traffic was most
    of the time that a batch took.
    """
    # Without numpy's class for mapped files, whose every slice costs microseconds.
    pixels = np.asarray(pixels)
    shape = pixels.shape[1:]
    size = shape[-1]
    out = np.empty((len(index), *shape), dtype=np.uint8)
    offsets = (uniform[:, :2] * (2 * shift + 1)).astype(np.int64) - shift
    is_mirrored = uniform[:, 2] < 0.5
    # The image is mirrored after it is shifted, which is shifting it the other way when mirrored.
    offsets[is_mirrored, 1] *= -1

    # numpy reverses bytes one by one, PyTorch many at a time.
    to_mirror = np.empty(shape, dtype=np.uint8)
    tensor_to_mirror = torch.from_numpy(to_mirror)
    rows = zip(index.tolist(), offsets.tolist(), is_mirrored.tolist(), strict=True)
    for row, (item, (down, right), mirrored) in enumerate(rows):
        image = pixels[item]
        if mirrored:
            to_mirror[...] = image
            image = torch.flip(tensor_to_mirror, (-1,)).numpy()
        _shift(image, down, right, out[row], size)
    return torch.from_numpy(out)


def _shift(
    image: NDArray[np.uint8],
    down: int,
    right: int,
    out: NDArray[np.uint8],
    size: int,
) -> None:
    """Write the part of an image [3, S, S] that begins ``down`` and ``right`` of its corner."""
    height = max(0, size - abs(down))
    width = max(0, size - abs(right))
    top = max(0, -down)
    left = max(0, -right)
    read_top = max(0, down)
    read_left = max(0, right)
    out[:, top : top + height, left : left + width] = image[
        :, read_top : read_top + height, read_left : read_left + width
    ]
    out[:, :top] = WHITE
    out[:, top + height :] = WHITE
    out[:, :, :left] = WHITE
    out[:, :, left + width :] = WHITE
