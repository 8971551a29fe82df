"""Train, validation and test splits."""

import hashlib

import pytest

from kg.splits import assign_splits, read_split, split_of
from schema.errors import SourceNotFoundError, SplitError


def test_without_a_file_the_hash_of_the_id_decides():
    for item in map(str, range(200)):
        bucket = int(hashlib.sha1(item.encode()).hexdigest(), 16) % 100
        assert split_of(item) == (
            "train" if bucket < 90 else "validation" if bucket < 95 else "test"
        )


def test_items_that_a_file_does_not_name_are_in_no_split(tmp_path):
    (tmp_path / "s.csv").write_text("item,split\na,train\nb,test\nz,validation\n")
    assert assign_splits(["a", "b", "c"], tmp_path / "s.csv") == {"a": "train", "b": "test"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,part\na,train\n", "it needs item,split"),
        ("item,split\na,training\n", ":2 puts 'a' into 'training'"),
        ("item,split\na,train\na,test\n", ":3 puts 'a' into 'test' and 'train'"),
        ("item,split\nother,train\n", "none of the 1 items"),
        ("", "it needs item,split"),
    ],
)
def test_an_invalid_file_is_an_error_that_names_the_line(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SplitError, match=message):
        assign_splits(["a"], tmp_path / "s.csv")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SourceNotFoundError, match="item,split"):
        read_split(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"item,split\n\xff,train\n", "is not a CSV file in UTF-8"),
        ("item,split\na,train\n".encode("utf-16"), "is not a CSV file in UTF-8"),
        (b"item,split\n" + b"a" * 200_000 + b",train\n", "field larger"),
        (b"item,split\n" + b"a" * 2_000_000, "more than 1,048,576 characters in line 2"),
        (b"item,split\na\n", "puts 'a' into ''"),
    ],
)
def test_a_file_of_anything_is_one_line(tmp_path, data, words):
    (tmp_path / "split.csv").write_bytes(data)
    with pytest.raises(SplitError, match=words) as caught:
        read_split(tmp_path / "split.csv")
    assert "\n" not in str(caught.value)


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "split.csv").write_bytes(b"\xef\xbb\xbfitem,split\na,train\n")
    assert read_split(tmp_path / "split.csv") == {"a": "train"}
