import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from training.augment import augment, augmented_images


def cut_and_flip(pixels, shift, uniform):
    """The same with a padded copy of the batch, one image after another."""
    size = pixels.shape[-1]
    padded = F.pad(pixels, (shift,) * 4, value=255)
    places = (uniform[:, :2] * (2 * shift + 1)).astype(np.int64)
    out = torch.empty_like(pixels)
    for row, (top, left) in enumerate(places.tolist()):
        cut = padded[row, :, top : top + size, left : left + size]
        out[row] = cut.flip(-1) if uniform[row, 2] < 0.5 else cut
    return out


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 2**32))
def test_images_are_cut_from_a_white_frame_and_mirrored(size, shift, seed):
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 255, (6, 3, size, size), dtype=np.uint8))
    uniform = rng.random((6, 3))
    assert torch.equal(augment(pixels, shift, uniform), cut_and_flip(pixels, shift, uniform))


def test_every_shift_and_side_is_like_the_frame():
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5), np.arange(2)), -1).reshape(-1, 3)
    uniform = (grid + 0.5) / [5, 5, 2]
    shape = (len(grid), 3, 16, 16)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))
    assert torch.equal(augment(pixels, 2, uniform), cut_and_flip(pixels, 2, uniform))


def test_images_are_read_from_a_file_that_is_only_mapped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    index = np.array([7, 0, 7, 3])
    uniform = np.random.default_rng(1).random((4, 3))
    read = augmented_images(mapped, index, 3, uniform)
    assert torch.equal(read, augment(torch.from_numpy(pixels[index]), 3, uniform))


def test_no_images_stay_none():
    nothing = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert augment(nothing, 2, np.zeros((0, 3))).shape == nothing.shape
