"""The dictionary of patches: against a plain computation, and what it tells apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.patch_dictionary import CELLS, PATCH_NUMBERS, PatchDictionary


def striped(count: int, upright: bool, seed: int) -> torch.Tensor:
    """Return images [B, 3, 32, 32] uint8 of upright or level stripes, shifted at random."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 3, 32, 32), np.uint8)
    for image in images:
        bright = (np.arange(32) + rng.integers(8)) % 8 < 4
        image[:] = np.where(bright, 220, 40)[None, None, :]
        image += rng.integers(0, 20, image.shape, dtype=np.uint8)
    return torch.from_numpy(images if upright else images.swapaxes(2, 3).copy())


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.cat([striped(12, True, 0), striped(12, False, 1)])


@pytest.fixture(scope="module")
def dictionary(images: torch.Tensor) -> PatchDictionary:
    return PatchDictionary.learn(images)


def test_features_are_those_of_a_plain_computation(
    dictionary: PatchDictionary, images: torch.Tensor
) -> None:
    image = images[3].numpy() / 255.0
    nearness = np.zeros((27, 27, len(dictionary.centroids)))
    centroids = dictionary.centroids.numpy()
    for row in range(27):
        for column in range(27):
            patch = image[:, row : row + 6, column : column + 6].ravel()
            patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1.5e-3)
            white = (patch - dictionary.mean.numpy()) @ dictionary.whitening.numpy()
            distances = np.linalg.norm(white - centroids, axis=1)
            nearness[row, column] = np.maximum(distances.mean() - distances, 0)
    cells = nearness.reshape(3, 9, 3, 9, -1).mean((1, 3))
    expected = np.sqrt(cells.transpose(2, 0, 1).ravel())
    found = dictionary.describe(images[3:4])[0].numpy()
    assert found.shape == (dictionary.features,)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_patterns_are_told_apart_wherever_they_are(dictionary: PatchDictionary) -> None:
    upright = dictionary.describe(striped(8, True, 5))
    level = dictionary.describe(striped(8, False, 6))
    within = torch.cdist(upright, upright).max()
    assert torch.cdist(upright, level).min() > 1.5 * within


def test_whitened_patches_have_no_correlations(images: torch.Tensor) -> None:
    dictionary = PatchDictionary.learn(images)
    assert dictionary.whitening.shape == (PATCH_NUMBERS, PATCH_NUMBERS)
    torch.testing.assert_close(dictionary.whitening, dictionary.whitening.T, atol=1e-3, rtol=1e-3)


def test_images_without_any_pattern() -> None:
    even = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    dictionary = PatchDictionary.learn(even)
    features = dictionary.describe(even)
    assert torch.isfinite(features).all()
    assert dictionary.describe(even[:0]).shape == (0, dictionary.features)
    assert features.shape[1] % (CELLS * CELLS) == 0


def test_a_seed_decides_everything(images: torch.Tensor) -> None:
    one = PatchDictionary.learn(images, seed=1)
    other = PatchDictionary.learn(images, seed=1)
    torch.testing.assert_close(one.centroids, other.centroids, atol=0, rtol=0)


def test_tensors_that_do_not_fit_are_refused(dictionary: PatchDictionary) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        PatchDictionary.checked(dictionary.mean[:-1], dictionary.whitening, dictionary.centroids)
    with pytest.raises(ValueError, match="do not fit"):
        PatchDictionary.checked(dictionary.mean, dictionary.whitening, dictionary.centroids[:0])
