"""Image names: which are found, and which are refused."""

import os
import struct
import zlib

import pytest
from PIL import Image

from kg.ingest.images import ImageFolder
from schema.errors import ImageRefusedError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "deep" / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    return ImageFolder(tmp_path / "images")


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + body
        + struct.pack(">I", zlib.crc32(body))
        + b"\0" * 32
    )


def test_an_image_is_found_below_the_folder(folder):
    path = folder.root / "deep" / "a.png"
    assert folder.find("deep/a.png") == folder.find(str(path)) == path
    assert folder.find_any_suffix("deep/a") == path


def test_a_path_from_the_media_folder_of_a_shop_is_found(folder):
    assert folder.find("/deep/a.png") == folder.root / "deep" / "a.png"
    (folder.root / "deep" / "link.png").symlink_to(folder.root.parent / "outside.png")
    with pytest.raises(ImageRefusedError):
        folder.find("/deep/link.png")


@pytest.mark.parametrize("name", ["b.png", "no/such.png", "deep/a.png/b"])
def test_a_missing_image_is_none(folder, name):
    assert folder.find(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "deep/../../outside.png",
        "..\\outside.png",
        "/etc/passwd",
        "",
        ".",
        "a\0b",
        "x" * 5000,
    ],
)
def test_names_that_leave_the_folder_are_refused(folder, name):
    with pytest.raises(ImageRefusedError):
        folder.find(name)


def test_links_are_refused(folder):
    (folder.root / "link.png").symlink_to(folder.root.parent / "outside.png")
    (folder.root / "linked").symlink_to(folder.root / "deep")
    for name in ("link.png", "linked/a.png"):
        with pytest.raises(ImageRefusedError, match="symbolic link"):
            folder.find(name)


def test_devices_and_folders_are_refused(folder):
    os.mkfifo(folder.root / "pipe.png")
    for name in ("pipe.png", "deep"):
        with pytest.raises(ImageRefusedError, match="not a regular file"):
            folder.find(name)


@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_decompression_bomb_is_refused_by_its_header(folder, width, height):
    (folder.root / "bomb.png").write_bytes(png_header(width, height))
    with pytest.raises(ImageRefusedError):
        folder.find("bomb.png")


def test_files_that_are_not_images_or_too_large_are_refused(folder):
    (folder.root / "text.png").write_text("hello")
    with pytest.raises(ImageRefusedError, match="not an image"):
        folder.find("text.png")
    with pytest.raises(ImageRefusedError, match="bytes: the limit is 10"):
        ImageFolder(folder.root, max_bytes=10).find("deep/a.png")
