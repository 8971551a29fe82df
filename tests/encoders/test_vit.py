from typing import Any

import pytest
import torch
from transformers import ViTConfig, ViTModel

from encoders.image import HALF, normalise
from encoders.vit import PretrainedViT, pretrained_vit
from schema.errors import ModelError

PIXELS = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    return ViTModel(ViTConfig(**sizes, image_size=16, patch_size=8), add_pooling_layer=False).eval()


def test_its_tokens_are_the_vits_states_mapped(vit):
    encoder = PretrainedViT(vit, 4)
    expected = encoder.project(vit(pixel_values=normalise(PIXELS, HALF, HALF)).last_hidden_state)
    torch.testing.assert_close(encoder(PIXELS).hidden, expected)
    assert expected.shape == (2, 5, 4)


def test_a_frozen_one_learns_its_map_alone(vit):
    encoder = PretrainedViT(vit, 4).train()
    encoder(PIXELS).hidden.sum().backward()
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == {
        "project.weight",
        "project.bias",
    }
    assert not encoder.vit.training


def test_a_folder_gives_the_same(vit, tmp_path):
    vit.save_pretrained(tmp_path)
    torch.testing.assert_close(
        pretrained_vit(tmp_path, 4).vit(normalise(PIXELS, HALF, HALF))[0],
        vit(normalise(PIXELS, HALF, HALF))[0],
    )


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ModelError, match="no ViT at"):
        pretrained_vit(tmp_path, 4)
