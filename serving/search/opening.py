"""A home's search: its index with the text encoder that it was made with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.pretrained_text import PretrainedText, TextEncoder
from kg.snapshot import read_snapshot
from schema.documents import parse_json_object
from schema.errors import DataError
from schema.files import write_atomically
from schema.progress import ProgressCallback, no_progress
from serving.search.building import Changed
from serving.search.documents import items_of
from serving.search.index import index_folder, index_home
from serving.search.searcher import Searcher
from serving.search.vectors import encode_missing

if TYPE_CHECKING:
    from kg.home import Home

ENCODER = "encoder.json"
"""Names the text encoder of an index, next to it."""


@dataclass(frozen=True)
class Indexed:
    """What changed in the words, and how many texts were encoded."""

    changed: Changed
    encoded: int = 0


def update_index(
    home: Home,
    *,
    encoder: TextEncoder | None = None,
    anew: bool = False,
    progress: ProgressCallback = no_progress,
) -> Indexed:
    """Bring a home's index up to date, with the vectors of ``encoder`` if there is one."""
    changed = index_home(home, anew=anew, progress=progress)
    if encoder is None:
        return Indexed(changed)
    return Indexed(changed, encode_texts(home, encoder, progress))


def encode_texts(home: Home, encoder: TextEncoder, progress: ProgressCallback = no_progress) -> int:
    """Encode the texts of a home's items that have no vector yet; return how many."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology_or_none(), details=True)
    texts = ((item.text_digest, item.text) for item in items_of(snapshot))
    return encode_missing(index_folder(home), encoder, texts, progress)


def encoder_folder(home: Home) -> Path | None:
    """Return the folder of the text encoder that a home's index was made with."""
    path = index_folder(home) / ENCODER
    if not path.is_file():
        return None
    try:
        folder = parse_json_object(path.read_bytes()).get("folder")
    except ValueError as error:
        raise DataError(
            f"{path} is damaged ({error}): remove it, or give --text-encoder to `index` again"
        ) from None
    return Path(folder) if isinstance(folder, str) else None


def set_encoder_folder(home: Home, folder: Path | None) -> None:
    """Keep which text encoder a home's index is made with; None for none."""
    path = index_folder(home) / ENCODER
    if folder is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"folder": str(Path(folder).resolve())}))


def load_encoder(home: Home) -> PretrainedText | None:
    """Load the text encoder of a home's index; None if it has none."""
    folder = encoder_folder(home)
    return None if folder is None else PretrainedText(folder)


def open_searcher(home: Home, *, words_only: bool = False) -> Searcher:
    """Open a home's index to search it, with its text encoder unless words alone are to count.

    Raises DataError if there is no index.
    """
    encoder = None if words_only else load_encoder(home)
    return Searcher(index_folder(home), home.ontology_or_none(), encoder)
