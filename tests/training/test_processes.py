"""Several processes: what they agree on, and what happens if one of them is slow or fails."""

import dataclasses
import shutil
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from benchmarks import processes as together
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.ingest.queries import ingest_queries
from kg.sample import write_sample
from tests.training.conftest import all_terms
from training.gradient import agree_on_batch
from training.loader import BatchBuilder, BatchRequest, PairSamplers
from training.objectives import Need
from training.processes import Processes, StepStatus, _buckets
from training.sampler import StepSampler
from training.schedule import Schedule, Stage
from training.validation import hits_at_1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    write_sample(folder / "shop", 60, seed=1)
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "shop" / "items.csv"], max_rejects="0%")
    ingest_queries(home, folder / "shop" / "queries.csv")
    return home.path


class Threads(Processes):
    """A process that is a thread; ``sums`` adds tensors up over all of them."""

    def __init__(self, rank, world, sums):
        super().__init__(rank, world)
        self.sums = sums

    def sum(self, values):
        return self.sums(self.rank, values)

    def gather_objects(self, value):
        return self.sums(self.rank, value, list)


def in_threads(world, work):
    """Run ``work(processes)`` in a thread for each process; return the results by rank."""
    barrier = threading.Barrier(world, timeout=60)
    values = {}
    results = {}

    def exchange(rank, value, combine=lambda all_values: torch.stack(all_values).sum(0)):
        values[rank] = value
        barrier.wait()
        combined = combine([values[each] for each in range(world)])
        barrier.wait()
        return combined

    def run(rank):
        results[rank] = work(Threads(rank, world, exchange))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[rank] for rank in range(world)]


def test_all_processes_take_the_first_ones_clock_and_any_ones_wish():
    statuses = (
        StepStatus(False, False, 10.0, 8, [True, False, False]),
        StepStatus(True, False, 99.0, 7, [False, True, False]),
        StepStatus(False, True, 0.1, 8, [False, False, False]),
    )
    agreed = in_threads(3, lambda processes: processes.agree(statuses[processes.rank]))
    assert agreed == [StepStatus(True, True, 10.0, 7, [True, True, False])] * 3


@given(st.integers(0, 11), st.integers(1, 4))
def test_work_is_shared_out_and_comes_back_in_order(parts, world):
    computed = []

    def compute(part):
        computed.append(part)
        return part * part

    work = range(parts)
    results = in_threads(world, lambda processes: processes.share_out(work, compute))
    assert results == [[part * part for part in work]] * world
    assert sorted(computed) == list(work)


def test_metrics_are_those_of_one_process(model, collator):
    model.eval()
    index = np.tile(np.arange(24), 8)
    alone = hits_at_1(model, collator, index)
    shared = in_threads(3, lambda processes: hits_at_1(model, collator, index, processes.share_out))
    assert shared == [alone] * 3


