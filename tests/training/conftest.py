import numpy as np
import pytest
import torch

from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from kg.image_cache import ImageCache
from kg.sampling.keyed_random import KeyedRandom
from schema.ontology import Ontology, PropertySpec
from training.collate import BatchContents, Collator
from training.config import Recipe
from training.data import TrainingData
from training.flows import TrainingFlows
from training.objectives.joint import JointObjective
from training.schedule import Stage

TINY = ModelConfig(
    dim=16,
    heads=2,
    fusion_layers=1,
    decoder_layers=1,
    vocab_size=200,
    max_ngrams=64,
    bag_width=8,
    known_width=4,
    image_size=32,
    stem_channels=(4, 8, 8, 8),
    image_grid=2,
)
COLOURS = ("blue", "green", "red")
KINDS = ("lamp", "mug")


@pytest.fixture(scope="session")
def ontology():
    return Ontology(
        [
            PropertySpec("colour", values=COLOURS, counts=(3, 2, 1)),
            PropertySpec("kind", values=KINDS, counts=(3, 2)),
        ]
    )


@pytest.fixture(scope="session")
def tokenizer():
    return CatalogTokenizer.train(
        [f"{c} {k} of steel" for c in COLOURS for k in KINDS], 200, TINY.max_ngrams
    )


@pytest.fixture
def data(tokenizer):
    """24 items, each with a colour and a kind; half without image, the first without title."""
    colour = np.arange(24) % 3
    kind = np.arange(24) % 2
    pixels = np.random.default_rng(0).integers(0, 255, (24, 3, 32, 32), dtype=np.uint8)
    words = [
        [] if i == 0 else [COLOURS[c], KINDS[k], "steel"]
        for i, (c, k) in enumerate(zip(colour, kind, strict=True))
    ]
    return TrainingData(
        items=[str(i) for i in range(24)],
        words=words,
        blind=[["steel"] if w else [] for w in words],
        indptr=np.arange(25) * 2,
        property=np.tile([0, 1], 24),
        candidate=np.stack([colour, 3 + kind], 1).reshape(-1),
        ranges=np.array([0, 3, 5]),
        images=ImageCache(pixels, np.arange(24) < 12, []),
        category=np.arange(24) // 12,
    )


@pytest.fixture
def recipe():
    return Recipe(
        batch_size=8,
        precision="fp32",
        warmup_steps=2,
        log_every=1,
        validate_every=1000,
        keep_every=1000,
        shift=2,
    )


@pytest.fixture
def collator(data, tokenizer, recipe):
    return Collator(data, tokenizer, recipe, TrainingFlows(data, 8), TINY)


def all_terms(recipe):
    """One stage of every objective that has a weight in the recipe."""
    return Stage({term: weight for term, weight in recipe.weights.items() if weight > 0})


def items_only(index):
    """The contents of a batch of items without query pairs."""
    nothing = np.zeros(0, np.int64)
    return BatchContents(np.asarray(index), nothing, nothing)


@pytest.fixture
def batch(collator, recipe):
    """The batch of some items at a step of seed 0."""
    return lambda index, step=0: collator.batch(
        all_terms(recipe), items_only(index), KeyedRandom(0, step)
    )


@pytest.fixture
def objective(model, recipe):
    return JointObjective(model, TINY, recipe)


@pytest.fixture
def model(tokenizer, ontology):
    torch.manual_seed(0)
    return build_model(TINY, tokenizer, ontology)
