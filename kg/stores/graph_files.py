"""The files of a store's graph: readers open the published ones, which nobody changes any more.

A writer works on a copy beside them, which takes their place by a rename when it is complete and on
disk. So a reader sees a whole graph beside any writer, and a writer that is killed leaves nothing
but a copy that the next one removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kg.stores.failures import unavailable
from kg.stores.room import check_room
from schema.files import digest_named, sync
from schema.manifests import MANIFEST, manifest_problems, read_digests, write_manifest

FICLONE = 0x40049409  # ioctl of Linux: share the blocks of another file (Btrfs, XFS)
COPY_BYTES = 1 << 26
TABLE = ".sst"
"""Suffix of RocksDB's tables: such a file is never changed, and its name never used again."""


class GraphFiles(ABC):
    """The published graph, the writer's copies and damaged graphs in a store's folder.

    Only the holder of the store's lock changes files. What does so raises StoreUnavailableError if
    the disk is full or cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.working = folder / f"{name}.writing"
        """The copy that the writer changes."""
        self.finished = folder / f"{name}.finished"
        """A copy to publish while the writer goes on with its own."""

    @abstractmethod
    def published(self) -> Path | None:
        """Return the newest published graph, or None if there is none."""

    @abstractmethod
    def copy(self, source: Path, target: Path) -> None:
        """Copy a graph that nobody is changing."""

    @abstractmethod
    def bytes_to_copy(self, path: Path) -> int:
        """Return how much room a copy of a graph takes."""

    def damaged_files(self, path: Path, go_on: str) -> list[str]:
        """Return what is wrong with the files of a published graph, as far as they have checksums.

        Each line ends with ``go_on``.
        """
        return []

    @abstractmethod
    def _replace_published(self, path: Path) -> Path:
        """Give a complete graph the name of the published one; return its new path."""

    def copy_to_work_on(self) -> Path:
        """Copy the published graph, if there is one; return the path of the working copy."""
        self.remove_leftovers()
        published = self.published()
        if published is not None:
            try:
                with unavailable(self.folder):
                    self.copy(published, self.working)
            except BaseException:
                self.remove(self.working)
                raise
        return self.working

    def publish(self, path: Path) -> Path:
        """Publish a complete graph that is no longer being written; return its new path."""
        with unavailable(self.folder):
            # On disk before it has its name: after a power cut the name leads to the whole graph.
            _sync_all(path)
            published = self._replace_published(path)
            sync(self.folder)
        return published

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged graph, so that another can take its place; return its new path."""
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        target = self.folder / f"{self.name}.damaged-{time}"
        number = 1
        while target.exists():
            number += 1
            target = self.folder / f"{self.name}.damaged-{time}-{number}"
        with unavailable(self.folder):
            for each in side_files(path):
                each.rename(f"{target}{each.name.removeprefix(path.name)}")
            path.rename(target)
            sync(self.folder)
        return target

    def remove(self, path: Path) -> None:
        """Remove a file or a folder; what cannot be removed now is left for the next time."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove the copies that a killed writer left."""
        for path in (self.working, self.finished):
            for each in self.folder.glob(f"{path.name}*"):
                self.remove(each)


class LadybugFiles(GraphFiles):
    """A graph in one file, ``graph.lbug``; a rename replaces it while readers keep the old one."""

    def published(self) -> Path | None:
        """Return the path of the graph, or None if there is none."""
        path = self.folder / self.name
        return path if path.exists() else None

    def copy(self, source: Path, target: Path) -> None:
        """Copy the file, or share its blocks if the file system can."""
        copy_file(source, target)

    def bytes_to_copy(self, path: Path) -> int:
        """Return the size of the file."""
        return path.stat().st_size

    def _replace_published(self, path: Path) -> Path:
        return path.replace(self.folder / self.name)


