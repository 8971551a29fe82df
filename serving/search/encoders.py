"""Encoders that turn texts into vectors, whose cosines say how alike their meanings are."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schema.errors import ModelError

Vectors = NDArray[np.float32]
MAX_TOKENS = 96
"""Tokens that are read of a text: a title and the beginning of a description."""
BATCH = 32


class TextEncoder(Protocol):
    """Something that turns texts into vectors of length 1."""

    @property
    def space(self) -> str:
        """A name that changes whenever the same text may get another vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D] of N texts, each of length 1."""
        ...


class TransformerEncoder:
    """A pretrained encoder of the transformers library, with mean pooling over its tokens.

    Raises ModelError if the folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"no text encoder at {folder}: name a folder with the files config.json, "
                "model.safetensors and tokenizer.json of a transformers model"
            )
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            self._model = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
            self.space = f"{folder.resolve().name}-{digest_of(folder)[:16]}-{MAX_TOKENS}"
        except Exception as error:  # whatever a damaged file makes the library raise
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"the text encoder {folder} cannot be loaded ({reason}): name the folder of a "
                "transformers model with safetensors"
            ) from None
        self._model.eval()
        self._torch = torch
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D] of N texts, each of length 1."""
        torch = self._torch
        parts = [np.zeros((0, self._model.config.hidden_size), np.float32)]
        # Texts of like lengths together, so that little is padded.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                [texts[index] or " " for index in order[start : start + BATCH]],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16):
                hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            mean = (hidden.float() * mask).sum(1) / mask.sum(1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).cpu().numpy())
        vectors = np.concatenate(parts)
        result = np.empty_like(vectors)
        result[order] = vectors
        return result


def digest_of(folder: Path) -> str:
    """Return a hash of the files of an encoder."""
    digest = sha256()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        path = folder / name
        if path.is_file():
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
