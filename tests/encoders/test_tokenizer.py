import math

import pytest
from tokenizers import Tokenizer

from encoders.batch import title_tensors
from encoders.tokenizer import (
    SPECIAL_TOKENS,
    CatalogTokenizer,
    SpecialPieces,
    inverse_document_frequencies,
    vocabulary_lines,
    wordpiece_tokenizer,
)
from schema.errors import UsageError
from tests.encoders.made_text_models import KINDS, byte_pairs
from tests.real_data import DATA, needs_data

VOCABULARY = DATA / "k3m" / "vocab.txt"

TITLES = ["Red cotton shirt", "Blue cotton shirts", "红色棉衬衫", "Red lamp, 12 cm"]


@pytest.fixture(scope="module")
def tokenizer():
    return CatalogTokenizer.train(TITLES * 3, vocab_size=200, max_ngrams=512)


def test_punctuation_and_chinese_characters_are_words(tokenizer):
    assert tokenizer.words("Red lamp, 12 cm") == ["red", "lamp", ",", "12", "cm"]
    assert tokenizer.words("红色 Shirt") == ["红", "色", "shirt"]


def test_a_restored_tokenizer_gives_the_same_pieces_and_ngrams(tokenizer):
    restored = CatalogTokenizer.from_files(tokenizer.files())
    words = tokenizer.words(TITLES[0])
    assert restored.pieces(words, 9) == tokenizer.pieces(words, 9)
    assert restored.ngrams(words) == tokenizer.ngrams(words) != []


def test_the_same_texts_give_the_same_pieces():
    texts = [f"{a}{b}{a} {b}{a}" for a in "abcdefgh" for b in "klmnopq"] * 2
    vocabularies = {
        tuple(CatalogTokenizer.train(texts, 120, 64).files().values()) for _ in range(4)
    }
    assert len(vocabularies) == 1


def test_no_piece_of_a_text_is_special(tokenizer):
    ids = tokenizer.pieces(tokenizer.words("red cotton shirt"), 20)
    assert min(ids) >= tokenizer.special.word_ids(2000).start == len(SPECIAL_TOKENS)


def test_a_pretrained_vocabulary_keeps_its_ids():
    vocabulary = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "shirt", "##s"]
    pieces = wordpiece_tokenizer(vocabulary)
    tokenizer = CatalogTokenizer.pretrained(pieces, ["red shirts", "red mug"], 64)
    assert tokenizer.special == SpecialPieces(unk=2, cls=3, sep=4, mask=5)
    assert tokenizer.special.word_ids(9) == range(6, 9)
    assert tokenizer.pieces(tokenizer.words("Red shirts mug"), 9) == [6, 7, 8, 2]
    assert CatalogTokenizer.from_files(tokenizer.files()).special == tokenizer.special


@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [(["[PAD]", "red"], r"no \[UNK\]"), ([*SPECIAL_TOKENS[1:], "[PAD]"], r"\[PAD\] at 4")],
)
def test_a_vocabulary_without_berts_special_pieces_is_refused(vocabulary, reason):
    with pytest.raises(UsageError, match=reason):
        CatalogTokenizer.pretrained(wordpiece_tokenizer(vocabulary), [], 8)


def test_only_line_feeds_end_a_piece():
    assert vocabulary_lines("[PAD]\n\u2028\r\nred\n") == ["[PAD]", "\u2028", "red"]


@needs_data
def test_chinese_is_split_by_the_vocabulary_of_bert_base_chinese():
    pieces = wordpiece_tokenizer(vocabulary_lines(VOCABULARY.read_text(encoding="utf-8")))
    tokenizer = CatalogTokenizer.pretrained(pieces, [], 8)
    assert tokenizer.vocab_size == 21128
    assert tokenizer.special == SpecialPieces(unk=100, cls=101, sep=102, mask=103)
    words = tokenizer.words("2020冬季新款高领复古印花打底衫")
    assert tokenizer.special.unk not in tokenizer.pieces(words, 36)


def test_unknown_ngrams_are_left_out(tokenizer):
    assert tokenizer.ngrams(["zzzz"]) == []
    assert 0 not in tokenizer.ngrams(["red", "shirt"])


def test_ngrams_depend_on_the_order_of_neighbouring_words_alone(tokenizer):
    assert len(tokenizer.ngrams(["red", "cotton"])) == len(tokenizer.ngrams(["cotton", "red"])) + 1
    assert sorted(tokenizer.ngrams(["red"])) != sorted(tokenizer.ngrams(["der"]))


