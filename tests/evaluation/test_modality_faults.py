from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.modality_faults import RATIOS, ModalityFault, with_faults
from fusion.inference.featurizer import ItemInput

ITEMS = [ItemInput(f"i{number}", f"title {number}", f"{number}.jpg") for number in range(30)]


@pytest.mark.parametrize("fault", ModalityFault)
def test_no_more_items_change_than_the_ratio_says_and_those_of_lower_ratios_are_among_them(fault):
    changed: set[str] = set()
    for ratio in RATIOS:
        items = with_faults(ITEMS, fault, ratio).items
        now = {
            one.id
            for one, other in zip(items, ITEMS, strict=True)
            if (one.title, one.image) != (other.title, other.image)
        }
        assert len(now) == round(ratio * 30)
        assert changed <= now
        changed = now


@pytest.mark.parametrize(
    ("fault", "titles", "images"),
    [
        ("TMR", 30, 0),
        ("IMR", 0, 30),
        ("MMR", 20, 20),
        ("TNR", 30, 0),
        ("INR", 0, 30),
        ("TINR", 30, 30),
        ("MNR", 20, 20),
    ],
)
def test_what_changes_is_counted(fault, titles, images):
    faulty = with_faults(ITEMS, ModalityFault(fault), 1.0)
    assert (faulty.titles, faulty.images) == (titles, images)
    is_noise = ModalityFault(fault).is_noise
    for one, other in zip(faulty.items, ITEMS, strict=True):
        for mine, its in ((one.title, other.title), (one.image, other.image)):
            assert mine == its or (mine is not None) is is_noise


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([None, "", "same", "other"]), max_size=8),
    st.sampled_from(list(ModalityFault)),
    st.sampled_from(RATIOS),
)
def test_noise_is_always_another_title(titles, fault, ratio):
    items = [ItemInput(str(number), title) for number, title in enumerate(titles)]
    faulty = with_faults(items, fault, ratio)
    changed = [
        (one.title, other.title)
        for one, other in zip(faulty.items, items, strict=True)
        if one.title != other.title
    ]
    assert len(changed) == faulty.titles
    assert all((new in titles and bool(new)) is fault.is_noise for new, _ in changed)


def test_an_item_alone_keeps_its_title():
    faulty = with_faults(ITEMS[:1], ModalityFault.TNR, 1.0)
    assert (faulty.items, faulty.titles) == (ITEMS[:1], 0)
