"""The cache of images' pixels."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kg.image_cache import ImageCache, read_pixels
from kg.image_files import ImageFiles


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


def test_an_image_of_the_user_may_be_a_link(tmp_path, images):
    (tmp_path / "link").symlink_to(images[0])
    assert read_pixels(tmp_path / "link", 4) is not None
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none"):
        assert read_pixels(tmp_path / name, 4) is None


def build(tmp_path, images, size=8):
    """Build a cache of images in a folder; return it, and what could not be read."""
    files = ImageFiles([tmp_path])
    return ImageCache.build(images, size, tmp_path / "cache", files), files.failures


class SpyingFiles(ImageFiles):
    """The files below a folder; ``read_images`` are those that were read."""

    def __init__(self, folder):
        super().__init__([folder])
        self.read_images = []

    def read(self, image):
        self.read_images.append(image)
        return super().read(image)


def test_missing_and_broken_images_are_absent(tmp_path, images):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not an image")
    paths = [images[0], None, str(tmp_path / "none.jpg"), str(tmp_path / "broken.jpg")]
    for _ in range(2):  # read, and from the cache
        cache, failures = build(tmp_path, paths)
        assert cache.present.tolist() == [True, False, False, False]
        assert cache.broken == [3]
        assert not cache.pixels(np.array([1, 3])).any()
        assert list(failures) == paths[2:]


def test_nothing_outside_the_folders_gets_into_the_cache(tmp_path, images):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link.png").symlink_to(images[0])
    files = ImageFiles([tmp_path / "inside"])
    paths = [*images, str(tmp_path / "inside" / "link.png"), "https://x.org/1.png"]
    cache = ImageCache.build(paths, 8, tmp_path / "cache", files)
    assert not cache.present.any()
    assert list(files.failures) == paths[:3]


def test_a_second_build_reads_nothing(tmp_path, images):
    first, _ = build(tmp_path, images)
    files = SpyingFiles(tmp_path)
    again = ImageCache.build(images, 8, tmp_path / "cache", files)
    assert not files.read_images
    np.testing.assert_array_equal(first.array, again.array)


def test_an_image_that_could_not_be_read_is_tried_again(tmp_path, images, monkeypatch):
    """Memory may have been short, and files of a link are those of another folder once allowed."""
    files = ImageFiles([tmp_path])
    monkeypatch.setattr(files, "pixels", lambda image, size: None)
    assert not ImageCache.build(images, 8, tmp_path / "cache", files).present.any()
    cache, failures = build(tmp_path, images)
    assert cache.present.all()
    assert not failures


def test_only_a_changed_image_is_read_again(tmp_path, images):
    build(tmp_path, images)
    Image.new("RGB", (40, 20), "green").save(images[1])
    os.utime(images[1], ns=(1, 1))
    files = SpyingFiles(tmp_path)
    cache = ImageCache.build(images, 8, tmp_path / "cache", files)
    assert files.read_images == [images[1]]
    assert cache.present.all()


def test_images_are_read_again_when_they_are_decoded_in_another_way(tmp_path, images, monkeypatch):
    build(tmp_path, images)
    monkeypatch.setattr("kg.image_cache.DECODING", 1)
    files = SpyingFiles(tmp_path)
    ImageCache.build(images, 8, tmp_path / "cache", files)
    assert sorted(files.read_images) == images
    assert len(list((tmp_path / "cache" / "images-8").iterdir())) == 2


@pytest.mark.parametrize("name", ["npy", "json"])
def test_a_damaged_cache_is_mended(tmp_path, images, name):
    expected = np.array(build(tmp_path, images)[0].array)
    (file,) = (tmp_path / "cache" / "images-8").glob(f"*.{name}")
    whole = file.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 30)):
        for damaged in (
            whole[:position],
            whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :],
        ):
            file.write_bytes(damaged)
            cache, _ = build(tmp_path, images)
            np.testing.assert_array_equal(cache.array, expected)
            assert cache.present.all()
            file.write_bytes(whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda index, pixels: index.write_text("[]"),
        lambda index, pixels: index.write_text(
            '{"checksums": {"7": 1}, "broken": [], "stamps": [1]}'
        ),
        lambda index, pixels: index.write_text(
            '{"checksums": {"x": 1}, "broken": [], "stamps": []}'
        ),
        lambda index, pixels: index.write_bytes(b"\xff"),
        lambda index, pixels: pixels.unlink(),
        lambda index, pixels: pixels.write_bytes(b"\x80\x04K\x01."),
        lambda index, pixels: np.save(pixels, np.zeros((2, 3, 4, 4), np.uint8)),
    ],
    ids=range(7),
)
def test_a_cache_that_is_no_cache_is_built_again(tmp_path, images, damage):
    first = np.array(build(tmp_path, images)[0].array)
    (index,) = (tmp_path / "cache" / "images-8").glob("*.json")
    damage(index, index.with_suffix(".npy"))
    again, _ = build(tmp_path, images)
    assert again.present.all()
    np.testing.assert_array_equal(again.array, first)


def test_only_the_damaged_image_is_read_again(tmp_path, images):
    build(tmp_path, images)
    (file,) = (tmp_path / "cache" / "images-8").glob("*.npy")
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x55")
    files = SpyingFiles(tmp_path)
    ImageCache.build(images, 8, tmp_path / "cache", files)
    assert files.read_images == [images[1]]


def test_files_that_a_killed_process_left_are_removed_and_those_of_a_running_one_are_not(
    tmp_path, images
):
    folder = tmp_path / "cache" / "images-8"
    folder.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    running = folder / f"a.{os.getppid()}.npy"
    left = [folder / f"a.{ended.pid}.npy", folder / "older.npy", folder / "older.json"]
    for path in (running, *left):
        path.write_bytes(b"x")
    build(tmp_path, images)
    assert running.exists()
    assert not any(path.exists() for path in left)


def test_a_catalogue_without_images_has_a_cache(tmp_path):
    assert not build(tmp_path, [None, None])[0].present.any()
    assert not len(build(tmp_path, [])[0].present)


def test_the_cache_of_an_earlier_version_is_built_again(tmp_path, images):
    expected, _ = build(tmp_path, images)
    for index in (tmp_path / "cache" / "images-8").glob("*.json"):
        former = json.loads(index.read_text())
        former["present"] = [0, 1]
        del former["checksums"]
        index.write_text(json.dumps(former))
    np.testing.assert_array_equal(build(tmp_path, images)[0].array, expected.array)
