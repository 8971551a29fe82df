import pytest

from encoders.batch import text_tensors
from encoders.tokenizer import SPECIAL_TOKENS, CatalogTokenizer

TITLES = ["Red cotton shirt", "Blue cotton shirts", "红色棉衬衫", "Red lamp, 12 cm"]


@pytest.fixture(scope="module")
def tokenizer():
    return CatalogTokenizer.train(TITLES * 3, vocab_size=200, buckets=512)


def test_words_part_punctuation_and_chinese(tokenizer):
    assert tokenizer.words("Red lamp, 12 cm") == ["red", "lamp", ",", "12", "cm"]
    assert tokenizer.words("红色 Shirt") == ["红", "色", "shirt"]


def test_json_round_trip_gives_the_same_pieces(tokenizer):
    again = CatalogTokenizer.from_json(tokenizer.to_json(), tokenizer.buckets)
    assert again.pieces(again.words(TITLES[0]), 9) == tokenizer.pieces(tokenizer.words(TITLES[0]), 9)


def test_the_same_texts_give_the_same_pieces():
    texts = [f"{a}{b}{a} {b}{a}" for a in "abcdefgh" for b in "klmnopq"] * 2
    vocabularies = {CatalogTokenizer.train(texts, 120, 64).to_json() for _ in range(4)}
    assert len(vocabularies) == 1


def test_no_piece_of_text_is_a_special_token(tokenizer):
    ids = tokenizer.pieces(tokenizer.words("red cotton shirt"), 20)
    assert min(ids) >= len(SPECIAL_TOKENS)


def test_ngrams_avoid_the_padding_bucket_and_repeat_themselves(tokenizer):
    grams = tokenizer.ngrams(["red", "shirt"])
    assert grams == tokenizer.ngrams(["red", "shirt"])
    assert all(0 < gram < 512 for gram in grams)


def test_ngrams_see_word_order_only_between_neighbours(tokenizer):
    assert sorted(tokenizer.ngrams(["red"])) != sorted(tokenizer.ngrams(["der"]))
    assert len(tokenizer.ngrams(["a", "b"])) == len(tokenizer.ngrams(["a"])) + len(tokenizer.ngrams(["b"])) + 1


def test_text_tensors_pad_and_point(tokenizer):
    pieces, grams, offsets = text_tensors(tokenizer, [["red"], [], ["red", "lamp"]], 8)
    assert (pieces[1] == 0).all()
    assert offsets.tolist() == [0, len(tokenizer.ngrams(["red"])), len(tokenizer.ngrams(["red"]))]
    assert len(grams) == offsets[2] + len(tokenizer.ngrams(["red", "lamp"]))
