"""train --text-encoder and --image-encoder: the model's folder keeps them, and needs no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from cli import main
from encoders import patch_dictionary
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue

SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


def make_encoders(folder: Path) -> None:
    """Write a tiny BERT and a tiny ViT with random weights."""
    torch.manual_seed(0)
    pieces = [*WORDS, *(f"##{letter}" for letter in WORDS[5:])]
    bert = transformers.BertConfig(**SIZES, vocab_size=len(pieces), max_position_embeddings=64)
    transformers.BertModel(bert).save_pretrained(folder / "text")
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    transformers.BertTokenizer(vocabulary).save_pretrained(folder / "text")
    vit = transformers.ViTConfig(**SIZES, image_size=16, patch_size=8)
    transformers.ViTModel(vit).save_pretrained(folder / "images")
    processor = {
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"height": 16, "width": 16},
    }
    (folder / "images" / "preprocessor_config.json").write_text(json.dumps(processor))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a home, whose only model has experts with both encoders, and the encoders."""
    folder = tmp_path_factory.mktemp("pretrained")
    make_encoders(folder)
    home = str(folder / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        assert main(["--home", home, "ingest", str(draw_catalogue(folder / "drawn"))]) == 0
        words = ["--text-encoder", str(folder / "text"), "--image-encoder", str(folder / "images")]
        assert main(["--home", home, "train", "--preset", "experts", *words]) == 0
        yield folder


@pytest.fixture
def run(call: Call, fitted: Path) -> Call:
    """Call a command in the home with the experts."""
    return lambda *args: call("--home", fitted / "home", *args)


def test_the_folder_keeps_its_encoders(fitted: Path) -> None:
    model = fitted / "home" / "models" / "experts-1"
    about = json.loads((model / "config.json").read_text())
    assert (about["text_encoder"], about["image_encoder"]) == ("text-encoder", "image-encoder")
    for kept, source in (("text-encoder", "text"), ("image-encoder", "images")):
        weights = (model / kept / "model.safetensors").read_bytes()
        assert weights == (fitted / source / "model.safetensors").read_bytes()
    # Nothing in the folder names a place of this machine.
    for path in model.rglob("*"):
        assert path.is_dir() or str(fitted).encode() not in path.read_bytes()


def test_experts_with_encoders_complete_and_are_evaluated(run: Call) -> None:
    assert run("complete", "--out", "filled.jsonl", "--json").json["cells"]
    # They are fitted again without the test items, with the same encoders.
    result = run("evaluate", "completion", "--part", "test", "--json")
    assert "fitted again" in result.err
    assert result.json["macro"]["hits@1"]["value"] > 0.3


def test_a_copied_folder_needs_no_other_place(run: Call, fitted: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copied"
    shutil.copytree(fitted / "home" / "models" / "experts-1", copy)
    text = (fitted / "text").rename(fitted / "text-moved")
    try:
        assert run("complete", "--model", copy, "--out", "copied.jsonl").code == 0
        run("complete", "--model", "experts-1", "--out", "own.jsonl")
        assert Path("copied.jsonl").read_text() == Path("own.jsonl").read_text()
        (copy / "text-encoder" / "tokenizer_config.json").write_text("{}")
        changed = run("complete", "--model", copy, "--out", "x.jsonl")
        assert_fails(changed, 1, "is another than the experts have used: restore the folder")
        shutil.rmtree(copy / "text-encoder")
        gone = run("complete", "--model", copy, "--out", "x.jsonl")
        assert_fails(gone, 1, "text-encoder is not there: restore the folder")
    finally:
        text.rename(fitted / "text")


def test_encoders_are_refused_where_no_expert_would_read_them(run: Call, fitted: Path) -> None:
    given = ("--text-encoder", fitted / "text")
    alone = run("train", "--preset", "joint", "--size", "tiny", *given)
    assert_fails(alone, 2, "--text-encoder", "--set pretrained=NAME|DIR")
    resumed = run("train", "--resume", *given)
    assert_fails(resumed, 2, "--text-encoder does not fit --resume")
    wrong = run("train", "--preset", "experts", "--image-encoder", fitted / "text")
    assert_fails(wrong, 1, "the image encoder", "cannot be used")
