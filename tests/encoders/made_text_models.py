"""Tiny text encoders of transformers with random weights, and tokenizers of their kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from encoders.text_model import TextModelSettings, text_part
from encoders.tokenizer import CLIP_BEGIN, CLIP_END

WIDTH = 16
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
CORPUS = ["red mug", "Blue lamp of steel", "crimson chair, 12 cm", "green T-Shirt", "a b c d e"] * 3
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
MPNET = ["<s>", "<pad>", "</s>", "<unk>", *BERT, "<mask>"]
MPNET_SPECIAL = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]


def wordpiece(special: Sequence[str] = BERT, added: Sequence[str] = BERT) -> Tokenizer:
    """A lower-casing WordPiece vocabulary that begins with ``special``, ``added`` as such."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,-"
    pieces = [*special, *letters, *(f"##{each}" for each in letters), "red", "mug", "lamp"]
    ids = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(added))
    # As saved with sentence encoders: every text is padded to a length.
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(32)
    return tokenizer


def byte_pairs(special: Sequence[str] = ROBERTA) -> Tokenizer:
    """A byte-level BPE with case, as that of GPT-2 and RoBERTa."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300 + len(special),
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def words_at_first() -> Tokenizer:
    """A byte-level BPE whose special pieces come last, as that of a ModernBERT."""
    trained = byte_pairs([])
    vocabulary = trained.get_vocab()
    tokenizer = Tokenizer.from_str(trained.to_str())
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    assert tokenizer.token_to_id("[UNK]") == len(vocabulary)
    return tokenizer


def unigram(special: Sequence[str] = ROBERTA, unknown: str = "<unk>") -> Tokenizer:
    """A SentencePiece vocabulary with case, as that of XLM-R, ALBERT and DeBERTa-v2."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=list(special), unk_token=unknown, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def clip_pairs() -> Tokenizer:
    """A BPE in lower case that marks the ends of words, as that of CLIP."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[],
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([CLIP_BEGIN, CLIP_END])
    return tokenizer


def _clip(**sizes: Any) -> Any:
    vision = {**SIZES, "image_size": 16, "patch_size": 8}
    ends = {"bos_token_id": sizes["vocab_size"] - 2, "eos_token_id": sizes["vocab_size"] - 1}
    return transformers.CLIPConfig(
        text_config={**SIZES, **sizes, **ends}, vision_config=vision, projection_dim=4
    )


def _clip_text(**sizes: Any) -> Any:
    ends = {"bos_token_id": sizes["vocab_size"] - 2, "eos_token_id": sizes["vocab_size"] - 1}
    return transformers.CLIPTextConfig(**SIZES, **sizes, **ends)


KINDS: dict[str, tuple[Callable[..., Any], Callable[[], Tokenizer]]] = {
    "bert": (lambda **s: transformers.BertConfig(**SIZES, **s), wordpiece),
    "distilbert": (
        lambda **s: transformers.DistilBertConfig(
            dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=32, **s
        ),
        wordpiece,
    ),
    "electra": (
        lambda **s: transformers.ElectraConfig(**SIZES, embedding_size=8, **s),
        wordpiece,
    ),
    "mpnet": (
        lambda **s: transformers.MPNetConfig(**SIZES, **s),
        lambda: wordpiece(MPNET, MPNET_SPECIAL),
    ),
    "roberta": (lambda **s: transformers.RobertaConfig(**SIZES, **s), byte_pairs),
    "xlm-roberta": (lambda **s: transformers.XLMRobertaConfig(**SIZES, **s), unigram),
    "deberta-v2": (
        lambda **s: transformers.DebertaV2Config(
            **SIZES,
            **s,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
        ),
        lambda: unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], "[UNK]"),
    ),
    "modernbert": (
        lambda **s: transformers.ModernBertConfig(
            **SIZES,
            **s,
            pad_token_id=s["vocab_size"] - 2,
            cls_token_id=s["vocab_size"] - 4,
            sep_token_id=s["vocab_size"] - 3,
            bos_token_id=s["vocab_size"] - 4,
            eos_token_id=s["vocab_size"] - 3,
        ),
        words_at_first,
    ),
    "albert": (
        lambda **s: transformers.AlbertConfig(**SIZES, embedding_size=8, **s),
        lambda: unigram(ALBERT),
    ),
    "clip": (_clip, clip_pairs),
    "clip_text_model": (_clip_text, clip_pairs),
}
"""Configurations and tokenizers by the model type of transformers."""


def write_text_model(folder: Path, kind: str, seed: int = 0) -> Any:
    """Write a tiny model of a kind with its tokenizer; return the model."""
    make_config, make_tokenizer = KINDS[kind]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    model: Any = transformers.AutoModel.from_config(
        make_config(vocab_size=tokenizer.get_vocab_size())
    )
    model.eval().save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def text_model_settings(kind: str, vocab_size: int) -> str:
    """Return what a network's configuration says of a tiny model of a kind."""
    make_config, _ = KINDS[kind]
    model = transformers.AutoModel.from_config(make_config(vocab_size=vocab_size))
    return TextModelSettings.of(text_part(model.eval())).to_json()
