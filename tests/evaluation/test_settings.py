from __future__ import annotations

import pytest

from evaluation.settings import SETTINGS, Setting, catalogue_words, shown
from fusion.inference.featurizer import ItemInput
from schema.errors import UsageError
from schema.ontology import Ontology, PropertySpec

ONTOLOGY = Ontology(
    [
        PropertySpec("type", values=("Shirts", "Dress"), counts=(2, 1)),
        PropertySpec("colour", values=("Navy Blue",), counts=(1,)),
    ]
)
ITEM = ItemInput("1", "Turtle NAVY Shirt for Kids", "a.jpg", (("type", "Shirts"),))


def title_of(title: str, also: tuple[str, ...] = ()) -> str | None:
    return shown([ItemInput("1", title)], Setting("blind"), catalogue_words(ONTOLOGY, also))[
        0
    ].title


def test_there_are_eleven_settings():
    assert len(SETTINGS) == len({setting.name for setting in SETTINGS}) == 11


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("full", "yes", "all"), "full+image+known"),
        (("none", "yes", "none"), "image"),
        (("none", "no", "none"), "nothing"),
    ],
)
def test_name_says_what_is_shown(words, name):
    assert Setting.parse(*words).name == name


@pytest.mark.parametrize(
    "words", [("half", "yes", "all"), ("full", "maybe", "all"), ("full", "yes", "some")]
)
def test_unknown_word_is_a_usage_error_that_names_the_choices(words):
    with pytest.raises(UsageError, match="choose"):
        Setting.parse(*words)


@pytest.mark.parametrize(
    ("title", "left"),
    [
        ("Turtle Men Shirt", "Turtle Men"),  # the value is Shirts
        ("Turtle SHIRTS", "Turtle"),
        ("Summer Dresses", "Summer Dresses"),  # only a final s is set aside
        ("navy-striped top", "-striped top"),
        ("Navy shirt", None),
    ],
)
def test_blind_title_loses_value_words(title, left):
    assert title_of(title) == left


def test_further_words_can_be_removed():
    assert title_of("Turtle for Kids", ("kid",)) == "Turtle for"


def test_parts_that_are_not_shown_are_absent():
    hidden = shown([ITEM], Setting("none", False), frozenset())[0]
    assert (hidden.title, hidden.image, hidden.known) == (None, None, ITEM.known)


def test_full_setting_changes_nothing():
    assert shown([ITEM], Setting(), catalogue_words(ONTOLOGY)) == [ITEM]


def test_missing_title_stays_missing():
    assert shown([ItemInput("1")], Setting("blind"), frozenset())[0].title is None
