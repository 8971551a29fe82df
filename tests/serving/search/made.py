"""Small catalogues to search, and an encoder that needs no weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from encoders.pretrained_folder import Vectors
from schema.ontology import Ontology, PropertySpec
from serving.search.building import build
from serving.search.documents import DocumentReader, SearchedItem
from serving.search.searcher import Searcher
from serving.search.words import words

ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=("red", "blue", "black"), counts=(3, 2, 2)),
        PropertySpec("ean", "identifier"),
        PropertySpec("bluetooth", "boolean"),
    ]
)


def item(
    id: str,
    title: str,
    category: str = "",
    description: str = "",
    **values: str,
) -> SearchedItem:
    """Return an item with the values of properties."""
    return SearchedItem(id, title, category, description, tuple(sorted(values.items())))


SHOP = [
    item("1", "Acme TV 50 inch", colour="black", ean="4006381333931"),
    item("2", "Acme TV stand", description="A stand for your TV", colour="black"),
    item("3", "Brother TN-2110 toner cartridge", colour="black"),
    item("4", "Red clay mug", "Kitchen > Mugs", colour="red"),
    item("5", "Blue clay mug", "Kitchen > Mugs > Espresso", colour="blue"),
    item("6", "红色陶瓷杯", "Kitchen > Mugs", colour="red"),
    item("7", 'O\'Neil "quoted" 50% mug', "Mugs & more", colour='it\'s "odd"'),
    item("8", "Wireless headset", bluetooth="true", colour="blue"),
    item("9", "Sony TV", description="A TV. Smart TV.", colour="red"),
    item("10", "Wall stand", colour="black"),
    item("11", "Phone stand", colour="black"),
    item("12", "Mirror stand", colour="black"),
]


def make_index(folder: Path, items: Sequence[SearchedItem], number: int = 1) -> Path:
    """Index items in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / f"index-{number}.sqlite"
    build(path, items, DocumentReader(ONTOLOGY), {"made": {}})
    return path


def searcher_of(folder: Path, items: Sequence[SearchedItem] = SHOP) -> Searcher:
    """Return a searcher of these items."""
    make_index(folder, items)
    return Searcher(folder, ONTOLOGY)


def found(searcher: Searcher, text: str, count: int = 10) -> list[str]:
    """Return the ids that a query finds, the best first."""
    return [hit.item for hit in searcher.search(text, count).hits]


class WordEncoder:
    """Encodes a text as the sum of a random vector for each of its words."""

    space = "words"
    size = 32

    def __init__(self, meanings: dict[str, str] | None = None) -> None:
        self.meanings = meanings or {}
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D]."""
        self.encoded += texts
        return np.stack([self._vector(words(text)) for text in texts])

    def _vector(self, found: Iterable[str]) -> Vectors:
        total = np.full(self.size, 1e-3)
        for word in found:
            seed = hashlib.sha256(self.meanings.get(word, word).encode()).digest()[:4]
            total += np.random.default_rng(int.from_bytes(seed)).standard_normal(self.size)
        return (total / np.linalg.norm(total)).astype(np.float32)


def save_network(folder: Path, name: str, terms: Sequence[str]) -> None:
    """Save a tiny network of a preset, with random weights, as if trained by some terms."""
    import torch

    from encoders.tokenizer import CatalogTokenizer
    from fusion.build import build_model
    from fusion.checkpoint import save_pretrained
    from training.presets import preset

    torch.manual_seed(0)
    config = replace(preset(name, "tiny").model, dim=16, heads=2, image_size=32)
    tokenizer = CatalogTokenizer.train(["red mug", "blue lamp", "steel"] * 3, 200, 64)
    known = Ontology([PropertySpec("colour", values=("red", "blue"), counts=(3, 2))])
    weights = build_model(config, tokenizer, known).state_dict()
    save_pretrained(folder, config, tokenizer, known, weights, {"preset": name, "terms": [*terms]})
