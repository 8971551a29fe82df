"""The image files of a catalogue: which of the paths in its store may be opened.

Paths get into a store in many ways: by an ingest, which checks them, but also by a copy from
another store, by a server that others write to, or by a program. So they are checked again whenever
they are opened: an image is read only from the folders that the home knows, which are those that
``ingest`` or ``init`` were given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kg.image_headers import MAX_BYTES
from schema.errors import FileRefusedError, ImageRefusedError
from schema.opening import LINKED, open_below, read_below, read_own

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GONE = "does not exist"
OUTSIDE = "is outside the image folders of this home"
_ALLOW = "if they may be read, allow their folder with `catalograph init --images DIR`"
_ADVICE = {
    GONE: "mount their disk or put their folder back, or load them again with "
    "`catalograph ingest SRC --images DIR`",
    OUTSIDE: _ALLOW,
    LINKED: _ALLOW,
}
_OTHER_ADVICE = "replace these files"


class ImageFiles:
    """The image files below some folders.

    ``failures`` are the images that were asked for and could not be read, with the reason.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        # A folder within another one comes first: it may be reached through a link that only its
        # own path may have.
        names = dict.fromkeys(str(folder) for folder in folders)
        self.folders = tuple(sorted(names, key=len, reverse=True))
        self.failures: dict[str, str] = {}

    def status(self, image: str) -> os.stat_result | None:
        """Return the status of an image's file without reading it; None if it must not be read."""
        try:
            descriptor = open_below(*self._place(image))
        except FileRefusedError as error:
            self.failures[image] = str(error)
        except FileNotFoundError:
            self.failures[image] = GONE
        else:
            with os.fdopen(descriptor, "rb"):
                return os.fstat(descriptor)
        return None

    def read(self, image: str) -> bytes:
        """Read an image file; raises ImageRefusedError if that is not possible or not allowed."""
        folder, name = self._place(image)
        try:
            return read_below(folder, name, MAX_BYTES)
        except FileRefusedError as error:
            raise ImageRefusedError(str(error)) from None
        except FileNotFoundError:
            raise ImageRefusedError(GONE) from None

    def pixels(self, image: str, size: int) -> NDArray[np.uint8] | None:
        """Return an image as pixels [3, size, size], letterboxed on white.

        Returns None if it cannot be read; ``failures`` then has the reason.
        """
        from kg.image_decoding import letterboxed

        try:
            return letterboxed(self.read(image), size)
        except ImageRefusedError as error:
            self.failures[image] = str(error)
            return None

    def unreadable(self, images: Iterable[str | None]) -> UnreadableImages:
        """Return which of these images are known to be unreadable, each opened but not read.

        Addresses on the network do not count: nothing is ever fetched.
        """
        files = dict.fromkeys(each for each in images if each is not None and not is_address(each))
        for each in files:
            if each not in self.failures:
                self.status(each)
        failures = {each: self.failures[each] for each in files if each in self.failures}
        return UnreadableImages(len(files), failures)

    def _place(self, image: str) -> tuple[str, str]:
        """Return the folder that an image lies in, and its name below that."""
        path = image if "//" not in image and "/." not in image else os.path.normpath(image)
        # Where a folder is reached through links, ".." leads elsewhere than its spelling says.
        if ".." not in image.split("/"):
            for folder in self.folders:
                start = folder.rstrip("/") + "/"
                if path.startswith(start):
                    return folder, path[len(start) :]
        raise ImageRefusedError(OUTSIDE)


@dataclass(frozen=True)
class UnreadableImages:
    """Of ``total`` images, those that cannot be read, with the reasons."""

    total: int
    failures: Mapping[str, str]

    @property
    def all(self) -> bool:
        """Whether there are images and none can be read."""
        return 0 < self.total == len(self.failures)

    def __bool__(self) -> bool:
        return bool(self.failures)

    def __str__(self) -> str:
        """Return one line: how many images cannot be read, why, and how to go on."""
        by_advice: dict[str, list[str]] = {}
        for image, reason in self.failures.items():
            by_advice.setdefault(_ADVICE.get(reason, _OTHER_ADVICE), []).append(image)
        causes = []
        for advice, images in sorted(by_advice.items(), key=lambda cause: -len(cause[1])):
            example = f"such as {images[0][:200]}, which {self.failures[images[0]]}"
            count = "" if len(by_advice) == 1 else f"{len(images):,} "
            causes.append(f"{count}{example}: {advice}")
        count = f"{len(self.failures):,} of {self.total:,} images cannot be read any more, "
        return count + "; ".join(causes)


def is_address(image: str) -> bool:
    """Return whether an image is an address on the network, where nothing is ever fetched."""
    return "://" in image


def read_own_image(path: str | Path) -> bytes:
    """Read an image file that the user named; raises ImageRefusedError if it cannot be read."""
    try:
        return read_own(path, MAX_BYTES)
    except FileRefusedError as error:
        raise ImageRefusedError(str(error)) from None
    except FileNotFoundError:
        raise ImageRefusedError(GONE) from None
