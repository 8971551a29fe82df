"""Checks of configurations of transformers, which come from a hub, a folder or a model folder.

Such a configuration can name code for transformers to download and run, and sizes that no memory
holds, so it is checked before transformers builds a model from it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from schema.documents import parse_json_object, read_limited
from schema.files import is_plain_name
from schema.settings import shown

MAX_LAYERS = 256
MAX_SIZE = 10_000_000
"""The greatest number in a configuration; the largest vocabularies have a million pieces."""

ATTENTIONS = (None, "eager", "sdpa", "flash_attention_2")
"""Implementations that are part of transformers; any other name is that of code on a hub."""

IMPLEMENTATIONS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
LOADED_CODE = ("trust_remote_code", "quantization_config", "use_kernels", "kernel_config")
"""Settings that make transformers run code of the model's own, or load further libraries."""

SHARDS = "model.safetensors.index.json"
MAX_SHARDS_BYTES = 64 << 20

T = TypeVar("T")


def parse_settings(text: str) -> dict[str, Any]:
    """Return a checked configuration from JSON; raises ValueError if it cannot be used."""
    settings = parse_json_object(text)
    check_settings(settings)
    return settings


def check_settings(settings: dict[str, Any], within: str = "") -> None:
    """Raise ValueError if a configuration asks for code from a hub or for absurd sizes."""
    for key, value in settings.items():
        name = f"{within}{key}"
        if key in IMPLEMENTATIONS and value not in ATTENTIONS:
            raise ValueError(
                f"{name}={shown(value)} is code from a hub, which is never run: "
                "set it to eager or sdpa"
            )
        if key in LOADED_CODE and value:
            raise ValueError(f"{name} is not supported: leave it out")
        if isinstance(value, dict):
            check_settings(value, f"{name}.")
        else:
            most = MAX_LAYERS if "layers" in name else MAX_SIZE
            for number in value if isinstance(value, list) else (value,):
                _check_number(name, number, most)


def _check_number(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    # Infinity and NaN are no sizes, and transformers uses neither.
    if not -MAX_SIZE <= value <= most:
        raise ValueError(f"{name}={shown(value)} is above its maximum {most:,}")


def check_shards(folder: Path) -> None:
    """Raise ValueError if weights in several files are to be read from outside their folder."""
    path = folder / SHARDS
    if path.exists():
        names = parse_json_object(read_limited(path, MAX_SHARDS_BYTES)).get("weight_map")
        values = names.values() if isinstance(names, dict) else [names]
        for name in values:
            if not isinstance(name, str) or not is_plain_name(name):
                raise ValueError(f"{SHARDS} names {shown(name)}, which is no file of the folder")


def call_transformers(call: Callable[[], T]) -> T:
    """Return what ``call`` returns; whatever transformers raises becomes a ValueError of one line.

    It checks little of what it reads, so a wrong configuration or a damaged file ends in any error.
    """
    try:
        return call()
    except Exception as error:
        lines = str(error).splitlines() or [""]
        raise ValueError(f"{type(error).__name__}: {lines[0]}"[:200]) from None
