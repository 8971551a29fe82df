import json

import pytest
import torch

from fusion.checkpoint import ModelFolder, add_file, find_model, save_pretrained, verify
from schema.errors import ModelError, UsageError
from tests.fusion.conftest import TINY


@pytest.fixture
def folder(tmp_path, model, tokenizer, ontology):
    save_pretrained(
        tmp_path / "m", TINY, tokenizer, ontology, model.state_dict(), {"preset": "joint"}
    )
    return tmp_path / "m"


def test_weights_come_back_bit_for_bit(folder, model):
    again = ModelFolder(folder).model.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_ontology_and_extras_come_back(folder, ontology):
    add_file(folder, "calibration.json", b'{"temperature": 2}')
    opened = ModelFolder(folder)
    assert opened.ontology.content_hash() == ontology.content_hash()
    assert opened.calibration == {"temperature": 2}


def test_outputs_come_back_bit_for_bit(folder, model, batch):
    again = ModelFolder(folder).model
    one, other = (each.fuse(batch, each.encode_image(batch)) for each in (model, again))
    assert torch.equal(one.node, other.node)
    assert torch.equal(one.memory.hidden, other.memory.hidden)


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
    whole = (folder / "manifest.json").read_bytes()
    for place in range(len(whole)):
        (folder / "manifest.json").write_bytes(
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        )
        with pytest.raises(ModelError):
            verify(folder)


def test_the_folder_has_no_other_files(folder):
    assert {path.name for path in folder.iterdir()} == set(NAMES)


def test_a_missing_file_is_named(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        verify(folder)


def test_weights_of_other_sizes_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model"]["dim"] = 8
    add_file(folder, "config.json", json.dumps(config).encode())
    with pytest.raises(ModelError, match="cannot be opened"):
        ModelFolder(folder)


def test_find_model_takes_name_folder_or_newest(folder):
    assert find_model(folder.parent, None) == folder
    assert find_model(folder.parent, "m") == folder
    assert find_model(folder.parent / "elsewhere", str(folder)) == folder


def test_find_model_says_what_there_is(tmp_path, folder):
    with pytest.raises(UsageError, match="it has m"):
        find_model(tmp_path, "other")
    with pytest.raises(UsageError, match="catalograph train"):
        find_model(tmp_path / "empty", None)
