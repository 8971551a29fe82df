import csv
import dataclasses
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.distributed import HashStore, PrefixStore  # type: ignore[attr-defined]

from fusion.checkpoint import ModelFolder
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.sample import write_sample
from kg.splits import split_of
from schema import openmp
from schema.errors import TrainingError, UsageError
from tests.training.conftest import made_home
from training import run
from training.config import TrainOptions
from training.processes import Processes
from training.records import Preparing, Step, TrainingWarning
from training.run import train
from training.sampler import shard_bounds

SMALL = (
    "batch_size=8",
    "precision=fp32",
    "log_every=1",
    "validate_every=3",
    "keep_every=2",
    "dim=16",
    "vocab_size=300",
    "image_size=32",
    "stem_channels=4,8,8,8",
    "max_ngrams=128",
    "bag_width=8",
    "warmup_steps=1",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return made_home(folder)


def options(name, steps, **changes):
    return TrainOptions(
        **{"size": "tiny", "overrides": SMALL, "name": name, "steps": steps, **changes}
    )


def test_a_run_leaves_a_whole_model_folder(home):
    result = train(home, options("whole", 4))
    folder = ModelFolder(home.models / "whole")
    assert result["steps"] == 4
    assert result["finished"]
    assert folder.about["step"] > 0
    assert set(folder.ontology.properties) <= set(home.ontology().properties)


def test_the_ledger_has_what_train_returns(home):
    result = train(home, options("recorded", 2, seed=3))
    recorded = home.ledger().trainings()[-1]
    recorded.pop("time")
    assert recorded == {**result, "preset": "joint", "size": "tiny", "seed": 3}


def test_the_log_names_every_term_of_the_joint_loss(home):
    train(home, options("terms", 4))
    lines = [
        json.loads(line) for line in (home.models / "terms" / "log.jsonl").read_text().splitlines()
    ]
    terms = set().union(*(line["loss"] for line in lines))
    assert {"total", "lpm", "lpm_unseen", "mlm", "mpm", "qi", "qt", "qv", "contrastive"} <= terms


def test_vtbert_trains_by_its_own_five_objectives(home):
    train(
        home,
        options(
            "vt",
            2,
            preset="vtbert",
            overrides=("batch_size=16", "precision=fp32", "log_every=1", "dim=16", "masked_rows=1"),
        ),
    )
    lines = [
        json.loads(line) for line in (home.models / "vt" / "log.jsonl").read_text().splitlines()
    ]
    assert {"vtm", "mlm", "gmlm", "mrfr", "gmrfr"} <= set(lines[0]["loss"])
    assert "mpm" not in lines[0]["loss"]


def test_mbsd_trains_by_masks_then_by_queries(home):
    result = train(
        home,
        options(
            "sdmi",
            4,
            preset="mbsd",
            overrides=("batch_size=8", "precision=fp32", "log_every=1", "dim=16"),
        ),
    )
    lines = [
        json.loads(line) for line in (home.models / "sdmi" / "log.jsonl").read_text().splitlines()
    ]
    assert [line["stage"] for line in lines] == [1, 1, 1, 2]
    assert set(lines[0]["loss"]) == {"total", "mlm", "mpm"}
    assert set(lines[3]["loss"]) >= {"total", "qi", "qt", "qv"}
    assert set(result["metrics"]) == {"roc_auc", "roc_auc_query_only"}


def test_the_same_seed_gives_the_same_weights(home):
    for name in ("one", "two"):
        train(home, options(name, 3))
    one, two = (load_file(home.models / name / "model.safetensors") for name in ("one", "two"))
    assert all((one[key] == two[key]).all() for key in one)


def test_a_resumed_run_ends_as_the_unbroken_one(home, monkeypatch):
    train(home, options("unbroken", 6))

    def broken(record):
        if getattr(record, "step", 0) == 5:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        train(home, options("broken", 6), broken)
    train(home, options("broken", 6, resume=True))
    one, two = (
        load_file(home.models / name / "model.safetensors") for name in ("unbroken", "broken")
    )
    assert all((one[key] == two[key]).all() for key in one)


def test_a_run_of_shards_is_resumed_in_the_middle_of_one_also_with_more_memory(home, monkeypatch):
    shards: list[int] = []
    needed = iter((12, 12, 1))

    def recorded(indptr, indices, count):
        shards.append(count)
        return shard_bounds(indptr, indices, count)

    monkeypatch.setattr(run, "choose_shards", lambda size, memory: next(needed))
    monkeypatch.setattr(run, "shard_bounds", recorded)
    said: list[Any] = []
    train(home, options("sharded", 6), said.append)

    def broken(record):
        if getattr(record, "step", 0) == 5:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        train(home, options("sharded, broken", 6), broken)
    train(home, options("sharded, broken", 6, resume=True))
    assert shards == [12] * 3
    assert any("8 of 12 shards" in each.activity for each in said if isinstance(each, Preparing))
    one, two = (
        load_file(home.models / name / "model.safetensors")
        for name in ("sharded", "sharded, broken")
    )
    assert all((one[key] == two[key]).all() for key in one)


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_says_how_to_go_on_and_does(home):
    whole = train(home, options("with workers", 5, overrides=(*SMALL, "workers=0")))

    def kill_workers(record):
        if isinstance(record, Step):
            for child in multiprocessing.active_children():
                child.kill()

    message = r"^one of 2 processes .* lost .*: continue with --resume --set workers=1$"
    interrupted = options("killed worker", 5, overrides=(*SMALL, "workers=2"))
    with pytest.raises(TrainingError, match=message):
        train(home, interrupted, kill_workers)
    resumed = train(home, options("killed worker", 5, overrides=(*SMALL, "workers=1"), resume=True))
    assert resumed["steps"] == whole["steps"] == 5
    weights = [
        load_file(home.models / name / "checkpoints" / "step-00000005" / "weights.safetensors")
        for name in ("with workers", "killed worker")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_says_how_many_workers_prepare_its_batches(home):
    records: list[Any] = []
    train(home, options("reported", 1), records.append)
    said = [record.activity for record in records if isinstance(record, Preparing)]
    assert "batches, in the training process (--set workers=N changes it)" in said


def test_a_resumed_run_has_the_threads_of_before_also_on_a_machine_that_has_become_busy(
    monkeypatch,
):
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(openmp, "_chosen", openmp._Chosen(1))
    run.keep_threads({"threads": 2})
    assert chosen == [2]
    monkeypatch.setattr(openmp, "_chosen", openmp._Chosen())
    run.keep_threads({"threads": 3})
    assert chosen == [2]


def test_a_run_that_torchrun_starts_again_is_continued_or_begins_anew_in_its_folder(
    home, monkeypatch
):
    """And is not taken for another run of the home."""
    train(home, options("other run", 1))
    kept = PrefixStore("kept", HashStore())
    asked = options(None, 3)

    def killed(record):
        if isinstance(record, Preparing):
            raise KeyboardInterrupt

    # Before it has written anything to resume from, and just after it has made the folder for that.
    with pytest.raises(KeyboardInterrupt):
        train(home, asked, killed, Processes(kept=kept))
    (home.models / "joint-tiny-1" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr("training.processes.THIS_PROCESS", "the second")
    with pytest.raises(KeyboardInterrupt):
        train(home, asked, stop_at_step(2), Processes(kept=kept))
    monkeypatch.setattr("training.processes.THIS_PROCESS", "the third")
    again = train(home, asked, processes=Processes(kept=kept))
    assert again["model"] == str(home.models / "joint-tiny-1")
    # The same process trains a second model.
    second = train(home, dataclasses.replace(asked, steps=1), processes=Processes(kept=kept))
    assert second["model"] == str(home.models / "joint-tiny-2")
    whole = train(home, options("not killed", 3))
    weights = [load_file(Path(each["model"]) / "model.safetensors") for each in (again, whole)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def stop_at_step(step):
    """A report that breaks a run off."""

    def report(record):
        if isinstance(record, Step) and record.step == step:
            raise KeyboardInterrupt

    return report


def test_a_name_that_is_taken_is_refused_however_often_torchrun_tries(home):
    train(home, options("taken by another", 1))
    kept = PrefixStore("kept", HashStore())
    for _ in range(2):
        with pytest.raises(UsageError, match="--resume"):
            train(home, options("taken by another", 1), processes=Processes(kept=kept))


def test_a_resumed_run_keeps_what_it_was_asked_for(home):
    train(
        home,
        options(
            "asked",
            2,
            seed=7,
            preset="mbsd",
            overrides=(*SMALL[:5], "learning_rate=0.002", "dim=16"),
        ),
    )
    train(home, TrainOptions(name="asked", resume=True, steps=4))
    about = ModelFolder(home.models / "asked").about
    assert (about["preset"], about["size"], about["seed"], about["steps"]) == ("mbsd", "tiny", 7, 4)
    assert (about["recipe"]["learning_rate"], about["recipe"]["batch_size"]) == (0.002, 8)


@pytest.mark.parametrize(
    ("changes", "gone", "new"),
    [(("loss_mpm=0",), "mpm", None), (("loss_mrfr=0.5", "masked_rows=1"), None, "mrfr")],
)
def test_a_resumed_run_may_train_by_other_terms(home, changes, gone, new):
    name = f"terms-{gone}-{new}"
    train(home, options(name, 4))
    train(home, TrainOptions(name=name, resume=True, steps=6, overrides=changes))
    again = train(home, TrainOptions(name=name, resume=True, steps=8))
    lines = [
        json.loads(line)["loss"]
        for line in (home.models / name / "log.jsonl").read_text().splitlines()
    ]
    assert again["steps"] == len(lines) == 8
    assert gone not in set().union(*lines[4:6])
    assert new is None or new in set().union(*lines[4:6])


@pytest.mark.parametrize(("before", "after"), [("lamb", "adamw"), ("adamw", "lamb")])
def test_a_run_may_be_resumed_with_another_optimizer_and_says_so(home, before, after):
    name = f"{before}-{after}"
    given = (*SMALL, f"optimizer={before}")
    train(home, options(name, 4, overrides=given))
    records: list[Any] = []
    changed = TrainOptions(name=name, resume=True, steps=6, overrides=(f"optimizer={after}",))
    assert train(home, changed, records.append)["steps"] == 6
    warnings = [record.text for record in records if isinstance(record, TrainingWarning)]
    assert any(f"by {before}: it continues by {after}" in text for text in warnings)


def test_init_takes_up_another_models_weights_and_vocabulary(home):
    train(home, options("before", 2))
    train(home, options("after", 1, init="before"))
    vocabularies = [
        ModelFolder(home.models / name).tokenizer.files() for name in ("before", "after")
    ]
    assert vocabularies[0] == vocabularies[1]


@pytest.mark.parametrize(
    "given",
    [
        ("preset=joint",),
        ("preset=k3m", "corruption=bernoulli"),
        ("preset=k3m", "corruption=category"),
    ],
)
def test_what_held_out_items_say_changes_nothing_that_is_learned(tmp_path, given):
    """Neither the vocabulary nor the weights: one has other values, and one that no item has."""
    write_sample(tmp_path / "shop", 60, seed=1)
    with (tmp_path / "shop" / "items.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = [row for row in rows if split_of(row["id"]) == "test"]
    assert held_out
    learned = []
    for name in ("as it is", "changed"):
        if name == "changed":
            for row in held_out:
                row["colour"], row["material"], row["brand"] = (
                    "glittering",
                    "steel",
                    rows[0]["brand"],
                )
        source = tmp_path / name / "items.csv"
        source.parent.mkdir()
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        home = Home.open(tmp_path / name / "home", create=True)
        ingest(home, [source], images=tmp_path / "shop", max_rejects="0%")
        (preset, *settings) = given
        overrides = ("batch_size=16", "precision=fp32", "dim=16", *settings)
        asked = options("model", 3, overrides=overrides, preset=preset.removeprefix("preset="))
        train(home, asked)
        learned.append(home.models / "model")
    one, two = (ModelFolder(folder) for folder in learned)
    assert one.tokenizer.files() == two.tokenizer.files()
    weights = [load_file(folder / "model.safetensors") for folder in learned]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_run_stopped_before_its_first_step_keeps_what_it_took_up(home, monkeypatch):
    train(home, options("source", 3))

    def broken(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_loop", broken)
    with pytest.raises(KeyboardInterrupt):
        train(home, options("stopped", 3, init="source"))
    kept = ModelFolder(home.models / "stopped" / "checkpoints" / "start")
    source = ModelFolder(home.models / "source")
    assert torch.equal(kept.model.patch_mask, source.model.patch_mask)


def test_a_pretrained_bert_is_taken_up_with_its_vocabulary(home, tmp_path):
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{letter}" for letter in "abcdefghijklmnop"),
    ]
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    transformers.BertModel(transformers.BertConfig(**sizes, vocab_size=len(words))).save_pretrained(
        tmp_path
    )
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    given = ("batch_size=8", "precision=fp32", f"pretrained={tmp_path}", "frozen_text=true")
    train(home, options("bert", 2, preset="k3m", overrides=given))
    opened = ModelFolder(home.models / "bert")
    theirs = transformers.BertModel.from_pretrained(tmp_path).embeddings.word_embeddings.weight
    assert torch.equal(opened.model.fusion.piece_embedding.weight, theirs)
    assert opened.tokenizer.vocab_size == len(words)
    # Also a run that is resumed gives them the learning rate of pretrained weights.
    train(home, options("bert", 3, resume=True))
    assert ModelFolder(home.models / "bert").about["pretrained_text"]


def test_regions_are_read_from_the_homes_folder(home):
    home.regions.mkdir()
    for number, item in enumerate(["P000000", "P000001"]):
        found: dict[str, Any] = {
            "features": np.full((9, 5), number),
            "boxes": np.full((9, 4), 0.5),
            "classes": np.full((9, 3), 1 / 3),
        }
        np.savez(
            home.regions / f"{item}.npz",
            **{name: array.astype(np.float32) for name, array in found.items()},
        )
    given = (
        "batch_size=60",
        "precision=fp32",
        "dim=16",
        "image_encoder=regions",
        "region_width=5",
        "region_classes=3",
        "log_every=1",
    )
    train(home, options("regions", 3, preset="k3m", overrides=given))
    assert ModelFolder(home.models / "regions").config.max_regions == 36
    lines = [
        json.loads(line)["loss"]
        for line in (home.models / "regions" / "log.jsonl").read_text().splitlines()
    ]
    assert {"lpm", "mlm", "mrfr", "mrc"} <= set().union(*lines)


def test_a_run_from_init_exports_what_it_learns(home):
    train(home, options("from", 2))
    train(home, options("further", 2, init="from"))
    one, two = (load_file(home.models / name / "model.safetensors") for name in ("from", "further"))
    assert any((one[key] != two[key]).any() for key in one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "other"}, "no preset"),
        ({"size": "huge"}, "no size"),
        ({"overrides": ("nothing=1",)}, "no setting 'nothing'"),
        ({"overrides": ("batch_size=x",)}, "batch_size='x' is not a whole number"),
        ({"overrides": ("batch_size=1",)}, "below its minimum 2"),
        ({"overrides": ("batch_size",)}, "write name=value"),
        ({"overrides": ("interaction=TransX",)}, "is not one of PyKEEN's"),
        ({"resume": True}, "no checkpoint to resume"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_read(home, changes, words):
    records: list[Any] = []
    with pytest.raises(UsageError, match=words):
        train(home, options("never", 1, **changes), records.append)
    assert records == []


def test_a_name_that_is_taken_is_refused(home):
    train(home, options("taken", 1))
    with pytest.raises(UsageError, match="--resume"):
        train(home, options("taken", 1))


def test_a_run_that_was_killed_before_it_wrote_anything_starts_again(home):
    (home.models / "early" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UsageError, match="no checkpoint to resume"):
        train(home, options("early", 1, resume=True))
    assert train(home, options("early", 1))["steps"] == 1
    assert train(home, options("early", 2, resume=True))["steps"] == 2
