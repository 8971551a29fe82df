import numpy as np
import pytest
import torch

from fusion.build import build_model
from fusion.config import ModelConfig
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.ingest.queries import ingest_queries
from kg.sample import write_sample
from kg.sampling.keyed_random import KeyedRandom
from tests.training.preset_steps import ITEMS, ONTOLOGY, TOKENIZER, made_data
from training.collate import BatchContents, Collator
from training.config import Recipe
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


@pytest.fixture(scope="session")
def ontology():
    return ONTOLOGY


@pytest.fixture(scope="session")
def tokenizer():
    return TOKENIZER


@pytest.fixture
def data():
    """24 items, each with a colour and a kind; half without image, the first without title."""
    return made_data(TINY, np.arange(ITEMS) < 12)


def made_home(folder):
    """Make a home in ``folder`` with a synthetic catalogue of 60 items and its query log."""
    write_sample(folder / "shop", 60, seed=1)
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "shop" / "items.csv"], max_rejects="0%")
    ingest_queries(home, folder / "shop" / "queries.csv")
    return home


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
