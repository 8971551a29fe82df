import json
from typing import Any

import pytest
import torch
import transformers

from encoders.tokenizer import CatalogTokenizer, SpecialPieces
from fusion.build import build_model
from fusion.config import ModelConfig
from fusion.pretrained import Pretrained, read_pieces
from schema.errors import ModelError, UsageError
from training.presets import preset

WORDS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug"]
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
PIECES = torch.tensor([[6, 7, 0], [7, 0, 0]])


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, vocab_size=len(WORDS), max_position_embeddings=300)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path, model


def build(folder, name, ontology):
    pretrained = Pretrained.open(str(folder))
    config = pretrained.fit(preset(name, "tiny").model)
    tokenizer = CatalogTokenizer.pretrained(read_pieces(str(folder)), ["red mug"], 16)
    model = build_model(config, tokenizer, ontology).eval()
    pretrained.load(model)
    return config, model


@pytest.mark.parametrize("name", ["mbsd", "bert", "k3m"])
def test_the_text_encoder_takes_the_first_layers_of_a_bert(bert, name, ontology):
    folder, theirs = bert
    config, model = build(folder, name, ontology)
    theirs.encoder.layer = theirs.encoder.layer[: config.text_layers or config.fusion_layers]
    expected = theirs(PIECES, attention_mask=PIECES != 0).last_hidden_state
    with torch.no_grad():
        torch.testing.assert_close(
            model.knowledge.text(PIECES).hidden[PIECES != 0],
            expected[PIECES != 0],
            rtol=1e-4,
            atol=1e-5,
        )
    assert (config.dim, config.heads, config.hidden_act) == (16, 2, "gelu")
    assert model.special == SpecialPieces(unk=2, cls=3, sep=4, mask=5)


def test_a_vision_transformer_reads_the_images(tmp_path, bert, ontology, tokenizer):
    theirs = transformers.ViTModel(
        transformers.ViTConfig(**SIZES, image_size=32, patch_size=16), add_pooling_layer=False
    )
    theirs.save_pretrained(tmp_path / "vit")
    pretrained = Pretrained.open(str(tmp_path / "vit"))
    model = build_model(pretrained.fit(preset("mbsd", "tiny").model), tokenizer, ontology)
    pretrained.load(model)
    ours = model.get_submodule("images.encoder.vit")
    assert all(
        torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items()
    )
    assert not any(parameter.requires_grad for parameter in ours.parameters())


VISION: dict[str, Any] = {
    "dinov2": transformers.Dinov2Config(**SIZES, image_size=32, patch_size=16),
    "clip": transformers.CLIPConfig(
        text_config={**SIZES, "vocab_size": 8},
        vision_config={**SIZES, "image_size": 32, "patch_size": 16},
        projection_dim=4,
    ),
    "resnet": transformers.ResNetConfig(
        embedding_size=4, layer_type="basic", hidden_sizes=[4, 6], depths=[1, 1]
    ),
}


