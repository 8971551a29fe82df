import dataclasses

import pytest
import torch

from fusion.build import build_model
from fusion.featurize import Featurizer
from fusion.presets import PRESETS, SIZES, preset
from kg.message_flow import MessageFlow
from schema.errors import UsageError
from tests.fusion.conftest import TINY


def small(name):
    """A preset at test size."""
    config = preset(name, "tiny")
    kernels = (16,) if name == "vtbert" else (4, 4)
    return dataclasses.replace(config, dim=16, heads=2, image_size=64, image_grid=4, patch_kernels=kernels, max_title=16)


@pytest.fixture(params=PRESETS)
def built(request, tokenizer, ontology, items):
    config = TINY if request.param == "joint" else small(request.param)
    torch.manual_seed(0)
    pictures = [torch.randint(0, 256, (3, config.image_size, config.image_size), dtype=torch.uint8).numpy() for _ in items]
    items = [
        dataclasses.replace(item, image=None if item.image is None else picture) for item, picture in zip(items, pictures, strict=True)
    ]
    return build_model(config, tokenizer, ontology).eval(), Featurizer(tokenizer, config).batch(items)


def asked(edges=()):
    columns = [torch.tensor(column) for column in zip(*edges, strict=True)] or [torch.zeros(0, dtype=torch.int64)] * 3
    return MessageFlow(torch.arange(4), torch.zeros(4, dtype=torch.int64), *columns)


@pytest.mark.parametrize("query", [None, torch.tensor([[5, 6], [5, 0], [5, 6], [6, 0]])])
def test_every_subset_of_modalities_gives_finite_scores_and_gradients(built, query):
    model, batch = built
    model.train()
    fused = model.fuse(batch, model.encode_image(batch), query)
    assert fused.title.hidden.shape[:2] == batch.pieces.shape
    model.score(fused, asked([(0, 1, 3)]), model.know(torch.arange(5)))[:, :3].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_items_without_any_picture_are_read(built):
    model, batch = built
    fused = model.fuse(batch, None)
    assert fused.image is None
    assert model.score(fused, asked(), model.know(torch.arange(5)))[:, :3].isfinite().all()


def test_a_masked_picture_changes_nothing_bit_for_bit(built):
    model, batch = built
    image = model.encode_image(batch)
    hidden = image.where(torch.tensor([True, False, False, False]))
    other = dataclasses.replace(
        hidden,
        tokens=dataclasses.replace(
            hidden.tokens, hidden=hidden.tokens.hidden * hidden.tokens.mask[..., None] + 7 * ~hidden.tokens.mask[..., None]
        ),
    )
    assert torch.equal(model.fuse(batch, hidden).node, model.fuse(batch, other).node)


def test_known_triples_move_their_cell_alone(built):
    model, batch = built
    fused, know = model.fuse(batch, model.encode_image(batch)), model.know(torch.arange(5))
    plain, told = model.score(fused, asked(), know), model.score(fused, asked([(0, 1, 3)]), know)
    assert not torch.equal(plain[0], told[0])
    torch.testing.assert_close(plain[1:], told[1:])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_every_preset_has_every_size(name, size):
    config = preset(name, size)
    assert config.preset == name
    assert config.dim == {"tiny": 64, "small": 256, "base": 768}[size]


def test_other_names_are_refused():
    with pytest.raises(UsageError, match="no preset 'bert': choose one of joint, k3m, mbsd, vtbert"):
        preset("bert", "small")
    with pytest.raises(UsageError, match="no size 'huge': choose one of tiny, small, base"):
        preset("mbsd", "huge")
