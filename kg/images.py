"""Which picture files a catalogue may name: files below its image folder, no links, of a sane size by their header."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path, PurePosixPath

MAX_PIXELS = 64_000_000
MAX_BYTES = 64 << 20
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class ImageRefusedError(ValueError):
    """A picture that is there and must not be read; the text says why."""


class ImageFolder:
    """Checks the names that a source gives against one folder."""

    def __init__(self, root: Path, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> None:
        self.root = Path(root).resolve()
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self._plain_folders: set[Path] = {self.root}

    def find(self, name: str) -> Path | None:
        """The absolute path of a picture, None where there is no such file; ImageRefusedError where it must not be read."""
        path = self._inside(name)
        try:
            for parent in reversed(path.parents):
                if self.root in parent.parents and parent not in self._plain_folders:
                    if stat.S_ISLNK(parent.lstat().st_mode):
                        raise ImageRefusedError(f"{name!r} goes through a symbolic link")
                    self._plain_folders.add(parent)
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise ImageRefusedError(f"{name!r} cannot be looked up ({error})") from None
        if not stat.S_ISREG(found.st_mode):
            raise ImageRefusedError(
                f"{name!r} is a {'symbolic link' if stat.S_ISLNK(found.st_mode) else 'folder or device'}, not a plain file"
            )
        if found.st_size > self.max_bytes:
            raise ImageRefusedError(f"{name!r} has {found.st_size:,} bytes: the limit is {self.max_bytes:,}")
        self._check_header(path, name)
        return path

    def find_any(self, stem: str) -> Path | None:
        """The picture of that name without its suffix, with any of the usual ones."""
        return next((path for suffix in SUFFIXES if (path := self.find(stem + suffix))), None)

    def _inside(self, name: str) -> Path:
        """The path that a name means, which must lie below the folder by its spelling alone."""
        if "\0" in name or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise ImageRefusedError(f"{name!r} leaves the image folder")
        path = Path(os.path.normpath(self.root / name))
        if self.root not in path.parents:
            raise ImageRefusedError(f"{name!r} lies outside the image folder {self.root}")
        return path

    def _check_header(self, path: Path, name: str) -> None:
        """Read no more than the header: a few kilobytes may claim a picture of a terabyte."""
        from PIL import Image, UnidentifiedImageError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(path) as image:
                    width, height = image.size
        except UnidentifiedImageError:
            raise ImageRefusedError(f"{name!r} is not a picture") from None
        except (Image.DecompressionBombError, OSError, ValueError, SyntaxError, OverflowError) as error:
            raise ImageRefusedError(f"{name!r} has a header that cannot be trusted ({error})") from None
        if width * height > self.max_pixels:
            raise ImageRefusedError(f"{name!r} is {width} x {height} pixels: the limit is {self.max_pixels:,}")
