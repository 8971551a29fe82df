"""What the command does with what comes from a Ray cluster, without one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fusion.inference.featurizer import ItemInput
from kg.image_files import GONE, ImageFiles
from kg.ray_cluster import RayCluster, Requirement
from schema.dtypes import Dtype
from schema.errors import EngineError, ModelError
from serving import ray_completion
from serving.cells import Cell
from serving.completion import batches_of_cells
from serving.ray_completion import RayCompletion, _Block, model_digest
from tests.serving.fakes import FakeScorer


class Items:
    """The images of a catalogue."""

    def __init__(self, folder):
        self.files = ImageFiles([folder])


class Catalogue:
    """A catalogue of which the images matter alone."""

    def __init__(self, folder):
        self.items = Items(folder)


class PlacedScorer(FakeScorer):
    """A model of a folder."""

    def __init__(self, path):
        super().__init__()
        self.path = path


class Made:
    """A model and a catalogue."""

    def __init__(self, folder):
        self.catalogue = Catalogue(folder)
        self.scorer = PlacedScorer(folder)


def completion_on(folder, workers=2):
    cluster = RayCluster(Requirement("", folder, ""), nodes=2, processors=4, is_own=False)
    made: Any = Made(folder)
    return RayCompletion(cluster, made, workers)


def test_blocks_are_whole_batches_in_order(tmp_path):
    cells = [Cell(item, name) for item in range(3000) for name in ("colour", "size")]
    batches = batches_of_cells(FakeScorer(), cells)
    rows = completion_on(tmp_path)._rows(batches)
    assert [row["number"] for row in rows] == list(range(len(rows)))
    together = [batch for row in rows for batch in json.loads(row["cells"])]
    assert [[each[0] for each in batch] for batch in together] == [
        [each.item for each in batch] for batch in batches
    ]
    # A block of a large catalogue has several batches, and a small one is shared out as it is.
    assert len(rows) < len(batches)
    assert len(completion_on(tmp_path)._rows(batches[:5])) == 5


def test_the_wait_for_lost_nodes_ends(monkeypatch):
    pytest.importorskip("ray")
    over = threading.Event()

    def blocks() -> Iterator[str]:
        yield "first"
        over.wait()

    monkeypatch.setattr(ray_completion, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray_completion, "LOST_SECONDS", 0.0)
    monkeypatch.setattr(ray_completion, "living_nodes", lambda working: [])
    watched = ray_completion._watched(blocks())
    assert next(watched) == "first"
    with pytest.raises(EngineError, match=r"no node with a processor .* complete --resume"):
        next(watched)
    over.set()


def test_nodes_that_are_there_are_waited_for(monkeypatch):
    pytest.importorskip("ray")
    over = threading.Event()
    looked = []

    def nodes(working: bool) -> list[str]:
        looked.append(working)
        if len(looked) == 3:
            over.set()
        return ["node"]

    def blocks() -> Iterator[str]:
        over.wait()
        yield "late"
        raise OSError("in the thread")

    monkeypatch.setattr(ray_completion, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ray_completion, "LOST_SECONDS", 0.0)
    monkeypatch.setattr(ray_completion, "living_nodes", nodes)
    watched = ray_completion._watched(blocks())
    assert next(watched) == "late"
    with pytest.raises(OSError, match="in the thread"):
        next(watched)


def test_an_image_that_only_the_command_sees_is_an_error(tmp_path):
    there = tmp_path / "there.png"
    there.write_bytes(b"an image")
    gone = str(tmp_path / "gone.png")
    completion = completion_on(tmp_path)
    # Both see nothing of this one.
    completion._check(_Block(failures={gone: GONE}, node="second"))
    assert completion._completion.catalogue.items.files.failures == {gone: GONE}
    with pytest.raises(EngineError, match=f"node second does not see the image {there}"):
        completion._check(_Block(failures={str(there): GONE}, node="second"))


def test_the_digest_of_a_model_is_that_of_all_its_files(tmp_path):
    (tmp_path / "network").mkdir()
    (tmp_path / "manifest.json").write_text("one")
    first = model_digest(tmp_path)
    (tmp_path / "network" / "manifest.json").write_text("two")
    second = model_digest(tmp_path)
    assert first != second
    (tmp_path / "manifest.json").write_text("three")
    assert model_digest(tmp_path) not in (first, second)


def test_a_worker_computes_in_the_type_that_is_asked_for(tmp_path, monkeypatch):
    asked = []

    def load(home, model, dtype):
        asked.append((model, dtype))
        raise ModelError("enough")

    monkeypatch.setattr(ray_completion, "load_scorer", load)
    job: Any = SimpleNamespace(
        requirement=SimpleNamespace(check=lambda: None),
        home=tmp_path / "home",
        model=tmp_path,
        digest=model_digest(tmp_path),
        dtype=Dtype.FP32,
    )
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda given: given))
    worker = ray_completion._Worker(job)
    assert isinstance(worker._error, ModelError)
    assert asked == [(str(tmp_path), Dtype.FP32)]


def test_what_a_worker_refuses_is_raised(tmp_path):
    completion = completion_on(tmp_path)
    completion._blocks = lambda *_: iter([_Block(error=EngineError("another model"))])
    with pytest.raises(EngineError, match="another model"):
        list(completion.complete_cells(FakeScorer(), [ItemInput("a", "b")], [Cell(0, "colour")]))
