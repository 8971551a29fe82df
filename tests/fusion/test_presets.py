import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from encoders.regions import Regions
from encoders.tokens import ModalTokens
from fusion.build import build_model
from fusion.inference.featurizer import Featurizer
from fusion.link_prediction.aggregation import Triples
from kg.message_flow import MessageFlow
from schema.errors import UsageError
from tests.fusion.conftest import TINY
from training.presets import PRESETS, SIZES, preset, preset_name

NAMES = [preset_name(build) for build in PRESETS]
OWN = [name for name in NAMES if name != "wrapped"]
REGIONS = Regions(
    np.ones((3, 5), np.float32), np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
)


def small(name):
    """A preset at test size; ``k3m-regions`` and ``k3m-two-hops`` are settings of K3M."""
    base, _, setting = name.partition("+")
    config = (
        TINY
        if base == "joint"
        else dataclasses.replace(preset(base, "tiny").model, dim=16, heads=2, max_title=16)
    )
    settings: dict[str, dict[str, Any]] = {
        "regions": {"image_encoder": "regions", "region_width": 5},
        "two-hops": {"hops": 2},
    }
    return dataclasses.replace(config, **settings.get(setting, {}))


@pytest.fixture(params=[*OWN, "k3m+regions", "k3m+two-hops", "joint+two-hops"])
def built(request, tokenizer, ontology, items):
    config = small(request.param)
    torch.manual_seed(0)
    images: list[Any] = [
        torch.randint(0, 256, (3, config.image_size, config.image_size), dtype=torch.uint8).numpy()
        for _ in items
    ]
    if config.image_encoder == "regions":
        images = [REGIONS] * len(items)
    items = [
        dataclasses.replace(item, image=None if item.image is None else image)
        for item, image in zip(items, images, strict=True)
    ]
    return build_model(config, tokenizer, ontology).eval(), Featurizer(tokenizer, config).batch(
        items
    )


def asked(edges=()):
    columns = [torch.tensor(column) for column in zip(*edges, strict=True)] or [
        torch.zeros(0, dtype=torch.int64)
    ] * 3
    return MessageFlow.of(torch.arange(4), torch.zeros(4, dtype=torch.int64), *columns)


@pytest.mark.parametrize("query", [None, torch.tensor([[5, 6], [5, 0], [5, 6], [6, 0]])])
def test_every_subset_of_modalities_gives_finite_scores_and_gradients(built, query):
    model, batch = built
    model.train()
    fused = model.fuse(batch, model.encode_image(batch), query)
    assert fused.title.hidden.shape[:2] == batch.pieces.shape
    model.score(fused, asked([(0, 1, 3)]), model.know(torch.arange(5)))[:, :3].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_items_without_any_image_are_read(built):
    model, batch = built
    fused = model.fuse(batch, None)
    assert fused.image is None
    assert model.score(fused, asked(), model.know(torch.arange(5)))[:, :3].isfinite().all()


def test_a_masked_image_changes_nothing_bit_for_bit(built):
    model, batch = built
    image = model.encode_image(batch)
    if image is None:
        pytest.skip("this one reads no images")
    first = torch.tensor([True, False, False, False])
    mask = image.tokens.mask & first[:, None]
    hidden = dataclasses.replace(
        image,
        tokens=ModalTokens(image.tokens.hidden, mask),
        described=image.described & first,
    )
    other = dataclasses.replace(
        hidden, tokens=ModalTokens(torch.where(mask[..., None], image.tokens.hidden, 7.0), mask)
    )
    assert torch.equal(model.fuse(batch, hidden).node, model.fuse(batch, other).node)


def test_masked_patches_keep_their_place_and_nothing_else(built):
    model, batch = built
    image = model.encode_image(batch)
    if image is None:
        pytest.skip("this one reads no images")
    for module in model.images.modules():
        for name, parameter in module.named_parameters(recurse=False):
            # The residual network's positions begin at zero.
            if name == "positions":
                torch.nn.init.normal_(parameter)
    image = model.encode_image(batch)
    count = image.tokens.mask.shape[1] - image.global_tokens
    every = torch.ones(len(batch), count, dtype=torch.bool)
    masked = image.patch_states(model.hide_patches(batch, image, every).tokens.hidden)
    # Two different places of one image are two different tokens.
    distance = (masked[0, 0] - masked[0, 1]).abs().max()
    assert distance > 1e-3

    other = dataclasses.replace(batch)
    if batch.regions is not None:
        other = dataclasses.replace(
            batch,
            regions=dataclasses.replace(batch.regions, features=batch.regions.features + 1),
        )
    elif batch.pixels is not None:
        other = dataclasses.replace(batch, pixels=255 - batch.pixels)
    again = model.hide_patches(other, model.encode_image(other), every)
    assert torch.equal(image.patch_states(again.tokens.hidden)[0], masked[0])


