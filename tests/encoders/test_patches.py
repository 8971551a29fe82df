from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from encoders.image import Standardise
from encoders.patches import ConvPatches, CropPatches, LinearPatches, cut_into_patches

PIXELS = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)


def as_convolution(linear: nn.Linear, kernel: int) -> torch.Tensor:
    """Return a linear map of cut-up pixels as a convolution's weight [out, in, k, k]."""
    return linear.weight.view(linear.out_features, kernel, kernel, -1).permute(0, 3, 1, 2)


def test_patches_are_square_neighbourhoods():
    grid = torch.arange(16).view(1, 4, 4, 1)
    assert cut_into_patches(grid, 2)[0, 0, 1].tolist() == [2, 3, 6, 7]


def test_conv_patches_equal_a_cascade_of_strided_convolutions():
    stem: Any = ConvPatches(12, size=32, kernels=(4, 2), channels=(8,))
    first, second = stem.convolutions
    x = F.conv2d(Standardise()(PIXELS), as_convolution(first, 4), first.bias, stride=4)
    x = F.relu(stem.norms[0](x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    x = F.conv2d(x, as_convolution(second, 2), second.bias, stride=2)
    expected = x.flatten(2).transpose(1, 2) + stem.positions
    torch.testing.assert_close(stem(PIXELS).hidden, expected, rtol=1e-4, atol=1e-4)


def test_mbsd_cuts_224_pixels_into_49_patches():
    pixels = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    assert ConvPatches(16, channels=(4, 4, 4))(pixels).hidden.shape == (1, 49, 16)


def test_linear_patches_equal_one_convolution():
    stem = LinearPatches(12, size=32, patch=8)
    x = F.conv2d(
        Standardise()(PIXELS), as_convolution(stem.project, 8), stem.project.bias, stride=8
    )
    expected = x.flatten(2).transpose(1, 2) + stem.positions
    torch.testing.assert_close(stem(PIXELS).hidden, expected, rtol=1e-4, atol=1e-4)


def test_vtbert_cuts_224_pixels_into_196_patches():
    pixels = torch.zeros(1, 3, 224, 224, dtype=torch.uint8)
    assert LinearPatches(8)(pixels).hidden.shape == (1, 196, 8)


def test_crops_are_read_separately_and_in_order():
    class Mean(nn.Module):
        def forward(self, crops):
            return crops.float().mean((2, 3))

    stem = CropPatches(Mean(), 3, size=32, grid=2)
    expected = PIXELS[:, :, :16, 16:].float().mean((2, 3))
    torch.testing.assert_close(stem(PIXELS).hidden[:, 1], expected + stem.positions[1])


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="size 30 is not a multiple of patch 16"):
        LinearPatches(8, size=30)
    with pytest.raises(ValueError, match="4 kernels need 3 inner channels, not 1"):
        ConvPatches(8, channels=(4,))
