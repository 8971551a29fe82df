"""The cache of images' pixels."""

import os

import numpy as np
import pytest
from PIL import Image

import kg.image_cache
from kg.image_cache import ImageCache, read_pixels


@pytest.fixture
def images(tmp_path):
    paths = []
    for number, colour in enumerate(["red", "blue"]):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 20), colour).save(path)
        paths.append(str(path))
    return paths


def test_images_are_letterboxed_on_white(images):
    pixels = read_pixels(images[0], 16)
    assert pixels is not None
    assert pixels.shape == (3, 16, 16)
    assert pixels[:, 0, 8].tolist() == [255, 255, 255]
    assert pixels[:, 8, 8].tolist() == [255, 0, 0]


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    pixels = read_pixels(tmp_path / "clear.png", 8)
    assert pixels is not None
    assert (pixels == 255).all()


def test_missing_and_broken_images_are_absent(tmp_path, images):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not an image")
    paths = [images[0], None, str(tmp_path / "none.jpg"), str(tmp_path / "broken.jpg")]
    cache = ImageCache.build(paths, 8, tmp_path / "cache")
    assert cache.present.tolist() == [True, False, False, False]
    assert cache.broken == [3]
    assert not cache.pixels(np.array([1, 3])).any()


def test_an_image_with_too_many_pixels_is_not_decoded(images, monkeypatch):
    monkeypatch.setattr(kg.image_cache, "MAX_IMAGE_PIXELS", 100)
    assert read_pixels(images[0], 8) is None


def test_a_second_build_reads_nothing(tmp_path, images, monkeypatch):
    first = ImageCache.build(images, 8, tmp_path / "cache")
    monkeypatch.setattr(kg.image_cache, "read_pixels", lambda path, size: pytest.fail("read again"))
    again = ImageCache.build(images, 8, tmp_path / "cache")
    np.testing.assert_array_equal(first.array, again.array)


def test_only_a_changed_image_is_read_again(tmp_path, images, monkeypatch):
    ImageCache.build(images, 8, tmp_path / "cache")
    Image.new("RGB", (40, 20), "green").save(images[1])
    os.utime(images[1], ns=(1, 1))
    paths_read: list[str] = []

    def spy(path, size):
        paths_read.append(str(path))
        return read_pixels(path, size)

    monkeypatch.setattr(kg.image_cache, "read_pixels", spy)
    cache = ImageCache.build(images, 8, tmp_path / "cache")
    assert paths_read == [images[1]]
    assert cache.present.all()


def test_a_catalogue_without_images_has_a_cache(tmp_path):
    cache = ImageCache.build([None, None], 8, tmp_path / "cache")
    assert not cache.present.any()


@pytest.mark.parametrize(
    "damage",
    [
        lambda index, pixels: index.write_text(""),
        lambda index, pixels: index.write_text("[]"),
        lambda index, pixels: index.write_text('{"present": [7], "broken": [], "stamps": [1, 2]}'),
        lambda index, pixels: index.write_bytes(b"\xff"),
        lambda index, pixels: pixels.unlink(),
        lambda index, pixels: pixels.write_bytes(pixels.read_bytes()[:200]),
        lambda index, pixels: pixels.write_bytes(b"\x80\x04K\x01."),
        lambda index, pixels: np.save(pixels, np.zeros((2, 3, 4, 4), np.uint8)),
    ],
    ids=range(8),
)
def test_a_damaged_cache_is_built_again(tmp_path, images, damage):
    first = ImageCache.build(images, 8, tmp_path / "cache").array.copy()
    (index,) = (tmp_path / "cache" / "images-8").glob("*.json")
    damage(index, index.with_suffix(".npy"))
    again = ImageCache.build(images, 8, tmp_path / "cache")
    assert again.present.all()
    np.testing.assert_array_equal(again.array, first)
