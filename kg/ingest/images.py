"""Find the image files that a source names.

A source is not trusted: only regular files below the image folder count, without symbolic links on
the way, and of a size that their header proves to be harmless.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

MAX_PIXELS = 64_000_000
"""Three bytes each make 192 MB once the image is decoded."""
MAX_BYTES = 64 << 20
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class ImageRefusedError(ValueError):
    """An image file that exists but must not be read; the text gives the reason."""


class ImageFolder:
    """A folder in which the image names of a source are looked up."""

    def __init__(
        self, root: Path, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.root = Path(root).resolve()
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self._root = str(self.root)
        self._checked_folders = {""}  # below the root, found not to be links

    def find(self, name: str) -> Path | None:
        """Return the absolute path of an image, or None if there is no such file.

        Raises ImageRefusedError if the file must not be read.
        """
        path = self._path_below_root(name)
        try:
            self._refuse_links(path[len(self._root) + 1 :].rpartition("/")[0], name)
            # Unlike stat(), lstat() does not follow a link at the end of the path.
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _lookup_failed(name, error.strerror or str(error)) from None
        except ValueError as error:
            raise _lookup_failed(name, str(error)) from None

        if not stat.S_ISREG(status.st_mode):
            kind = "symbolic link" if stat.S_ISLNK(status.st_mode) else "folder or device"
            raise ImageRefusedError(f"{name!r} is a {kind}, not a regular file")
        if status.st_size > self.max_bytes:
            raise ImageRefusedError(
                f"{name!r} has {status.st_size:,} bytes: the limit is {self.max_bytes:,}"
            )
        self._check_header(path, name)
        return Path(path)

    def find_any_suffix(self, stem: str) -> Path | None:
        """Return the image with that name and any of the usual suffixes."""
        return next((path for suffix in IMAGE_SUFFIXES if (path := self.find(stem + suffix))), None)

    def _path_below_root(self, name: str) -> str:
        """Return the path that a name stands for, which must not leave the folder as spelled."""
        if "\0" in name or ".." in name.replace("\\", "/").split("/"):
            raise ImageRefusedError(f"{name[:80]!r} leaves the image folder")
        # Paths are handled as text here, because it is faster than building Path objects.
        path = os.path.normpath(name if name.startswith("/") else f"{self._root}/{name}")
        if not path.startswith(f"{self._root}/"):
            raise ImageRefusedError(f"{name[:80]!r} is outside the image folder {self.root}")
        return path

    def _refuse_links(self, folder: str, name: str) -> None:
        """Check that no folder on the way is a link, which could lead anywhere."""
        if folder in self._checked_folders:
            return
        self._refuse_links(folder.rpartition("/")[0], name)
        if stat.S_ISLNK(os.lstat(f"{self._root}/{folder}").st_mode):
            raise ImageRefusedError(f"{name!r} is reached through a symbolic link")
        self._checked_folders.add(folder)

    def _check_header(self, path: str, name: str) -> None:
        """Check the size in the header: a file of a few kilobytes may decode to a terabyte."""
        from PIL import Image, UnidentifiedImageError

        try:
            with warnings.catch_warnings():
                # Pillow warns from 89 million pixels on, which is above our own limit.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(path) as image:
                    width, height = image.size
        except UnidentifiedImageError:
            raise ImageRefusedError(f"{name!r} is not an image") from None
        except (
            Image.DecompressionBombError,
            OSError,
            ValueError,
            SyntaxError,
            OverflowError,
        ) as error:
            raise ImageRefusedError(f"{name!r} has a damaged header ({error})") from None
        if width * height > self.max_pixels:
            raise ImageRefusedError(
                f"{name!r} is {width} x {height} pixels: the limit is {self.max_pixels:,}"
            )


def _lookup_failed(name: str, reason: str) -> ImageRefusedError:
    return ImageRefusedError(f"{name[:80]!r} cannot be looked up ({reason})")


@dataclass
class SourceImages:
    """The image folders of a source, and counts of the image files that it named."""

    named: ImageFolder | None = None
    """The folder that names in an image column are relative to."""
    by_id: ImageFolder | None = None
    """The folder of images that are named after the ids of items."""
    id_pattern: str | None = None
    """The name of an item's image in ``by_id``: "{id}.jpg"."""
    found: int = 0
    missing: int = 0
    refusals: list[str] = field(default_factory=list)

    def find_named(self, names: Iterable[str]) -> list[str]:
        """Return the images of an image cell: its URLs, and the paths of its files that pass."""
        images = []
        for name in names:
            # A URL is kept, but nothing is ever fetched.
            if name.startswith(("http://", "https://")):
                images.append(name)
            elif self.named:
                images += self._find(self.named, name)
        return images

    def find_by_id(self, item: str) -> list[str]:
        """Return the image that is named after an item's id, if any."""
        if self.by_id is None or self.id_pattern is None:
            return []
        return self._find(self.by_id, self.id_pattern.replace("{id}", item))

    def _find(self, folder: ImageFolder, name: str) -> list[str]:
        has_suffix = "." in name.rpartition("/")[2]
        own_prefix = f"{folder.root.name}/"
        try:
            path = folder.find(name) if has_suffix else folder.find_any_suffix(name)
            if path is None and name.startswith(own_prefix):
                # "images/1.jpg" in the table, and `--images images` on the command line
                path = folder.find(name.removeprefix(own_prefix))
        except ImageRefusedError as error:
            self.refusals.append(str(error))
            return []
        if path is None:
            self.missing += 1
            return []
        self.found += 1
        return [str(path)]
