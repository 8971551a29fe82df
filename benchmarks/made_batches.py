"""Batches of a made catalogue, for benchmarks of training steps that need no store.

The titles have 29 word pieces on average, like Taobao's; an item has 8 of 12 properties, whose
values are distributed by Zipf's law; every item has an image, and is bought for two queries.
"""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.text_model import TextModelSettings
from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from kg.image_cache import ImageCache
from kg.sampling.keyed_random import KeyedRandom
from schema.ontology import Ontology, PropertySpec
from training.batches import StepBatch
from training.collate import BatchContents, Collator
from training.config import Recipe
from training.data import TrainingData
from training.flows import TrainingFlows
from training.objectives.joint import JointObjective
from training.presets import preset
from training.queries import LoggedQuery, QueryPairBuilder, QueryTerms, read_log
from training.schedule import Stage
from training.transfer import map_tensors

ITEMS = 4096
PROPERTIES = 12
STATEMENTS = 8
WORDS = 6000
MINILM_PIECES = 30_522


@dataclass(frozen=True)
class MadeSteps:
    """What a benchmark of training steps needs, which can be stored in a file.

    ``batches`` are micro-batches of one step each; their images are left out of the file, and are
    random.
    """

    config: ModelConfig
    recipe: Recipe
    tokenizer: CatalogTokenizer
    ontology: Ontology
    batches: list[StepBatch]

    def objective(self) -> JointObjective:
        """Build the model with its objectives, with random weights."""
        torch.manual_seed(0)
        model = build_model(self.config, self.tokenizer, self.ontology)
        return JointObjective(model, self.config, self.recipe)


class MadeCatalogue:
    """A catalogue of made words, with a vocabulary and an ontology of its own."""

    def __init__(self, vocab_size: int, max_ngrams: int) -> None:
        rng = np.random.default_rng(0)
        letters = np.array(list("abcdefghijklmnoprstuvw"))
        self.words = np.array(
            ["".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(WORDS)]
        )
        sizes = np.geomspace(4, 600, PROPERTIES).astype(int)
        self.specs = [
            PropertySpec(
                f"property {number:02}",
                values=tuple(f"{self.words[(31 * number + v) % WORDS]} {v}" for v in range(size)),
                counts=tuple(int(2000 / (v + 1)) + 1 for v in range(size)),
            )
            for number, size in enumerate(sizes)
        ]
        self.ontology = Ontology(self.specs)
        lengths = rng.normal(14, 5, ITEMS).round().clip(4, 30).astype(int)
        self.titles = [list(rng.choice(self.words, length)) for length in lengths]
        texts = [" ".join(title) for title in self.titles]
        values = [value for spec in self.specs for value in spec.values]
        self.tokenizer = CatalogTokenizer.train([*texts, *values], vocab_size, max_ngrams)
        self.ranges = np.concatenate([[0], np.cumsum(sizes)])
        chosen = np.array(
            [np.sort(rng.choice(PROPERTIES, STATEMENTS, False)) for _ in range(ITEMS)]
        )
        self.property = chosen.reshape(-1)
        zipf = np.minimum(rng.zipf(1.3, len(self.property)), sizes[self.property]) - 1
        self.candidate = self.ranges[self.property] + zipf

    def data(self, image_size: int) -> TrainingData:
        """Return the catalogue as training data; its images are all the same random one."""
        image = np.random.default_rng(1).integers(0, 255, (3, image_size, image_size), np.uint8)
        pixels = np.broadcast_to(image, (ITEMS, *image.shape))
        return TrainingData(
            items=[str(number) for number in range(ITEMS)],
            words=self.titles,
            blind=[title[::2] for title in self.titles],
            indptr=np.arange(ITEMS + 1) * STATEMENTS,
            property=self.property,
            candidate=self.candidate,
            ranges=self.ranges,
            images=ImageCache(pixels, np.ones(ITEMS, bool), []),
            category=np.arange(ITEMS) % 40,
        )

    def pair_builder(self, data: TrainingData, config: ModelConfig) -> QueryPairBuilder:
        """Return a builder of query pairs: each item was bought for two values of its own."""
        rows = []
        values = [value for spec in self.specs for value in spec.values]
        for number, item in enumerate(data.items):
            own = self.candidate[number * STATEMENTS : (number + 1) * STATEMENTS]
            for first, second in ((0, 4), (1, 6)):
                query = f"{values[own[first]]} {values[own[second]]}"
                rows.append(LoggedQuery(query, item, clicks=2, purchases=1))
        log = read_log(data.items, rows)
        if log is None:
            raise ValueError("the made query log is empty")
        terms = QueryTerms({spec.name: list(spec.values) for spec in self.specs})
        return QueryPairBuilder(data, log, terms, self.tokenizer, config, 0.5)


