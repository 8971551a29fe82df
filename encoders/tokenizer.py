"""Word pieces and n-grams of texts: learned from the catalogue, or those of a pretrained model."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from schema.documents import parse_json_object
from schema.errors import UsageError
from schema.settings import shown

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLIP_BEGIN = "<|startoftext|>"
CLIP_END = "<|endoftext|>"
SPECIAL_NAMES = {
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "mask": ("[MASK]", "<mask>"),
}
"""What vocabularies call the special pieces, those of a BERT first."""
PADDING_NAMES = ("[PAD]", "<pad>")

MAX_WEIGHT = 1e6
"""An inverse document frequency is the logarithm of a number of titles, and so never as high."""

AS_WRITTEN = BertNormalizer(lowercase=False, strip_accents=False)
WITHOUT_CASE = BertNormalizer(lowercase=True)
WORDS = BertPreTokenizer()
"""How words are found where a vocabulary does not: as a BERT does."""

CACHED_WORDS = 200_000
"""Number of words whose pieces and n-grams stay in memory, since titles repeat their words."""


@dataclass(frozen=True)
class SpecialPieces:
    """The ids of the special pieces in a vocabulary, by the names that BERT gives them.

    In our tensors 0 is always padding: there it is [PAD] of most vocabularies, [CLS] of a RoBERTa's
    (``<s>``), and no word of any. In CLIP's vocabulary its begin token serves as [CLS] and its end
    token as all the others.
    """

    unk: int = 1
    cls: int = 2
    sep: int = 3
    mask: int = 4

    def word_ids(self, vocab_size: int) -> range:
        """Return ids of pieces of words: the longest run, and the last of these, without others.

        Vocabularies begin or end with the special pieces, or both; unused ones lie among them.
        """
        bounds = sorted({0, self.unk, self.cls, self.sep, self.mask, vocab_size})
        runs = (range(low + 1, high) for low, high in itertools.pairwise(bounds))
        return max(runs, key=lambda run: (len(run), run.start), default=range(0))


class CatalogTokenizer:
    """A tokenizer that splits texts into words, words into pieces, and titles into n-grams.

    Words end at spaces and punctuation marks, and each Chinese character is a word. A WordPiece
    vocabulary normalises them itself, which most do to lower case. Other vocabularies (BPE,
    Unigram) do not know words: they get each one as it is written, as if a space stood before it,
    and n-grams are counted without case. Raises UsageError if the vocabulary lacks a special
    piece, or if a WordPiece vocabulary begins with a piece of a word.

    Args:
        tokenizer: the word pieces, as a tokenizer of the tokenizers library
        ngram_weights: the known n-grams with their inverse document frequencies; they are numbered
            from 1 on in this order, and 0 stands for no n-gram
    """

    def __init__(self, tokenizer: Tokenizer, ngram_weights: Mapping[str, float]) -> None:
        # What is saved for whole texts may pad each of them to hundreds of pieces.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.special = find_special_pieces(tokenizer)
        self._splits_words = isinstance(tokenizer.model, WordPiece)
        self.ngram_weights = dict(ngram_weights)
        self._ngram_ids = {ngram: number for number, ngram in enumerate(self.ngram_weights, 1)}
        # A cache of each tokenizer: one on the method would be shared by all, and keep them alive.
        self._pieces_of_word = lru_cache(maxsize=CACHED_WORDS)(self._split_into_pieces)
        self._ngrams_of_word = lru_cache(maxsize=CACHED_WORDS)(self._find_ngrams)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, max_ngrams: int) -> CatalogTokenizer:
        """Learn word pieces and n-grams from a catalogue's titles, properties and values.

        The same texts always give the same tokenizer.
        """
        texts = list(texts)  # they are read three times
        learner = cls(wordpiece_tokenizer(SPECIAL_TOKENS), {})
        # The trainer numbers the characters that continue a word in the order of its randomly
        # seeded hash map, and breaks ties by number. Passing these characters as special tokens
        # fixes the order.
        continuations = {
            f"##{letter}" for text in texts for word in learner.words(text) for letter in word[1:]
        }
        first_tokens = SPECIAL_TOKENS + sorted(continuations)
        trainer = WordPieceTrainer(
            vocab_size=max(vocab_size, len(first_tokens) + 1),
            special_tokens=first_tokens,
            min_frequency=2,
            limit_alphabet=vocab_size,
            show_progress=False,
        )
        learner.tokenizer.train_from_iterator(texts, trainer)
        vocabulary = learner.tokenizer.get_vocab(with_added_tokens=False)
        pieces = wordpiece_tokenizer(sorted(vocabulary, key=vocabulary.__getitem__))
        return cls.pretrained(pieces, texts, max_ngrams)

    @classmethod
    def pretrained(
        cls, pieces: Tokenizer, texts: Iterable[str], max_ngrams: int
    ) -> CatalogTokenizer:
        """Combine existing word pieces with the n-grams of a catalogue's own texts."""
        splitter = cls(pieces, {})
        titles = ([splitter.ngram_form(each) for each in splitter.words(text)] for text in texts)
        return cls(pieces, inverse_document_frequencies(titles, max_ngrams))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> CatalogTokenizer:
        """Restore a tokenizer from the result of :meth:`files`; raises ValueError if damaged."""
        weights = parse_json_object(files["ngrams.json"])
        for ngram, weight in weights.items():
            is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not is_number or not 0 <= weight <= MAX_WEIGHT:
                raise ValueError(f"ngrams.json gives {shown(ngram)} the weight {shown(weight)}")
        return cls(parse_pieces(files["tokenizer.json"].decode()), weights)

    def files(self) -> dict[str, bytes]:
        """Return the files that a model folder keeps.

        ``tokenizer.json`` has the format of the tokenizers library, ``ngrams.json`` the weights.
        """
        return {
            "tokenizer.json": str(self.tokenizer.to_str()).encode(),
            "ngrams.json": json.dumps(self.ngram_weights).encode(),
        }

    def __reduce__(self) -> tuple[Callable[..., CatalogTokenizer], tuple[dict[str, bytes]]]:
        """Pickle the files alone: another process fills caches of its own."""
        return CatalogTokenizer.from_files, (self.files(),)

    @property
    def vocab_size(self) -> int:
        """Number of word pieces, including special ones."""
        return int(self.tokenizer.get_vocab_size())

    def words(self, text: str) -> list[str]:
        """Split a text into words; punctuation marks are words of their own."""
        normalizer, splitter = AS_WRITTEN, WORDS
        if self._splits_words:
            normalizer, splitter = self.tokenizer.normalizer, self.tokenizer.pre_tokenizer
        return [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]

    def ngram_form(self, word: str) -> str:
        """Return a word as n-grams are made of it: without case if the words have it."""
        return word if self._splits_words else WITHOUT_CASE.normalize_str(word)

    def pieces(self, words: Sequence[str], limit: int) -> list[int]:
        """Return the ids of the words' pieces, at most ``limit``."""
        ids: list[int] = []
        for word in words:
            ids.extend(self._pieces_of_word(word))
        return ids[:limit]

    def ngrams(self, words: Sequence[str]) -> list[int]:
        """Return the ids of all known n-grams of a title given as words.

        These are its words, their character 3- to 5-grams, and the pairs of neighbouring words.
        """
        ids: list[int] = []
        for word in words:
            ids.extend(self._ngrams_of_word(word))
        for pair in word_pairs([self.ngram_form(word) for word in words]):
            if pair in self._ngram_ids:
                ids.append(self._ngram_ids[pair])
        return ids

    def word_pieces(self, word: str) -> tuple[int, ...]:
        """Return the ids of one word's pieces."""
        return self._pieces_of_word(word)

    def word_ngrams(self, word: str) -> tuple[int, ...]:
        """Return the ids of one word's known n-grams: itself and its character n-grams."""
        return self._ngrams_of_word(word)

    def pair_ngrams(self) -> dict[tuple[str, str], int]:
        """Return the ids of the known pairs of neighbouring words."""
        # Only a pair has a space: it separates words.
        split = ((ngram.partition(" "), number) for ngram, number in self._ngram_ids.items())
        return {(first, second): number for (first, space, second), number in split if space}

    def _split_into_pieces(self, word: str) -> tuple[int, ...]:
        # Other vocabularies have different pieces for the beginning and the inside of a word.
        text = word if self._splits_words else f" {word}"
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        # CLIP's piece number 0 is "!", which is lost, because 0 is padding here.
        return tuple(number for number in ids if number)

    def _find_ngrams(self, word: str) -> tuple[int, ...]:
        known = self._ngram_ids
        ngrams = word_ngrams(self.ngram_form(word))
        return tuple(known[ngram] for ngram in ngrams if ngram in known)


