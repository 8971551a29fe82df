"""Decompress streams of unknown origin: whole or not at all, and never more than a limit.

A file of ten megabytes can hold ten gigabytes of zeros, so what comes out is counted while it comes
out (https://www.bamsoftware.com/hacks/zipbomb/). A stream that ends in the middle is an error,
because what came out before would pass for the whole.
"""

from __future__ import annotations

import io
import zlib
from enum import Enum
from typing import BinaryIO, Protocol

from schema.errors import DataError

MAX_BYTES = 100 << 30
"""The most bytes that one compressed file may become."""
MAX_RATIO = 200
"""The most bytes that a byte of a compressed file may become; tables become 5 to 50."""
UNCHECKED_BYTES = 256 << 20
"""So much may become of any file: small ones of repeated rows have any ratio."""
_MAX_MEMORY = 256 << 20  # of a decompressor; xz at its highest setting needs 65 MiB
_ZSTD_WINDOW_LOG = 27  # 128 MiB, what `zstd -d` allows without --long
_CHUNK_BYTES = 1 << 17
_BUFFER_BYTES = 1 << 18


class Compression(Enum):
    """A format of compressed files: its name, its suffix, and how its files start."""

    GZIP = ("gzip", ".gz", (b"\x1f\x8b",))
    BZIP2 = ("bzip2", ".bz2", (b"BZh",))
    XZ = ("xz", ".xz", (b"\xfd7zXZ\x00",))
    # A file may start with frames that decoders skip, whose first byte is 0x50 to 0x5f.
    ZSTD = (
        "zstd",
        ".zst",
        (b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))),
    )

    def __init__(self, label: str, suffix: str, starts: tuple[bytes, ...]) -> None:
        self.label = label
        self.suffix = suffix
        self.starts = starts


def find_compression(start: bytes) -> Compression | None:
    """Return the compression of a file by its first bytes."""
    return next((each for each in Compression if start.startswith(each.starts)), None)


def check_size(name: str, packed: int, unpacked: int) -> None:
    """Raise DataError if a file of ``packed`` bytes must not become ``unpacked`` bytes."""
    if unpacked > MAX_BYTES:
        raise DataError(
            f"{name} becomes more than {MAX_BYTES >> 30} GiB when it is unpacked: "
            "unpack it yourself, and load it in parts"
        )
    if unpacked > UNCHECKED_BYTES and unpacked > MAX_RATIO * packed:
        raise DataError(
            f"{name} becomes more than {MAX_RATIO} times its size when it is unpacked, as no table "
            "does (an archive bomb?): unpack it yourself if you trust it"
        )


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _GzipDecompressor:
    """zlib's decompressor of gzip, which checks length and checksum, with bz2's interface."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max(max_length, 0))


def _decompressor(compression: Compression) -> _Decompressor:
    if compression is Compression.GZIP:
        return _GzipDecompressor()
    if compression is Compression.BZIP2:
        import bz2

        return bz2.BZ2Decompressor()
    if compression is Compression.XZ:
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY)
    from backports import zstd

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options)


class _UnpackingStream(io.RawIOBase):
    """The decompressed bytes of a file, which may consist of several compressed streams."""

    def __init__(self, source: BinaryIO, compression: Compression, name: str) -> None:
        self._source = source
        self._compression = compression
        self._name = name
        self._bytes_in = 0
        self._bytes_out = 0
        self._unread = b""
        self._decompressor = _decompressor(compression)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while not self._decompressor.eof or self._next_stream():
            data = b""
            if self._decompressor.needs_input:
                data = self._read_more()
                if not data:
                    raise self._error("is cut off: it ends in the middle of its data")
            out = self._decompress(data, len(buffer))
            self._bytes_out += len(out)
            check_size(self._name, self._bytes_in, self._bytes_out)
            if out:
                buffer[: len(out)] = out
                return len(out)
        return 0

    def _read_more(self) -> bytes:
        """Return input that is not yet decompressed; nothing at the end of the file."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        data = self._source.read(_CHUNK_BYTES)
        self._bytes_in += len(data)
        return data

    def _decompress(self, data: bytes, size: int) -> bytes:
        try:
            return self._decompressor.decompress(data, size)
        except MemoryError:
            raise
        except Exception as error:
            # bz2 raises OSError and ValueError, and zlib, lzma and zstd have errors of their own.
            raise self._error(f"is damaged ({error})") from None

    def _next_stream(self) -> bool:
        """Go on with the stream that follows the one that has ended, if any.

        Zeros after a stream are padding, which xz and tapes have.
        """
        longest = max(map(len, self._compression.starts))
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while len(rest) < longest and (data := self._read_more()):
            rest = (rest + data).lstrip(b"\0")
        if not rest:
            return False
        if not rest.startswith(self._compression.starts):
            raise self._error("goes on with something else after its end")
        self._unread = rest
        self._decompressor = _decompressor(self._compression)
        return True

    def _error(self, what: str) -> DataError:
        return DataError(
            f"{self._name} {what}, after {self._bytes_in:,} bytes of {self._compression.label} "
            f"data and {self._bytes_out:,} of its content: download it or pack it again"
        )


def unpacked(source: BinaryIO, compression: Compression, name: str) -> BinaryIO:
    """Return the decompressed bytes of a stream, which is closed with them.

    Reading raises DataError, with ``name`` in its message, if the stream is damaged, cut off, or
    becomes too large.
    """
    return io.BufferedReader(_UnpackingStream(source, compression, name), _BUFFER_BYTES)
