"""Read JSON and TOML of unknown origin: what is wrong with it is a ValueError of one line."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli

from schema.settings import shown

_SURROGATE = re.compile(r"\\ud|[\ud800-\udfff]", re.IGNORECASE)


def parse_json(data: bytes | str) -> Any:
    """Return what a JSON document says.

    Raises ValueError if it is not JSON in UTF-8, if an object has a key twice (readers do not agree
    on which of the two counts), if it has half of a surrogate pair (which no file can hold), or if
    it is nested too deeply.
    """
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    try:
        document = json.loads(text, object_pairs_hook=_distinct)
        # Only an escape can bring in half of a pair, and hardly any document has one.
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair, which is no character") from None
    return document


def parse_json_object(data: bytes | str) -> dict[str, Any]:
    """Return a JSON document that is an object; raises ValueError as :func:`parse_json` does."""
    document = parse_json(data)
    if not isinstance(document, dict):
        raise ValueError(f"it is no JSON object but {shown(document)}")
    return document


def parse_toml(data: bytes | str) -> dict[str, Any]:
    """Return what a TOML document says.

    Raises ValueError if it is not TOML in UTF-8, or if it is nested too deeply.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        # Compiled: the ontology of a million items with model numbers has 1.7 million lines, which
        # take 2.6 s, and 6.1 s by Python's tomllib.
        return tomli.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_toml(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a TOML file as :func:`parse_toml` does.

    Raises ValueError if it has more than ``max_bytes``, and OSError if it cannot be read.
    """
    return parse_toml(read_limited(path, max_bytes))


def read_limited(path: Path, max_bytes: int) -> bytes:
    """Return a file's content; raises ValueError if it has more than ``max_bytes``."""
    with path.open("rb") as stream:
        # One more, since the file's size is not known in advance if it is a device or a pipe.
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes:,} bytes")
    return data


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} occurs twice")
    return members
