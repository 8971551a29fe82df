"""Experts that compare titles and images by pretrained encoders as well."""

from __future__ import annotations

import json
import shutil
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
from experts.pretrained import (
    IMAGE_FOLDER,
    TEXT_FOLDER,
    Encoders,
    MeaningKernel,
    RememberedImages,
    RememberedTexts,
    keep_encoder,
    kept_texts,
    name_of,
)
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
    digest = "meanings-1"
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
    digest = "looks-1"
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


@pytest.fixture
def kept(texts, images, tmp_path, monkeypatch):
    """A model folder, with encoders whose digests are what their only file says."""
    model = tmp_path / "model"
    for encoder in (texts, images):
        encoder.folder = tmp_path / encoder.kept_in
        encoder.folder.mkdir()
        (encoder.folder / "config.json").write_text(encoder.digest)
    monkeypatch.setattr(
        module, "digest_of", lambda folder: (folder / "config.json").read_text(encoding="utf-8")
    )
    for encoder in (texts, images):
        keep_encoder(encoder, model)

    def opened(folder: Path, open_it: object, what: str) -> object:
        assert folder.parent == model
        return {TEXT_FOLDER: texts, IMAGE_FOLDER: images}[folder.name]

    monkeypatch.setattr(module, "_open", opened)
    return model


def test_experts_read_the_encoders_in_their_folder(texts, images, kept):
    items = made_items(40)
    ensemble = fit_experts("x", ONTOLOGY, with_encoders(items, texts, images)).ensemble
    again = from_arrays(kept, ONTOLOGY, to_arrays(ensemble))
    cells = [CellQuery(number, "colour") for number in range(6)]
    before = ensemble.score(ensemble.encode(items[:6]), cells)
    after = again.score(again.encode(items[:6]), cells)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(np.exp(one), np.exp(other), atol=0.03)


def test_an_encoder_is_kept_once_and_must_not_have_changed(texts, kept):
    file = kept / TEXT_FOLDER / "config.json"
    written = file.stat().st_mtime_ns
    keep_encoder(texts, kept)
    assert file.stat().st_mtime_ns == written
    file.write_text("damaged")
    keep_encoder(texts, kept)
    assert file.read_text() == "meanings-1"
    (texts.folder / "config.json").write_text("changed")
    file.write_text("damaged")
    with pytest.raises(ModelError, match="was changed while it was used"):
        keep_encoder(texts, kept)
    assert [path.name for path in kept.iterdir() if path.name.startswith(".")] == []


def named(outside):
    return np.frombuffer(json.dumps([str(outside), "meanings-1"]).encode(), np.uint8)


def test_an_encoder_elsewhere_is_never_read(texts, kept, tmp_path, monkeypatch):
    read: list[Path] = []
    monkeypatch.setattr(module, "digest_of", read.append)
    for outside in (texts.folder, "../text-encoder", "/"):
        with pytest.raises(ModelError, match=r"elsewhere, .*, which is not read: train again"):
            kept_texts(named(outside), kept)
    link = kept / TEXT_FOLDER / "vocab.txt"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="has links, or what is no file"):
        kept_texts(name_of(texts), kept)
    shutil.rmtree(kept / TEXT_FOLDER)
    (kept / TEXT_FOLDER).symlink_to(texts.folder)
    with pytest.raises(ModelError, match="has links, or what is no file"):
        kept_texts(name_of(texts), kept)
    assert read == []


def test_a_missing_or_changed_encoder_is_told(texts, kept):
    (kept / TEXT_FOLDER / "config.json").write_text("meanings-2")
    with pytest.raises(ModelError, match=r"is another than the experts have used: restore"):
        kept_texts(name_of(texts), kept)
    shutil.rmtree(kept / TEXT_FOLDER)
    with pytest.raises(ModelError, match=r"text-encoder is not there: restore the folder"):
        kept_texts(name_of(texts), kept)


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
