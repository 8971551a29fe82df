"""Word pieces and n-grams, both learned from the catalogue."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from schema.errors import UsageError

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLIP_BEGIN = "<|startoftext|>"
CLIP_END = "<|endoftext|>"


class SpecialPieces(NamedTuple):
    """The numbers of BERT's special pieces; [PAD] is 0 in every vocabulary. CLIP's begin and end stand for [CLS] and the others."""

    unk: int = 1
    cls: int = 2
    sep: int = 3
    mask: int = 4

    @property
    def first_word(self) -> int:
        """The number from which on pieces are words'; CLIP's special ones are its last."""
        return max(self) + 1 if self.cls < self.sep < self.mask else 1


class CatalogTokenizer:
    """Splits text into words (Chinese into characters), words into pieces, and titles into n-grams.

    ``weights`` are the n-grams that it knows, each with its inverse document frequency; number 0 is none of them. Raises UsageError where
    a vocabulary lacks a special piece, or [PAD] is not its first.
    """

    def __init__(self, tokenizer: Tokenizer, weights: Mapping[str, float]) -> None:
        self.tokenizer = tokenizer
        self.special = special_pieces(tokenizer)
        self.weights = dict(weights)
        self._number = {gram: number for number, gram in enumerate(self.weights, 1)}
        self._pieces = lru_cache(maxsize=200_000)(self._pieces_of)
        self._grams = lru_cache(maxsize=200_000)(self._grams_of)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, max_ngrams: int) -> CatalogTokenizer:
        """Learn the word pieces and n-grams of a catalogue's titles, properties and values: the same ones for the same texts."""
        texts = list(texts)
        learner = cls(word_pieces(SPECIAL_TOKENS), {})
        # The trainer numbers continuing characters as its randomly ordered hash map meets them, and breaks ties by number. Naming them
        # beforehand makes it repeat itself.
        inner = sorted(
            {f"##{letter}" for text in texts for word in learner.words(text) for letter in word[1:]}
        )
        trainer = WordPieceTrainer(
            vocab_size=max(vocab_size, len(SPECIAL_TOKENS) + len(inner) + 1),
            special_tokens=SPECIAL_TOKENS + inner,
            min_frequency=2,
            limit_alphabet=vocab_size,
            show_progress=False,
        )
        learner.tokenizer.train_from_iterator(texts, trainer)
        vocabulary = learner.tokenizer.get_vocab(with_added_tokens=False)
        pieces = word_pieces(sorted(vocabulary, key=vocabulary.__getitem__))
        return cls(
            pieces,
            inverse_frequencies((learner.words(text) for text in texts), len(texts), max_ngrams),
        )

    @classmethod
    def pretrained(
        cls, pieces: Tokenizer, texts: Iterable[str], max_ngrams: int
    ) -> CatalogTokenizer:
        """Word pieces that are there already, with the n-grams of a catalogue's own texts."""
        splitter = cls(pieces, {})
        texts = list(texts)
        return cls(
            pieces,
            inverse_frequencies((splitter.words(text) for text in texts), len(texts), max_ngrams),
        )

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> CatalogTokenizer:
        """Read back what :meth:`files` gave; raises ValueError where it is not that."""
        return cls(
            Tokenizer.from_str(files["tokenizer.json"].decode()), json.loads(files["ngrams.json"])
        )

    def files(self) -> dict[str, bytes]:
        """``tokenizer.json`` in the tokenizers library's own form, and ``ngrams.json``."""
        return {
            "tokenizer.json": str(self.tokenizer.to_str()).encode(),
            "ngrams.json": json.dumps(self.weights).encode(),
        }

    def __reduce__(self) -> tuple[Callable[..., CatalogTokenizer], tuple[dict[str, bytes]]]:
        """Another process reads the files and fills caches of its own."""
        return CatalogTokenizer.from_files, (self.files(),)

    @property
    def vocab_size(self) -> int:
        """Number of word pieces, special tokens included."""
        return int(self.tokenizer.get_vocab_size())

    def words(self, text: str) -> list[str]:
        """Normalised words of a text, punctuation apart."""
        normal = self.tokenizer.normalizer.normalize_str(text)
        return [word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(normal)]

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(word, add_special_tokens=False).ids)

    def _grams_of(self, word: str) -> tuple[int, ...]:
        return tuple(number for gram in word_grams(word) if (number := self._number.get(gram)))

    def pieces(self, words: Sequence[str], limit: int) -> list[int]:
        """Piece ids of the words, at most ``limit``."""
        ids: list[int] = []
        for word in words:
            ids.extend(self._pieces(word))
        return ids[:limit]

    def ngrams(self, words: Sequence[str]) -> list[int]:
        """Numbers of the known words, pairs of neighbouring words, and character 3- to 5-grams."""
        ids: list[int] = []
        for word in words:
            ids.extend(self._grams(word))
        ids.extend(
            number for a, b in itertools.pairwise(words) if (number := self._number.get(f"{a} {b}"))
        )
        return ids


def special_pieces(tokenizer: Tokenizer) -> SpecialPieces:
    """Where a vocabulary has BERT's special pieces; raises UsageError where it lacks one, or [PAD] is not its first."""
    begin = tokenizer.token_to_id(CLIP_BEGIN)
    end = tokenizer.token_to_id(CLIP_END)
    if begin is not None and end is not None:
        return SpecialPieces(end, begin, end, end)
    numbers = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    found = [number for number in numbers if number is not None]
    if len(found) < len(numbers):
        lacking = [
            token for token, number in zip(SPECIAL_TOKENS, numbers, strict=True) if number is None
        ]
        raise UsageError(
            f"the vocabulary of {tokenizer.get_vocab_size()} pieces has no {', '.join(lacking)}: give a BERT's vocab.txt"
        )
    if found[0] != 0:
        raise UsageError(
            f"the vocabulary has [PAD] at {found[0]}, not at 0: give a BERT's vocab.txt"
        )
    return SpecialPieces(*found[1:])


def word_grams(word: str) -> list[str]:
    """A word itself, marked ``w``, and its character 3- to 5-grams within ``<`` and ``>``, each once."""
    marked = f"<{word}>"
    return sorted(
        {"w" + word} | {marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)}
    )


def inverse_frequencies(titles: Iterable[Sequence[str]], count: int, most: int) -> dict[str, float]:
    """The n-grams of two titles or more, at most ``most``, the frequent first: ln((1 + N) / (1 + n)) + 1 for n of N = ``count`` titles.

    A catalogue where none stands twice keeps those that stand once.
    """
    frequency: Counter[str] = Counter()
    for words in titles:
        frequency.update(
            {gram for word in words for gram in word_grams(word)}
            | {f"{a} {b}" for a, b in itertools.pairwise(words)}
        )
    least = min(2, max(frequency.values(), default=2))
    kept = sorted((-n, gram) for gram, n in frequency.items() if n >= least)[:most]
    return {gram: round(math.log((1 + count) / (1 - n)) + 1, 6) for n, gram in kept}


def vocabulary_lines(text: str) -> list[str]:
    """The pieces of a ``vocab.txt``, a line each; only line feeds end one, since other separators are pieces themselves."""
    return [line.rstrip("\r") for line in text.rstrip("\n").split("\n")]


def word_pieces(vocabulary: Sequence[str]) -> Tokenizer:
    """BERT's normaliser and splitter around a WordPiece vocabulary, in its order."""
    tokenizer = Tokenizer(
        WordPiece({token: number for number, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
