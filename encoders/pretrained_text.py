"""Texts as vectors of a pretrained encoder, whose cosines say how alike their meanings are.

Shapes: N texts, B of a batch, L tokens, D the width of the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from encoders.pretrained_folder import Encoder, Vectors, digest_of, open_model, unusable
from encoders.transformers_settings import call_transformers

MAX_TOKENS = 96
"""Tokens that are read of a text: a title and the beginning of a description."""
BATCH = 32
WHAT = "text encoder"


class TextEncoder(Encoder, Protocol):
    """Something that turns texts into vectors of length 1."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D] of N texts, each of length 1."""
        ...


class PretrainedText:
    """A text encoder of transformers, with mean pooling over its tokens.

    Any model that ``AutoModel`` opens with a tokenizer: a BERT or a decoder, the encoder of an
    encoder-decoder, the text tower of a CLIP. Raises ModelError if the folder holds none.

    Attributes:
        folder: where it is
        digest: a hash of its files
        space: a name that changes whenever the same text may get another vector
        width: the width D of the vectors
    """

    def __init__(self, folder: Path) -> None:
        import torch

        folder = Path(folder)
        self.folder = folder.resolve()
        opened = open_model(folder, WHAT)
        self._torch = torch
        self._model = _text_part(opened.model)
        try:
            self._tokenizer = call_transformers(lambda: _read_tokenizer(folder))
            positions = getattr(self._model.config, "max_position_embeddings", MAX_TOKENS)
            self._most = min(MAX_TOKENS, int(self._tokenizer.model_max_length), int(positions))
            self.width = int(call_transformers(lambda: self.encode(["a"])).shape[1])
        except ValueError as error:
            raise unusable(folder, WHAT, error) from None
        self.digest = digest_of(folder)
        self.space = f"{folder.resolve().name}-{self.digest[:16]}-{MAX_TOKENS}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D] of N texts, each of length 1."""
        torch = self._torch
        if not texts:
            return np.zeros((0, self.width), np.float32)
        device = self._model.device
        # Texts of like lengths together, so that little is padded.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts = []
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                [texts[index] or " " for index in order[start : start + BATCH]],
                padding=True,
                truncation=True,
                max_length=self._most,
                return_tensors="pt",
            ).to(device)
            # On a CPU, half precision is slower for texts as short as these.
            halved = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
            with torch.inference_mode(), halved:
                hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            mean = (hidden.float() * mask).sum(1) / mask.sum(1).clamp_min(1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).cpu().numpy())
        vectors = np.concatenate(parts)
        result = np.empty_like(vectors)
        result[order] = vectors
        return result


def _text_part(model: Any) -> Any:
    """Return what reads the text: an encoder without its decoder, a CLIP without its images."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    return getattr(model, "text_model", model)


def _read_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    # Where there is no file of a vocabulary, transformers makes one of special pieces alone.
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise ValueError("it has no vocabulary")
    if tokenizer.pad_token is None:
        # Padding is masked, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    # The tokens that texts are padded with come after them, as positions are counted.
    tokenizer.padding_side = "right"
    tokenizer.truncation_side = "right"
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer
