"""Colours of the product alone, CIELAB, and thumbnails."""

from __future__ import annotations

import pytest
import torch

from encoders.descriptors import lab, product_colours, thumbnails


def square(colour: tuple[float, float, float], size: int, background: float = 1.0) -> torch.Tensor:
    """Return an image [1, 3, 64, 64] with a square of one colour in its middle."""
    pixels = torch.full((1, 3, 64, 64), background)
    low = 32 - size // 2
    pixels[0, :, low : low + size, low : low + size] = torch.tensor(colour)[:, None, None]
    return pixels


def test_the_background_and_the_size_do_not_matter() -> None:
    large = product_colours(square((0.8, 0.1, 0.1), 40))
    small = product_colours(square((0.8, 0.1, 0.1), 12))
    torch.testing.assert_close(large, small)
    assert large.square().sum().item() == pytest.approx(1, abs=1e-5)


def test_other_colours_differ_more_than_other_shades() -> None:
    red = product_colours(square((0.8, 0.1, 0.1), 40))
    dark_red = product_colours(square((0.7, 0.1, 0.1), 40))
    blue = product_colours(square((0.1, 0.1, 0.8), 40))
    assert (red - dark_red).norm() < 0.5 * (red - blue).norm()


def test_a_white_image_has_an_empty_histogram() -> None:
    assert product_colours(torch.ones(1, 3, 64, 64)).abs().sum() == 0


def test_lab_of_known_colours() -> None:
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]).T[None, :, :, None]
    expected = torch.tensor(
        [[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    )
    torch.testing.assert_close(lab(colours)[0, :, :, 0].T, expected, atol=0.1, rtol=0)


def test_thumbnails_are_mean_colours() -> None:
    pixels = torch.rand(2, 3, 64, 64)
    expected = pixels[1, 2, 4:8, 60:64].mean()
    found = thumbnails(pixels).view(2, 3, 16, 16)[1, 2, 1, 15]
    torch.testing.assert_close(found, expected)