def test_known_triples_move_their_cell_alone(built):
    model, batch = built
    fused = model.fuse(batch, model.encode_image(batch))
    know = model.know(torch.arange(5))
    plain = model.score(fused, asked(), know)
    told = model.score(fused, asked([(0, 1, 3)]), know)
    assert torch.equal(plain[0], told[0]) != model.links.reads_known
    torch.testing.assert_close(plain[1:], told[1:])


def test_every_state_has_its_name_and_shape(built):
    model, batch = built
    triples = Triples(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([3, 0]))
    found = model.states(batch, triples)
    for name in ("item", "node", "global_embedding", "text_embedding", "image_embedding"):
        assert getattr(found, name).shape == (4, model.patch_mask.shape[0])
        assert getattr(found, name).isfinite().all()
    assert found.title.hidden.shape[:2] == batch.pieces.shape
    assert (found.image is None) == (model.encode_image(batch) is None)
    assert torch.equal(found.node[1], model.links.aggregate.keep(found.item)[1])


def test_what_a_baseline_leaves_out_does_not_reach_it(tokenizer, ontology, batch):
    other = dataclasses.replace(batch, pieces=batch.pieces.flip(0))
    vit = build_model(small("vit"), tokenizer, ontology).eval()
    assert torch.equal(vit.fuse(batch, None).node, vit.fuse(other, None).node)
    assert build_model(small("bert"), tokenizer, ontology).encode_image(batch) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_every_preset_has_every_size(name, size):
    config = preset(name, size).model
    assert config.preset == name
    assert config.dim == {"tiny": 64, "small": 256, "base": 768}[size]


AGGREGATION = 8 * 3 * 768 * 768 + 8 * 768 + 768 * 768
GATES = 2 * (2 * 768 * 2 * 768 + 2 * 768 + 2 * 768 * 768 + 768)
CONVOLUTIONS = (48 * 64 + 64) + (256 * 192 + 192) + (768 * 384 + 384) + (1536 * 768 + 768)
LAYERS = 12 * (4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768)


@pytest.mark.parametrize(
    ("name", "part", "count"),
    [
        ("mbsd", "fusion.stream.transformer", LAYERS),
        ("vtbert", "fusion.stream.transformer", LAYERS),
        ("k3m", "fusion.text.encoder", LAYERS // 2),
        ("k3m", "fusion.image", LAYERS // 2),
        ("k3m", "links.aggregate", AGGREGATION),
        ("k3m", "fusion.streams.fuse_title", GATES // 2),
        ("mbsd", "images.encoder.convolutions", CONVOLUTIONS),
        ("vtbert", "images", 16 * 16 * 3 * 768 + 768 + 196 * 768),
    ],
)
def test_base_presets_have_the_papers_parameters(name, part, count, tokenizer, ontology):
    with torch.device("meta"):
        model = build_model(preset(name, "base").model, tokenizer, ontology)
    assert LAYERS == 85_054_464
    assert sum(parameter.numel() for parameter in model.get_submodule(part).parameters()) == count


def test_the_papers_presets_are_set_as_their_releases():
    k3m = preset("k3m", "base")
    assert (k3m.model.aggregation_heads, k3m.model.fusion_gates) == (8, "feature")
    assert not k3m.model.string_embeddings
    assert (k3m.recipe.learning_rate, k3m.recipe.weight_decay) == (1e-4, 0.01)
    assert (k3m.recipe.warmup, k3m.recipe.warmup_steps) == (0.1, 0)
    assert (k3m.recipe.pretrained_rate, k3m.recipe.cover_rate) == (0.1, 0.9)
    mbsd = preset("mbsd", "base").model
    assert (mbsd.image_cls, mbsd.image_norm, mbsd.text_types) == (True, False, True)
    assert mbsd.stem_channels == (64, 192, 384)
    assert preset("vtbert", "base").recipe.random_pieces == "unigram"
    for name in ("k3m", "mbsd", "vtbert"):
        assert preset(name, "base").model.hidden_act == "gelu"
        assert preset(name, "base").model.norm_eps == 1e-12


def test_other_names_are_refused():
    with pytest.raises(
        UsageError, match="no preset 'gpt': choose one of joint, k3m, mbsd, vtbert,"
    ):
        preset("gpt", "small")
    with pytest.raises(UsageError, match="no size 'huge': choose one of tiny, small, base"):
        preset("mbsd", "huge")
