import contextlib
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from encoders.image import HALF, Standardise
from encoders.regions import Regions
from encoders.tokenizer import CatalogTokenizer, wordpiece_tokenizer
from fusion.architectures.huggingface import CLIP_MEAN, CLIP_STD
from fusion.build import build_model
from fusion.inference.featurizer import Featurizer, ItemInput
from fusion.pretrained import Pretrained
from schema.errors import ModelError, UsageError
from tests.pretend_device import DEVICE, PretendDevice, move_module
from training.presets import preset

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "red",
    "blue",
    "mug",
    "lamp",
    "colour",
    "kind",
    "green",
]
TINY_CLIP: dict[str, Any] = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 16,
}
TINY: dict[str, Any] = {**TINY_CLIP, "vocab_size": 12}
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
REGIONS = Regions(
    np.random.default_rng(0).random((3, 6), np.float32), np.full((3, 4), 0.5, np.float32)
)


def whole(kind):
    """Build a tiny random model of transformers."""
    torch.manual_seed(0)
    match kind:
        case "clip":
            return tiny_clip()
        case "vilt":
            vilt = transformers.ViltConfig(
                **TINY, image_size=32, patch_size=16, max_position_embeddings=24
            )
            return transformers.ViltModel(vilt)
        case "visual_bert":
            visual_bert = transformers.VisualBertConfig(
                **TINY, visual_embedding_dim=6, max_position_embeddings=24
            )
            return transformers.VisualBertModel(visual_bert)
        case _:
            return tiny_lxmert()


def tiny_clip():
    text = {
        **TINY_CLIP,
        "vocab_size": 12,
        "max_position_embeddings": 24,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    vision = {**TINY_CLIP, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return transformers.CLIPModel(config)


def tiny_lxmert():
    sizes = {name: value for name, value in TINY.items() if name != "num_hidden_layers"}
    sizes |= {
        "l_layers": 1,
        "x_layers": 1,
        "r_layers": 1,
        "visual_feat_dim": 6,
        "max_position_embeddings": 24,
    }
    return transformers.LxmertModel(transformers.LxmertConfig(**sizes))


@pytest.fixture(params=["clip", "vilt", "visual_bert", "lxmert"])
def wrapped(request, tmp_path, ontology):
    """Return the kind, a model of transformers, ours with its saved weights, and a batch."""
    theirs = whole(request.param).eval()
    theirs.save_pretrained(tmp_path)
    pretrained = Pretrained.open(str(tmp_path))
    config = pretrained.fit(preset("wrapped", "tiny").model)
    tokenizer = CatalogTokenizer.pretrained(wordpiece_tokenizer(WORDS), ["red mug"], 16)
    model = build_model(config, tokenizer, ontology).eval()
    pretrained.load(model)
    image = REGIONS if config.image_encoder == "regions" else PIXELS
    items = [
        ItemInput("a", "red mug", image),
        ItemInput("b", "blue"),
        ItemInput("c", None, image),
        ItemInput("d"),
    ]
    return request.param, theirs, model, Featurizer(tokenizer, config).batch(items)


def by_transformers(kind, theirs):
    """Encode the item `red mug` with its image by calling the model of transformers itself."""
    ids = torch.tensor([[2, 5, 7, 3]])
    pixels = torch.from_numpy(PIXELS)[None]
    features = torch.from_numpy(REGIONS.features)[None]
    boxes = torch.from_numpy(REGIONS.boxes)[None]
    visual_mask = torch.ones(1, 3)
    match kind:
        case "clip":
            text = theirs.text_projection(theirs.text_model(input_ids=ids).last_hidden_state[:, 3])
            vision = theirs.vision_model(pixel_values=Standardise(CLIP_MEAN, CLIP_STD)(pixels))
            return (text + theirs.visual_projection(vision.pooler_output)) / 2
        case "vilt":
            output = theirs(input_ids=ids, pixel_values=Standardise(HALF, HALF)(pixels))
            return output.last_hidden_state[:, 0]
        case "visual_bert":
            output = theirs(
                input_ids=ids,
                visual_embeds=features,
                visual_token_type_ids=torch.ones(1, 3, dtype=torch.long),
                visual_attention_mask=visual_mask,
            )
            return output.last_hidden_state[:, 0]
        case _:
            output = theirs(
                input_ids=ids,
                visual_feats=features,
                visual_pos=boxes,
                visual_attention_mask=visual_mask,
            )
            return output.language_output[:, 0]


def test_the_item_equals_the_output_of_the_model_itself(wrapped):
    kind, theirs, model, batch = wrapped
    with torch.no_grad():
        fused = model.fuse(batch, model.encode_image(batch))
        expected = by_transformers(kind, theirs)
    torch.testing.assert_close(fused.node[:1], expected, rtol=1e-4, atol=1e-5)


def test_every_subset_of_modalities_is_finite_with_and_without_a_query(wrapped):
    _, _, model, batch = wrapped
    for image in (model.encode_image(batch), None):
        for query in (None, torch.tensor([[5], [6], [7], [5]])):
            fused = model.fuse(batch, image, query)
            assert fused.node.isfinite().all()
            assert fused.title.hidden.shape[:2] == batch.pieces.shape


def test_gradients_reach_the_wrapped_weights(wrapped):
    _, _, model, batch = wrapped
    node = model.fuse(batch, model.encode_image(batch)).node
    values = model.know(torch.arange(5)).values
    (node.sum() + values.sum()).backward()
    gradients = [p.grad for p in model.fusion.whole.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_other_models_are_refused(tmp_path):
    transformers.BertConfig(**TINY).save_pretrained(tmp_path)
    message = "is a bert, which cannot be wrapped: name one of clip, vilt, visual_bert, lxmert"
    with pytest.raises(UsageError, match=message):
        Pretrained.open(str(tmp_path)).fit(preset("wrapped", "tiny").model)
    with pytest.raises(ModelError, match="no pretrained model at"):
        Pretrained.open(str(tmp_path / "nowhere"))


def test_a_pass_mixes_no_devices_and_waits_only_inside_transformers(wrapped, monkeypatch):
    # Autocast knows no pretended device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    _, _, model, batch = wrapped
    with PretendDevice() as device:
        move_module(model)
        moved = batch.to(DEVICE)
        device.copies.clear()
        fused = model.train().fuse(moved, model.encode_image(moved))
        values = model.know(torch.arange(5, device=DEVICE)).values
        (fused.node.sum() + values.sum()).backward()
        assert not device.copies
        # Its attention masks are inspected on the host; our own code reads nothing.
        assert all("masking_utils.py" in line for line in device.waits)
