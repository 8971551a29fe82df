"""Training data in files: the same as in memory, made again when what it is made of changes."""

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from kg.ingest.pipeline import ingest
from kg.sampling.memmap import pickle_memmaps_by_path
from kg.snapshot import read_snapshot
from kg.splits import SPLITS
from schema.errors import SplitError
from tests.training.conftest import TINY, made_home
from tests.training.test_collate import flat
from training.collate import Collator
from training.config import Recipe, TrainOptions
from training.flows import TrainingFlows
from training.inputs import (
    learn_vocabulary,
    read_data,
    read_inputs,
    read_query_log,
    split_items,
    train_ontology,
)
from training.loader import BatchBuilder, BatchRequest, PairSamplers
from training.queries import QueryPairBuilder, QueryTerms
from training.records import TrainingWarning, ignore_records
from training.sampler import StepSampler, shard_bounds
from training.schedule import make_schedule

CONFIG = dataclasses.replace(TINY, vocab_size=300, max_ngrams=128)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return made_home(tmp_path_factory.mktemp("mapped"))


def mapped_inputs(home, report=ignore_records, **options):
    return read_inputs(home, TrainOptions(**options), Recipe(), CONFIG, None, report)


@pytest.fixture(scope="module")
def inputs(home):
    return mapped_inputs(home)


@pytest.fixture(scope="module")
def in_memory(home, inputs):
    """The inputs as they are computed from a snapshot in memory."""
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology(), predicted_categories=False)
    splits = split_items(snapshot, TrainOptions())
    train = splits["train"]
    ontology = train_ontology(snapshot, train, home.ontology())
    titles = [snapshot.titles[item] or "" for item in train]
    tokenizer = learn_vocabulary(titles, ontology, CONFIG, None)
    ids = {snapshot.items[item] for item in train.tolist()}
    return dataclasses.replace(
        inputs,
        data=read_data(home, snapshot, ontology, tokenizer, CONFIG, ignore_records),
        splits=splits,
        ontology=ontology,
        tokenizer=tokenizer,
        log=read_query_log(home, snapshot, ids),
        whole_log=read_query_log(home, snapshot),
    )


def test_the_data_is_that_of_memory(inputs, in_memory):
    found, expected = inputs.data, in_memory.data
    assert inputs.ontology.to_toml() == in_memory.ontology.to_toml()
    assert inputs.tokenizer.files() == in_memory.tokenizer.files()
    for name in ("items", "words", "blind"):
        assert [*getattr(found, name)] == [*getattr(expected, name)], name
    for name in ("indptr", "property", "candidate", "ranges", "category"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
    assert found.images.present.tolist() == expected.images.present.tolist()
    for name in SPLITS:
        assert inputs.splits[name].tolist() == in_memory.splits[name].tolist()
    for name in ("log", "whole_log"):
        own, others = getattr(inputs, name), getattr(in_memory, name)
        assert own.texts == others.texts
        assert own.item.tolist() == others.item.tolist()
    mapped = (found.indptr, found.candidate, found.titles.titles.values, inputs.splits["train"])
    assert all(isinstance(array, np.memmap) for array in mapped)


def builder_of(inputs, shards=1, rank=0, world=1, **settings):
    recipe = Recipe(batch_size=16, shift=2, **settings)
    data = inputs.data
    terms = QueryTerms.from_ontology(inputs.ontology)
    pairs = QueryPairBuilder(data, inputs.log, terms, inputs.tokenizer, CONFIG, 0.5)
    train = inputs.splits["train"]
    collator = Collator(
        data, inputs.tokenizer, recipe, TrainingFlows(data, 8), CONFIG, pairs, train
    )
    schedule = make_schedule(recipe.weights, "", queries=True)
    both = StepSampler(np.arange(len(inputs.log.query)), 8, 1, rank, world)
    bounds = shard_bounds(data.indptr, train, shards)
    items = StepSampler(train, 16, 0, rank, world, bounds)
    return BatchBuilder(collator, schedule, 0, items, PairSamplers(both, both))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"link": "margin", "corruption": "bernoulli"},
        {"link": "margin", "corruption": "category", "random_pieces": "unigram"},
    ],
)
def test_batches_are_those_of_memory_bit_for_bit(inputs, in_memory, monkeypatch, settings):
    expected = builder_of(in_memory, **settings)
    # As in a large catalogue, whose table of true statements would not fit.
    monkeypatch.setattr("kg.sampling.negatives.MAX_TABLE_SIZE", 0)
    monkeypatch.setattr("kg.sampling.negatives.ITEMS_PER_CHUNK", 7)
    found = builder_of(inputs, **settings)
    for step in (0, 1, 7):
        request = BatchRequest(step, 0, 2)
        own, others = found[request], expected[request]
        assert [flat(each) for each in own.micro_batches] == [
            flat(each) for each in others.micro_batches
        ]