class OxigraphFiles(GraphFiles):
    """A graph in a folder of files that are added and deleted, but never changed.

    A folder cannot be replaced by a rename, and a reader opens its files only when it needs them.
    So every publication has a number, ``graph.oxigraph.N``, and an earlier one stays until its
    readers have closed it. Before Catalograph 0.2 there was only ``graph.oxigraph``.
    """

    def published(self) -> Path | None:
        """Return the folder of the newest publication, or None if there is none."""
        folders = self._publications()
        return folders[-1] if folders else None

    def copy(self, source: Path, target: Path) -> None:
        """Copy the folder; its tables, which are most of it, are linked and not copied."""
        target.mkdir()
        for path in source.iterdir():
            if path.name == "LOCK" or path.name.startswith("LOG"):
                continue
            if path.suffix != TABLE or not _link(path, target / path.name):
                copy_file(path, target / path.name)

    def bytes_to_copy(self, path: Path) -> int:
        """Return the size of the files that are not linked."""
        return sum(each.stat().st_size for each in path.iterdir() if each.suffix != TABLE)

    def remove_leftovers(self) -> None:
        """Remove the copies that a killed writer left, and publications that nobody reads."""
        super().remove_leftovers()
        for path in self._publications()[:-1]:
            self._remove_unread(path)
        for path in self.folder.glob(f"{self.name}.removed*"):
            self.remove(path)

    def damaged_files(self, path: Path, go_on: str) -> list[str]:
        """Compare the files of a publication with their checksums.

        There are several indexes, and reading a whole graph reads only one of them.
        """
        return manifest_problems(path, go_on) if (path / MANIFEST).exists() else []

    def _replace_published(self, path: Path) -> Path:
        self._write_checksums(path)
        sync(path)
        published = self.published()
        number = 0 if published is None else self._number(published)
        return path.rename(self.folder / f"{self.name}.{number + 1}")

    def _write_checksums(self, path: Path) -> None:
        """Write the checksums of a complete graph; its tables are read once, when they are new."""
        known: dict[str, str] = {}
        for folder in (path, self.working):
            # A copy of the last publication has its checksums, a copy of a working one has none.
            with suppress(OSError, ValueError):
                known |= read_digests(folder)
        digests = {
            name: known[name]
            if name in known and name.endswith(TABLE)
            else digest_named(path, name)
            for name in _content_files(path)
        }
        write_manifest(path, digests)
        if path != self.working and self.working.exists():
            write_manifest(self.working, digests)

    def _publications(self) -> list[Path]:
        """Return the published folders, oldest first."""
        paths = [path for path in self.folder.glob(f"{self.name}*") if path.is_dir()]
        return sorted((path for path in paths if self._number(path) >= 0), key=self._number)

    def _number(self, path: Path) -> int:
        """Return the number of a publication, 0 for one without, or -1 for another file."""
        suffix = path.name.removeprefix(self.name)
        digits = suffix.removeprefix(".")
        if not suffix:
            return 0
        return int(digits) if digits.isascii() and digits.isdigit() else -1

    def _remove_unread(self, path: Path) -> None:
        try:
            handle = os.open(path / "CURRENT", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            # A reader holds a shared lock.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Renamed first, so that a removal that is cut off leaves no half of a publication.
            removed = path.rename(self.folder / f"{self.name}.removed{self._number(path)}")
        except OSError:
            return
        finally:
            os.close(handle)
        self.remove(removed)


def _content_files(folder: Path) -> list[str]:
    """Return the names of the files of a graph, without those of logs and locks."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return [name for name in names if name not in (MANIFEST, "LOCK") and not name.startswith("LOG")]


def hold(folder: Path) -> int:
    """Keep a publication of :class:`OxigraphFiles` until the handle that is returned is closed.

    Raises FileNotFoundError if it has been removed meanwhile.
    """
    current = folder / "CURRENT"
    handle = os.open(current, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        # It may have been removed between the two calls.
        current.stat()
    except BaseException:
        os.close(handle)
        raise
    return handle


def side_files(path: Path) -> list[Path]:
    """Return the files that Ladybug keeps beside a graph, such as its write-ahead log."""
    suffixes = (".wal", ".wal.checkpoint", ".shadow", ".tmp")
    files = [path.with_name(path.name + suffix) for suffix in suffixes]
    return [file for file in files if file.exists()]


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, by sharing its blocks if the file system can.

    Raises StoreUnavailableError, before anything is written, if the disk has not enough room.
    """
    with source.open("rb") as read, target.open("wb") as written:
        with suppress(OSError):
            fcntl.ioctl(written.fileno(), FICLONE, read.fileno())
            return
        size = os.fstat(read.fileno()).st_size
        check_room(target.parent, size, size)
        try:
            while os.copy_file_range(read.fileno(), written.fileno(), COPY_BYTES):
                pass
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
                raise
            # Some file systems refuse it, but all of them read and write.
            read.seek(0)
            written.seek(0)
            shutil.copyfileobj(read, written, COPY_BYTES)


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name; return whether the file system can do that."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def _sync_all(path: Path) -> None:
    """Write a file, or a folder and its files, to the disk."""
    if path.is_dir():
        for each in path.iterdir():
            sync(each)
    sync(path)
