"""The settings of a home: the file that makes a folder one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from schema.documents import parse_toml
from schema.errors import HomeNotFoundError
from schema.files import open_named
from schema.stamps import Condition, examine, without_stamp, write_stamped

NAME = "home.toml"
FORMAT = 1
MAX_BYTES = 1 << 20
_HEAD = (
    "# A Catalograph home: graph, ledger, ontology and models of one catalogue.\n"
    f"format = {FORMAT}\n"
)


class HomeSettings:
    """The file ``home.toml`` of a home, which need not exist yet."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / NAME

    def exists(self) -> bool:
        """Return whether the folder is a home."""
        return self.path.is_file()

    def create(self, settings: dict[str, Any]) -> None:
        """Make the folder a home with these settings."""
        write_stamped(self.path, _HEAD + tomli_w.dumps(settings))

    def read(self) -> dict[str, Any]:
        """Return the settings by name, none if there is no file.

        Raises HomeNotFoundError if the file cannot be read, or is of another format.
        """
        try:
            # Not a pipe, which would never end: a home may have come from somewhere.
            with open_named(self._home, NAME) as stream:
                settings = parse_toml(stream.read(MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as error:
            raise HomeNotFoundError(
                f"{self.path} cannot be read ({error}): correct it, or `init` the home again"
            ) from None
        found = settings.pop("format", None)
        if found != FORMAT:
            raise HomeNotFoundError(
                f"{self.path} has format {found!r}, this Catalograph reads {FORMAT}: "
                "upgrade Catalograph, or correct the file"
            )
        return settings

    @contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """Yield the settings, and write what has become of them if they have changed."""
        handle = os.open(self._home, os.O_RDONLY)
        try:
            # Two processes that change a setting each must not lose one. (Some file systems do not
            # lock folders.)
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            settings = self.read()
            before = tomli_w.dumps(settings)
            yield settings
            after = tomli_w.dumps(settings)
            if after != before:
                write_stamped(self.path, _HEAD + after)
        finally:
            os.close(handle)

    def accept_edits(self) -> None:
        """Write the file again as it is, if somebody has edited it since it was written."""
        data = self.path.read_bytes()
        if examine(data).condition is not Condition.INTACT:
            write_stamped(self.path, without_stamp(data.decode()))
