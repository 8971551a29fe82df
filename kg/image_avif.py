"""AVIF files: one picture of AV1 in the boxes of an ISO media file (AVIF 1.1, HEIF, MIAF).

Pillow gives its decoder of AVIF no limit: a file of 3 kB whose header said 64 x 64 pixels took
0.6 GB and 2.5 s, since its AV1 data said 16,384 x 16,384, and another may be put together from
hundreds of those. So the boxes are read here, the sizes in the AV1 data are checked, and the
decoder gets a new file of one picture of one frame, and of its transparency if there is any.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from kg.image_headers import (
    MAX_PROFILE_BYTES,
    EncodedImage,
    ImageHeader,
    TruncatedImageError,
    unpacked,
)
from schema.errors import ImageRefusedError

MAX_BOXES = 1_000
"""Boxes, items or references of a list, and units of AV1 data."""
MAX_PARTS = 100
"""Pieces of an item's data, and its properties."""
MAX_PROPERTY_LISTS = 10
MAX_CODED_PIXELS = 1 << 26
"""What the frames of one sequence may have, whichever size each says it has: 8,192 x 8,192."""
MAX_PROPERTY_BYTES = 1_000
_KEPT_PROPERTIES = (b"ispe", b"pixi", b"av1C", b"auxC")
_LISTS = (b"iinf", b"iloc", b"iprp", b"iref")
_ESSENTIAL = 0x80
"""The mark of a property that readers have to know."""
_ALPHA_NAMES = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
)
_AV1C_BYTES = 4
"""The configuration without a copy of the sequence header, which decoders need not look at."""

# The types of AV1's units (section 6.2.2 of its specification) that a picture needs.
_SEQUENCE_HEADER = 1
_FRAME_HEADER = 3
_TILE_GROUP = 4
_FRAME = 6

# The orientation of EXIF by turns to the left, without and with a mirror of each axis.
_ORIENTATIONS = {
    None: (1, 8, 3, 6),
    0: (4, 5, 2, 7),
    1: (2, 7, 4, 5),
}


@dataclass(frozen=True)
class _Box:
    """The type of a box, and where in the file its content is."""

    kind: bytes
    start: int
    end: int


@dataclass
class _Item:
    """One of the pictures that a file consists of."""

    kind: bytes = b""
    in_idat: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of each piece of its data."""
    properties: list[_Box] = field(default_factory=list)


@dataclass
class _Contents:
    """What the box ``meta`` says of a file."""

    items: dict[int, _Item] = field(default_factory=dict)
    primary: int = -1
    alphas: list[tuple[int, int]] = field(default_factory=list)
    """Items, and those whose auxiliary pictures they are."""
    premultiplied: set[tuple[int, int]] = field(default_factory=set)
    idat: _Box | None = None


@dataclass(frozen=True)
class _Part:
    """A picture in the new file: its AV1 data, and its properties by their kind."""

    data: bytes
    properties: dict[bytes, bytes]


@dataclass(frozen=True)
class _Picture:
    """The AV1 data of an item: its sequence header and its frame, with the size in the header."""

    data: bytes
    width: int
    height: int


def avif_header(data: bytes) -> ImageHeader:
    """Return the size of a file's primary picture."""
    contents = _contents(data)
    return _header(data, _primary(contents))


def encoded_avif(data: bytes) -> EncodedImage:
    """Return the primary picture of a file, as the file of one picture."""
    contents = _contents(data)
    primary = _primary(contents)
    header = _header(data, primary)
    colour = _part(data, contents, primary, header)
    parts = [colour]
    is_premultiplied = False
    for number, auxiliary_of in contents.alphas:
        item = contents.items.get(number)
        if auxiliary_of == contents.primary and item is not None and _is_alpha(data, item):
            parts.append(_part(data, contents, item, header))
            is_premultiplied = (contents.primary, number) in contents.premultiplied
            break
    return EncodedImage(
        header,
        _file(parts, is_premultiplied),
        _orientation(data, primary),
        _profile(data, primary),
    )


def _damaged() -> ImageRefusedError:
    return ImageRefusedError("is a damaged AVIF")


# The boxes


def _boxes(data: bytes, start: int, end: int, limit: int = MAX_BOXES) -> Iterator[_Box]:
    position = start
    for _ in range(limit):
        if position == end:
            return
        length, kind = struct.unpack(">I4s", _bytes(data, position, 8))
        content = position + 8
        if length == 1:
            (length,) = unpacked(">Q", data, content)
            content += 8
        box_end = position + length if length else end
        if box_end < content:
            raise _damaged()
        yield _Box(kind, content, box_end)
        position = box_end
    raise ImageRefusedError(f"is an AVIF of more than {limit:,} boxes")