def test_a_worker_process_gets_the_paths_of_the_arrays(inputs):
    pickle_memmaps_by_path()
    builder = builder_of(inputs)
    sent = pickle.dumps(inputs.data)
    # Neither texts nor statements; the images' own table says which item has one.
    assert len(sent) < 8000 + len(inputs.data.items)
    received = pickle.loads(pickle.dumps(builder))
    request = BatchRequest(2, 0, 1)
    own, others = builder[request], received[request]
    assert [flat(each) for each in own.micro_batches] == [
        flat(each) for each in others.micro_batches
    ]


def test_processes_share_out_a_batch_of_shards(inputs):
    whole = builder_of(inputs, shards=20)
    shares = [builder_of(inputs, 20, rank, 3) for rank in range(3)]
    for step in (0, 2, 5):
        request = BatchRequest(step, 0, 1)
        (expected,) = whole.contents(request)
        found = np.concatenate([share.contents(request)[0].items for share in shares])
        assert sorted(found.tolist()) == sorted(expected.items.tolist())


def test_small_chunks_and_parts_give_the_same(home, inputs, monkeypatch):
    monkeypatch.setattr("kg.mapped_graph.ITEMS_PER_PART", 7)
    monkeypatch.setattr("kg.mapped_graph.PARTS", 5)
    monkeypatch.setattr("kg.mapped_graph.FORMAT", -1)
    monkeypatch.setattr("training.mapped_data.ITEMS_PER_CHUNK", 9)
    found = mapped_inputs(home)
    assert found.folders[0].folder != inputs.folders[0].folder
    for own, others in zip(found.folders, inputs.folders, strict=True):
        assert own.arrays.keys() == others.arrays.keys()
        for name, array in own.arrays.items():
            assert array.tolist() == others[name].tolist(), name


def test_a_change_of_the_store_makes_other_arrays_and_removes_the_former(tmp_path):
    home = made_home(tmp_path)
    before = mapped_inputs(home)
    kept, former = before.folders[0].folder, before.data.items[0]
    same = mapped_inputs(home)
    assert same.folders[0].folder == kept
    changed = tmp_path / "more.csv"
    changed.write_text("id,title,Colour\n0000,A first lamp,red\n")
    ingest(home, [changed], max_rejects="0%")
    after = mapped_inputs(home)
    assert after.data.items[0] == "0000"
    assert len(after.data.items) == 61
    # The former are removed only when no training has them open.
    assert kept.exists()
    assert before.data.items[0] == former
    del before, same
    mapped_inputs(home)
    assert not kept.exists()
    assert [each.name for each in kept.parent.iterdir()] == [after.folders[0].folder.name]


def test_damaged_arrays_are_made_again(home, inputs):
    content = inputs.data.candidate.tolist()
    path = inputs.folders[2].folder / "candidate"
    damaged = bytearray(path.read_bytes())
    damaged[8] ^= 1
    other = path.with_suffix(".damaged")
    other.write_bytes(damaged)
    other.replace(path)
    assert mapped_inputs(home).data.candidate.tolist() == content


def test_a_store_that_changes_while_it_is_read_gives_arrays_that_serve_once(home, monkeypatch):
    revisions = iter(["before", "after", "before", "before", "before", "before"])
    monkeypatch.setattr("kg.stores.journaled.JournaledStore.revision", lambda _: next(revisions))
    first = mapped_inputs(home).folders[0].folder
    second = mapped_inputs(home).folders[0].folder
    assert first != second
    assert mapped_inputs(home).folders[0].folder == second


def test_a_split_file_counts(home, inputs, tmp_path):
    items = list(inputs.data.items)
    file = tmp_path / "split.csv"
    rows = [f"{items[0]},test", *(f"{item},train" for item in items[1:20])]
    file.write_text("\n".join(["item,split", *rows]) + "\n")
    found = mapped_inputs(home, split=file)
    assert found.splits["train"].tolist() == list(range(1, 20))
    assert found.splits["test"].tolist() == [0]
    file.write_text(f"item,split\n{items[0]},test\n")
    with pytest.raises(SplitError, match="none of the 60 items"):
        mapped_inputs(home, split=file)


def test_the_vocabulary_of_many_titles_is_that_of_some(home, monkeypatch):
    monkeypatch.setattr("training.inputs.MAX_VOCABULARY_TITLES", 10)
    said: list[Any] = []
    mapped_inputs(home, report=said.append)
    (warning,) = [each for each in said if isinstance(each, TrainingWarning)]
    assert "10 of the" in warning.text


def test_the_arrays_of_a_few_vocabularies_are_kept(home, inputs, monkeypatch):
    opened = []
    for size in (310, 320, 330, 340, 350):
        config = dataclasses.replace(CONFIG, vocab_size=size)
        read_inputs(home, TrainOptions(), Recipe(), config, None, ignore_records)
        folders = inputs.folders[0].folder.glob("data-*")
        opened.append(len(list(folders)))
    assert max(opened) <= 5  # four, and the one that these tests have open
