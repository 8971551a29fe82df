"""Word pieces trained on the catalogue, and hashed n-grams beside them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class CatalogTokenizer:
    """Splits text into words (Chinese into characters), words into pieces, and words into hashed n-grams.

    Bucket 0 of the n-grams is never used, so that it can pad.
    """

    def __init__(self, tokenizer: Tokenizer, buckets: int) -> None:
        self.tokenizer = tokenizer
        self.buckets = buckets
        self._pieces = lru_cache(maxsize=200_000)(self._pieces_of)
        self._grams = lru_cache(maxsize=200_000)(self._grams_of)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, buckets: int) -> CatalogTokenizer:
        """Learn the word pieces of a catalogue's titles, properties and values: the same ones for the same texts."""
        texts = list(texts)
        learner = cls(_word_piece({}), buckets)
        # The trainer numbers continuing characters as its randomly ordered hash map meets them, and breaks ties by number. Naming them
        # beforehand makes it repeat itself.
        inner = sorted({f"##{letter}" for text in texts for word in learner.words(text) for letter in word[1:]})
        trainer = WordPieceTrainer(
            vocab_size=max(vocab_size, len(SPECIAL_TOKENS) + len(inner) + 1),
            special_tokens=SPECIAL_TOKENS + inner,
            min_frequency=2,
            limit_alphabet=vocab_size,
            show_progress=False,
        )
        learner.tokenizer.train_from_iterator(texts, trainer)
        return cls(_word_piece(learner.tokenizer.get_vocab(with_added_tokens=False)), buckets)

    @classmethod
    def from_json(cls, text: str, buckets: int) -> CatalogTokenizer:
        """Read back what :meth:`to_json` wrote."""
        return cls(Tokenizer.from_str(text), buckets)

    def to_json(self) -> str:
        """The tokenizers library's own JSON."""
        return str(self.tokenizer.to_str())

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
        marked = f"<{word}>"
        grams = {"w" + word} | {marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1)}
        return tuple(self._bucket(gram) for gram in sorted(grams))

    def _bucket(self, gram: str) -> int:
        return 1 + zlib.crc32(gram.encode()) % (self.buckets - 1)

    def pieces(self, words: Sequence[str], limit: int) -> list[int]:
        """Piece ids of the words, at most ``limit``."""
        ids: list[int] = []
        for word in words:
            ids.extend(self._pieces(word))
        return ids[:limit]

    def ngrams(self, words: Sequence[str]) -> list[int]:
        """Buckets of words, pairs of neighbouring words, and character 3- to 5-grams."""
        ids: list[int] = []
        for word in words:
            ids.extend(self._grams(word))
        ids.extend(self._bucket(f"{a} {b}") for a, b in itertools.pairwise(words))
        return ids


def _word_piece(vocabulary: dict[str, int]) -> Tokenizer:
    """BERT's normaliser and splitter around a WordPiece vocabulary."""
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer
