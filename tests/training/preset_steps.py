"""One step's batch of every preset, for tests that run each of them: made data, tiny models."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from encoders.regions import RegionFiles, Regions
from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from kg.image_cache import ImageCache
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import BoolArray
from schema.ontology import Ontology, PropertySpec
from training.batches import StepBatch
from training.collate import BatchContents, Collator
from training.data import ItemRegions, TrainingData
from training.flows import TrainingFlows
from training.objectives.joint import JointObjective
from training.presets import preset
from training.queries import LoggedQuery, QueryPairBuilder, QueryTerms, read_log
from training.schedule import Stage

COLOURS = ("blue", "green", "red")
KINDS = ("lamp", "mug")
ITEMS = 24
ONTOLOGY = Ontology(
    [
        PropertySpec("colour", values=COLOURS, counts=(3, 2, 1)),
        PropertySpec("kind", values=KINDS, counts=(3, 2)),
    ]
)
TOKENIZER = CatalogTokenizer.train([f"{c} {k} of steel" for c in COLOURS for k in KINDS], 200, 64)


@dataclass(frozen=True)
class PresetStep:
    """The objectives of one preset at test size, and the batches that they are trained on."""

    objective: JointObjective
    collator: Collator

    @property
    def batch(self) -> StepBatch:
        """The batch of the first step, with 24 items and 8 pairs."""
        return self.batch_of(0, ITEMS)

    def batch_of(self, step: int, items: int) -> StepBatch:
        """Return the batch of a step, with the given number of items and a third as many pairs."""
        pairs = np.arange(items // 3)
        contents = BatchContents(np.arange(items), pairs, pairs)
        stage = Stage(dict(self.objective.weights))
        return self.collator.batch(stage, contents, KeyedRandom(0, step))


class _MadeRegions(RegionFiles):
    """Regions of every image, drawn at random."""

    def read(self, key: str) -> Regions:
        """Return two or three regions with 5 features and 4 classes each."""
        generator = np.random.default_rng(int(key))
        count = 2 + int(key) % 2
        return Regions(
            generator.normal(size=(count, 5)).astype(np.float32),
            np.sort(generator.random((count, 4)), 1).astype(np.float32),
            generator.dirichlet(np.ones(4), count).astype(np.float32),
        )


def preset_config(name: str, **settings: Any) -> ModelConfig:
    """Return a preset's configuration at test size; ``k3m+regions`` is K3M on regions.

    Other variants: ``PRESET+two-hops``.
    """
    base, _, variant = name.partition("+")
    config = dataclasses.replace(
        preset(base, "tiny").model,
        dim=16,
        heads=2,
        max_title=16,
        vocab_size=TOKENIZER.vocab_size,
        max_ngrams=64,
        dropout=0.1,
        **settings,
    )
    if variant == "regions":
        config = dataclasses.replace(
            config, image_encoder="regions", region_width=5, region_classes=4
        )
    if variant == "two-hops":
        config = dataclasses.replace(config, hops=2)
    return config


def made_data(config: ModelConfig, has_image: BoolArray) -> TrainingData:
    """Return 24 items with a colour and a kind; the first one has no title."""
    colour = np.arange(ITEMS) % 3
    kind = np.arange(ITEMS) % 2
    size = config.image_size
    pixels = np.random.default_rng(0).integers(0, 255, (ITEMS, 3, size, size), dtype=np.uint8)
    words = [
        [] if item == 0 else [COLOURS[c], KINDS[k], "steel"]
        for item, (c, k) in enumerate(zip(colour, kind, strict=True))
    ]
    regions = None
    if config.image_encoder == "regions":
        regions = ItemRegions(_MadeRegions(), 3, config.region_width, config.region_classes)
    return TrainingData(
        items=[str(item) for item in range(ITEMS)],
        words=words,
        blind=[["steel"] if each else [] for each in words],
        indptr=np.arange(ITEMS + 1) * 2,
        property=np.tile([0, 1], ITEMS),
        candidate=np.stack([colour, 3 + kind], 1).reshape(-1),
        ranges=np.array([0, 3, 5]),
        images=ImageCache(pixels, has_image, []),
        category=np.arange(ITEMS) // 12,
        regions=regions,
    )


def preset_step(name: str, **settings: Any) -> PresetStep:
    """Return a step of all objectives of a preset together, those of later stages included."""
    config = preset_config(name, **settings)
    recipe = dataclasses.replace(
        preset(name.partition("+")[0], "tiny").recipe,
        precision="fp32",
        masked_rows=0.8,
        link="softmax" if config.interaction == "" else "margin",
    )
    # A fourth of the items has no image.
    data = made_data(config, np.arange(ITEMS) % 4 > 0)
    logged = [
        LoggedQuery(f"{COLOURS[number % 3]} {KINDS[number % 2]}", item, clicks=2, purchases=1)
        for number, item in enumerate(data.items)
    ]
    log = read_log(data.items, logged)
    terms = QueryTerms({"colour": COLOURS, "kind": KINDS})
    pairs = None if log is None else QueryPairBuilder(data, log, terms, TOKENIZER, config, 0.5)
    torch.manual_seed(0)
    model = build_model(config, TOKENIZER, ONTOLOGY)
    collator = Collator(
        data,
        TOKENIZER,
        recipe,
        TrainingFlows(data, 8),
        config,
        pairs,
        string_lengths=model.knowledge.lengths,
    )
    return PresetStep(JointObjective(model, config, recipe).train(), collator)
