from __future__ import annotations

import pytest

from evaluation.settings import CHOICES, SETTINGS, Setting, apply_setting, catalogue_words
from fusion.inference.featurizer import ItemInput
from schema.errors import UsageError
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec

ONTOLOGY = Ontology(
    [
        PropertySpec("type", values=("Shirts", "Dress"), counts=(2, 1)),
        PropertySpec("colour", values=("Navy Blue",), counts=(1,)),
    ]
)
ITEM = ItemInput("1", "Turtle NAVY Shirt for Kids", "a.jpg", (("type", "Shirts"),))


def blinded(title: str, blind_also: tuple[str, ...] = ()) -> str | None:
    words = catalogue_words(ONTOLOGY, blind_also)
    (item,) = apply_setting([ItemInput("1", title)], Setting("blind"), words)
    return item.title


def test_there_are_eleven_settings():
    assert len(SETTINGS) == len({setting.name for setting in SETTINGS}) == 11


def test_every_modality_has_choices():
    assert list(CHOICES) == list(Modality)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (Setting("full", "yes", "all"), "full+image+known"),
        (Setting("none", "yes", "none"), "image"),
        (Setting("blind", "no", "all"), "blind+known"),
        (Setting("none", "no", "none"), "nothing"),
        (Setting("blind", "no", "none", "yes", "yes"), "blind+description+category"),
    ],
)
def test_a_setting_is_named_after_what_it_shows(setting, name):
    assert setting.name == name


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (("half", "yes", "all"), "--title 'half' is unknown: choose full, blind or none"),
        (("full", "maybe", "all"), "--image 'maybe' is unknown: choose yes or no"),
        (("full", "yes", "some"), "--known 'some' is unknown: choose all or none"),
    ],
)
def test_an_unknown_choice_is_a_usage_error_that_names_the_choices(choices, message):
    with pytest.raises(UsageError, match=message):
        Setting(*choices)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Turtle Men Shirt", "Turtle Men"),  # the value is Shirts
        ("Turtle SHIRTS", "Turtle"),
        ("Summer Dresses", "Summer Dresses"),  # only a final s is ignored
        ("navy-striped top", "-striped top"),
        ("Navy shirt", None),
    ],
)
def test_a_blind_title_loses_the_words_of_values(title, expected):
    assert blinded(title) == expected


def test_further_words_can_be_removed():
    assert blinded("Turtle for Kids", ("kid",)) == "Turtle for"


def test_content_that_is_not_shown_is_missing():
    (item,) = apply_setting([ITEM], Setting("none", "no"), frozenset())
    assert (item.title, item.image, item.known) == (None, None, ITEM.known)


def test_the_full_setting_changes_nothing():
    assert apply_setting([ITEM], Setting(), catalogue_words(ONTOLOGY)) == [ITEM]


def test_descriptions_and_categories_are_hidden_unless_asked_for():
    item = ItemInput("1", description="A navy shirt for kids", category=("Shirts",))
    (hidden,) = apply_setting([item], Setting(), frozenset())
    assert (hidden.description, hidden.category) == (None, ())
    words = catalogue_words(ONTOLOGY)
    (blind,) = apply_setting([item], Setting("blind", description="yes", category="yes"), words)
    assert (blind.description, blind.category) == ("A for kids", ("Shirts",))


def test_a_missing_title_stays_missing():
    assert apply_setting([ItemInput("1")], Setting("blind"), frozenset())[0].title is None
