"""What the readers of the several image formats share: their results, errors and limits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from schema.errors import ImageRefusedError

MAX_PIXELS = 64_000_000
"""Three bytes each make 192 MB once the image is decoded."""
MAX_BYTES = 64 << 20
MAX_PROFILE_BYTES = 4 << 20
"""Of a colour profile: those of printing presses have up to 3 MB."""


@dataclass(frozen=True)
class ImageHeader:
    """The format of an image, by Pillow's name, and its size in pixels as it is stored."""

    format: str
    width: int
    height: int


@dataclass(frozen=True)
class EncodedImage:
    """An image before it is decoded.

    - ``data``: the file without what its pixels do not need
    - ``orientation``: EXIF's 1 to 8, how the stored image has to be turned
    - ``profile``: its ICC profile
    - ``gamma``: the exponent by which a PNG without profile encodes light, such as 0.45455
    """

    header: ImageHeader
    data: bytes
    orientation: int = 1
    profile: bytes | None = None
    gamma: float | None = None


class TruncatedImageError(ImageRefusedError):
    """The bytes end before what is looked for."""

    def __init__(self) -> None:
        super().__init__("is truncated")


def unpacked(format: str, data: bytes, position: int) -> tuple[int, ...]:
    """Unpack numbers at a position; raises TruncatedImageError if the bytes end before."""
    try:
        return struct.unpack_from(format, data, position)
    except struct.error:
        raise TruncatedImageError from None
