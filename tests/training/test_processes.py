"""Several processes: what they agree on, and what happens if one of them is slow or fails."""

import dataclasses
import shutil
import threading
from datetime import timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.distributed import HashStore, PrefixStore  # type: ignore[attr-defined]

from benchmarks import processes as together
from schema.errors import TrainingError
from tests.training.conftest import all_terms, made_home
from training.gradient import agree_on_batch
from training.loader import BatchBuilder, BatchRequest, PairSamplers
from training.objectives import Need
from training.processes import FAILURE, Processes, StepStatus, _buckets, agreed_attempt
from training.sampler import StepSampler
from training.schedule import Schedule, Stage
from training.validation import hits_at_1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return made_home(folder).path


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


LOST = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4711")


def fail_with(error):
    raise error


def test_the_first_reason_of_a_failure_stays_and_is_everybodys():
    store = HashStore()
    first, second, third, fourth = (Processes(rank, 4, store=store) for rank in (1, 0, 2, 3))
    first.report_failure(ValueError("an image cannot be decoded\nmore about it"))
    reason = "process 1 of 4 failed: an image cannot be decoded"
    # Of an operation of FSDP, which is not checked; of one of ours; and an error of its own.
    with pytest.raises(TrainingError, match=f"^{reason}$"):
        second.report_failure(LOST)
    with pytest.raises(TrainingError, match=f"^{reason}$"):
        third._checked(lambda: fail_with(LOST))
    fourth.report_failure(ValueError("another image cannot be decoded"))
    assert store.get(FAILURE).decode() == reason
    assert all(each._left.is_set() for each in (first, second, third, fourth))


def test_an_error_is_reported_once_though_two_blocks_are_left():
    store = HashStore()
    processes = Processes(1, 2, store=store)
    with (
        pytest.raises(ValueError, match="broken"),
        processes.failing_together(),
        processes.failing_together(),
    ):
        raise ValueError("broken")
    assert store.get(FAILURE).decode() == "process 1 of 2 failed: broken"


def test_without_a_reason_what_pytorch_said_is_passed_on():
    processes = Processes(0, 2)
    with pytest.raises(TrainingError, match=r"without a reason \(.*Connection closed by peer.*\)"):
        processes._checked(lambda: fail_with(LOST))
    assert processes._left.is_set()


def test_a_want_of_memory_is_not_taken_for_a_lost_process():
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError) as raised:
        Processes(0, 2)._checked(lambda: fail_with(error))
    assert raised.value is error


def leaving(store, world, monkeypatch):
    """Return a function that lets a process leave, and the ranks in the order of their ends."""
    ended: list[int] = []
    here = threading.local()
    monkeypatch.setattr(
        "training.processes.dist.destroy_process_group", lambda: ended.append(here.rank)
    )

    def leave(rank):
        here.rank = rank
        processes = Processes(rank, world, store=store)
        processes._joined = True
        processes.leave()

    return leave, ended


def test_no_process_disconnects_while_another_one_is_in_an_operation(monkeypatch):
    """The first one, which may hold the store, goes last."""
    leave, ended = leaving(HashStore(), 3, monkeypatch)
    threads = [threading.Thread(target=leave, args=(rank,), daemon=True) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    threads[1].join(0.2)
    assert ended == []
    leave(2)
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == [0, 1, 2]
    assert ended[-1] == 0


def test_a_process_leaves_at_once_when_another_one_has_failed(monkeypatch):
    store = HashStore()
    store.set(FAILURE, "process 1 of 2 failed: broken")
    leave, ended = leaving(store, 2, monkeypatch)
    leave(0)
    assert ended == [0]


def test_processes_agree_on_the_attempt_whatever_those_before_left():
    """Some were killed after they had called the first one, some before it had counted them."""
    store = HashStore()
    store.set("call 2", "of a process that is gone")
    for attempt in (1, 2, 3):
        if attempt == 3:
            # One that began alone: the others were gone before it could hear them.
            store.add("attempts", 1)
        found: dict[int, int] = {}

        def run(rank, found=found):
            found[rank] = agreed_attempt(store, rank, 3)

        # The first one comes last, and must not be overtaken.
        threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in (2, 1, 0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == dict.fromkeys(range(3), attempt + (attempt == 3))


def test_what_is_remembered_outlives_the_processes(monkeypatch):
    store = HashStore()
    store.set_timeout(timedelta(seconds=1))
    kept = PrefixStore("kept", store)
    before = Processes(kept=kept)
    assert before.recall("folder") is None
    before.remember("folder", "joint-tiny-1")
    assert Processes(kept=kept).recall("folder") is None
    monkeypatch.setattr("training.processes.THIS_PROCESS", "another")
    assert Processes(kept=kept).recall("folder") == "joint-tiny-1"
    assert Processes().recall("folder") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "world"),
    [
        (together.slow, 3),
        (together.clock, 2),
        (together.failing, 3),
        (together.failing_sharded, 3),
        (together.failing_calibration, 2),
        (together.stuck, 3),
        (together.memory, 3),
        (together.memory_backward, 3),
        (together.killed_twice, 2),
    ],
)
def test_a_process_that_is_slow_or_fails(home, scenario, world):
    assert scenario(home, world) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "rounding"), [("joint", 5e-4), ("mbsd", 1e-4), ("k3m", 1e-4)])
def test_several_processes_train_as_one_does(home, preset, rounding):
    """Titles, images, statements, batch norm and the pairs of the query log, to rounding."""
    rows = together.compare_with_one(home, preset, (3,))
    assert rows[0]["loss"] < 1e-4
    one, three = (
        load_file(home / "models" / f"{preset}-{world}" / "model.safetensors") for world in (1, 3)
    )
    for name, tensor in one.items():
        # Where a gradient is nothing but rounding, Adam makes whole steps of it: so means, and not
        # those of the head of matches.
        if tensor.numel() and not name.startswith("match_head"):
            assert float((tensor.float() - three[name].float()).abs().mean()) < rounding, name


def train_by(home, name, *settings, world, resume=False, preset="mbsd"):
    """Train by some processes without dropout; raises RuntimeError if one fails."""
    asked = (*together.SETTINGS, "validate_every=100", *together.STILL, *settings)
    words = together.words_of(home, name, preset, 6, asked)
    ends = together.start([*words, *(["--resume"] if resume else [])], "uncalibrated", world)
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


@pytest.mark.slow
def test_tied_tables_of_fewer_rows_than_processes_have_one_average(home):
    """K3M's text encoder is also its knowledge encoder; the third process has none of two rows."""
    names = ("k3m alone", "k3m in thirds")
    for name, shard, world in zip(names, ("never", "always"), (1, 3), strict=True):
        train_by(home, name, f"shard={shard}", world=world, preset="k3m")
    exported = [load_file(home / "models" / name / "model.safetensors") for name in names]
    assert any(len(tensor) == 2 for tensor in exported[0].values() if tensor.ndim == 2)
    assert_close(*exported)


def assert_close(one, other):
    """Compare two runs' tensors by their mean difference.

    Where a gradient is nothing but rounding, Adam makes whole steps of it.
    """
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.shape == other[name].shape
        if tensor.numel():
            assert float((tensor.float() - other[name].float()).abs().mean()) < 1e-4, name
