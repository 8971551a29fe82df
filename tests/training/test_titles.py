import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.batch import ngram_tensors, piece_tensor
from encoders.tokenizer import CatalogTokenizer
from training.titles import ShownTitles, TitleTable

WORDS = ["red", "blue", "lamp", "lampshade", "mug", "of", "steel", "x"]
TITLES = st.lists(st.lists(st.sampled_from(WORDS), max_size=9), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def words_tokenizer():
    texts = [f"{first} {second} of steel" for first in WORDS for second in WORDS]
    return CatalogTokenizer.train(texts, 60, 200)


@given(TITLES, st.integers(1, 12))
@settings(max_examples=60)
def test_the_tensors_are_those_of_the_tokenizer(words_tokenizer, titles, limit):
    table = TitleTable.of(words_tokenizer, titles, [title[1:] for title in titles])
    items = np.arange(len(titles))[::-1]
    shown = table.full(items)
    expected = [titles[item] for item in items]
    compare(words_tokenizer, table, shown, expected, limit)


@given(TITLES, st.integers(0, 2**32))
@settings(max_examples=60)
def test_titles_are_blinded_hidden_thinned_and_replaced(words_tokenizer, titles, seed):
    rng = np.random.default_rng(seed)
    count = len(titles)
    blinded = [title[::2] for title in titles]
    table = TitleTable.of(words_tokenizer, titles, blinded)
    blind, hidden, replaced = rng.random((3, count)) < 0.5
    items = np.arange(count)
    donors = rng.permutation(count)
    shown = table.shown(items, blind, hidden)
    kept = rng.random(len(shown.words)) < 0.7
    thinned = ShownTitles(shown.words[kept], shown.row[kept], count)
    mixed = thinned.replaced_by(table.full(donors), replaced)

    expected = []
    keep = iter(kept.tolist())
    for item in items.tolist():
        words = [] if hidden[item] else blinded[item] if blind[item] else titles[item]
        words = [word for word in words if next(keep)]
        expected.append(titles[donors[item]] if replaced[item] else words)
    compare(words_tokenizer, table, mixed, expected, 8)
    whole = table.full(items)
    assert mixed.equal(whole).tolist() == [
        new == old for new, old in zip(expected, titles, strict=True)
    ]
    assert mixed.lengths.tolist() == [len(words) for words in expected]


def compare(tokenizer, table, shown, words, limit):
    """Shown titles have the tensors of lists of words."""
    tensors = table.tensors(shown, limit)
    assert torch.equal(tensors.pieces, piece_tensor(tokenizer, words, limit))
    ngrams, offsets = ngram_tensors(tokenizer, words)
    assert torch.equal(tensors.ngrams, ngrams)
    assert torch.equal(tensors.ngram_offsets, offsets)
