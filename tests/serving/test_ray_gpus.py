"""How the workers of a completion on Ray share GPUs, and when they use none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experts.joint_scorer import JointScorer
from fusion.inference.scorer import CellScorer
from kg.ray_cluster import RayCluster, Requirement
from schema.errors import EngineError
from serving import ray_completion
from serving.loading import is_computed_on_gpu
from serving.ray_completion import RayCompletion
from serving.ray_gpus import GpuShares


@pytest.mark.parametrize(
    ("workers", "gpus", "on_each", "share"),
    [(3, 0, 0, 0.0), (1, 2, 1, 1.0), (2, 2, 1, 1.0), (3, 2, 2, 0.5), (6, 2, 3, 0.3333)],
)
def test_each_gpu_has_room_for_its_workers(
    workers: int, gpus: int, on_each: int, share: float
) -> None:
    shares = GpuShares(workers, gpus)
    assert (shares.on_each, shares.share) == (on_each, share)
    assert on_each * share <= 1
    assert shares.needed(workers) <= gpus
    assert shares.needed(1) == min(1, gpus)


def test_a_user_is_told_how_gpus_are_used() -> None:
    assert GpuShares(2, 0).note(is_default=True) is None
    assert GpuShares(1, 2).note(is_default=False) is None
    assert "a worker for each GPU, 2 in all" in str(GpuShares(2, 2).note(is_default=True))
    assert "3 workers share 2 GPUs, up to 2 on each" in str(GpuShares(3, 2).note(is_default=False))


class Kernel:
    """A kernel of experts, with a pretrained encoder or without."""

    def __init__(self, encoder: object = None) -> None:
        self.encoder = encoder


class Experts:
    """Experts as far as a GPU may have to do with them; they are their own kernels."""

    def __init__(self, title: Kernel, image: Kernel) -> None:
        self.title = title
        self.image = image

    @property
    def kernels(self) -> Experts:
        return self

    @property
    def ensemble(self) -> Experts:
        return self


PLAIN: Any = Experts(Kernel(), Kernel())
WITH_ENCODER: Any = Experts(Kernel(), Kernel("vit"))
NETWORK = CellScorer.__new__(CellScorer)


def test_what_a_gpu_computes() -> None:
    assert is_computed_on_gpu(NETWORK)
    assert is_computed_on_gpu(JointScorer.__new__(JointScorer))
    assert is_computed_on_gpu(WITH_ENCODER)
    assert is_computed_on_gpu(PLAIN, WITH_ENCODER)
    assert not is_computed_on_gpu(PLAIN)
    assert not is_computed_on_gpu(PLAIN, PLAIN)


class Made:
    """A model, whose folder has no manifest."""

    def __init__(self, scorer: Any, folder: Path) -> None:
        self.scorer = scorer
        self.scorer.path = folder
        self.classifier = None


def asked(folder: Path, scorer: Any, workers: int | None, gpus: int) -> dict[str, Any]:
    """Return how many workers there are on three nodes, and what Ray is asked for each."""
    cluster = RayCluster(Requirement("", folder, ""), 3, 8, is_own=False, gpus=gpus)
    made: Any = Made(scorer, folder)
    completion = RayCompletion(cluster, made, workers)
    of_each = completion._asked_for_each()
    environment = of_each["runtime_env"]["env_vars"]
    return {
        "workers": completion.workers,
        "num_gpus": of_each["num_gpus"],
        "hidden": environment.get("CUDA_VISIBLE_DEVICES") == "",
    }


def test_what_ray_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    none = {"num_gpus": 0.0, "hidden": True}
    each = {"num_gpus": 1.0, "hidden": False}
    assert asked(tmp_path, NETWORK, None, 2) == {"workers": 2} | each
    assert asked(tmp_path, NETWORK, 4, 2) == {"workers": 4, "num_gpus": 0.5, "hidden": False}
    assert asked(tmp_path, NETWORK, None, 0) == {"workers": 3} | none
    assert asked(tmp_path, PLAIN, None, 2) == {"workers": 3} | none
    # Who hides the GPUs has it all computed on processors.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert asked(tmp_path, NETWORK, None, 2) == {"workers": 3} | none


def test_gpus_that_are_lost_end_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_completion, "living_nodes", lambda working: ["node"])
    monkeypatch.setattr(ray_completion, "living_gpus", lambda: 1)
    assert ray_completion._lack(0) is None
    assert ray_completion._lack(1) is None
    assert ray_completion._lack(2) == "1 GPUs where its workers need 2"
    monkeypatch.setattr(ray_completion, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray_completion, "LOST_SECONDS", 0.0)
    over = threading.Event()

    def blocks() -> Iterator[str]:
        over.wait()
        yield "late"

    with pytest.raises(EngineError, match=r"1 GPUs where .* need 2 .* complete --resume"):
        next(ray_completion._watched(blocks(), 2))
    over.set()
