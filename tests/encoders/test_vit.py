from typing import Any

import pytest
import torch
from transformers import ViTConfig, ViTModel

from encoders.image import HALF, Standardise
from encoders.vit import PretrainedViT, read_vit
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


def test_tokens_are_the_projected_states(vit):
    encoder = PretrainedViT(vit, 4)
    expected = encoder.project(vit(pixel_values=Standardise(HALF, HALF)(PIXELS)).last_hidden_state)
    torch.testing.assert_close(encoder(PIXELS).hidden, expected)
    assert expected.shape == (2, 5, 4)


def test_a_frozen_vit_learns_its_projection_alone(vit):
    encoder = PretrainedViT(vit, 4).train()
    encoder(PIXELS).hidden.sum().backward()
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == {
        "project.weight",
        "project.bias",
    }
    assert not encoder.vit.training


def test_weights_are_read_from_a_folder(vit, tmp_path):
    vit.save_pretrained(tmp_path)
    pixels = Standardise(HALF, HALF)(PIXELS)
    torch.testing.assert_close(read_vit(tmp_path)(pixels)[0], vit(pixels)[0])


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no ViT at"):
        read_vit(tmp_path)


def test_patch_positions_are_refused(vit):
    with pytest.raises(TypeError, match="PretrainedViT has no position embeddings of patches"):
        PretrainedViT(vit, 4).patch_positions(torch.tensor([0]))
