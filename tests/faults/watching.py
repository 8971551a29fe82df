"""Watch a folder for changes, one event a write, with Linux's inotify."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

# From <sys/inotify.h>.
MODIFY = 0x2
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
IS_FOLDER = 0x40000000
EVENTS = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
LONGEST_WAIT = 0.05
"""Seconds after which it is looked whether what makes the changes goes on."""
HEADER = struct.Struct("iIII")


class Changes:
    """Counts the changes below a folder: files written, made, renamed and deleted."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL("libc.so.6", use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")
        self._folders: dict[int, Path] = {}
        self.count = 0
        self._watch(folder)

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)

    def wait_for(
        self, count: int, seconds: float, goes_on: Callable[[], bool] = lambda: True
    ) -> bool:
        """Wait until so many changes have been seen in all.

        Returns False if time runs out, or if it no longer ``goes_on``.
        """
        deadline = time.monotonic() + seconds
        while self.count < count:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if select.select([self._handle], [], [], min(left, LONGEST_WAIT))[0]:
                self.read()
            elif not goes_on():
                return False
        return True

    def read(self) -> None:
        """Count the changes that are known by now."""
        try:
            data = os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            folder, event, _, length = HEADER.unpack_from(data, place)
            place += HEADER.size
            name = data[place : place + length].rstrip(b"\0").decode()
            place += length
            self.count += 1
            if event & IS_FOLDER and event & (CREATE | MOVED_TO):
                self._watch(self._folders[folder] / name)

    def _watch(self, folder: Path) -> None:
        number = self._libc.inotify_add_watch(self._handle, os.fsencode(folder), EVENTS)
        # A folder may be gone by the time that it is heard of.
        if number < 0:
            return
        self._folders[number] = folder
        try:
            inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
        except OSError:
            return
        for path in inner:
            self._watch(path)
