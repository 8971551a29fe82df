"""Complete cells by the workers of a Ray cluster, as :mod:`serving.completion` does in one process.

Scoring alone is distributed, by Ray Data. A worker is a process that opens the model once. The
catalogue is read once, by the command, and every worker gets that copy, so that all of them see the
same revision of the store, which they never open. A block is as many cells as are encoded at once,
and is completed by one worker; so its scores are those of one machine. The blocks come back in
their order. Those of a worker that is lost are completed again, by one that takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.image_files import GONE, ImageFiles
from kg.ray_cluster import (
    RayCluster,
    Requirement,
    errors_of_workers,
    living_gpus,
    living_nodes,
    quiet_data,
)
from kg.snapshot import GraphSnapshot
from schema.dtypes import Dtype
from schema.errors import CatalographError, EngineError, UsageError
from schema.manifests import MANIFEST
from schema.openmp import SPIN_COUNT, THREADS, user_set_threads
from schema.progress import ProgressCallback, no_progress
from serving.cells import Cell, Scorer
from serving.completion import BatchCompleter, CompletionOptions, ItemCells, batches_of_cells
from serving.home_completion import HomeCompletion, scorer_of_cells
from serving.home_scorer import HomeWords
from serving.items import CatalogItems
from serving.loading import is_computed_on_gpu, load_classifier, load_regions, load_scorer
from serving.ray_gpus import VISIBLE_GPUS, GpuShares, are_gpus_hidden
from serving.results import Completion

PROCESSORS = 0.01
"""What Ray counts a worker as, so that those of a lost node find room on the others at once.

