import dataclasses
import hashlib
import json
import os
import pickle
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

import fusion.build
from fusion.build import build_model
from fusion.checkpoint import (
    ModelFolder,
    add_file,
    find_model,
    read_verified_files,
    save_pretrained,
    write_files,
)
from fusion.inference.featurizer import Featurizer
from schema.errors import DataError, ModelError, UsageError
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


def replace_files(folder, **files):
    """Write files of a model folder, named with _ for ., with the digests that they should have."""
    write_files(folder, {name.replace("_", "."): data for name, data in files.items()})


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret", "a/b", "..", ".", "", "a\\b", "a\0b", "a\nb", "x" * 300],
)
def test_a_manifest_names_only_files_of_the_folder(folder, tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    (folder / "a").mkdir()
    (folder / "a" / "b").write_text("b")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(b"secret").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="is not a file of the folder itself") as caught:
        ModelFolder(folder)
    assert "\n" not in str(caught.value)


def test_a_manifest_with_half_a_surrogate_pair_is_damaged(folder):
    (folder / "manifest.json").write_text(r'{"sha256": {"\udcff": "0"}}')
    with pytest.raises(ModelError, match=r"manifest\.json is damaged"):
        ModelFolder(folder)


def as_link(path, secret):
    path.unlink()
    path.symlink_to(secret)


def as_pipe(path, secret):
    path.unlink()
    os.mkfifo(path)


def as_folder(path, secret):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "model.safetensors"])
@pytest.mark.parametrize("replace", [as_link, as_pipe, as_folder])
def test_what_a_manifest_names_is_a_regular_file(folder, tmp_path, name, replace):
    # The content would be the right one.
    shutil.copy(folder / name, tmp_path / "secret")
    replace(folder / name, tmp_path / "secret")
    with pytest.raises(ModelError, match=name):
        ModelFolder(folder)


def test_a_file_of_terabytes_is_not_read(folder):
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(ModelError, match="8,796,093,022,208 bytes, more than the memory"):
        ModelFolder(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "ngrams.json"])
def test_only_what_the_manifest_names_is_read(folder, name):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=f"does not name {name}"):
        ModelFolder(folder)


def test_a_configuration_of_more_parameters_than_the_weights_have_is_refused(folder, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= {"fusion_layers": 256, "dim": 8192}
    replace_files(folder, config_json=json.dumps(config).encode())
    monkeypatch.setattr("fusion.build._assemble", only_without_memory)
    with pytest.raises(
        ModelError, match=r"describes 2\d\d,.* parameters, and model.safetensors has"
    ):
        ModelFolder(folder)


def only_without_memory(*parts):
    assert torch.get_default_device().type == "meta"
    return assemble(*parts)


assemble = fusion.build._assemble

CONFIGS = {
    "no object": b"[]",
    "no JSON": b"{",
    "no UTF-8": b'{"model": "\xff"}',
    "nested": b'{"model": ' + b"[" * 100_000,
    "twice": b'{"model": {}, "model": {}}',
    "no model": b"{}",
    "null": b'{"model": null}',
    "a list": b'{"model": []}',
    "a text for a number": b'{"model": {"dim": "64"}}',
    "a giant": b'{"model": {"dim": 1e400}}',
    "digits": b'{"model": {"dim": ' + b"9" * 10_000 + b"}}",
    "recipe": b'{"model": {}, "recipe": []}',
    "threads": b'{"model": {}, "threads": "many"}',
    "kernels": {"num_hidden_layers": 1, "_attn_implementation": "someone/kernels"},
    "layers": {"num_hidden_layers": 10_000_000},
    "sizes": {"hidden_size": 10**12},
    "no settings": [],
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_of_anything_is_one_line(folder, config):
    if not isinstance(config, bytes):
        model = {"architecture": "visual_bert", "wrapped": json.dumps(config)}
        config = json.dumps({"model": model}).encode()
    replace_files(folder, config_json=config)
    with pytest.raises(ModelError) as caught:
        ModelFolder(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model_safetensors", b""),
        ("model_safetensors", (1 << 60).to_bytes(8, "little") + b"{}"),
        ("model_safetensors", (90 << 20).to_bytes(8, "little") + b"{}"),
        ("model_safetensors", pickle.dumps({"a": 1})),
        ("tokenizer_json", b"{}"),
        ("tokenizer_json", b'{"model": null}'),
        ("ngrams_json", b"[]"),
        ("ngrams_json", b'{"a": "b"}'),
        ("ngrams_json", b'{"a": NaN}'),
        ("ontology_toml", b"a = " + b"[" * 100_000),
        ("ontology_toml", b"property = 5"),
        ("calibration_json", b"[]"),
        ("manifest_json", b""),
    ],
)
def test_a_file_of_anything_is_one_line(folder, name, data):
    replace_files(folder, **{name: data})
    with pytest.raises((ModelError, DataError)) as caught:
        ModelFolder(folder)
    assert "\n" not in str(caught.value)


def test_weights_with_overlapping_or_false_places_are_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    for offsets, shape in (
        (header[names[1]]["data_offsets"], None),
        ([0, 1 << 60], None),
        ([8, 4], None),
        (None, [1 << 40, 1 << 40]),
        (None, [-1]),
    ):
        changed = json.loads(json.dumps(header))
        if offsets is not None:
            changed[names[0]]["data_offsets"] = offsets
        if shape is not None:
            changed[names[0]]["shape"] = shape
        text = json.dumps(changed).encode()
        replace_files(
            folder, model_safetensors=len(text).to_bytes(8, "little") + text + data[8 + size :]
        )
        with pytest.raises(ModelError, match="cannot be opened"):
            ModelFolder(folder)