def _bytes(data: bytes, position: int, count: int) -> bytes:
    found = data[position : position + count]
    if len(found) < count:
        raise TruncatedImageError
    return found


class _Fields:
    """The numbers in a box, read one after another."""

    def __init__(self, data: bytes, box: _Box) -> None:
        self._data = data
        self._box = box
        self._position = box.start

    def number(self, size: int) -> int:
        """Read a number of some bytes; one of none is 0."""
        return int.from_bytes(self.take(size))

    def take(self, size: int) -> bytes:
        """Read some bytes."""
        if self._position + size > self._box.end:
            raise _damaged()
        found = _bytes(self._data, self._position, size)
        self._position += size
        return found

    def count(self, size: int, limit: int) -> int:
        """Read the length of a list."""
        count = self.number(size)
        if count > limit:
            raise ImageRefusedError(f"is an AVIF with a list of {count:,}: the limit is {limit:,}")
        return count

    def rest(self) -> _Box:
        """Return what was not read, as a box."""
        return _Box(b"", self._position, self._box.end)


def _contents(data: bytes) -> _Contents:
    for box in _boxes(data, 0, len(data)):
        if box.kind == b"meta":
            if box.end > len(data):
                raise TruncatedImageError
            return _read_meta(data, box)
    raise ImageRefusedError("is an AVIF without a still image")


def _read_meta(data: bytes, meta: _Box) -> _Contents:
    contents = _Contents()
    kinds: set[bytes] = set()
    for box in _boxes(data, meta.start + 4, meta.end):
        # Each list occurs once; one that came a thousand times would take long.
        if box.end > meta.end or box.kind in kinds:
            raise _damaged()
        if box.kind in _LISTS:
            kinds.add(box.kind)
        fields = _Fields(data, box)
        match box.kind:
            case b"pitm":
                is_long = fields.number(1) > 0
                fields.take(3)
                contents.primary = fields.number(4 if is_long else 2)
            case b"iinf":
                _read_kinds(data, fields, contents)
            case b"iloc":
                _read_places(fields, contents)
            case b"iprp":
                _read_properties(data, box, contents)
            case b"iref":
                _read_references(data, fields, contents)
            case b"idat":
                contents.idat = box
    return contents


def _item(contents: _Contents, number: int) -> _Item:
    return contents.items.setdefault(number, _Item())


def _read_kinds(data: bytes, fields: _Fields, contents: _Contents) -> None:
    version = fields.number(1)
    fields.take(3)
    fields.number(4 if version else 2)
    rest = fields.rest()
    for box in _boxes(data, rest.start, rest.end):
        entry = _Fields(data, box)
        version = entry.number(1)
        if box.kind == b"infe" and version in (2, 3):
            entry.take(3)
            number = entry.number(2 if version == 2 else 4)
            is_protected = entry.number(2) > 0
            _item(contents, number).kind = b"" if is_protected else entry.take(4)


def _read_places(fields: _Fields, contents: _Contents) -> None:
    version = fields.number(1)
    fields.take(3)
    sizes = fields.number(2)
    offset_size = sizes >> 12
    length_size = sizes >> 8 & 15
    base_size = sizes >> 4 & 15
    index_size = sizes & 15
    for _ in range(fields.count(2 if version < 2 else 4, MAX_BOXES)):
        item = _item(contents, fields.number(2 if version < 2 else 4))
        method = fields.number(2) & 15 if version else 0
        is_elsewhere = fields.number(2) > 0
        base = fields.number(base_size)
        item.extents = []
        item.in_idat = method == 1
        for _ in range(fields.count(2, MAX_PARTS)):
            if version:
                fields.number(index_size)
            offset = fields.number(offset_size)
            item.extents.append((base + offset, fields.number(length_size)))
        if is_elsewhere or method > 1:
            item.extents = []


def _read_properties(data: bytes, iprp: _Box, contents: _Contents) -> None:
    available: list[_Box] = []
    for box in _boxes(data, iprp.start, iprp.end, MAX_PROPERTY_LISTS):
        if box.end > iprp.end:
            raise _damaged()
        if box.kind == b"ipco":
            available = list(_boxes(data, box.start, box.end))
            if any(each.end > box.end for each in available):
                raise _damaged()
        elif box.kind == b"ipma":
            fields = _Fields(data, box)
            version = fields.number(1)
            flags = fields.number(3)
            for _ in range(fields.count(4, MAX_BOXES)):
                item = _item(contents, fields.number(4 if version else 2))
                for _ in range(fields.count(1, MAX_PARTS)):
                    # The highest bit says whether a reader has to know the property.
                    index = fields.number(2) & 0x7FFF if flags & 1 else fields.number(1) & 0x7F
                    if 0 < index <= len(available):
                        item.properties.append(available[index - 1])