def test_rare_ngrams_weigh_more_and_those_of_a_single_title_are_left_out():
    titles = [["mug"], ["mug"], ["red", "mug"], ["red"], ["once"]]
    weights = inverse_document_frequencies(titles, 100)
    assert weights["wred"] == pytest.approx(math.log(6 / 3) + 1, abs=1e-6)
    assert weights["wmug"] == pytest.approx(math.log(6 / 4) + 1, abs=1e-6)
    assert "wonce" not in weights


def test_the_most_frequent_ngrams_are_kept():
    titles = [["a"], ["a"], ["a"], ["b"], ["b"]]
    assert list(inverse_document_frequencies(titles, 2)) == ["<a>", "wa"]


def test_title_tensors_are_padded_and_have_offsets(tokenizer):
    titles = title_tensors(tokenizer, [["red"], [], ["red", "lamp"]], 8)
    first = len(tokenizer.ngrams(["red"]))
    assert (titles.pieces[1] == 0).all()
    assert titles.ngram_offsets.tolist() == [0, first, first]
    assert len(titles.ngrams) == first + len(tokenizer.ngrams(["red", "lamp"]))


def files_of(kind):
    return {"tokenizer.json": KINDS[kind][1]().to_str().encode(), "ngrams.json": b"{}"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_encoders_own_pieces_are_kept(kind):
    files = files_of(kind)
    tokenizer = CatalogTokenizer.from_files(files)
    theirs = Tokenizer.from_str(files["tokenizer.json"].decode())
    theirs.no_padding()
    # Where words stand apart, the pieces are those of the whole text.
    for text in ("red mug", "crimson chair a b", "Blue lamp of steel", "green"):
        expected = theirs.encode(f" {text}", add_special_tokens=False).ids
        assert tokenizer.pieces(tokenizer.words(text), 99) == expected
    assert CatalogTokenizer.from_files(tokenizer.files()).special == tokenizer.special
    cut = theirs.encode(" red mug", add_special_tokens=False).ids[:1]
    assert tokenizer.pieces(tokenizer.words("red mug"), 1) == cut


@pytest.mark.parametrize(
    ("kind", "special"),
    [
        ("bert", ("[UNK]", "[CLS]", "[SEP]", "[MASK]")),
        ("mpnet", ("[UNK]", "<s>", "</s>", "<mask>")),
        ("roberta", ("<unk>", "<s>", "</s>", "<mask>")),
        ("modernbert", ("[UNK]", "[CLS]", "[SEP]", "[MASK]")),
        ("albert", ("<unk>", "[CLS]", "[SEP]", "[MASK]")),
        ("clip", ("<|endoftext|>", "<|startoftext|>", "<|endoftext|>", "<|endoftext|>")),
    ],
)
def test_each_vocabulary_has_its_own_special_pieces(kind, special):
    tokenizer = CatalogTokenizer.from_files(files_of(kind))
    found = tokenizer.special
    names = [
        tokenizer.tokenizer.id_to_token(each)
        for each in (found.unk, found.cls, found.sep, found.mask)
    ]
    assert tuple(names) == special
    words = found.word_ids(tokenizer.vocab_size)
    assert not set(words) & {0, found.unk, found.cls, found.sep, found.mask}
    assert len(words) > tokenizer.vocab_size - 12


def test_words_keep_their_case_but_ngrams_do_not():
    pieces = KINDS["roberta"][1]()
    tokenizer = CatalogTokenizer.pretrained(pieces, ["Red Mug", "red mug", "RED lamp"], 64)
    assert tokenizer.words("Red MUG, 12") == ["Red", "MUG", ",", "12"]
    assert tokenizer.ngrams(["Red", "MUG"]) == tokenizer.ngrams(["red", "mug"]) != []
    assert tokenizer.pieces(["Red"], 9) != tokenizer.pieces(["red"], 9)
    assert ("red", "mug") in tokenizer.pair_ngrams()


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (["<unk>", "<s>", "</s>", "<pad>", "<mask>"], "<pad>|is padding here"),
        (["<s>", "</s>", "<unk>", "<mask>"], r"has no \[PAD\]"),
        (["<pad>", "</s>", "<unk>"], r"has no \[CLS\], \[MASK\]: give that of a BERT, or of"),
    ],
)
def test_a_vocabulary_without_special_pieces_of_its_own_is_refused(pieces, reason):
    with pytest.raises(UsageError, match=reason):
        CatalogTokenizer(byte_pairs(pieces), {})
