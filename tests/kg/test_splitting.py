"""Splits of groups of items."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.item_groups import ItemGroup
from kg.splits import Shares, read_split, split_of, write_split
from kg.splitting import split_groups
from schema.errors import UsageError


def groups(sizes):
    return [
        ItemGroup(f"g{number}", tuple(f"{number}-{item}" for item in range(size)))
        for number, size in enumerate(sizes)
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(0, 3))
def test_a_group_is_in_one_split_and_stays_there_when_others_come(sizes, seed):
    result = split_groups(groups(sizes), Shares(60, 20, 20), seed)
    for each in groups(sizes):
        assert len({result.splits[item] for item in each.items}) == 1
    assert sum(part.items for part in result.parts.values()) == sum(sizes) == len(result.splits)
    assert sum(part.groups for part in result.parts.values()) == len(sizes)
    later = split_groups(groups([*sizes, 4, 4]), Shares(60, 20, 20), seed)
    assert later.splits.items() >= result.splits.items()
    assert len(result.largest.group) == max(sizes)


def test_single_items_are_split_as_without_a_file():
    items = [ItemGroup(str(number), (str(number),)) for number in range(500)]
    assert split_groups(items).splits == {str(n): split_of(str(n)) for n in range(500)}
    assert split_groups(items, seed=1).splits != split_groups(items).splits


def test_shares_are_met_on_average():
    parts = split_groups(groups([1] * 4000), Shares(70, 10, 20)).parts
    for part in parts.values():
        assert part.share == pytest.approx(part.asked, abs=0.03)


def test_a_group_that_is_larger_than_its_split_should_be_is_told():
    sizes = [30 if split_of(f"g{number}") == "test" else 1 for number in range(40)]
    result = split_groups(groups(sizes))
    assert {each.group.name for each in result.too_large} == {
        f"g{number}" for number, size in enumerate(sizes) if size == 30
    }
    assert result.as_dict()["too_large"][0]["split"] == "test"


@pytest.mark.parametrize("text", ["80/10", "80/10/20", "0/50/50", "8x/1/1", "-1/100/1", "²/98/0"])
def test_shares_are_three_percentages(text):
    with pytest.raises(UsageError, match="80/10/10"):
        Shares.parse(text)


def test_a_file_is_read_as_it_was_written(tmp_path):
    assert Shares.parse("90/5/5") == Shares()
    splits = {"a,b": "train", 'c"': "test"}
    write_split(tmp_path / "split.csv", splits)
    assert read_split(tmp_path / "split.csv") == splits