@pytest.mark.parametrize("name", ["joint", "mbsd", "vtbert", "k3m", "bert", "vilt"])
@pytest.mark.parametrize("kind", VISION)
def test_any_vision_model_reads_the_images_of_any_preset(tmp_path, ontology, tokenizer, kind, name):
    theirs = transformers.AutoModel.from_config(VISION[kind])
    theirs.save_pretrained(tmp_path)
    settings = {"image_mean": [0.5] * 3, "image_std": [0.2] * 3, "size": {"height": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    pretrained = Pretrained.open(str(tmp_path))
    before = preset(name, "tiny").model
    if before.image_encoder in ("none", "regions"):
        with pytest.raises(UsageError, match=f"preset {name} has no use"):
            pretrained.fit(before)
        return
    config = pretrained.fit(before)
    assert not pretrained.has_text(config)
    model = build_model(ModelConfig.from_dict(config.as_dict()), tokenizer, ontology).eval()
    pretrained.load(model)
    encoder = model.get_submodule("images.encoder")
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        scaled = (pixels / 255 - 0.5) / 0.2
        whole = theirs.vision_model if kind == "clip" else theirs
        states = whole.eval()(pixel_values=scaled).last_hidden_state
        if states.ndim == 4:
            states = states.flatten(2).mT
        ours = encoder.get_submodule("vision")(pixel_values=scaled).last_hidden_state
        ours = ours.flatten(2).mT if ours.ndim == 4 else ours
        torch.testing.assert_close(ours, states)
        assert encoder(pixels).hidden.shape == (2, states.shape[1], config.dim)
    assert not any(each.requires_grad for each in encoder.get_submodule("vision").parameters())


def test_a_vision_model_without_a_preprocessor_is_refused(tmp_path):
    transformers.AutoModel.from_config(VISION["resnet"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"it has no preprocessor_config\.json"):
        Pretrained.open(str(tmp_path)).fit(preset("joint", "tiny").model)


def test_weights_that_a_preset_has_no_use_for_are_refused(bert):
    with pytest.raises(UsageError, match="is a bert, for which preset joint has no use"):
        Pretrained.open(str(bert[0])).fit(preset("joint", "tiny").model)


def test_weights_of_another_vocabulary_are_refused(bert, ontology, tokenizer):
    pretrained = Pretrained.open(str(bert[0]))
    model = build_model(pretrained.fit(preset("mbsd", "tiny").model), tokenizer, ontology)
    with pytest.raises(ModelError, match=r"do not fit .*: give its vocabulary"):
        pretrained.load(model)


def test_word_pieces_are_read_from_a_file_or_its_folder(bert, tmp_path):
    for path in (tmp_path, tmp_path / "vocab.txt"):
        assert read_pieces(str(path)).token_to_id("[MASK]") == 5
    read_pieces(str(tmp_path)).save(str(tmp_path / "tokenizer.json"))
    assert read_pieces(str(tmp_path / "tokenizer.json")).token_to_id("mug") == 7
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="has no word pieces"):
        read_pieces(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attn_implementation": "someone/kernels"}, "code from a hub, which is never run"),
        ({"_attn_implementation": "kernels-community/x"}, "code from a hub"),
        ({"text_config": {"_attn_implementation_internal": "a/b"}}, "code from a hub"),
        ({"trust_remote_code": True}, "trust_remote_code is not supported"),
        ({"text_config": {"trust_remote_code": True}}, "is not supported"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "is not supported"),
        ({"model_type": "lightglue"}, "not one of bert, vit"),
        ({"model_type": ["bert"]}, "not one of bert, vit"),
        ({"num_hidden_layers": 10_000_000}, "num_hidden_layers=10000000 is above its maximum 256"),
        ({"hidden_size": 10**12}, "hidden_size=1000000000000 is above its maximum"),
        ({"hidden_size": "16"}, "no pretrained model"),
        ({"num_attention_heads": 0}, "heads=0 is below its minimum"),
        ({"hidden_size": -16}, "does not fit|below its minimum|cannot be used|no pretrained"),
        ({"hidden_act": 5}, "no pretrained|cannot be used|not a GELU"),
    ],
    ids=range(14),
)
def test_a_configuration_cannot_ask_for_code_or_absurd_sizes(bert, change, words):
    folder, _ = bert
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises((ModelError, UsageError), match=words) as caught:
        Pretrained.open(str(folder)).fit(preset("mbsd", "tiny").model)
    assert "\n" not in str(caught.value)


def test_code_in_the_folder_is_not_run(bert, tmp_path):
    folder, _ = bert
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    Pretrained.open(str(folder))
    assert not (tmp_path / "ran").exists()


def test_weights_in_a_pickle_are_never_read(bert, ontology):
    folder, _ = bert
    (folder / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    torch.save({"a": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no BERT at"):
        build(folder, "mbsd", ontology)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.safetensors", 5, None])
def test_shards_are_files_of_the_folder(bert, name):
    folder, _ = bert
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="which is no file of the folder"):
        Pretrained.open(str(folder))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"model_type": 5}'])
def test_a_configuration_of_anything_is_one_line(tmp_path, data):
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(ModelError, match="no pretrained model at") as caught:
        Pretrained.open(str(tmp_path))
    assert "\n" not in str(caught.value)
