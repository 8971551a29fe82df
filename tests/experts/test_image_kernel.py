"""Images compared by descriptors: one or several for each item."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experts.ensemble import Part
from experts.fitting import fit_experts
from experts.image_kernel import MAX_IMAGES, ImageKernel, _distances_within, describe
from experts.kernels import KernelRows
from fusion.inference.featurizer import ItemInput, LazyImage
from fusion.inference.scorer import CellQuery
from tests.experts.made import ONTOLOGY, labelled, made_items
from tests.threads import torch_threads

FOLDER = Path("model")
"""A model folder that is not there: without encoders it is not read."""


def test_images_are_compared_by_distances_to_the_median() -> None:
    items = labelled(made_items())
    kernel = ImageKernel.fit(items.images, items.images)
    assert kernel._patches is not None
    rows = kernel.rows(items.images)
    present = items.images.present
    blocks = [*items.images.blocks]
    blocks.append(kernel._patches.describe(torch.from_numpy(items.images.small)).numpy())
    np.testing.assert_allclose(rows.diagonal()[present], len(blocks), atol=1e-4)
    assert not rows[~present].any()
    assert not rows[:, ~present].any()
    expected = np.zeros((present.sum(), present.sum()))
    for block in blocks:
        distances = np.square(block[:, None] - block[None]).sum(-1)
        # At the median distance of images that differ, each of the Gaussians is exp(-1). The
        # outlines of all are the same.
        differ = distances[distances > 1e-5]
        expected += np.exp(-distances / (np.median(differ) if len(differ) else 1))
    np.testing.assert_allclose(rows[np.ix_(present, present)], expected, atol=1e-2)


@given(seed=st.integers(0, 2**32), shift=st.sampled_from([1e-2, 1e-3]))
@settings(max_examples=20, deadline=None)
def test_distances_of_images_that_are_nearly_equal_are_exact(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((3, 2000), np.float32) + 1
    rows[1] = rows[0] + np.float32(shift) * rng.random(2000, np.float32)
    expected = np.square(rows[:, None].astype(np.float64) - rows[None]).sum(-1)
    # In single precision the lengths, of about 5,000, would leave 0.0005 of an error.
    np.testing.assert_allclose(_distances_within(rows), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("threads", [2, 3])
def test_rows_are_the_same_with_any_number_of_threads(images: Any, threads: int) -> None:
    kernel = ImageKernel.fit(describe([[each] for each in images[:20]]), describe([[images[0]]]))

    def rows(count: int) -> KernelRows:
        with torch_threads(count):
            return kernel.rows(describe([[each] for each in images]))

    np.testing.assert_array_equal(rows(threads), rows(1))


def test_a_catalogue_without_images() -> None:
    images = describe([[], []])
    assert not ImageKernel.fit(images, images).rows(images).any()


class Unreadable(LazyImage):
    """An image whose file is damaged."""

    def pixels(self, size):
        return None


@pytest.fixture(scope="module")
def images():
    return [each.image for each in made_items(30) if each.image is not None]


@pytest.fixture(scope="module")
def kernel(images):
    return fitted(images, [[image] for image in images[:12]])


def fitted(images, landmarks):
    return ImageKernel.fit(describe([[image] for image in images]), describe(landmarks))


def test_items_are_as_alike_as_their_images_on_average(images, kernel):
    one, other = images[2:4], images[5:8]
    whole = fitted(images, [one, [], other, images[:1]])
    single = fitted(images, [[image] for image in images])

    def mean(first, second):
        rows = single.rows(describe([[image] for image in first]))
        places = [next(n for n, each in enumerate(images) if each is image) for image in second]
        return rows[:, places].mean()

    kinds = mean(images[:1], images[:1])
    expected = mean(one, other) / np.sqrt(mean(one, one) * mean(other, other)) * kinds
    found = whole.rows(describe([one, other, []]))
    np.testing.assert_allclose(found[0, 2], expected, rtol=1e-4)
    np.testing.assert_allclose([found[0, 0], found[1, 2]], kinds, rtol=1e-4)
    plain = mean(one, images[:1]) / np.sqrt(mean(one, one) / kinds)
    np.testing.assert_allclose(found[0, 3], plain, rtol=1e-4)
    assert not found[2].any()
    assert not found[:, 1].any()
    np.testing.assert_allclose(whole.own_rows()[[0, 2]], found[:2], rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 17), max_size=4), min_size=1, max_size=5), st.data())
def test_neither_order_nor_company_changes_what_an_item_is_like(images, kernel, items, data):
    rows = kernel.rows(describe([[images[n] for n in each] for each in items]))
    number = data.draw(st.integers(0, len(items) - 1))
    shuffled = data.draw(st.permutations(items[number]))
    alone = kernel.rows(describe([[images[n] for n in shuffled]]))
    np.testing.assert_allclose(alone[0], rows[number], atol=1e-4)
    # The same image twice is that image.
    twice = kernel.rows(describe([[images[n] for n in each for _ in range(2)] for each in items]))
    np.testing.assert_allclose(twice, rows, atol=1e-4)


def test_landmarks_with_several_images_are_kept(images):
    kernel = fitted(images, [images[:3], [], images[3:4]])
    asked = describe([images[4:6], images[:1]])
    again = ImageKernel.from_arrays(kernel.arrays(), FOLDER)
    np.testing.assert_allclose(again.rows(asked), kernel.rows(asked), atol=2e-3)
    chosen = kernel.select(np.array([2, 0]))
    np.testing.assert_allclose(chosen.rows(asked), kernel.rows(asked)[:, [2, 0]], atol=1e-5)
    with pytest.raises(ValueError, match="descriptors have the shape"):
        ImageKernel.from_arrays({**kernel.arrays(), "counts": np.array([1, 0, 1])}, FOLDER)


def test_a_colour_that_only_the_second_image_shows_is_found():
    blank = np.full((3, 64, 64), 255, np.uint8)
    plain = [each for each in made_items(90) if each.image is not None]
    behind = [
        ItemInput(each.id, image=blank, known=each.known, more_images=(each.image,))
        for each in plain
    ]
    fit = fit_experts("x", ONTOLOGY, labelled(behind[:60]))
    assert fit.ensemble.reads_details  # without them, a snapshot has the first image alone
    asked = [ItemInput(each.id, None, blank, more_images=each.more_images) for each in behind[60:]]
    cells = [CellQuery(number, "colour", ()) for number in range(len(asked))]
    scores = fit.ensemble.score(fit.ensemble.encode(asked), cells)
    colours = ONTOLOGY.values_of("colour")
    best = [colours[int(row[: len(colours)].argmax())] for row in scores]
    right = [dict(each.known)["colour"] for each in behind[60:]]
    assert np.mean(np.array(best) == np.array(right)) > 0.9


def test_images_that_cannot_be_read_and_those_beyond_the_first_few_do_not_count(images):
    fit = fit_experts("x", ONTOLOGY, labelled(made_items()))
    gone = Unreadable()
    shown = (*images[1:MAX_IMAGES], *images[10:])
    cells = {
        "few": ItemInput("few", None, images[0], more_images=shown[: MAX_IMAGES - 1]),
        "many": ItemInput("many", None, images[0], more_images=shown),
        "some": ItemInput("some", None, gone, more_images=images[:1]),
        "one": ItemInput("one", None, images[0]),
        "none": ItemInput("none", None, gone),
    }
    (encoded,) = fit.ensemble.encode(list(cells.values()))
    rows = encoded.rows[Part.IMAGE]
    few, many, some, one, none = rows.rows[rows.place]
    np.testing.assert_allclose(few, many, atol=1e-5)
    np.testing.assert_allclose(some, one, atol=1e-5)
    assert not np.allclose(few, one)
    assert not none.any()