def minilm(vocab_size: int, tiny: bool = False) -> str:
    """Return the settings of a text model with the shape of all-MiniLM-L6-v2, as JSON."""
    from transformers import BertConfig, BertModel

    sizes: dict[str, Any] = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    if tiny:
        sizes = {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96}
    config = BertConfig(vocab_size=vocab_size, num_attention_heads=12, **sizes)
    model: Any = BertModel(config)
    return TextModelSettings.of(model.eval()).to_json()


def make_steps(name: str, size: str, batch_size: int, count: int, stage: str = "") -> MadeSteps:
    """Make ``count`` batches of a preset, of all objectives together or those of ``stage``.

    ``stage`` are names of objectives joined by ``+``. With ``PRESET+minilm-frozen`` or ``-tuned``,
    a text model of MiniLM's shape reads the texts; it has as many pieces as the made words give,
    which are fewer than MiniLM's 30,522.
    """
    name, _, reader = name.partition("+")
    chosen = preset(name, size)
    vocab_size = MINILM_PIECES if reader else chosen.model.vocab_size
    catalogue = MadeCatalogue(vocab_size, chosen.model.max_ngrams)
    config = dataclasses.replace(chosen.model, vocab_size=catalogue.tokenizer.vocab_size)
    if reader:
        config = dataclasses.replace(
            config,
            text_model=minilm(config.vocab_size, size == "tiny"),
            frozen_text=reader.endswith("frozen"),
        )
    recipe = dataclasses.replace(chosen.recipe, batch_size=batch_size)
    weights = {term: weight for term, weight in recipe.weights.items() if weight > 0}
    if stage:
        weights = {term: weights[term] for term in stage.split("+")}
    recipe = dataclasses.replace(recipe, weights=dict.fromkeys(recipe.weights, 0.0) | weights)
    data = catalogue.data(config.image_size)
    collator = Collator(
        data,
        catalogue.tokenizer,
        recipe,
        TrainingFlows(data, recipe.max_known),
        config,
        catalogue.pair_builder(data, config),
    )
    made = MadeSteps(config, recipe, catalogue.tokenizer, catalogue.ontology, [])
    collator.string_lengths = made.objective().model.knowledge.lengths
    rng = np.random.default_rng(2)
    for step in range(count):
        items = rng.choice(ITEMS, batch_size, False)
        pairs = rng.choice(2 * ITEMS, batch_size // 2 if stage else batch_size // 4, False)
        contents = BatchContents(items, pairs, pairs)
        made.batches.append(collator.batch(Stage(weights), contents, KeyedRandom(0, step)))
    return made


def save_steps(made: MadeSteps, path: Path) -> None:
    """Write ``made`` to a file, without the content of its images."""
    light = [map_tensors(batch, _without_pixels) for batch in made.batches]
    path.write_bytes(pickle.dumps(dataclasses.replace(made, batches=light)))


def load_steps(path: Path) -> MadeSteps:
    """Read what :func:`save_steps` has written; the images are random."""
    made: MadeSteps = pickle.loads(path.read_bytes())
    return dataclasses.replace(
        made, batches=[map_tensors(batch, _with_pixels) for batch in made.batches]
    )


def _without_pixels(part: torch.Tensor) -> torch.Tensor:
    return part.new_empty(0, *part.shape) if part.dtype == torch.uint8 else part


def _with_pixels(part: torch.Tensor) -> torch.Tensor:
    if part.dtype != torch.uint8:
        return part
    return torch.randint(0, 256, part.shape[1:], dtype=torch.uint8)
