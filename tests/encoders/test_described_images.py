"""Images as vectors without learned weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.described_images import WIDTH, DescribedImages, _described

ENCODER = DescribedImages()


def drawn(colour: tuple[int, int, int], side: int, left: int = 10) -> NDArray[np.uint8]:
    """Return an image of a square on white."""
    pixels = np.full((3, 64, 64), 255, np.uint8)
    pixels[:, 12 : 12 + side, left : left + side] = np.array(colour, np.uint8)[:, None, None]
    return pixels


def test_like_images_have_like_vectors() -> None:
    images = [
        drawn((200, 20, 20), 30),
        drawn((190, 30, 25), 31),
        drawn((20, 20, 200), 30),
        drawn((20, 20, 200), 8, 45),
    ]
    vectors = ENCODER.encode(np.stack(images))
    assert vectors.shape == (4, WIDTH)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4))
    cosines = vectors @ vectors[0]
    assert cosines[1] > cosines[2] > cosines[3]


def test_a_vector_does_not_depend_on_the_other_images() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (70, 3, 64, 64), dtype=np.uint8)
    together = ENCODER.encode(images)
    assert ENCODER.encode(images[65:66])[0] == pytest.approx(together[65], abs=1e-5)
    assert ENCODER.encode(images[:0]).shape == (0, WIDTH)
    blank = ENCODER.encode(np.full((1, 3, 64, 64), 255, np.uint8))
    assert np.isfinite(blank).all()


def test_the_projection_nearly_keeps_cosines() -> None:
    import torch

    images = np.stack([drawn((40 * n, 90, 255 - 40 * n), 10 + 6 * n, 5 + n) for n in range(6)])
    features = torch.nn.functional.normalize(_described(torch.from_numpy(images)), dim=1).numpy()
    vectors = ENCODER.encode(images)
    assert vectors @ vectors.T == pytest.approx(features @ features.T, abs=0.15)
