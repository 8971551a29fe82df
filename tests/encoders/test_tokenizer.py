import math

import pytest

from encoders.batch import text_tensors
from encoders.tokenizer import (
    SPECIAL_TOKENS,
    CatalogTokenizer,
    SpecialPieces,
    inverse_frequencies,
    vocabulary_lines,
    word_pieces,
)
from schema.errors import UsageError
from tests.real_data import DATA, needs_data

VOCABULARY = DATA / "k3m" / "vocab.txt"

TITLES = ["Red cotton shirt", "Blue cotton shirts", "红色棉衬衫", "Red lamp, 12 cm"]


@pytest.fixture(scope="module")
def tokenizer():
    return CatalogTokenizer.train(TITLES * 3, vocab_size=200, max_ngrams=512)


def test_words_part_punctuation_and_chinese(tokenizer):
    assert tokenizer.words("Red lamp, 12 cm") == ["red", "lamp", ",", "12", "cm"]
    assert tokenizer.words("红色 Shirt") == ["红", "色", "shirt"]


def test_its_files_give_the_same_pieces_and_ngrams(tokenizer):
    again = CatalogTokenizer.from_files(tokenizer.files())
    words = tokenizer.words(TITLES[0])
    assert again.pieces(words, 9) == tokenizer.pieces(words, 9)
    assert again.ngrams(words) == tokenizer.ngrams(words) != []


def test_the_same_texts_give_the_same_pieces():
    texts = [f"{a}{b}{a} {b}{a}" for a in "abcdefgh" for b in "klmnopq"] * 2
    vocabularies = {
        tuple(CatalogTokenizer.train(texts, 120, 64).files().values()) for _ in range(4)
    }
    assert len(vocabularies) == 1


def test_no_piece_of_text_is_a_special_token(tokenizer):
    ids = tokenizer.pieces(tokenizer.words("red cotton shirt"), 20)
    assert min(ids) >= tokenizer.special.first_word == len(SPECIAL_TOKENS)


def test_a_pretrained_vocabulary_keeps_its_numbers():
    vocabulary = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "shirt", "##s"]
    tokenizer = CatalogTokenizer.pretrained(word_pieces(vocabulary), ["red shirts", "red mug"], 64)
    assert tokenizer.special == SpecialPieces(2, 3, 4, 5)
    assert tokenizer.special.first_word == 6
    assert tokenizer.pieces(tokenizer.words("Red shirts mug"), 9) == [6, 7, 8, 2]
    assert CatalogTokenizer.from_files(tokenizer.files()).special == tokenizer.special


@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [(["[PAD]", "red"], r"no \[UNK\]"), ([*SPECIAL_TOKENS[1:], "[PAD]"], r"\[PAD\] at 4")],
)
def test_a_vocabulary_that_is_no_berts_is_refused(vocabulary, reason):
    with pytest.raises(UsageError, match=reason):
        CatalogTokenizer.pretrained(word_pieces(vocabulary), [], 8)


def test_only_line_feeds_end_a_piece():
    assert vocabulary_lines("[PAD]\n\u2028\r\nred\n") == ["[PAD]", "\u2028", "red"]


@needs_data
def test_chinese_is_read_by_bert_base_chineses_own_vocabulary():
    tokenizer = CatalogTokenizer.pretrained(
        word_pieces(vocabulary_lines(VOCABULARY.read_text(encoding="utf-8"))), [], 8
    )
    assert (tokenizer.vocab_size, tokenizer.special) == (21128, SpecialPieces(100, 101, 102, 103))
    assert tokenizer.special.unk not in tokenizer.pieces(
        tokenizer.words("2020冬季新款高领复古印花打底衫"), 36
    )


def test_unknown_ngrams_are_none(tokenizer):
    assert tokenizer.ngrams(["zzzz"]) == []
    assert 0 not in tokenizer.ngrams(["red", "shirt"])


def test_ngrams_see_word_order_only_between_neighbours(tokenizer):
    assert len(tokenizer.ngrams(["red", "cotton"])) == len(tokenizer.ngrams(["cotton", "red"])) + 1
    assert sorted(tokenizer.ngrams(["red"])) != sorted(tokenizer.ngrams(["der"]))


def test_rare_ngrams_weigh_more_and_those_of_one_title_are_left_out():
    weights = inverse_frequencies([["mug"], ["mug"], ["red", "mug"], ["red"], ["once"]], 5, 100)
    assert weights["wred"] == pytest.approx(math.log(6 / 3) + 1, abs=1e-6)
    assert weights["wmug"] == pytest.approx(math.log(6 / 4) + 1, abs=1e-6)
    assert "wonce" not in weights


def test_the_most_frequent_ngrams_are_kept():
    assert list(inverse_frequencies([["a"], ["a"], ["a"], ["b"], ["b"]], 5, 2)) == ["<a>", "wa"]


def test_text_tensors_pad_and_point(tokenizer):
    pieces, grams, offsets = text_tensors(tokenizer, [["red"], [], ["red", "lamp"]], 8)
    assert (pieces[1] == 0).all()
    assert offsets.tolist() == [0, len(tokenizer.ngrams(["red"])), len(tokenizer.ngrams(["red"]))]
    assert len(grams) == offsets[2] + len(tokenizer.ngrams(["red", "lamp"]))
