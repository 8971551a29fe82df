"""What titles tell of properties."""

from __future__ import annotations

from experts.situations import CatalogueWords, Situation, TitleState, others_of
from tests.experts.made import ONTOLOGY

WORDS = CatalogueWords(ONTOLOGY)


def test_what_a_title_tells_depends_on_the_property() -> None:
    states = WORDS.states("Red mugs, Alda", ["colour", "kind", "room"])
    assert states == [TitleState.SAYS, TitleState.SAYS, TitleState.OTHERS]
    assert WORDS.states("Alda 3", ["colour"]) == [TitleState.BARE]
    assert WORDS.states(None, ["colour", "kind"]) == [TitleState.ABSENT] * 2
    assert WORDS.states("", ["colour"]) == [TitleState.ABSENT]


def test_values_that_are_taken_away_are_not_told() -> None:
    # The same title is asked just before, with all values.
    assert WORDS.states("Red 3", ["colour"]) == [TitleState.SAYS]
    assert WORDS.without("colour", ["red"]).states("Red 3", ["colour"]) == [TitleState.BARE]
    assert WORDS.states("Red 3", ["colour"]) == [TitleState.SAYS]


def test_blind_titles_lose_the_words_of_all_values() -> None:
    assert WORDS.blind("Red mug Alda") == "Alda"
    assert WORDS.blind("Red mug") is None
    assert WORDS.blind(None) is None


def test_situations_have_names_and_neighbours() -> None:
    situation = Situation(TitleState.SAYS, True, False)
    assert situation.name == "title(says)+image"
    assert Situation(TitleState.ABSENT, False, False).name == "nothing"
    assert [each.title for each in situation.nearest] == [TitleState.OTHERS, TitleState.BARE]
    assert all(each.image and not each.known for each in situation.nearest)
    assert not Situation(TitleState.ABSENT, True, True).nearest


def test_others_are_the_statements_of_other_properties() -> None:
    known = (("kind", "mug"), ("colour", "red"), ("colour", "blue"))
    assert others_of(known, "colour") == (("kind", "mug"),)
