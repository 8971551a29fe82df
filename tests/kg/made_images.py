"""Image files made by hand, for what Pillow does not write."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return an image in a format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *chunks: bytes) -> bytes:
    """Return a PNG file of these rows, each with its filter's byte, and of more chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        ]
    )


def exif(orientation: int, order: str = ">") -> bytes:
    """Return EXIF data with nothing but an orientation."""
    head = b"MM\0*" if order == ">" else b"II*\0"
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """Return a JPEG file with one more segment at its beginning."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


@dataclass
class AvifItem:
    """A picture in an AVIF file: its kind, its data, its properties, and whose alpha it is."""

    data: bytes
    properties: Sequence[bytes]
    kind: bytes = b"av01"
    alpha_of: int = 0


def box(kind: bytes, *content: bytes) -> bytes:
    """Return a box of an ISO media file."""
    joined = b"".join(content)
    return struct.pack(">I4s", 8 + len(joined), kind) + joined


def avif(*items: AvifItem, meta_first: bool = False, in_idat: bool = False) -> bytes:
    """Return an AVIF file of items, which have the numbers from 1 on; the first is its picture."""
    start = box(b"ftyp", b"mif1", bytes(4), b"mif1avif")
    media = box(b"mdat", *(b"" if in_idat else item.data for item in items))
    size = len(_avif_meta(items, 0, in_idat))
    offset = len(start) + 8 + (size if meta_first else 0)
    meta = _avif_meta(items, 0 if in_idat else offset, in_idat)
    return start + (meta + media if meta_first else media + meta)


def _avif_meta(items: Sequence[AvifItem], offset: int, in_idat: bool) -> bytes:
    kinds = b""
    places = b""
    associations = b""
    references = b""
    properties: list[bytes] = []
    for number, item in enumerate(items, 1):
        kinds += box(b"infe", b"\2\0\0\0", struct.pack(">HH4sx", number, 0, item.kind))
        places += struct.pack(">HHHHII", number, in_idat, 0, 1, offset, len(item.data))
        offset += len(item.data)
        associations += struct.pack(">HB", number, len(item.properties))
        associations += bytes(len(properties) + 1 + each for each in range(len(item.properties)))
        properties += item.properties
        if item.alpha_of:
            references += box(b"auxl", struct.pack(">HHH", number, 1, item.alpha_of))
    count = struct.pack(">H", len(items))
    return box(
        b"meta",
        bytes(4),
        box(b"hdlr", bytes(8), b"pict", bytes(13)),
        box(b"pitm", bytes(4), struct.pack(">H", 1)),
        box(b"iloc", b"\1\0\0\0\x44\0", count, places),
        box(b"iinf", bytes(4), count, kinds),
        box(b"iref", bytes(4), references),
        box(
            b"iprp",
            box(b"ipco", *properties),
            box(b"ipma", bytes(4), struct.pack(">I", len(items)), associations),
        ),
        box(b"idat", *(item.data for item in items)) if in_idat else b"",
    )


def avif_size(width: int, height: int) -> bytes:
    """Return the property of a picture that says its size."""
    return box(b"ispe", bytes(4), struct.pack(">II", width, height))


AVIF_CODEC = box(b"av1C", b"\x81\0\x0c\0")
"""The property of a picture in 8 bits and with halved colours, as Pillow writes them."""


def av1_data(file: bytes) -> bytes:
    """Return the data of a picture without transparency from an AVIF file of Pillow's."""
    return file[file.rindex(b"mdat") + 4 :]


D50 = (0.9642, 1.0, 0.8249)
SRGB_COLORANTS = (
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
)
ADOBE_RGB_COLORANTS = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
P3_COLORANTS = (
    (0.51512, 0.2412, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.1571, 0.06657, 0.78407),
)
"""Red, green and blue as XYZ, adapted to D50, as the specifications of the spaces give them."""


def rgb_profile(colorants: Sequence[Sequence[float]], gamma: float) -> bytes:
    """Return the ICC profile of a display."""
    names = ((b"rXYZ", b"rTRC"), (b"gXYZ", b"gTRC"), (b"bXYZ", b"bTRC"))
    tags = {}
    for (place, curve), xyz in zip(names, colorants, strict=True):
        tags[place] = b"XYZ " + bytes(4) + _fixed(xyz)
        tags[curve] = _curve(gamma)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(gamma: float) -> bytes:
    """Return the ICC profile of a grey scale."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile(lab_of_corner: Callable[[tuple[int, ...]], Sequence[float]]) -> bytes:
    """Return the ICC profile of a printer, from the Lab colours of every combination of inks."""
    corners = [lab_of_corner(inks) for inks in itertools.product((0, 1), repeat=4)]
    table = bytes(
        round(each) for light, a, b in corners for each in (light * 2.55, a + 128, b + 128)
    )
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed((1, 0, 0, 0, 1, 0, 0, 0, 1))
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut + ramp * 4 + table + ramp * 3})


def srgb_profile() -> bytes:
    """Return an ICC profile of sRGB, as most photographs have one."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Without the time at which it was made.
    return profile[:24] + bytes(12) + profile[36:]


def _fixed(numbers: Iterable[float]) -> bytes:
    """Return numbers as ICC's s15Fixed16."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + _fixed(D50),
        **tags,
    }
    tags = {name: content + bytes(-len(content) % 4) for name, content in tags.items()}
    start = 128 + 4 + 12 * len(tags)
    table = struct.pack(">I", len(tags))
    for name, content in tags.items():
        table += name + struct.pack(">II", start, len(content))
        start += len(content)
    head = struct.pack(">I4sI4s4s4s", start, b"test", 0x02400000, kind, space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + _fixed(D50)
    return head + bytes(128 - len(head)) + table + b"".join(tags.values())
