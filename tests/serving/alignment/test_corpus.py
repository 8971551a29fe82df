"""Words, codes and numbers of texts, and the neighbours of items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.alignment.corpus import Corpus
from serving.alignment.records import Record, Records, Side
from serving.alignment.texts import codes, compounds, flat, numbers
from tests.serving.alignment.made_pairs import joined, made_records


def test_codes_are_words_with_digits_and_letters_or_long_numbers() -> None:
    assert codes("lg ldf6920bb 24 wfw-9200/sw 108r00645 4821 in 5x") == [
        "ldf6920bb",
        "wfw9200sw",
        "108r00645",
        "4821",
    ]
    assert numbers("a 13.5 inch tv, 4 hdmi, x4 7.") == ["13.5", "4", "7"]
    assert compounds("dsc-w120/b is 3.5") == ["dsc-w120/b", "is", "3.5"]
    assert flat("DSC-W120 B_1".casefold()) == "dscw120b1"


def test_an_item_of_one_side_has_neighbours_of_the_other_alone() -> None:
    left, right = made_records(30)
    corpus = Corpus(joined(left, right))
    nearest = corpus.neighbours("title words").items
    assert np.all(nearest[:30][nearest[:30] >= 0] >= 30)
    assert np.all(nearest[30:] < 30)


def test_items_of_either_side_have_all_others_as_neighbours_and_not_themselves() -> None:
    left, right = made_records(20)
    records = (*left, *right)
    corpus = Corpus(Records(records, (Side.EITHER,) * len(records)))
    neighbours = corpus.neighbours("title words")
    rows = np.arange(len(records))[:, None]
    assert not (neighbours.items == rows).any()
    # The same as by comparing all items with each other.
    matrix = corpus.cosines["title words"].whole()
    every = (matrix @ matrix.T).toarray()
    np.fill_diagonal(every, -1)
    expected = np.sort(every, axis=1)[:, ::-1][:, :-1]
    found = neighbours.first(len(records) - 1)
    assert np.allclose(found.similarities, np.maximum(expected, 0), atol=1e-5)
    assert (neighbours.items[:, len(records) - 1 :] == -1).all()
    # In whichever order rows are asked for, and how often.
    some = np.array([5, 3, 5, 30])
    again = Corpus(Records(records, (Side.EITHER,) * len(records)))
    again.neighbours("title words", some[:2])
    assert np.array_equal(again.neighbours("title words", some).items, neighbours.items[some])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_any_titles_can_be_compared(titles: list[str]) -> None:
    records = tuple(Record(str(number), title) for number, title in enumerate(titles))
    corpus = Corpus(Records(records, (Side.EITHER,) * len(records)))
    for weights in (*corpus.cosines.values(), *corpus.overlaps.values()):
        matrix = weights.whole()
        assert matrix.shape[0] == len(titles)
        assert np.isfinite(matrix.data).all()
    assert corpus.neighbours("title n-grams").items.shape[0] == len(titles)


def test_what_too_many_items_have_is_left_out_of_the_search_however_many_items_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles = ("mug red", "mug red", "mug blue", "mug blue", "mug green")
    records = tuple(Record(str(number), title) for number, title in enumerate(titles))
    monkeypatch.setattr("serving.alignment.corpus.MIN_FREQUENT", 2)
    monkeypatch.setattr("serving.alignment.corpus.MAX_DOCUMENT_SHARE", 1.0)

    def found() -> list[int]:
        corpus = Corpus(Records(records, (Side.EITHER,) * len(records)))
        return (corpus.neighbours("title words").items >= 0).sum(1).tolist()

    assert found() == [4, 4, 4, 4, 4]
    monkeypatch.setattr("serving.alignment.corpus.MAX_FREQUENT", 3)
    assert found() == [1, 1, 1, 1, 0]
