"""Find the image files that a source names.

A source is not trusted: only regular files below the image folder count, without symbolic links on
the way, in one of a few formats, and of a size that their header proves to be harmless. What passes
here is checked once more when it is read, by :class:`kg.image_files.ImageFiles`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kg.image_formats import image_header
from kg.image_headers import MAX_BYTES, MAX_PIXELS
from schema.errors import FileRefusedError, ImageRefusedError
from schema.opening import open_below

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")
MAX_REASONS = 3
"""How many of the reasons for which images are refused are reported."""


class ImageFolder:
    """A folder in which the image names of a source are looked up."""

    def __init__(
        self, root: Path, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.root = Path(root).resolve()
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self._root = str(self.root)

    def find(self, name: str) -> Path | None:
        """Return the absolute path of an image, or None if there is no such file.

        Raises ImageRefusedError if the file must not be read.
        """
        path = self._path_below_root(name)
        try:
            path.encode()
            descriptor = open_below(self._root, path[len(self._root) + 1 :])
            with os.fdopen(descriptor, "rb") as stream:
                size = os.fstat(descriptor).st_size
                if size > self.max_bytes:
                    raise ImageRefusedError(f"has {size:,} bytes: the limit is {self.max_bytes:,}")
                image_header(stream, self.max_pixels)
        except FileNotFoundError:
            return None
        except FileRefusedError as error:
            raise ImageRefusedError(str(error)) from None
        except UnicodeEncodeError:
            raise ImageRefusedError("has a path that is not UTF-8, and cannot be stored") from None
        except OSError as error:
            raise ImageRefusedError(f"cannot be read ({error.strerror})") from None
        return Path(path)

    def find_any_suffix(self, stem: str) -> Path | None:
        """Return the image with that name and any of the usual suffixes."""
        return next((path for suffix in IMAGE_SUFFIXES if (path := self.find(stem + suffix))), None)

    def _path_below_root(self, name: str) -> str:
        """Return the path that a name stands for, which must not leave the folder as spelled."""
        if "\0" in name or ".." in name.replace("\\", "/").split("/"):
            raise ImageRefusedError("leaves the image folder")
        # Paths are handled as text here, because it is faster than building Path objects.
        path = os.path.normpath(name if name.startswith("/") else f"{self._root}/{name}")
        if name.startswith("/") and not path.startswith(f"{self._root}/"):
            # Shops write paths from their media folder so: /m/h/mh01.jpg. Links are refused below.
            below = os.path.normpath(f"{self._root}/{name}")
            path = below if Path(below).exists() else path
        if not path.startswith(f"{self._root}/"):
            raise ImageRefusedError(f"is outside the image folder {self.root}")
        return path


@dataclass
class Refusals:
    """The images of a source that were refused: how many for each reason, and an example."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Count an image."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, name)

    def update(self, more: Refusals) -> None:
        """Add the images of further rows."""
        self.counts.update(more.counts)
        self.examples = {**more.examples, **self.examples}

    def note(self) -> str | None:
        """Return a remark about the refused images, the most frequent reasons first."""
        if not self.counts:
            return None
        reasons = [
            f"{self.examples[reason][:80]!r} {reason}"
            + (f" (and {count - 1:,} more)" * (count > 1))
            for reason, count in self.counts.most_common(MAX_REASONS)
        ]
        return f"{self.counts.total():,} images were refused: {'; '.join(reasons)}"


@dataclass
class SourceImages:
    """The image folder of a source, and counts of the image files that it named."""

    folder: ImageFolder | None = None
    """The folder that the names of images are relative to."""
    id_pattern: str | None = None
    """The names of images that are named after the ids of items: "{id}.jpg"."""
    found: int = 0
    missing: int = 0
    unlocated: int = 0
    """Images that were left out because no folder was given to look them up in."""
    refusals: Refusals = field(default_factory=Refusals)
    used_folders: set[Path] = field(default_factory=set)
    """Folders in which images were found."""

    @property
    def may_find_by_id(self) -> bool:
        """Whether images may be named after the ids of items."""
        return self.folder is not None and self.id_pattern is not None

    def uncounted(self) -> SourceImages:
        """Return the same folder with counts of its own."""
        return SourceImages(self.folder, self.id_pattern)

    def update(self, more: SourceImages) -> None:
        """Add the counts of further rows."""
        self.found += more.found
        self.missing += more.missing
        self.unlocated += more.unlocated
        self.refusals.update(more.refusals)
        self.used_folders |= more.used_folders

    def taken(self) -> SourceImages:
        """Return what was counted so far, and forget it."""
        taken = self.uncounted()
        taken.update(self)
        self.found = self.missing = self.unlocated = 0
        self.refusals = Refusals()
        self.used_folders = set()
        return taken

    def find_named(self, names: Iterable[str]) -> list[str]:
        """Return the images of an image cell: its URLs, and the paths of its files that pass."""
        images = []
        for name in names:
            # A URL is kept, but nothing is ever fetched.
            if name.startswith(("http://", "https://")):
                images.append(name)
            elif self.folder:
                images += self._find(self.folder, name)
            else:
                self.unlocated += 1
        return images

    def find_by_id(self, item: str) -> list[str]:
        """Return the image that is named after an item's id, if any."""
        if self.folder is None or self.id_pattern is None:
            return []
        return self._find(self.folder, self.id_pattern.replace("{id}", item))

    def notes(self) -> Iterator[str]:
        """Yield remarks for the user: how many images were left out, and why."""
        if self.missing:
            yield f"{self.missing:,} images were not found"
        if self.unlocated:
            yield f"{self.unlocated:,} images were left out: give their folder with --images"
        if refused := self.refusals.note():
            yield refused

    def _find(self, folder: ImageFolder, name: str) -> list[str]:
        has_suffix = "." in name.rpartition("/")[2]
        own_prefix = f"{folder.root.name}/"
        try:
            path = folder.find(name) if has_suffix else folder.find_any_suffix(name)
            if path is None and name.startswith(own_prefix):
                # "images/1.jpg" in the table, and `--images images` on the command line
                path = folder.find(name.removeprefix(own_prefix))
        except ImageRefusedError as error:
            self.refusals.add(name, str(error))
            return []
        if path is None:
            self.missing += 1
            return []
        self.found += 1
        self.used_folders.add(folder.root)
        return [str(path)]
