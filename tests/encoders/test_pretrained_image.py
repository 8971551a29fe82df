import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from encoders.pretrained_image import PROCESSOR, PretrainedImages
from schema.errors import ModelError

SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TOWER = {**SIZES, "image_size": 16, "patch_size": 8}
SETTINGS = {
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "size": {"height": 16, "width": 16},
}
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), np.uint8)
STAGES: dict[str, Any] = {"hidden_sizes": [8, 8], "depths": [1, 1]}


def write(folder, model, **settings):
    torch.manual_seed(0)
    model.save_pretrained(folder)
    (folder / PROCESSOR).write_text(json.dumps({**SETTINGS, **settings}))


def vit(folder, pools=True, **settings):
    torch.manual_seed(0)
    model = transformers.ViTModel(transformers.ViTConfig(**TOWER), add_pooling_layer=pools).eval()
    write(folder, model, **settings)
    return model


def standardised():
    scaled = torch.from_numpy(PIXELS).double() / 255
    mean, std = (torch.tensor(SETTINGS[f"image_{name}"]).view(3, 1, 1) for name in ("mean", "std"))
    return ((scaled - mean) / std).float()


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=1)


def test_an_image_is_the_pooled_output_of_standardised_pixels(tmp_path):
    model = vit(tmp_path)
    with torch.no_grad():
        expected = unit(model(standardised()).pooler_output)
    encoder = PretrainedImages(tmp_path)
    assert encoder.image_size == 16
    np.testing.assert_allclose(encoder.encode(PIXELS), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(PIXELS[1:2]), expected[1:2], atol=1e-5)
    assert encoder.encode(PIXELS[:0]).shape == (0, 8)


def test_a_pooler_without_weights_is_not_asked(tmp_path):
    model = vit(tmp_path, pools=False)
    with torch.no_grad():
        expected = unit(model(standardised()).last_hidden_state.mean(1))
    np.testing.assert_allclose(PretrainedImages(tmp_path).encode(PIXELS), expected, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        transformers.Dinov2Config(**TOWER),
        transformers.CLIPConfig(
            text_config={**SIZES, "vocab_size": 8}, vision_config=TOWER, projection_dim=4
        ),
        transformers.CLIPVisionConfig(**TOWER),
        transformers.SiglipVisionConfig(**TOWER),
        transformers.ConvNextConfig(num_stages=2, **STAGES),
        transformers.ResNetConfig(embedding_size=8, layer_type="basic", **STAGES),
        transformers.SwinConfig(
            embed_dim=4, image_size=16, patch_size=2, depths=[1], num_heads=[2]
        ),
        transformers.EfficientNetConfig(
            width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=320, initializer_range=1.0
        ),
        transformers.MobileNetV2Config(
            depth_multiplier=0.25, finegrained_output=False, initializer_range=1.0
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_other_vision_models_are_encoders(tmp_path, config):
    size = 64 if config.model_type == "efficientnet" else 16
    model = transformers.AutoModel.from_config(config)
    write(tmp_path, model, size={"height": size, "width": size})
    encoder = PretrainedImages(tmp_path)
    vectors = encoder.encode(PIXELS)
    assert vectors.shape == (3, encoder.width)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors[2:], encoder.encode(PIXELS[2:]), atol=1e-5)


def test_images_of_another_size_are_resized(tmp_path):
    vit(tmp_path)
    encoder = PretrainedImages(tmp_path)
    doubled = PIXELS.repeat(2, 2).repeat(2, 3)
    flat = np.full((1, 3, 40, 40), 77, np.uint8)
    np.testing.assert_allclose(encoder.encode(flat), encoder.encode(flat[..., :16, :16]), atol=1e-4)
    assert encoder.encode(doubled).shape == (3, 8)


@pytest.mark.parametrize(
    ("settings", "scaled"),
    [
        ({"rescale_factor": 1 / 127.5}, lambda x: (x / 127.5 - 0.5) / 0.5),
        ({"do_rescale": False}, lambda x: (x - 0.5) / 0.5),
        ({"do_normalize": False}, lambda x: x / 255),
        (
            {"image_processor_type": "EfficientNetImageProcessorFast", "rescale_offset": True},
            lambda x: (x / 255 - 1 - 0.5) / 0.25,
        ),
    ],
)
def test_pixels_are_scaled_as_the_preprocessor_says(tmp_path, settings, scaled):
    half = [0.5, 0.5, 0.5]
    model = vit(tmp_path, **{"image_mean": half, "image_std": half, **settings})
    with torch.no_grad():
        expected = unit(model(scaled(torch.from_numpy(PIXELS).float())).pooler_output)
    np.testing.assert_allclose(PretrainedImages(tmp_path).encode(PIXELS), expected, atol=1e-4)


def test_a_preprocessor_of_texts_and_images_is_read(tmp_path):
    vit(tmp_path)
    expected = PretrainedImages(tmp_path).encode(PIXELS)
    (tmp_path / PROCESSOR).unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": SETTINGS}))
    np.testing.assert_array_equal(PretrainedImages(tmp_path).encode(PIXELS), expected)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"image_mean": None}, "image_mean=None of preprocessor_config.json is no list"),
        ({"image_std": [0, 1, 1]}, r"image_std=\[0.0, 1.0, 1.0\] has no use"),
        ({"size": {"height": 9999}}, "images of 9999 pixels are larger than 2048"),
    ],
)
def test_a_preprocessor_without_sense_is_refused_in_one_line(tmp_path, settings, told):
    vit(tmp_path, **settings)
    with pytest.raises(ModelError, match=told) as caught:
        PretrainedImages(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_preprocessor_or_of_texts_is_refused(tmp_path):
    vit(tmp_path)
    (tmp_path / PROCESSOR).unlink()
    with pytest.raises(ModelError, match=r"it has no preprocessor_config\.json"):
        PretrainedImages(tmp_path)
    write(tmp_path, transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=8)))
    with pytest.raises(ModelError, match=r"the image encoder .* cannot be used"):
        PretrainedImages(tmp_path)
