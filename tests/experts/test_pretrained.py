"""Experts that compare titles and images by pretrained encoders as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experts import fit_experts
from experts import pretrained as module
from experts.fitting import ExpertFitting
from experts.folder import from_arrays, to_arrays
from experts.image_kernel import DESCRIPTORS, ImageKernel, describe
from experts.kernels import TitleKernel
from experts.labelled_items import LabelledItems
from experts.pretrained import Encoders, MeaningKernel, RememberedImages, RememberedTexts
from fusion.inference.featurizer import ItemInput, LazyImage
from fusion.inference.scorer import CellQuery
from schema.errors import ModelError
from tests.experts.made import ONTOLOGY, labelled, made_items

SYNONYMS = {"crimson": "red", "azure": "blue"}
TITLES = ["red mug", "crimson mug", "azure chair", "blue chair", "lamp", None, "  "]


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return np.asarray(vectors / lengths, np.float32)


class Meanings:
    """Encodes a text as the sum of a random vector for each word; some words mean the same."""

    folder = Path("meanings")
    space = "meanings-1"
    width = 24

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        vectors = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            for word in text.casefold().split():
                meaning = SYNONYMS.get(word, word)
                rng = np.random.default_rng(list(meaning.encode()))
                vectors[row] += rng.standard_normal(self.width).astype(np.float32)
        return unit(vectors)


class Looks:
    """Encodes an image as the means of its channels' halves."""

    folder = Path("looks")
    space = "looks-1"
    width = 6
    image_size = 96

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes += [pixels.shape[-1]] * len(pixels)
        halves = [pixels[:, :, :, ::2], pixels[:, :, :, 1::2]]
        return unit(np.concatenate([half.mean((2, 3)) for half in halves], 1) + 1)


@pytest.fixture
def texts() -> RememberedTexts:
    return RememberedTexts(Meanings())


@pytest.fixture
def images() -> RememberedImages:
    return RememberedImages(Looks())


def with_encoders(
    items: list[ItemInput], texts: RememberedTexts | None, images: RememberedImages | None
) -> LabelledItems:
    made = labelled(items)
    if images is not None:
        pixels = [[each for each in item.images if isinstance(each, np.ndarray)] for item in items]
        vectors = images.encode([each for of_item in pixels for each in of_item])
        made = replace(made, images=describe(pixels, vectors))
    return replace(made, encoders=Encoders(texts, images))


def test_a_kernel_of_meanings_is_gaussian_with_the_median_bandwidth(texts):
    present = [title for title in TITLES if title and title.strip()]
    kernel = MeaningKernel.fit(texts, present, TITLES)
    vectors = Meanings().encode(present)
    distances = np.square(vectors[:, None] - vectors[None]).sum(2)
    expected = np.exp(-2 * distances / np.median(distances[distances > 1e-5]))
    rows = kernel.rows(TITLES)
    np.testing.assert_allclose(rows[:5, :5], expected, rtol=1e-4)
    assert not rows[5:].any()
    assert not rows[:, 5:].any()
    assert rows[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(kernel.select(np.array([2, 0])).rows(TITLES), rows[:, [2, 0]])


def test_a_title_kernel_adds_meanings_to_words(texts):
    plain = TitleKernel.fit(TITLES, TITLES).rows(TITLES)
    both = TitleKernel.fit(TITLES, TITLES, texts).rows(TITLES)
    present = [title for title in TITLES if title and title.strip()]
    meanings = MeaningKernel.fit(texts, present, TITLES).rows(TITLES)
    np.testing.assert_allclose(both, plain + meanings, rtol=1e-5)


def test_an_image_kernel_takes_vectors_as_one_more_kind(images):
    pixels = [item.image for item in made_items(12) if isinstance(item.image, np.ndarray)]
    vectors = images.encode(pixels)
    items = [[each] for each in pixels]
    plain = ImageKernel.fit(describe(items), describe(items))
    made = describe(items, vectors)
    both = ImageKernel.fit(made, made, encoder=images)
    distances = np.square(vectors[:, None] - vectors[None]).sum(2)
    median = np.median(distances[distances > 1e-5])
    expected = plain.rows(describe(items)) + np.exp(-2 * distances / median)
    np.testing.assert_allclose(both.rows(made), expected, rtol=1e-3)
    np.testing.assert_allclose(both.own_rows(), expected, rtol=1e-3)
    assert len(made.blocks) == len(DESCRIPTORS) + 1


@settings(deadline=None, max_examples=15)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=6), max_size=6))
def test_what_is_remembered_is_what_is_encoded(batches):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_TEXTS", 3)
        encoder = Meanings()
        remembered = RememberedTexts(encoder)
    for batch in batches:
        np.testing.assert_array_equal(remembered.encode(batch), Meanings().encode(batch))