def _read_references(data: bytes, fields: _Fields, contents: _Contents) -> None:
    size = 4 if fields.number(1) else 2
    fields.take(3)
    rest = fields.rest()
    for box in _boxes(data, rest.start, rest.end):
        if box.kind not in (b"auxl", b"prem"):
            continue
        reference = _Fields(data, box)
        source = reference.number(size)
        for _ in range(reference.count(2, MAX_BOXES)):
            target = reference.number(size)
            if box.kind == b"auxl":
                contents.alphas.append((source, target))
            else:
                contents.premultiplied.add((source, target))


# The pictures


def _primary(contents: _Contents) -> _Item:
    item = contents.items.get(contents.primary)
    if item is None:
        raise ImageRefusedError("is an AVIF without a still image")
    if item.kind != b"av01":
        # Such as "grid": put together from other pictures, each of which may be large.
        kind = item.kind.decode("latin-1").strip()
        raise ImageRefusedError(
            f"is an AVIF whose picture is no AV1 data but {kind!r}: save it in one piece"
        )
    return item


def _property(data: bytes, item: _Item, kind: bytes) -> bytes | None:
    box = next((each for each in item.properties if each.kind == kind), None)
    return None if box is None else data[box.start : box.end]


def _header(data: bytes, item: _Item) -> ImageHeader:
    size = _property(data, item, b"ispe")
    if size is None:
        raise ImageRefusedError("is an AVIF without a size")
    width, height = unpacked(">II", size, 4)
    return ImageHeader("AVIF", width, height)


def _is_alpha(data: bytes, item: _Item) -> bool:
    content = _property(data, item, b"auxC") or b""
    return item.kind == b"av01" and content[4:].startswith(_ALPHA_NAMES)


def _orientation(data: bytes, item: _Item) -> int:
    """Return EXIF's number for how the picture has to be turned; AVIF's own EXIF data do not say.

    The turn comes before the mirror, as MIAF demands.
    """
    turn = (_property(data, item, b"irot") or b"\0")[:1]
    mirror = _property(data, item, b"imir")
    axis = mirror[0] & 1 if mirror else None
    return _ORIENTATIONS[axis][int.from_bytes(turn) & 3]


def _profile(data: bytes, item: _Item) -> bytes | None:
    for box in item.properties:
        is_profile = data[box.start : box.start + 4] in (b"prof", b"rICC")
        if box.kind == b"colr" and is_profile and 4 < box.end - box.start <= MAX_PROFILE_BYTES:
            return data[box.start + 4 : box.end]
    return None


def _data_of(data: bytes, contents: _Contents, item: _Item) -> bytes:
    start, end = 0, len(data)
    if item.in_idat:
        if contents.idat is None:
            raise _damaged()
        start, end = contents.idat.start, contents.idat.end
    pieces: list[memoryview] = []
    for offset, length in item.extents:
        piece_end = start + offset + length if length else end
        if piece_end > end:
            raise TruncatedImageError
        pieces.append(memoryview(data)[start + offset : piece_end])
    # Pieces may overlap, and so be a hundred times the file.
    if sum(map(len, pieces)) > len(data):
        raise _damaged()
    return b"".join(pieces)


def _part(data: bytes, contents: _Contents, item: _Item, header: ImageHeader) -> _Part:
    """Return what the new file has of an item."""
    picture = _picture(_data_of(data, contents, item))
    if (picture.width, picture.height) != (header.width, header.height):
        raise ImageRefusedError(
            f"is an AVIF of {header.width} x {header.height} pixels, "
            f"whose data has {picture.width} x {picture.height}"
        )
    kept: dict[bytes, bytes] = {}
    for box in item.properties:
        content = data[box.start : box.end]
        if box.kind == b"av1C":
            content = content[:_AV1C_BYTES]
        is_colour_code = box.kind == b"colr" and content.startswith(b"nclx")
        if (box.kind in _KEPT_PROPERTIES or is_colour_code) and len(content) <= MAX_PROPERTY_BYTES:
            kept.setdefault(box.kind, content)
    return _Part(picture.data, kept)


# AV1


