"""Matrix products that do not depend on the order of their sums."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.descriptors import ImageDescriptors, oriented_gradients, product_colours
from encoders.products import stable_array_product, stable_product
from tests.threads import torch_threads


def cancelling(seed: int, terms: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a row [1, K] and a column [K, 1] whose products nearly cancel out."""
    generator = torch.Generator().manual_seed(seed)
    row = torch.rand(1, terms, generator=generator)
    column = torch.rand(terms, 1, generator=generator) * 1000
    return torch.cat([row, row], 1), torch.cat([column, -column * (1 - 1e-5)])


@given(seed=st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_terms_does_not_matter(seed: int) -> None:
    row, column = cancelling(seed)
    order = torch.randperm(row.shape[1], generator=torch.Generator().manual_seed(seed))
    product = stable_product(row, column)
    assert product.dtype == torch.float32
    assert torch.equal(stable_product(row[:, order], column[order]), product)
    in_numpy = stable_array_product(row.numpy()[:, order], column.numpy()[order])
    np.testing.assert_array_equal(in_numpy, product.numpy())
    exact = sum(
        (
            Fraction(one) * Fraction(other)
            for one, other in zip(row[0].tolist(), column[:, 0].tolist(), strict=True)
        ),
        Fraction(0),
    )
    assert product.item() == pytest.approx(float(exact), rel=1e-6)


def test_single_precision_would_not_do() -> None:
    row, column = cancelling(0)
    exact = (row.double() @ column.double()).item()
    assert (row @ column).item() != pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("threads", [2, 3, 5, 7])
def test_descriptors_are_the_same_with_any_number_of_threads(threads: int) -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8)
    scaled = pixels.float() / 255
    encoder = ImageDescriptors(64, 192).eval()

    def compute(count: int) -> tuple[torch.Tensor, ...]:
        with torch_threads(count), torch.no_grad():
            return encoder(pixels), oriented_gradients(scaled), product_colours(scaled)

    for one, other in zip(compute(1), compute(threads), strict=True):
        assert torch.equal(one, other)


def test_without_training_descriptors_are_projected_as_in_training() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    encoder = ImageDescriptors(64, 16, dropout=0.0)
    encoder(pixels)
    encoder.eval()
    projected = encoder.project(encoder.norm(encoder.describe(pixels)).clamp(-4, 4))
    torch.testing.assert_close(encoder(pixels), projected)
    assert encoder(pixels).dtype == torch.float32