def test_nothing_is_encoded_twice(texts, images):
    encoder = Meanings()
    remembered = RememberedTexts(encoder)
    remembered.encode(["a", "b", "a"])
    remembered.encode(["b", "c"])
    assert encoder.encoded == ["a", "b", "c"]
    looks = Looks()
    of_images = RememberedImages(looks)
    small, large = np.zeros((3, 64, 64), np.uint8), np.zeros((3, 96, 96), np.uint8)
    of_images.encode([small, large, small])
    of_images.encode([large])
    assert sorted(looks.sizes) == [64, 96]


def test_a_word_that_nobody_has_seen_is_understood(texts):
    items = made_items(60)
    query = [ItemInput("x", title="crimson thing")]
    cell = [CellQuery(0, "colour")]

    def probability(fitted):
        ensemble = fitted.ensemble
        logits = ensemble.score(ensemble.encode(query), cell)[0]
        place = ensemble.ontology.values_of("colour").index("red")
        return float(np.exp(logits - np.logaddexp.reduce(logits))[place])

    plain = fit_experts("x", ONTOLOGY, labelled(items))
    understanding = fit_experts("x", ONTOLOGY, with_encoders(items, texts, None))
    assert probability(understanding) > probability(plain) + 0.1


def test_items_are_compared_with_themselves_as_with_others(texts, images):
    items = made_items(24)
    place = next(n for n, item in enumerate(items) if item.image is not None and item.title)
    whole = ExpertFitting(ONTOLOGY, with_encoders(items, texts, images))
    rows = whole.compared.kernels.title.rows([item.title for item in items])
    np.testing.assert_allclose(rows, rows.T, atol=1e-5)
    own = whole.compared.kernels.image.own_rows()
    np.testing.assert_allclose(
        own[place], whole.compared.kernels.image.rows(whole.compared.items.images)[place], atol=1e-5
    )


def test_a_folder_names_its_encoders_and_refuses_others(texts, images, monkeypatch):
    items = made_items(40)
    ensemble = fit_experts("x", ONTOLOGY, with_encoders(items, texts, images)).ensemble
    arrays = to_arrays(ensemble)

    def opened(folder: Path, open_it: object, what: str) -> object:
        return {"meanings": texts, "looks": images}[folder.name]

    monkeypatch.setattr(module, "_open", opened)
    again = from_arrays("x", ONTOLOGY, arrays)
    cells = [CellQuery(number, "colour") for number in range(6)]
    before = ensemble.score(ensemble.encode(items[:6]), cells)
    after = again.score(again.encode(items[:6]), cells)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(np.exp(one), np.exp(other), atol=0.03)
    texts.space = "meanings-2"
    with pytest.raises(ModelError, match=r"meanings is another \(meanings-2\) than .*meanings-1"):
        from_arrays("x", ONTOLOGY, arrays)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="text encoder meanings is not there: put its folder back"):
        from_arrays("x", ONTOLOGY, arrays)


def test_images_are_read_as_large_as_the_encoder_wants_them():
    looks = Looks()
    images = RememberedImages(looks)
    ensemble = fit_experts("x", ONTOLOGY, with_encoders(made_items(30), None, images)).ensemble

    class File(LazyImage):
        def __init__(self, sizes: tuple[int, ...]) -> None:
            self.sizes = sizes

        def pixels(self, size: int) -> NDArray[np.uint8] | None:
            return np.full((3, size, size), 9, np.uint8) if size in self.sizes else None

    looks.sizes.clear()
    ensemble.encode([ItemInput("x", image=File((64, 96)))])
    assert looks.sizes == [96]
    # One that is gone when it is read again is taken from its small pixels.
    ensemble.encode([ItemInput("x", image=File((64,)))])
    assert looks.sizes == [96, 64]
    ensemble.encode([ItemInput("x", image=File(()))])
    assert looks.sizes == [96, 64]


def test_landmarks_of_many_items_compare_by_encoders(texts, images, monkeypatch):
    import experts.compared_items

    for name, value in (("MAX_EXACT", 30), ("CANDIDATES", 30), ("LANDMARKS", 20)):
        monkeypatch.setattr(experts.compared_items, name, value)
    items = made_items(50)
    ensemble = fit_experts("x", ONTOLOGY, with_encoders(items, texts, images)).ensemble
    assert ensemble.kernels.landmarks == 20
    assert ensemble.kernels.image.encoder is images
    scores = ensemble.score(ensemble.encode(items[:3]), [CellQuery(0, "colour")])
    assert np.isfinite(scores[0]).all()