A worker that waited for a processor of its own would hold up all blocks that come after its own.
"""
LOST_SECONDS = 60.0
"""How long nodes may stay away when none is left that can work."""
STARTS = 5
"""How often workers may be lost while they start, none coming up between."""
NO_NODE = "no node with a processor"
LOOK_SECONDS = 1.0
BLOCKS_PER_WORKER = 16
"""A worker gets about so many blocks, so that all of them end at about the same time."""
MOST_BATCHES = 8
"""Batches of a block: what is lost with a worker, and is kept in memory until its turn comes."""


@dataclass(frozen=True)
class _Job:
    """What every worker completes, and by what.

    Attributes:
        requirement: what a worker has in common with the command
        home: the folder of the home
        model: the folder of the model
        digest: that of the model
        words: those of the home
        has_classifier: whether the categories of items are completed as well
        snapshot: the catalogue as the command has read it
        image_folders: those that images may be read from
        options: how cells are completed
        dtype: what a network computes in
    """

    requirement: Requirement
    home: Path
    model: Path
    digest: str
    words: HomeWords
    has_classifier: bool
    snapshot: GraphSnapshot
    image_folders: tuple[str, ...]
    options: CompletionOptions
    dtype: Dtype


@dataclass(frozen=True)
class _Block:
    """What a worker has made of a block.

    Attributes:
        completions: those of its cells, in order
        items: how many items they are of
        failures: images that it could not read, with the reason
        node: the worker's host
        error: why it cannot work at all; None if it can
    """

    completions: Sequence[Completion] = ()
    items: int = 0
    failures: Mapping[str, str] | None = None
    node: str = ""
    error: CatalographError | None = None


class RayCompletion:
    """Completes cells by the workers of a cluster.

    Where the cluster has GPUs, and the model computes anything on one, each worker asks Ray for a
    GPU, or for the same part of one if there are more workers than GPUs. Otherwise they see none.

    Args:
        cluster: the cluster
        completion: the catalogue, and the model that completes it
        workers: how many there are, each with a copy of both; by default one for each GPU, or else
            for each node
        dtype: what a network computes in
    """

    def __init__(
        self,
        cluster: RayCluster,
        completion: HomeCompletion,
        workers: int | None = None,
        dtype: Dtype = Dtype.BF16,
    ) -> None:
        """Raises UsageError if there are more workers than processors."""
        self._cluster = cluster
        self._completion = completion
        self._dtype = dtype
        self._is_default = workers is None
        gpus = 0
        if (
            cluster.gpus
            and not are_gpus_hidden()
            and is_computed_on_gpu(completion.scorer, completion.classifier)
        ):
            gpus = cluster.gpus
        if workers is None:
            workers = min(gpus or cluster.nodes, cluster.processors)
        self.workers = workers
        self._shares = GpuShares(workers, gpus)
        if not 0 < self.workers <= cluster.processors:
            raise UsageError(
                f"{self.workers} workers are too many for {cluster.processors} processors, which "
                "the Ray cluster has: name fewer with --workers, or add nodes"
            )
        self._digest = model_digest(completion.scorer.path)

    def notes(self) -> list[str]:
        """Return what a user should know of how the workers use GPUs, a line each."""
        note = self._shares.note(is_default=self._is_default)
        notes = [] if note is None else [note]
        if self._shares.gpus:
            import ray

            if ray.available_resources().get("GPU", 0.0) < self._shares.share:
                notes.append("all GPUs of the Ray cluster are taken: the workers wait for one")
        return notes

    def complete_cells(
        self,
        scorer: Scorer,
        items: Sequence[ItemInput],
        cells: Iterable[Cell],
        options: CompletionOptions | None = None,
        *,
        progress: ProgressCallback = no_progress,
    ) -> Iterator[Completion]:
        """Yield a completion of every cell of the catalogue's ``items``, in order.

        Raises EngineError if the cluster has no node left, or if a worker does not see what the
        command sees.
        """
        batches = batches_of_cells(scorer, cells)
        done = 0
        total = sum(map(len, batches))
        for block in self._blocks(batches, options or CompletionOptions()):
            self._check(block)
            yield from block.completions
            done += block.items
            progress(done, total)

    def _check(self, block: _Block) -> None:
        """Take over which images a worker could not read; raise what keeps it from working."""
        if block.error is not None:
            raise block.error
        files = self._completion.catalogue.items.files
        for image, reason in (block.failures or {}).items():
            if reason == GONE and image not in files.failures and files.status(image) is not None:
                raise EngineError(
                    f"node {block.node} does not see the image {image}: put the image folders on a "
                    "file system that all nodes have at the same path"
                )
            files.failures[image] = reason

    def _blocks(
        self, batches: Sequence[Sequence[ItemCells]], options: CompletionOptions
    ) -> Iterator[_Block]:
        """Yield what the workers make of the batches, in order."""
        if not batches:
            return
        import ray

        quiet_data()
        job = ray.put(self._job(options))
        rows = self._rows(batches)
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        data.context.execution_options.preserve_order = True
        # A node may be lost while its worker starts, which Ray Data does not forgive by itself.
        data.context.max_consecutive_actor_init_deaths = STARTS
        workers = min(self.workers, len(rows))
        completed = data.map_batches(
            _Worker,
            fn_constructor_args=(job,),
            # A row, which is a block of its own. Where GPUs are used, a number has to be given.
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            **self._asked_for_each(),
        )
        blocks = completed.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)
        expected = 0
        for columns in _watched(blocks, self._shares.needed(workers)):
            for number, block in zip(columns["number"], columns["block"], strict=True):
                if number != expected:
                    raise EngineError(
                        f"the Ray cluster gave block {number} in place of {expected}: go on with "
                        "`catalograph complete --resume`"
                    )
                expected += 1
                yield block
        if expected < len(rows):
            raise EngineError(
                f"the Ray cluster gave {expected:,} of {len(rows):,} blocks: go on with "
                "`catalograph complete --resume`"
            )

    def _asked_for_each(self) -> dict[str, Any]:
        """Return what Ray is asked for each worker: its resources and its environment."""
        environment = {
            THREADS: str(self._threads()),
            # Threads that spin take the processors from each other, as in any command.
            "GOMP_SPINCOUNT": str(SPIN_COUNT),
        }
        if not self._shares.gpus:
            # A process that asks Ray for no GPU would see all of its node.
            environment[VISIBLE_GPUS] = ""
        return {
            "num_cpus": PROCESSORS,
            "num_gpus": self._shares.share,
            "runtime_env": {"env_vars": environment},
        }

    def _threads(self) -> int:
        """Return the threads of a worker: as many as the user has set, or its share of processors.

        How many there are has an effect on the last digits of the scores.
        """
        if user_set_threads():
            with suppress(ValueError):
                return max(1, int(os.environ[THREADS]))
        return max(1, self._cluster.processors // self.workers)

    def _rows(self, batches: Sequence[Sequence[ItemCells]]) -> list[dict[str, Any]]:
        """Return the blocks as rows of data: batches of items and properties, as JSON."""
        together = len(batches) // (self.workers * BLOCKS_PER_WORKER)
        together = min(max(together, 1), MOST_BATCHES)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(batches), together):
            block = [
                [[cells.item, cells.properties] for cells in batch]
                for batch in batches[start : start + together]
            ]
            rows.append({"number": len(rows), "cells": json.dumps(block)})
        return rows

    def _job(self, options: CompletionOptions) -> _Job:
        catalogue = self._completion.catalogue
        return _Job(
            self._cluster.requirement,
            catalogue.home.path,
            self._completion.scorer.path.resolve(),
            self._digest,
            self._completion.words,
            self._completion.classifier is not None,
            catalogue.snapshot,
            catalogue.items.files.folders,
            options,
            self._dtype,
        )


def model_digest(folder: Path) -> str:
    """Return a digest of a model folder and of the network in it, by their manifests."""
    manifests = [folder / MANIFEST, *sorted(folder.glob(f"*/{MANIFEST}"))]
    digest = hashlib.sha256()
    for path in manifests:
        digest.update(path.read_bytes() if path.is_file() else b"none")
    return digest.hexdigest()


class _Worker:
    """Completes blocks in a process of its own."""

    def __init__(self, job: Any) -> None:
        import ray

        self._error: CatalographError | None = None
        self._files = ImageFiles(())
        try:
            self._open(ray.get(job))
        except CatalographError as error:
            # Ray would start a worker again and again that fails at its start.
            self._error = error

    def _open(self, job: _Job) -> None:
        job.requirement.check()
        digest = model_digest(job.model)
        if digest != job.digest:
            raise EngineError(
                f"node {socket.gethostname()} has another model in {job.model} than this command: "
                "put it on a file system that all nodes have at the same path"
            )
        home = Home(job.home)
        scorer = load_scorer(home, str(job.model), job.dtype)
        classifier = load_classifier(scorer, job.words.home) if job.has_classifier else None
        self._files = ImageFiles(job.image_folders)
        self._completer = BatchCompleter(
            scorer_of_cells(job.words.of(scorer), classifier, job.words.home),
            CatalogItems(job.snapshot, self._files, load_regions(home, scorer)),
            job.options,
        )

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Complete the blocks of some rows."""
        blocks = np.empty(len(rows["number"]), dtype=object)
        for place, text in enumerate(rows["cells"]):
            blocks[place] = self._completed(str(text))
        return {"number": rows["number"], "block": blocks}

    def _completed(self, text: str) -> _Block:
        node = socket.gethostname()
        if self._error is not None:
            return _Block(node=node, error=self._error)
        self._files.failures.clear()
        completions: list[Completion] = []
        items = 0
        for batch in json.loads(text):
            cells = [ItemCells(item, tuple(properties)) for item, properties in batch]
            completions += self._completer.complete(cells)
            items += len(cells)
        return _Block(completions, items, dict(self._files.failures), node)


