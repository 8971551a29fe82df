import numpy as np
import pytest
import torch

from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from fusion.inference.featurizer import Featurizer, ItemInput
from schema.ontology import Ontology, PropertySpec

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
    colours = PropertySpec("colour", values=("red", "blue", "green"), counts=(3, 2, 1))
    return Ontology([colours, PropertySpec("kind", values=("mug", "lamp"), counts=(3, 2))])


@pytest.fixture(scope="session")
def tokenizer():
    return CatalogTokenizer.train(
        ["red mug", "blue lamp", "green mug of steel"] * 3, 200, TINY.max_ngrams
    )


@pytest.fixture
def model(ontology, tokenizer):
    torch.manual_seed(0)
    return build_model(TINY, tokenizer, ontology).eval()


@pytest.fixture
def items():
    image = np.random.default_rng(0).integers(0, 255, (3, 32, 32), dtype=np.uint8)
    return [
        ItemInput("a", "red mug", image),
        ItemInput("b", None, image),
        ItemInput("c", "blue lamp"),
        ItemInput("d"),
    ]


@pytest.fixture
def batch(tokenizer, items):
    return Featurizer(tokenizer, TINY).batch(items)