def parse_pieces(text: str) -> Tokenizer:
    """Return the word pieces of a ``tokenizer.json``; raises ValueError if it is damaged."""
    try:
        pieces = Tokenizer.from_str(text)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ValueError(f"it is no tokenizer.json: {str(error)[:80]}") from None
    is_split = pieces.normalizer is not None and pieces.pre_tokenizer is not None
    if isinstance(pieces.model, WordPiece) and not is_split:
        raise ValueError("the tokenizer.json has no normaliser, or does not split words")
    ids = pieces.get_vocab().values()
    # The rows of the embeddings are numbered from 0 on without a gap.
    if max(ids, default=0) >= pieces.get_vocab_size():
        raise ValueError(f"the tokenizer.json has {len(ids):,} pieces with ids up to {max(ids):,}")
    return pieces


def find_special_pieces(tokenizer: Tokenizer) -> SpecialPieces:
    """Find the ids of the special pieces in a vocabulary.

    Raises UsageError if it lacks one, or if a WordPiece vocabulary begins with a piece of a word.
    """
    begin = tokenizer.token_to_id(CLIP_BEGIN)
    end = tokenizer.token_to_id(CLIP_END)
    if begin is not None and end is not None:
        return SpecialPieces(unk=end, cls=begin, sep=end, mask=end)
    # A vocabulary may have special pieces of another one among its words, as MPNet has BERT's.
    added = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.special
    }
    ids: dict[str, int] = {}
    missing = []
    for role, names in SPECIAL_NAMES.items():
        numbers = [added.get(name) for name in names]
        numbers += [tokenizer.token_to_id(name) for name in names]
        found = next((number for number in numbers if number is not None), None)
        if found is None:
            missing.append(names[0])
        else:
            ids[role] = found
    vocabulary = f"the vocabulary of {tokenizer.get_vocab_size()} pieces"
    if not any(tokenizer.token_to_id(name) is not None for name in PADDING_NAMES):
        missing.insert(0, PADDING_NAMES[0])
    if missing:
        raise UsageError(
            f"{vocabulary} has no {', '.join(missing)}: give that of a BERT, or of another text "
            "encoder that was trained to predict masked pieces"
        )
    special = SpecialPieces(**ids)
    first = tokenizer.id_to_token(0)
    harmless = (*PADDING_NAMES, *SPECIAL_NAMES["cls"], *SPECIAL_NAMES["sep"])
    is_word = isinstance(tokenizer.model, WordPiece) and first not in harmless
    if is_word or 0 in (special.unk, special.mask):
        padding = next(
            number for name in PADDING_NAMES if (number := tokenizer.token_to_id(name)) is not None
        )
        raise UsageError(
            f"the vocabulary has {PADDING_NAMES[0]} at {padding}, and {first} at 0, which is "
            "padding here: give a BERT's vocab.txt, or another text encoder's vocabulary"
        )
    return special


