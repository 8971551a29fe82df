"""What an image file says of itself, read before any decoder sees it: format, size, colours.

Pillow tries some forty formats on a file, among them PostScript, which it hands to Ghostscript.
Here the first bytes decide, and only the formats in ``FORMATS`` pass. The files of the others are
named in the reason for which they are refused.

A decoder gets only what the pixels need: metadata, later frames and whatever else was appended are
cut off, and what has to be known of them (how the camera was held, the colour profile) is read
here. A file of 64 MB can otherwise keep a decoder busy for hours: with comments that it joins one
after another, with millions of empty segments, or with a scan that passes over the image again for
every few bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from kg.image_avif import avif_header, encoded_avif
from kg.image_headers import (
    MAX_BYTES,
    MAX_PIXELS,
    MAX_PROFILE_BYTES,
    EncodedImage,
    ImageHeader,
    TruncatedImageError,
    unpacked,
)
from schema.errors import ImageRefusedError

MAX_SEGMENTS = 100_000
"""Segments, chunks or blocks of a file: even one of 64 MB in pieces of 1 kB has fewer."""
MAX_SCANS = 100
"""Of a JPEG: a progressive one usually has 10. A few bytes make a scan that passes over it all."""
HEAD_BYTES = 64 << 10
"""Enough of most files to find their size in."""

_KEPT_APPLICATION_SEGMENTS = (0xE0, 0xEE)
"""Of JPEG's application segments, those by JFIF and Adobe, which say what the components are."""
_SEGMENT_HEAD = 4
"""Bytes of the marker of a segment and of its length."""
_NO_MARKERS = (b"", b"\0", b"\xff")
"""What may follow 0xff without being a marker."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of JPEG's starts of frames, which have the size."""
_PROGRESSIVE_FRAMES = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Coded data has 0xff00 and the markers of its intervals (0xffd0 to 0xffd7) in it."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_OTHER_FORMATS = (
    (b"%!", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"8BPS", "Photoshop's PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG or other XML"),
    (b"<!DOCTYPE", "HTML or XML"),
    (b"<html", "HTML"),
    (b"PK\3\4", "ZIP"),
)


@dataclass(frozen=True)
class _Format:
    """How the header and the rest of a format's files are read from their bytes."""

    name: str
    header: Callable[[bytes], ImageHeader]
    encoded: Callable[[bytes], EncodedImage]


