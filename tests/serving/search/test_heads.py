"""What an item is, and what it is only for."""

from __future__ import annotations

from serving.search.heads import WordUse, head_of_query, heads_of
from serving.search.words import sequence, words

TITLES = ["TV stand", "Phone stand", "Wall stand, oak", "LCD TV", "Sony TV 50", "Smart TV for you"]


def things() -> frozenset[str]:
    use = WordUse()
    for title in TITLES * 3:
        use.add([sequence(title)], [])
    return use.things()


def test_a_word_that_ends_phrases_is_one_for_things() -> None:
    found = things()
    assert {"stand", "tv"} <= found
    assert not {"phone", "lcd", "for"} & found


def test_what_something_is_for_is_no_head() -> None:
    assert heads_of([sequence("TV stand")], things()) == ["stand"]
    assert heads_of([sequence("LCD TV, 50 inch")], things()) == ["tv", "50", "inch"]
    for text in ("stand for phone", "stand for your new phone"):
        assert heads_of([sequence(text)], things())[0] == "stand"
        assert "phone" not in heads_of([sequence(text)], things())


def test_a_word_that_is_the_value_of_many_items_is_none_for_things() -> None:
    use = WordUse()
    for _ in range(20):
        use.add([sequence("mug black")], ["black"])
    assert "black" in use.describing()
    assert use.things() == {"mug"}


def test_the_head_of_a_query() -> None:
    assert head_of_query(words("red clay mug")) == "mug"
    assert head_of_query(words("case for an iphone")) == "case"
    assert head_of_query(words("souris sans fil")) == "souris"
    assert head_of_query(words("with")) == "with"
    assert head_of_query([]) == ""
