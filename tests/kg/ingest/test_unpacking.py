"""Compressed files: read whole, or an error of one line."""

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.ingest import unpacking
from kg.ingest.unpacking import Compression, find_compression, unpacked
from schema.errors import DataError

CHECKED: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
COMPRESS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
    Compression.ZSTD: lambda data: zstd.compress(data, options=CHECKED),
}
EACH = pytest.mark.parametrize("compression", Compression, ids=str)


def unpack(data, compression):
    with unpacked(io.BytesIO(data), compression, "a.csv") as stream:
        return stream.read()


@EACH
@settings(max_examples=20, deadline=None)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), padding=st.integers(0, 9))
def test_streams_one_after_another_are_one_file(compression, parts, padding):
    data = b"".join(map(COMPRESS[compression], parts))
    assert find_compression(data) is compression
    assert unpack(data + bytes(padding), compression) == b"".join(parts)


@EACH
def test_a_file_that_is_cut_off_is_no_shorter_file(compression):
    content = random.Random(0).randbytes(100_000)
    packed = COMPRESS[compression](content)
    for size in (7, 100, len(packed) // 2, len(packed) - 1):
        with pytest.raises(DataError, match=r"a.csv is (cut off|damaged)") as caught:
            unpack(packed[:size], compression)
        assert "\n" not in str(caught.value)


@EACH
def test_a_cut_says_where_it_is(compression):
    packed = COMPRESS[compression](bytes(range(256)) * 4)
    with pytest.raises(DataError, match=f"after {len(packed) - 3:,} bytes"):
        unpack(packed[:-3], compression)


@EACH
def test_a_flipped_bit_is_no_content(compression):
    content = random.Random(1).randbytes(2000)
    packed = bytearray(COMPRESS[compression](content))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(DataError, match="damaged"):
        unpack(bytes(packed), compression)


@EACH
def test_something_else_after_the_end_is_an_error(compression):
    with pytest.raises(DataError, match="goes on with something else"):
        unpack(COMPRESS[compression](b"id\n1\n") + b"garbage", compression)


@EACH
def test_a_bomb_is_refused_while_it_goes_off(compression, monkeypatch):
    monkeypatch.setattr(unpacking, "UNCHECKED_BYTES", 1 << 20)
    bomb = COMPRESS[compression](bytes(8 << 20))
    with (
        unpacked(io.BytesIO(bomb), compression, "a.csv") as stream,
        pytest.raises(DataError, match="200 times its size"),
    ):
        # Only so far: the bomb has 8 MiB.
        stream.read(3 << 20)


def test_there_is_a_limit_for_files_of_any_ratio(monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="becomes more than"):
        unpack(gzip.compress(random.Random(0).randbytes(2000)), Compression.GZIP)


def test_a_decompressor_that_wants_gigabytes_is_refused():
    start = lzma.compress(b"id\n1\n", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
    assert unpack(start, Compression.XZ) == b"id\n1\n"
    # The size of the dictionary is one byte of the block's header, whose checksum is renewed.
    head = bytearray(start[:24])
    header = head[12 : 12 + (head[12] + 1) * 4]
    header[4] = 36  # 1 GiB
    header[-4:] = zlib.crc32(bytes(header[:-4])).to_bytes(4, "little")
    bomb = start[:12] + bytes(header) + start[12 + len(header) :]
    with pytest.raises(DataError, match=r"(?i)memory"):
        unpack(bomb, Compression.XZ)


def test_long_windows_of_zstd_are_refused():
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 30,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    compressor = zstd.ZstdCompressor(options=options)
    data = compressor.compress(b"a" * 100) + compressor.flush()
    with pytest.raises(DataError, match=r"(?i)window|memory"):
        unpack(data, Compression.ZSTD)
