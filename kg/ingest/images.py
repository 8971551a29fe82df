"""Which image files a catalogue may name: files below its image folder, no links, of a sane size by their header."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path

MAX_PIXELS = 64_000_000
MAX_BYTES = 64 << 20
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class ImageRefusedError(ValueError):
    """An image that is there and must not be read; the text says why."""


class ImageFolder:
    """Checks the names that a source gives against one folder."""

    def __init__(
        self, root: Path, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.root = Path(root).resolve()
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self._root = str(self.root)
        self._plain = {""}  # folders below the root that were seen to be no links

    def find(self, name: str) -> Path | None:
        """The absolute path of an image, None where there is no such file; ImageRefusedError where it must not be read."""
        path = self._inside(name)
        try:
            self._walk(path[len(self._root) + 1 :].rpartition("/")[0], name)
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ImageRefusedError(
                f"{name[:80]!r} cannot be looked up ({getattr(error, 'strerror', None) or error})"
            ) from None
        if not stat.S_ISREG(found.st_mode):
            kind = "symbolic link" if stat.S_ISLNK(found.st_mode) else "folder or device"
            raise ImageRefusedError(f"{name!r} is a {kind}, not a plain file")
        if found.st_size > self.max_bytes:
            raise ImageRefusedError(
                f"{name!r} has {found.st_size:,} bytes: the limit is {self.max_bytes:,}"
            )
        self._check_header(path, name)
        return Path(path)

    def find_any(self, stem: str) -> Path | None:
        """The image of that name without its suffix, with any of the usual ones."""
        return next((path for suffix in SUFFIXES if (path := self.find(stem + suffix))), None)

    def _inside(self, name: str) -> str:
        """The path that a name means, which must lie below the folder by its spelling alone."""
        if "\0" in name or ".." in name.replace("\\", "/").split("/"):
            raise ImageRefusedError(f"{name[:80]!r} leaves the image folder")
        path = os.path.normpath(name if name.startswith("/") else f"{self._root}/{name}")
        if not path.startswith(f"{self._root}/"):
            raise ImageRefusedError(f"{name[:80]!r} lies outside the image folder {self.root}")
        return path

    def _walk(self, folder: str, name: str) -> None:
        """Look at every folder on the way once: one that is a link leads who knows where."""
        if folder in self._plain:
            return
        self._walk(folder.rpartition("/")[0], name)
        if stat.S_ISLNK(os.lstat(f"{self._root}/{folder}").st_mode):
            raise ImageRefusedError(f"{name!r} goes through a symbolic link")
        self._plain.add(folder)

    def _check_header(self, path: str, name: str) -> None:
        """Read no more than the header: a few kilobytes may claim an image of a terabyte."""
        from PIL import Image, UnidentifiedImageError

        try:
            with warnings.catch_warnings():
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
            raise ImageRefusedError(
                f"{name!r} has a header that cannot be trusted ({error})"
            ) from None
        if width * height > self.max_pixels:
            raise ImageRefusedError(
                f"{name!r} is {width} x {height} pixels: the limit is {self.max_pixels:,}"
            )