def _watched(blocks: Iterable[Any], gpus: int = 0) -> Iterator[Any]:
    """Yield what comes from the cluster; raise EngineError if it has no node left that works.

    The same if it has fewer GPUs left than the workers need: one that has lost its own waits for
    another, and with it all blocks behind its own.

    Ray itself would wait for new nodes without end, and could not be interrupted everywhere.
    """
    import ray

    arrived: queue.Queue[Any] = queue.Queue(1)
    stopped = threading.Event()
    end = object()

    def put(found: Any) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                arrived.put(found, timeout=LOOK_SECONDS)
                return

    def pull() -> None:
        try:
            for block in blocks:
                put(block)
                if stopped.is_set():
                    return
            put(end)
        except BaseException as error:
            put(error)

    puller = threading.Thread(target=pull, name="blocks", daemon=True)
    puller.start()
    seen = time.monotonic()
    try:
        while True:
            try:
                found = arrived.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                lack: str | None = NO_NODE
                with suppress(ray.exceptions.RayError):
                    lack = _lack(gpus)
                if lack is None:
                    seen = time.monotonic()
                elif time.monotonic() - seen > LOST_SECONDS:
                    raise EngineError(
                        f"the Ray cluster has had {lack} for {LOST_SECONDS:.0f} seconds: start "
                        "what is lost again with `ray start`, or leave it, and go on with "
                        "`catalograph complete --resume`"
                    ) from None
                continue
            if found is end:
                return
            if isinstance(found, BaseException):
                with errors_of_workers():
                    raise found
            yield found
            seen = time.monotonic()
    finally:
        stopped.set()


def _lack(gpus: int) -> str | None:
    """Return what a cluster lacks, whose workers need so many ``gpus``; None if it has all."""
    if not living_nodes(working=True):
        return NO_NODE
    there = living_gpus() if gpus else 0
    return f"{there} GPUs where its workers need {gpus}" if there < gpus else None