def word_ngrams(word: str) -> list[str]:
    """Return a word itself, marked with ``w``, and its distinct character 3- to 5-grams.

    As in fastText, ``<`` and ``>`` mark the beginning and the end of the word.
    """
    marked = f"<{word}>"
    # The mark tells the word from the same letters inside of other words.
    ngrams = {"w" + word}
    for n in (3, 4, 5):
        ngrams.update(marked[i : i + n] for i in range(len(marked) - n + 1))
    return sorted(ngrams)


def word_pairs(words: Sequence[str]) -> list[str]:
    """Return the pairs of neighbouring words, each joined by a space."""
    return [f"{first} {second}" for first, second in itertools.pairwise(words)]


def inverse_document_frequencies(
    titles: Iterable[Sequence[str]], max_ngrams: int
) -> dict[str, float]:
    """Weigh the ``max_ngrams`` most frequent n-grams of N titles: ln((1 + N) / (1 + n)) + 1.

    n is the number of titles with the n-gram. N-grams of a single title are left out, unless there
    are no others.
    """
    frequency: Counter[str] = Counter()
    total = 0
    for words in titles:
        total += 1
        ngrams = {ngram for word in words for ngram in word_ngrams(word)}
        frequency.update(ngrams.union(word_pairs(words)))
    least = min(2, max(frequency.values(), default=2))
    # Ties are broken by the n-gram itself, so that the choice does not depend on hashing.
    ranked = sorted((-count, ngram) for ngram, count in frequency.items() if count >= least)
    return {
        ngram: round(math.log((1 + total) / (1 - negative_count)) + 1, 6)
        for negative_count, ngram in ranked[:max_ngrams]
    }


def vocabulary_lines(text: str) -> list[str]:
    """Return the pieces of a ``vocab.txt``, which has one per line.

    Only line feeds end a line, since other Unicode line separators are pieces themselves.
    """
    return [line.rstrip("\r") for line in text.rstrip("\n").split("\n")]


def wordpiece_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Build BERT's normaliser, word splitter and WordPiece model for a vocabulary, in its order."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