@given(
    batch=st.integers(6, 24),
    pairs=st.integers(3, 12),
    parts=st.integers(1, 9),
    world=st.integers(1, 3),
)
def test_a_micro_batch_has_the_same_content_however_many_processes_share_it(
    batch, pairs, parts, world
):
    stage = Stage({"lpm": 1.0, "contrastive": 1.0})
    assert stage.needs >= {Need.ITEMS, Need.QUERY_PAIRS}

    def contents(rank, world):
        items = StepSampler(np.arange(100), batch, 0, rank, world)
        both = StepSampler(np.arange(50), pairs, 1, rank, world)
        samplers = PairSamplers(both, both)
        builder = BatchBuilder(None, Schedule((stage,)), 0, items, samplers)  # type: ignore[arg-type]
        return builder.contents(BatchRequest(3, 0, parts))

    shares = [contents(rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    for number, of_ranks in enumerate(zip(*shares, strict=True)):
        # All take part in the exchange of a micro-batch, or none.
        assert len({len(each.items) > 0 for each in of_ranks}) == 1
        assert len({len(each.pairs) > 0 for each in of_ranks}) == 1
        everyone = of_ranks[0].all_pairs
        for each in of_ranks:
            assert np.array_equal(each.all_pairs, everyone)
            own = everyone[each.first : each.first + len(each.pairs)]
            assert np.array_equal(own, each.pairs)
        if parts * world <= min(batch, pairs):
            whole = contents(0, 1)[number]
            items = np.concatenate([each.items for each in of_ranks])
            assert sorted(items) == sorted(whole.items)
            assert sorted(everyone) == sorted(whole.pairs)


def test_processes_in_different_stages_train_on_the_earlier_one(collator, recipe):
    weights = all_terms(recipe).weights
    schedule = Schedule((Stage({"lpm": 1.0}, 0.0, 0.5), Stage({"mlm": weights["mlm"]}, 0.5, 1.0)))

    @dataclasses.dataclass
    class HalfRun:
        processes: Processes
        batches: BatchBuilder
        device: torch.device
        micro_batches: int = 1

    def agree(processes):
        sampler = StepSampler(np.arange(24), 8, 0, processes.rank, processes.world)
        batches = BatchBuilder(collator, schedule, 0, sampler, None)
        run = HalfRun(processes, batches, torch.device("cpu"))
        ahead = batches[BatchRequest(5, processes.rank, 1)]
        return agree_on_batch(run, ahead)  # type: ignore[arg-type]

    first, second = in_threads(2, agree)
    assert (first.stage, second.stage) == (0, 0)
    assert first.totals == second.totals
    assert first.items == 8
    assert first.totals["lpm"] > 0


def test_gradients_are_cut_into_buckets_of_one_data_type(monkeypatch):
    monkeypatch.setattr("training.processes.BUCKET_BYTES", 40)
    gradients = [torch.zeros(size) for size in (4, 6, 1, 30, 2)]
    gradients.append(torch.zeros(2, dtype=torch.float64))
    assert [[len(each) for each in part] for part in _buckets(gradients)] == [
        [4, 6],
        [1],
        [30],
        [2],
        [2],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "world"),
    [
        (together.slow, 3),
        (together.clock, 2),
        (together.failing, 3),
        (together.stuck, 3),
        (together.memory, 3),
        (together.memory_backward, 2),
        (together.killed, 2),
    ],
)
def test_a_process_that_is_slow_or_fails(home, scenario, world):
    assert scenario(home, world) == ""


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["joint", "mbsd", "k3m"])
def test_several_processes_train_as_one_does(home, preset):
    """Titles, images, statements, batch norm and the pairs of the query log, to rounding."""
    rows = together.compare_with_one(home, preset, (3,))
    assert rows[0]["loss"] < 1e-4


def train_by(home, name, *settings, world, resume=False):
    """Train by some processes without dropout; raises RuntimeError if one fails."""
    asked = (*together.SETTINGS, "validate_every=100", *together.STILL, *settings)
    words = together.words_of(home, name, "mbsd", 6, asked)
    ends = together.start([*words, *(["--resume"] if resume else [])], "none", world)
    for ended in ends:
        if ended.code:
            raise RuntimeError(ended.errors)


@pytest.mark.slow
def test_a_sharded_model_trains_as_a_whole_one_does(home):
    """Through both stages; and each goes on from the other's checkpoint of step 4."""
    names = ("whole", "sharded")
    for name, shard in zip(names, ("never", "always"), strict=True):
        train_by(home, name, f"shard={shard}", world=2)
    folders = [home / "models" / name for name in names]
    ends = [
        load_file(together.last_checkpoint(home, name) / "weights.safetensors") for name in names
    ]
    exported = [load_file(folder / "model.safetensors") for folder in folders]
    moments = [
        load_file(together.last_checkpoint(home, name) / "optimizer.safetensors") for name in names
    ]
    for one, other in (ends, exported):
        assert_close(one, other)
    # A parameter whose gradient is 0 is not used, in a sharded model.
    unused = moments[0].keys() - moments[1].keys()
    assert all(not moments[0][name].any() for name in unused if not name.endswith(".step"))
    assert_close({name: moments[0][name] for name in moments[1]}, moments[1])

    for name, shard, world in zip(names, ("always", "never"), (2, 1), strict=True):
        shutil.rmtree(together.last_checkpoint(home, name))
        train_by(home, name, f"shard={shard}", world=world, resume=True)
        again = load_file(together.last_checkpoint(home, name) / "weights.safetensors")
        assert_close(again, ends[0])


def assert_close(one, other):
    """Compare two runs' tensors by their mean difference.

    Where a gradient is nothing but rounding, Adam makes whole steps of it.
    """
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.shape == other[name].shape
        if tensor.numel():
            assert float((tensor.float() - other[name].float()).abs().mean()) < 1e-4, name
