"""--set text_pretrained: a run whose titles a text encoder of transformers reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from encoders.text_model import PretrainedTextModel
from fusion.checkpoint import ModelFolder
from kg.home import Home
from schema.errors import ModelError, UsageError
from tests.encoders.made_text_models import write_text_model
from tests.training.conftest import made_home
from training.config import Recipe, TrainOptions
from training.objectives.mlm import mask_pieces
from training.optim import build_optimizer
from training.run import train
from training.setup import check_options

SMALL = (
    "batch_size=8",
    "precision=fp32",
    "log_every=1",
    "validate_every=3",
    "keep_every=2",
    "image_encoder=none",
    "max_ngrams=128",
    "warmup_steps=1",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return made_home(tmp_path_factory.mktemp("text"))


def options(name: str, steps: int, source: Path, *settings: str, **changes: Any) -> TrainOptions:
    given = (*SMALL, f"text_pretrained={source}", *settings)
    return TrainOptions(size="tiny", overrides=given, name=name, steps=steps, **changes)


def reader_of(model: Any) -> PretrainedTextModel:
    return next(part for part in model.modules() if isinstance(part, PretrainedTextModel))


def text_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {name: weight for name, weight in weights.items() if ".text_model." in name}


@pytest.fixture(scope="module")
def trained(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The weights of a model that was frozen and of one that was tuned, by their models' names."""
    found = {}
    for name, kind in (("frozen", "roberta"), ("tuned", "mpnet")):
        source = tmp_path_factory.mktemp(name) / "source"
        found[name] = write_text_model(source, kind).state_dict()
        train(home, options(name, 3, source, f"frozen_text={str(name == 'frozen').lower()}"))
        shutil.rmtree(source)
    return found


@pytest.mark.parametrize("name", ["frozen", "tuned"])
def test_a_frozen_encoder_stays_and_a_tuned_one_learns(home, trained, name):
    folder = ModelFolder(home.models / name)
    own = reader_of(folder.model).text_model.state_dict()
    same = {each: torch.equal(own[each], trained[name][each]) for each in own}
    assert all(same.values()) is (name == "frozen")
    # Its vocabulary is the folder's, with its own mask.
    mask = folder.tokenizer.special.mask
    assert folder.tokenizer.tokenizer.id_to_token(mask) == "<mask>"
    log = (home.models / name / "log.jsonl").read_text()
    assert "mlm" in log
    assert "gmlm" in log


def test_a_resumed_run_needs_no_source_and_ends_as_the_unbroken_one(home, tmp_path):
    source = tmp_path / "source"
    write_text_model(source, "roberta")
    train(home, options("unbroken", 6, source))

    def broken(record: Any) -> None:
        if getattr(record, "step", 0) == 5:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        train(home, options("broken", 6, source), broken)
    shutil.rmtree(source)
    train(home, TrainOptions(name="broken", steps=6, resume=True))
    one, two = (
        load_file(home.models / name / "model.safetensors") for name in ("unbroken", "broken")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_an_encoder_that_was_tuned_is_the_start_of_another_run(home, trained):
    plain = TrainOptions(size="tiny", overrides=SMALL, name="second", steps=1, init="tuned")
    train(home, plain)
    first = text_weights(home.models / "tuned")
    second = text_weights(home.models / "second" / "checkpoints" / "start")
    assert first.keys() == second.keys() != set()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_encoder_has_a_learning_rate_of_its_own(home, trained):
    model = ModelFolder(home.models / "tuned").model
    reader = reader_of(model)
    groups = build_optimizer(model, Recipe(text_rate=0.05)).param_groups
    scales = {each: group["scale"] for group in groups for each in group["params"]}
    assert {scales[each] for each in reader.text_model.parameters()} == {0.05}
    assert scales[reader.project.weight] == scales[reader.positions.weight] == 1.0


def test_other_pieces_than_special_ones_replace_masked_ones(home, trained):
    tokenizer = ModelFolder(home.models / "frozen").tokenizer
    special = tokenizer.special
    pieces = torch.full((1, 4), 20)
    # All are chosen; one is masked, two are replaced by the first and last word, one stays.
    uniform = torch.tensor(
        [[[0.0] * 4], [[0.5, 0.95, 0.95, 0.85]], [[0, 0, 1 - 1e-9, 0]]], dtype=torch.float64
    ).numpy()
    masked, _ = mask_pieces(pieces, torch.tensor([True]), special, tokenizer.vocab_size, uniform)
    assert masked.tolist() == [[special.mask, 5, tokenizer.vocab_size - 1, 20]]


def test_what_does_not_fit_is_told_before_anything_is_read(home, trained, tmp_path):
    source = tmp_path / "source"
    write_text_model(source, "bert")
    folder = home.models / "none"

    def refused(told: str, *settings: str, **changes: Any) -> None:
        with pytest.raises((UsageError, ModelError), match=told) as caught:
            check_options(home, folder, options("none", 1, source, *settings, **changes))
        assert "\n" not in str(caught.value)

    refused("vocabulary=v.txt does not fit text_pretrained", "vocabulary=v.txt")
    refused(f"no folder {tmp_path}/gone", f"text_pretrained={tmp_path}/gone")
    refused("wrapped reads texts by the model that it wraps", preset="wrapped")
    refused("text_rate=-1", "text_rate=-1")
    refused("does not fit --init tuned", init="tuned")
    with pytest.raises(UsageError, match="does not fit --resume"):
        train(
            home,
            TrainOptions(name="tuned", steps=9, resume=True, overrides=("text_pretrained=other",)),
        )
    alone = TrainOptions(size="tiny", overrides=("frozen_text=true",), steps=1)
    with pytest.raises(UsageError, match="frozen_text=True needs a text encoder of its own"):
        check_options(home, folder, alone)
