"""Vision models of transformers as image encoders of a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from encoders.image import HALF, Standardise
from encoders.vision import PretrainedVision, VisionSettings
from schema.errors import ModelError

SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 16,
}
STAGES: dict[str, Any] = {"hidden_sizes": [4, 6], "depths": [1, 1]}
PIXELS = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
RESNET = transformers.ResNetConfig(embedding_size=4, layer_type="basic", **STAGES)


def settings_of(config: Any) -> VisionSettings:
    return VisionSettings(config.to_dict(), HALF, HALF, 32).measured()


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (transformers.Dinov2Config(**SIZES), (8, 2, 1)),
        (transformers.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=4), (8, 2, 5)),
        (transformers.DeiTConfig(**SIZES), (8, 2, 2)),
        (transformers.CLIPVisionConfig(**SIZES), (8, 2, 1)),
        (transformers.SiglipVisionConfig(**SIZES), (8, 2, 0)),
        (transformers.ConvNextConfig(num_stages=2, **STAGES), (6, 4, 0)),
        (RESNET, (6, 4, 0)),
        (transformers.SwinConfig(embed_dim=4, patch_size=4, depths=[1], num_heads=[2]), (4, 8, 0)),
    ],
    ids=lambda each: getattr(each, "model_type", None),
)
def test_states_become_tokens_of_patches(config, sizes):
    settings = settings_of(config)
    assert (settings.width, settings.grid, settings.global_tokens) == sizes
    again = VisionSettings.from_json(settings.to_json())
    encoder = PretrainedVision(again, 4).eval()
    tokens = encoder(PIXELS)
    assert tokens.hidden.shape == (2, sizes[2] + sizes[1] ** 2, 4)
    assert encoder.masked_tokens(torch.ones(4)).shape == (sizes[1] ** 2, 4)


def test_tokens_are_projected_normed_states_and_positions():
    encoder = PretrainedVision(settings_of(RESNET), 4).eval()
    states = encoder.vision(pixel_values=Standardise(HALF, HALF)(PIXELS)).last_hidden_state
    rows = states.permute(0, 2, 3, 1).reshape(2, 16, 6)
    expected = encoder.project(encoder.norm(rows)) + encoder.positions
    torch.testing.assert_close(encoder(PIXELS).hidden, expected)
    torch.testing.assert_close(encoder.patch_positions(torch.tensor([3])), encoder.positions[3:4])


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norms_keep_what_they_have_learned(frozen):
    encoder = PretrainedVision(settings_of(RESNET), 4, frozen).train()
    before = {name: buffer.clone() for name, buffer in encoder.vision.named_buffers()}
    encoder(PIXELS).hidden.square().sum().backward()
    assert before
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.vision.named_buffers())
    learned = [each.grad is not None for each in encoder.vision.parameters()]
    assert any(learned) is not frozen
    assert encoder.project.weight.grad is not None


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"config": {"trust_remote_code": true}}', '{"config": 3}']
)
def test_what_describes_no_vision_model_is_refused(text):
    with pytest.raises(ModelError, match="no vision model is described"):
        VisionSettings.from_json(text)


def test_a_model_of_texts_reads_no_images():
    config = transformers.BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
    with pytest.raises(ModelError, match="reads no images"):
        settings_of(config)
