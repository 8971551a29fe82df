"""Cells that hold several things: properties with their values, quoted lists, images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kg.ingest.values.text import LIST_SEPARATOR
from schema.bracketed import parse_bracketed

OTHER_FILE = (
    r"\.(pdf|mp4|mov|avi|webm|zip|docx?|xlsx?|html?|txt|xml|json|csv|dwg|dxf|stp|step|ies)"
    r"\s*(?:[?#].*)?$"
)
"""How files end that are no images, in any case; Arrow's RE2 understands this, too."""
MAY_SEPARATE = r"[\s,;|\x1f]"
_OTHER_FILE = re.compile(OTHER_FILE, re.IGNORECASE)
_ADDRESS = re.compile(r"[\s,;|]+(?=https?://)|[\s|;]+(?=\S*https?://)")
_IMAGE = re.compile(r"\.(jpe?g|png|webp|gif|avif|bmp|tiff?|svg)$", re.IGNORECASE)
_MAY_SEPARATE = re.compile(MAY_SEPARATE)
_LIST_OF_PATHS = re.compile(r"\s*[,;|]\s*")
# A value, its place among the others, and whether it is the shop's own: "Steel:2:0".
_POSITION = re.compile(r"(.*?\S)(?:\s*:\s*\d*){1,2}\s*", re.DOTALL)
_NAME = re.compile(r"(?=.*[^\W\d])\w[\w .()/\-%+&']{0,60}")


def unpack(
    text: str, pair: str, item: str, parts: int = 2, position: bool = False
) -> list[tuple[str, str]]:
    """Return the (property, value) pairs of a packed cell.

    ``pair`` stands between property and value, and ``item`` between pairs. What follows a single
    character that separates pairs, and is no pair itself, belongs to the value before it: values
    may hold a comma. With three ``parts`` a section comes before the property's name. With
    ``position`` numbers after the value are left out. A pair may be quoted as a whole. Raises
    ValueError on a pair that lacks its separator.
    """
    pairs: list[tuple[str, str]] = []
    for part in _split_pairs(text, pair, item, parts == 3):
        part = _unquoted(part)
        pieces = part.split(pair, parts - 1)
        if len(pieces) < parts and not (parts == 3 and len(pieces) == 2):
            raise ValueError(f"{part[:40]!r} has no {pair!r} between property and value")
        *names, value = pieces
        placed = _POSITION.fullmatch(value) if position else None
        if placed is not None:
            value = placed[1]
        sections = [name.strip() for name in names if name.strip()]
        pairs.append((" ".join(sections), _unquoted(value)))
    return pairs


def _split_pairs(text: str, pair: str, item: str, may_lack_section: bool) -> Iterator[str]:
    """Yield the pairs of a cell, with their separators within values."""
    current: str | None = None
    for part in text.split(item):
        name, separator, _ = part.partition(pair)
        is_name = _NAME.fullmatch(name.strip(' "')) is not None
        is_name = is_name or (may_lack_section and not name.strip())
        starts_pair = len(item) > 1 or (bool(separator) and is_name)
        if current is not None and not starts_pair:
            current += item + part
            continue
        if current is not None:
            yield current
        current = part if part.strip() else None
    if current is not None:
        yield current


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('""', '"')
    return value


def unpack_json(text: str) -> dict[str, Any] | list[Any]:
    """Return the object or the list in a cell, as JSON or Python writes it; ValueError if none."""
    value = parse_bracketed(text)
    if value is None:
        raise ValueError(f"{text[:40]!r} is neither a JSON object nor a list")
    return value


def split_images(text: str, separator: str | None) -> list[str]:
    """Return the addresses and paths of images in a cell, however they are separated."""
    # The usual case, and by far the fastest: one address or path.
    if not _MAY_SEPARATE.search(text) and not (separator and separator in text):
        return [text]
    separators = [LIST_SEPARATOR, separator] if separator else [LIST_SEPARATOR]
    pieces = re.split("|".join(map(re.escape, separators)), text)
    images = [image for piece in pieces for image in _split_addresses(piece)]
    return [image.strip() for image in images if image.strip()]


def _split_addresses(text: str) -> list[str]:
    if "://" in text:
        return _ADDRESS.split(text)
    paths = _LIST_OF_PATHS.split(text)
    return paths if len(paths) > 1 and all(map(is_image_path, paths)) else [text]


def is_image_path(text: str) -> bool:
    """Return whether a text ends like the name of an image file."""
    return _IMAGE.search(text.strip()) is not None


def is_other_file(text: str) -> bool:
    """Return whether an address or path is that of a file that is surely no image."""
    return _OTHER_FILE.search(text) is not None
