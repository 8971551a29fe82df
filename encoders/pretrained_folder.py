"""Pretrained models in folders of transformers: opened without code of their own, identified."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from logging import ERROR
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.transformers_settings import call_transformers, check_shards, parse_settings
from schema.documents import read_limited
from schema.errors import ModelError

Vectors = NDArray[np.float32]

CONFIG = "config.json"
MAX_CONFIG_BYTES = 16 << 20
READ_SUFFIXES = frozenset((".json", ".model", ".safetensors", ".txt"))
"""Endings of the files by which transformers makes a model, a tokenizer or a processor."""
POOLER = "pooler"
"""Part of the names of the weights that pool the states of a model."""


class Encoder(Protocol):
    """Something that turns texts or images into vectors of length 1."""

    @property
    def space(self) -> str:
        """A name that changes whenever the same input may get another vector."""
        ...


@dataclass(frozen=True)
class OpenedModel:
    """A model of transformers in evaluation mode; ``pools`` if its pooler has learned weights."""

    model: Any
    pools: bool


def folder_of(name: str) -> Path:
    """Return a folder, or that of a hub model, which is fetched unless it was before.

    Raises ModelError if there is neither.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        wanted = [f"*{suffix}" for suffix in sorted(READ_SUFFIXES)]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # of the hub, of the network, or because it is no name
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ModelError(
            f"no folder {name}, and no model of the hub that can be fetched ({reason}): name the "
            "folder of a transformers model"
        ) from None


def open_model(folder: Path, what: str) -> OpenedModel:
    """Load the model of a folder, from safetensors alone and without code of its own.

    ``what`` says in errors what was wanted. Raises ModelError if there is none, or if the folder
    lacks some of its weights, which transformers would replace by random ones.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(
            f"no {what} at {folder}: name a folder with the {CONFIG} and the model.safetensors of "
            "a transformers model"
        )
    try:
        return call_transformers(lambda: _open(folder))
    except ValueError as error:
        raise unusable(folder, what, error) from None


def unusable(folder: Path, what: str, error: Exception) -> ModelError:
    """Return the error that tells in one line why the model of a folder cannot be used."""
    reason = " ".join(str(error).split())[:200]
    return ModelError(
        f"the {what} {folder} cannot be used ({reason}): name the folder of a transformers model "
        "with its weights in safetensors"
    )


def _open(folder: Path) -> OpenedModel:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    parse_settings(read_limited(folder / CONFIG, MAX_CONFIG_BYTES).decode())
    check_shards(folder)
    verbosity = logging.get_verbosity()
    # What is missing is dealt with below, and what is left over is the head of another task.
    logging.set_verbosity(ERROR)
    try:
        # Weights that are missing are drawn at random, which moves nobody's random state.
        with torch.random.fork_rng(devices=[]):
            model, found = AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(found["missing_keys"])
    others = [name for name in missing if POOLER not in name]
    if others:
        raise ValueError(f"it lacks {len(others)} of its weights, such as {others[0]}")
    model.eval().requires_grad_(False)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return OpenedModel(model, pools=not missing)


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder by which its model is made, by name."""
    return sorted(
        path for path in folder.iterdir() if path.suffix in READ_SUFFIXES and path.is_file()
    )


def digest_of(folder: Path) -> str:
    """Return a hash of the files of a folder by which its model is made."""
    digest = sha256()
    for path in files_of(folder):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