def image_header(stream: BinaryIO, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Read the header of an image file; raises ImageRefusedError if it must not be decoded."""
    head = stream.read(HEAD_BYTES)
    try:
        header = _format_of(head).header(head)
    except TruncatedImageError:
        # A camera's metadata may come before the size, and take more.
        rest = stream.read(MAX_BYTES - HEAD_BYTES) if len(head) == HEAD_BYTES else b""
        if not rest:
            raise
        whole = head + rest
        header = _format_of(whole).header(whole)
    _check_size(header, max_pixels)
    return header


def encoded_image(data: bytes) -> EncodedImage:
    """Return the image in the bytes of a file; raises ImageRefusedError like ``image_header``."""
    encoded = _format_of(data).encoded(data)
    _check_size(encoded.header, MAX_PIXELS)
    return encoded


def _format_of(data: bytes) -> _Format:
    if data.startswith(b"\xff\xd8\xff"):
        return _JPEG
    if data.startswith(_PNG_SIGNATURE):
        return _PNG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _GIF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _WEBP
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("latin-1").strip()
        # The brands of HEIF in general are also those of AVIF.
        compatible = data[16 : max(16, min(int.from_bytes(data[:4]), 256))]
        if brand in ("avif", "avis") or (brand in ("mif1", "msf1") and b"avif" in compatible):
            return _AVIF
        names = {"heic": "HEIC", "heix": "HEIC", "mif1": "HEIF", "msf1": "HEIF"}
        raise _not_readable(names.get(brand, "a video"))
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, name in _OTHER_FORMATS:
        if start.startswith(magic) or data.startswith(magic):
            raise _not_readable(name)
    raise ImageRefusedError("is empty" if not data else "is not an image")


def _not_readable(name: str) -> ImageRefusedError:
    return ImageRefusedError(f"is {name}: save it as one of {', '.join(FORMATS)}")


def _check_size(header: ImageHeader, max_pixels: int) -> None:
    if not header.width or not header.height:
        raise ImageRefusedError(f"is {header.width} x {header.height} pixels")
    if header.width * header.height > max_pixels:
        raise ImageRefusedError(
            f"is {header.width} x {header.height} pixels: the limit is {max_pixels:,}"
        )


# JPEG


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, start and end of each segment up to the start of the first scan, the last.

    The content of a segment begins ``_SEGMENT_HEAD`` bytes after its start.
    """
    # Plain tuples and a match only where it is needed: a photograph has a dozen segments, and this
    # loop must not cost more than a few percent of decoding a small one.
    start = 2
    for _ in range(MAX_SEGMENTS):
        if data[start : start + 1] != b"\xff" or data[start + 1 : start + 2] in _NO_MARKERS:
            # Decoders skip whatever is between two segments.
            match = _JPEG_MARKER.search(data, start)
            if match is None:
                raise TruncatedImageError
            start = match.start()
        marker = data[start + 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these have no content
            start += 2
            continue
        if marker == 0xD9:
            raise ImageRefusedError("is a JPEG without pixels")
        if len(data) < start + _SEGMENT_HEAD:
            raise TruncatedImageError
        end = start + 2 + (data[start + 2] << 8) + data[start + 3]
        if end < start + _SEGMENT_HEAD:
            raise ImageRefusedError("is a damaged JPEG")
        yield marker, start, end
        if marker == 0xDA:
            return
        start = end
    raise ImageRefusedError(f"is a JPEG of more than {MAX_SEGMENTS:,} segments")


def _jpeg_header(data: bytes) -> ImageHeader:
    for marker, start, _ in _jpeg_segments(data):
        if marker in _FRAMES:
            return _frame_header(data, start)
    raise ImageRefusedError("is a JPEG without a size")


def _frame_header(data: bytes, start: int) -> ImageHeader:
    height, width = unpacked(">HH", data, start + _SEGMENT_HEAD + 1)
    return ImageHeader("JPEG", width, height)


def _encoded_jpeg(data: bytes) -> EncodedImage:
    header: ImageHeader | None = None
    has_many_scans = False
    components = b""
    # Slices of a view are not copied: a photograph of some megabytes is copied once, when they are
    # joined.
    view = memoryview(data)
    kept = [view[:2]]
    exif = b""
    profile_parts: dict[int, bytes] = {}
    for marker, start, end in _jpeg_segments(data):
        if marker == 0xDA:
            # A scan of fewer components than the image is one of several, too.
            if (
                has_many_scans
                or data[start + _SEGMENT_HEAD : start + _SEGMENT_HEAD + 1] != components
            ):
                _check_scans(data, start)
            kept.append(view[start:])
        elif marker == 0xFE or (
            0xE0 <= marker <= 0xEF and marker not in _KEPT_APPLICATION_SEGMENTS
        ):
            content = data[start + _SEGMENT_HEAD : end]
            if marker == 0xE1 and not exif and content.startswith(b"Exif\0"):
                exif = content[6:]
            elif marker == 0xE2 and content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
                profile_parts[content[12]] = content[14:]
        else:
            kept.append(view[start:end])
            if marker in _FRAMES:
                if header is not None:
                    raise ImageRefusedError("is a JPEG of several sizes")
                header = _frame_header(data, start)
                has_many_scans = marker in _PROGRESSIVE_FRAMES
                components = data[start + _SEGMENT_HEAD + 5 : start + _SEGMENT_HEAD + 6]
    if header is None:
        raise ImageRefusedError("is a JPEG without a size")
    profile = _joined_profile(profile_parts)
    # A second copy of a photograph in memory would cost a tenth of the time to decode it.
    is_whole = sum(map(len, kept)) == len(data)
    return EncodedImage(
        header, data if is_whole else b"".join(kept), exif_orientation(exif), profile
    )


def _check_scans(data: bytes, start: int) -> None:
    """Raise ImageRefusedError if an image, whose scans begin at ``start``, has too many of them."""
    # In coded data, 0xff is always followed by another byte than in the marker of a scan.
    if data.count(b"\xff\xda", start) <= MAX_SCANS:
        return
    # Some may be in a table between two scans, or in another image that follows this one.
    scans = 0
    position = start
    for _ in range(MAX_SEGMENTS):
        match = _MARKER_AFTER_SCAN.search(data, position)
        if match is None or data[match.start() + 1] == 0xD9:
            return
        scans += data[match.start() + 1] == 0xDA
        if scans > MAX_SCANS:
            raise ImageRefusedError(f"is a JPEG of more than {MAX_SCANS} scans")
        length = int.from_bytes(data[match.end() : match.end() + 2], "big")
        position = match.end() + max(length, 2)
    raise ImageRefusedError(f"is a JPEG of more than {MAX_SEGMENTS:,} segments")


def _joined_profile(parts: dict[int, bytes]) -> bytes | None:
    profile = b"".join(parts[number] for number in sorted(parts))
    return profile if 0 < len(profile) <= MAX_PROFILE_BYTES else None


# PNG


@dataclass
class _PngChunks:
    """The chunks of a PNG file that matter; ``profile`` is compressed, with a name before it."""

    kept: list[bytes] = field(default_factory=list)
    pixels: list[bytes] = field(default_factory=list)
    exif: bytes = b""
    profile: bytes = b""
    is_srgb: bool = False
    gamma: float | None = None


def _png_header(data: bytes) -> ImageHeader:
    width, height = unpacked(">II", data, len(_PNG_SIGNATURE) + 8)
    if not data.startswith(b"IHDR", len(_PNG_SIGNATURE) + 4):
        raise ImageRefusedError("is a damaged PNG")
    return ImageHeader("PNG", width, height)


def _encoded_png(data: bytes) -> EncodedImage:
    header = _png_header(data)
    chunks = _png_chunks(data)
    if not chunks.pixels:
        raise ImageRefusedError("is a PNG without pixels")
    rebuilt = [
        _PNG_SIGNATURE,
        *chunks.kept,
        # One chunk, because an encoder may write millions of empty ones.
        _png_chunk(b"IDAT", b"".join(chunks.pixels)),
        _png_chunk(b"IEND", b""),
    ]
    profile = _inflated_profile(chunks.profile)
    gamma = None if profile or chunks.is_srgb else chunks.gamma
    orientation = exif_orientation(chunks.exif)
    return EncodedImage(header, b"".join(rebuilt), orientation, profile, gamma)


def _png_chunks(data: bytes) -> _PngChunks:
    chunks = _PngChunks()
    position = len(_PNG_SIGNATURE)
    for _ in range(MAX_SEGMENTS):
        if len(data) - position < 8:
            # Some programs leave the last chunk out.
            return chunks
        length, name = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        end = position + length + 12
        match name:
            case b"IHDR" | b"PLTE" | b"tRNS":
                chunks.kept.append(data[position:end])
            case b"IDAT":
                chunks.pixels.append(content)
            case b"iCCP":
                chunks.profile = chunks.profile or content
            case b"eXIf":
                chunks.exif = chunks.exif or content
            case b"sRGB":
                chunks.is_srgb = True
            case b"gAMA" if len(content) == 4:
                chunks.gamma = int.from_bytes(content, "big") / 100_000
            case b"IEND":
                return chunks
        position = end
    raise ImageRefusedError(f"is a PNG of more than {MAX_SEGMENTS:,} chunks")


def _png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return b"".join([struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)])


def _inflated_profile(content: bytes) -> bytes | None:
    _, _, compressed = content.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(compressed[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return None
    return profile if 0 < len(profile) <= MAX_PROFILE_BYTES else None


# GIF


def _gif_header(data: bytes) -> ImageHeader:
    width, height = unpacked("<HH", data, 6)
    # The first frame may be larger than the screen, which then grows.
    left, top, frame_width, frame_height = unpacked("<HHHH", data, _gif_frame(data)[0] + 1)
    return ImageHeader("GIF", max(width, left + frame_width), max(height, top + frame_height))


def _encoded_gif(data: bytes) -> EncodedImage:
    frame, control = _gif_frame(data)
    kept = [data[: _gif_blocks_start(data)], control, data[frame:]]
    return EncodedImage(_gif_header(data), b"".join(kept))


def _gif_blocks_start(data: bytes) -> int:
    """Return where the blocks begin, after the palette."""
    (flags,) = unpacked("B", data, 10)
    return 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)


def _gif_frame(data: bytes) -> tuple[int, bytes]:
    """Return where the first frame begins, and the block that says what is transparent in it."""
    position = start = _gif_blocks_start(data)
    control = b""
    in_extension = False
    for _ in range(MAX_SEGMENTS):
        (byte,) = unpacked("B", data, position)
        if in_extension:
            # An extension is a list of blocks, each after its length, which one of length 0 ends.
            position += byte + 1
            in_extension = byte > 0
            if not in_extension and data[start + 1] == 0xF9:
                control = data[start:position]
        elif byte == 0x21:
            start = position
            position += 2
            in_extension = True
        elif byte == 0x2C:
            return position, control
        else:
            raise ImageRefusedError("is a GIF without an image")
    raise ImageRefusedError(f"is a GIF of more than {MAX_SEGMENTS:,} blocks")


# WebP


def _webp_header(data: bytes) -> ImageHeader:
    kind = data[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = unpacked("<HBHB", data, 24)
        width = (low_width | high_width << 16) + 1
        return ImageHeader("WEBP", width, (low_height | high_height << 16) + 1)
    if kind == b"VP8L":
        (bits,) = unpacked("<I", data, 21)
        return ImageHeader("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = unpacked("<HH", data, 26)
        return ImageHeader("WEBP", width & 0x3FFF, height & 0x3FFF)
    raise ImageRefusedError("is a damaged WebP")


def _encoded_webp(data: bytes) -> EncodedImage:
    # Its EXIF data may have an orientation as well, but browsers do not apply it.
    header = _webp_header(data)
    position = 12
    for _ in range(MAX_SEGMENTS):
        if len(data) - position < 8:
            return EncodedImage(header, data)
        name, length = struct.unpack_from("<4sI", data, position)
        content = position + 8
        if name == b"ICCP" and 0 < length <= MAX_PROFILE_BYTES:
            return EncodedImage(header, data, profile=data[content : content + length])
        position = content + length + length % 2
    raise ImageRefusedError(f"is a WebP of more than {MAX_SEGMENTS:,} chunks")


# EXIF


def exif_orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) in EXIF data, which is a TIFF file; 1 if it has none."""
    if exif[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if exif.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for number in range(entries):
            entry = start + 2 + 12 * number
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == 0x0112:
                return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_JPEG = _Format("JPEG", _jpeg_header, _encoded_jpeg)
_PNG = _Format("PNG", _png_header, _encoded_png)
_GIF = _Format("GIF", _gif_header, _encoded_gif)
_WEBP = _Format("WebP", _webp_header, _encoded_webp)
_AVIF = _Format("AVIF", avif_header, encoded_avif)
FORMATS = tuple(each.name for each in (_JPEG, _PNG, _WEBP, _GIF, _AVIF))
"""The formats that are read."""
