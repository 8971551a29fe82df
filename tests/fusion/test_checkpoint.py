import dataclasses
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from fusion.build import build_model
from fusion.checkpoint import (
    ModelFolder,
    add_file,
    find_model,
    read_verified_files,
    save_pretrained,
)
from fusion.inference.featurizer import Featurizer
from schema.errors import ModelError, UsageError
from tests.fusion.conftest import TINY
from training.presets import preset


@pytest.fixture
def folder(tmp_path, model, tokenizer, ontology):
    save_pretrained(
        tmp_path / "m", TINY, tokenizer, ontology, model.state_dict(), {"preset": "joint"}
    )
    return tmp_path / "m"


def test_weights_are_restored_bit_for_bit(folder, model):
    restored = ModelFolder(folder).model.state_dict()
    assert all(torch.equal(tensor, restored[name]) for name, tensor in model.state_dict().items())


def test_ontology_and_calibration_are_restored(folder, ontology):
    add_file(folder, "calibration.json", b'{"temperature": 2}')
    opened = ModelFolder(folder)
    assert opened.ontology.content_hash() == ontology.content_hash()
    assert opened.calibration == {"temperature": 2}


def test_outputs_are_restored_bit_for_bit(folder, model, batch):
    restored = ModelFolder(folder).model
    expected = model.fuse(batch, model.encode_image(batch))
    actual = restored.fuse(batch, restored.encode_image(batch))
    assert torch.equal(actual.node, expected.node)
    assert torch.equal(actual.memory.hidden, expected.memory.hidden)


def test_a_folder_of_a_former_version_is_opened(folder, model):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["picture"] = config["model"].pop("image_encoder")
    former_weights = {
        name.replace("images.", "pictures.", 1) if name.startswith("images.") else name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    assert any(name.startswith("pictures.") for name in former_weights)
    # The heads of the training objectives were part of the model.
    config["model"]["global_heads"] = True
    former_weights["piece_head.bias"] = torch.ones(3)
    former_weights["patch_head.bias"] = torch.ones(3)

    add_file(folder, "config.json", json.dumps(config).encode())
    add_file(folder, "model.safetensors", save(former_weights))
    opened = ModelFolder(folder)
    restored = opened.model.state_dict()
    assert all(torch.equal(tensor, restored[name]) for name, tensor in model.state_dict().items())
    assert opened.heads.keys() == {"mlm.head.bias", "mpm.head.bias", "mrfr.head.bias"}


BEFORE_THE_RELEASES: dict[str, Any] = {
    "fusion_gates": "token",
    "string_embeddings": True,
    "image_cls": False,
    "image_norm": True,
    "text_types": False,
}
"""What a model of a version without these settings does."""


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("k3m", "fusion.streams.fuse_title.choose.weight"),
        ("k3m", "knowledge.embedding.weight"),
        ("mbsd", "fusion.stream.image_end"),
    ],
)
def test_a_folder_without_later_settings_is_opened_as_it_was(
    name, weight, tmp_path, tokenizer, ontology, items
):
    config = dataclasses.replace(
        preset(name, "tiny").model, dim=16, heads=2, image_size=32, **BEFORE_THE_RELEASES
    )
    model = build_model(config, tokenizer, ontology).eval()
    assert weight in model.state_dict()
    save_pretrained(tmp_path, config, tokenizer, ontology, model.state_dict(), {})
    about = json.loads((tmp_path / "config.json").read_text())
    for setting in BEFORE_THE_RELEASES:
        del about["model"][setting]
    add_file(tmp_path, "config.json", json.dumps(about).encode())

    opened = ModelFolder(tmp_path)
    assert opened.config == config
    batch = Featurizer(tokenizer, config).batch(items)
    know = torch.arange(5)
    expected = model.fuse(batch, model.encode_image(batch))
    actual = opened.model.fuse(batch, opened.model.encode_image(batch))
    assert torch.equal(actual.node, expected.node)
    assert torch.equal(opened.model.know(know).values, model.know(know).values)


NAMES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "ngrams.json",
    "ontology.toml",
    "manifest.json",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", [0.0, 0.03, 0.5, 0.97, 1.0])
def test_a_flipped_byte_is_refused(folder, name, place):
    data = bytearray((folder / name).read_bytes())
    data[round(place * (len(data) - 1))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError):
        ModelFolder(folder)


def test_a_flipped_bit_anywhere_in_the_manifest_is_refused(folder):
    manifest = (folder / "manifest.json").read_bytes()
    for place in range(len(manifest)):
        changed = bytearray(manifest)
        changed[place] ^= 1
        (folder / "manifest.json").write_bytes(changed)
        with pytest.raises(ModelError):
            read_verified_files(folder)


def test_a_folder_has_no_other_files(folder):
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_a_missing_file_is_named(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        read_verified_files(folder)


def test_weights_of_other_sizes_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["dim"] = 8
    add_file(folder, "config.json", json.dumps(config).encode())
    with pytest.raises(ModelError, match="cannot be opened"):
        ModelFolder(folder)


def test_a_model_is_found_by_name_by_folder_or_as_the_newest(folder):
    assert find_model(folder.parent, None) == folder
    assert find_model(folder.parent, "m") == folder
    assert find_model(folder.parent / "elsewhere", str(folder)) == folder


def test_an_error_names_the_models_there_are(tmp_path, folder):
    with pytest.raises(UsageError, match="it has m"):
        find_model(tmp_path, "other")
    with pytest.raises(UsageError, match="catalograph train"):
        find_model(tmp_path / "empty", None)
