import hashlib

import pytest

from kg.splits import assign, read_split, split_of
from schema.errors import SourceNotFoundError, SplitError


def test_the_hash_of_the_id_decides():
    for item in map(str, range(200)):
        bucket = int(hashlib.sha1(item.encode()).hexdigest(), 16) % 100
        assert split_of(item) == (
            "train" if bucket < 90 else "validation" if bucket < 95 else "test"
        )


def test_a_file_decides_for_the_items_that_it_names(tmp_path):
    (tmp_path / "s.csv").write_text("item,split\na,train\nb,test\nz,validation\n")
    assert assign(["a", "b", "c"], tmp_path / "s.csv") == {"a": "train", "b": "test"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,part\na,train\n", "it needs item,split"),
        ("item,split\na,training\n", ":2 puts 'a' into 'training'"),
        ("item,split\na,train\na,test\n", ":3 puts 'a' into 'test' and 'train'"),
        ("item,split\nother,train\n", "none of the 1 items"),
        ("", "it needs item,split"),
    ],
)
def test_unfit_files_are_named_with_their_line(tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SplitError, match=words):
        assign(["a"], tmp_path / "s.csv")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SourceNotFoundError, match="item,split"):
        read_split(tmp_path / "none.csv")
