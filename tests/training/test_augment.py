import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.loader import looped_images
from training.augment import augmented_images


def assert_alike(pixels, index, shift, uniform):
    """Images are those of a padded copy of the batch, one after another."""
    expected = looped_images(pixels, index, shift, uniform)
    assert torch.equal(augmented_images(pixels, index, shift, uniform), expected)


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 2**32))
def test_images_are_cut_from_a_white_frame_and_mirrored(size, shift, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (6, 3, size, size), dtype=np.uint8)
    assert_alike(pixels, np.arange(6), shift, rng.random((6, 3)))


def test_every_shift_and_side_is_like_the_frame():
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5), np.arange(2)), -1).reshape(-1, 3)
    uniform = (grid + 0.5) / [5, 5, 2]
    shape = (len(grid), 3, 16, 16)
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert_alike(pixels, np.arange(len(grid)), 2, uniform)


def test_images_are_read_from_a_file_that_is_only_mapped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    index = np.array([7, 0, 7, 3])
    uniform = np.random.default_rng(1).random((4, 3))
    read = augmented_images(mapped, index, 3, uniform)
    assert torch.equal(read, looped_images(pixels, index, 3, uniform))


def test_no_images_stay_none():
    pixels = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    nothing = augmented_images(pixels, np.zeros(0, np.int64), 2, np.zeros((0, 3)))
    assert nothing.shape == (0, 3, 8, 8)
