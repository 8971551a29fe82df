"""Blocks of whole lines in UTF-8, from text in any encoding, wherever the file is cut."""

import io

import pytest

from kg.ingest.readers import text_blocks
from kg.ingest.readers.encodings import Encoding
from kg.ingest.readers.text_blocks import LongLine, read_blocks

TEXT = "sku,größe\r\nC1,红色😀\n\nC2,a\rb\r\r\n"


def blocks_of(data, encoding, any_line_end, size):
    return list(read_blocks(io.BytesIO(data), encoding, any_line_end, size))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-be", "gb18030"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
@pytest.mark.parametrize("any_line_end", [False, True])
def test_text_does_not_depend_on_where_it_is_cut(encoding, size, any_line_end):
    blocks = blocks_of(TEXT.encode(encoding), Encoding(encoding), any_line_end, size)
    expected = TEXT
    if any_line_end:
        expected = TEXT.replace("\r\n", "\n").replace("\r", "\n")
    assert b"".join(blocks).decode() == expected
    assert all(block.endswith(b"\n") for block in blocks)


def test_the_last_line_may_lack_its_end():
    assert blocks_of(b"a\nb", Encoding("utf-8"), False, 1) == [b"a\n", b"b\n"]
    assert blocks_of(b"a\rb\r", Encoding("utf-8"), True, 1) == [b"a\n", b"b\n"]


def test_a_byte_order_mark_is_no_text():
    assert blocks_of(b"\xff\xfea\0", Encoding("utf-16-le", 2), False, 9) == [b"a\n"]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"a\0\x00\xd8b\0\n\0", "utf-16-le"),
        (b"a\0\n\0b", "utf-16-le"),
        (b"a\x81\n", "cp1252"),
        (b"a\xff\xff\n", "gb18030"),
    ],
)
def test_what_cannot_be_decoded_is_not_valid_afterwards(data, encoding):
    blocks = blocks_of(data, Encoding(encoding), False, 1)
    with pytest.raises(UnicodeDecodeError):
        b"".join(blocks).decode()
    assert b"".join(blocks).startswith(b"a")


def test_a_line_that_is_too_long_is_passed_over(monkeypatch):
    monkeypatch.setattr(text_blocks, "MAX_LINE_BYTES", 20)
    data = b"a\n" + b"x" * 100 + b"\nb\n" + b"y" * 50
    blocks = blocks_of(data, Encoding("utf-8"), False, 8)
    lines = [block.start[:1] if isinstance(block, LongLine) else block for block in blocks]
    assert lines == [b"a\n", b"x", b"b\n", b"y"]