def _picture(data: bytes) -> _Picture:
    """Return the units of a picture of one frame, which a decoder needs, and its size."""
    kept: list[bytes] = []
    sequence = b""
    frames = 0
    position = 0
    for _ in range(MAX_BOXES):
        if position >= len(data):
            break
        start = position
        unit = data[position]
        kind = unit >> 3 & 15
        position += 2 if unit & 4 else 1
        size = len(data) - position
        if unit & 2:
            size, position = _leb128(data, position)
        content = position
        position += size
        if position > len(data):
            raise TruncatedImageError
        if kind == _SEQUENCE_HEADER:
            if sequence and data[content:position] != sequence:
                raise ImageRefusedError("is an AVIF of several sizes")
            if sequence:
                continue
            sequence = data[content:position]
        elif kind not in (_FRAME_HEADER, _TILE_GROUP, _FRAME):
            continue
        frames += kind in (_FRAME_HEADER, _FRAME)
        kept.append(data[start:position])
    else:
        raise ImageRefusedError(f"is an AVIF of more than {MAX_BOXES:,} units")
    if frames != 1:
        raise ImageRefusedError(f"is an AVIF whose picture has {frames} frames: the limit is 1")
    return _Picture(b"".join(kept), *_frame_size(sequence))


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Read a number of seven bits a byte; also return where it ends."""
    value = 0
    for count, byte in enumerate(data[position : position + 8]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise _damaged()


class _Bits:
    """The bits of AV1 data, read one after another."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Read a number of some bits."""
        self._left -= count
        if self._left < 0:
            raise TruncatedImageError
        return self._value >> self._left & (1 << count) - 1

    def skip_uvlc(self) -> None:
        """Read a number of any length (section 4.10.3)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        if zeros < 32:
            self.take(zeros)


def _frame_size(sequence: bytes) -> tuple[int, int]:
    """Return the greatest width and height of frames, from a sequence header (section 5.5).

    Raises ImageRefusedError if a frame may have more than ``MAX_CODED_PIXELS``.
    """
    bits = _Bits(sequence[:1000])
    bits.take(4)  # the profile, and whether it is a still picture
    is_reduced = bits.take(1)
    if is_reduced:
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits = bits.take(4) + 1
    height_bits = bits.take(4) + 1
    width = bits.take(width_bits) + 1
    height = bits.take(height_bits) + 1
    # In a header that is not reduced, a frame can say that it has another size, in as many bits.
    coded = width * height if is_reduced else 1 << width_bits + height_bits
    if coded > MAX_CODED_PIXELS:
        raise ImageRefusedError(
            f"is an AVIF of frames of {coded:,} pixels: the limit is {MAX_CODED_PIXELS:,}"
        )
    return width, height


def _skip_operating_points(bits: _Bits) -> None:
    """Read what is between the flags of a sequence header and its sizes."""
    delay_bits = 0
    has_decoder_model = False
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)
        if bits.take(1):  # equal_picture_interval
            bits.skip_uvlc()
        has_decoder_model = bool(bits.take(1))
        if has_decoder_model:
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # seq_level_idx
            bits.take(1)
        if has_decoder_model and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)


# The new file


def _box(kind: bytes, *content: bytes) -> bytes:
    joined = b"".join(content)
    return struct.pack(">I4s", 8 + len(joined), kind) + joined


def _file(parts: list[_Part], is_premultiplied: bool) -> bytes:
    """Return the file of a picture and of its transparency, each with its properties."""
    start = _box(b"ftyp", b"avif", bytes(4), b"avif", b"mif1", b"miaf")
    offset = len(start) + 8
    kinds = []
    places = []
    properties: list[bytes] = []
    associations = []
    for number, part in enumerate(parts, 1):
        kinds.append(_box(b"infe", struct.pack(">IHH4sx", 2 << 24, number, 0, b"av01")))
        places.append(struct.pack(">HHHII", number, 0, 1, offset, len(part.data)))
        offset += len(part.data)
        indexes = []
        for kind, content in part.properties.items():
            properties.append(_box(kind, content))
            indexes.append(len(properties) | (_ESSENTIAL if kind == b"av1C" else 0))
        associations.append(struct.pack(">HB", number, len(indexes)) + bytes(indexes))
    references = b""
    if len(parts) > 1:
        references = _box(b"auxl", struct.pack(">HHH", 2, 1, 1))
        if is_premultiplied:
            references += _box(b"prem", struct.pack(">HHH", 1, 1, 2))
        references = _box(b"iref", bytes(4), references)
    count = len(parts)
    meta = _box(
        b"meta",
        bytes(4),
        _box(b"hdlr", bytes(8), b"pict", bytes(13)),
        _box(b"pitm", bytes(4), struct.pack(">H", 1)),
        _box(b"iloc", bytes(4), struct.pack(">HH", 0x4400, count), *places),
        _box(b"iinf", bytes(4), struct.pack(">H", count), *kinds),
        references,
        _box(
            b"iprp",
            _box(b"ipco", *properties),
            _box(b"ipma", bytes(4), struct.pack(">I", count), *associations),
        ),
    )
    return start + _box(b"mdat", *(part.data for part in parts)) + meta
