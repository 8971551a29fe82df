"""`train --engine ray`: the processes of a training are workers of a Ray cluster.

The command chooses the model's folder and holds its lock, shows the progress, and writes the
ledger. Ray Train starts the workers, connects them, and starts all of them again if one is lost:
they go on from the last checkpoint in the model's folder, as they do under torchrun.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.base import Context
from commands.joint_training import JointTraining
from commands.progress import TrainingScreen
from commands.ray_worker import Part, train_as_worker
from commands.training import Trained, Training
from kg.model_lock import model_lock
from kg.ray_cluster import Requirement, ray_cluster
from schema.errors import (
    CatalographError,
    EngineError,
    TrainingError,
    UsageError,
)
from schema.openmp import SPIN_SETTINGS, user_set_threads
from schema.progress import ProgressCallback
from training.config import EXPERTS_PRESET
from training.loop import StopSignal
from training.mailbox import Failure, open_mailbox
from training.processes import Processes
from training.ray_workers import (
    Counted,
    Ended,
    InSteps,
    LedgerEntry,
    Lost,
    Message,
    Remark,
    Started,
)
from training.setup import has_begun, model_folder, starting_point

if TYPE_CHECKING:
    from kg.home import Home
    from training.records import Record, ReportCallback

THREADS = 1
"""Threads of a worker unless the user has set a number: on every machine the same."""
MAX_RESTARTS = 3
"""How often all workers are started again, by default."""
RESULT_SECONDS = 10.0
"""How long the command waits for the result of a run that Ray has ended without an error."""
LOOK_SECONDS = 0.2
"""How often the command looks for a signal, and whether Ray has ended the run."""


@dataclass(frozen=True)
class Workers:
    """How many workers are asked of a cluster, and how often they are started after a loss."""

    count: int | None
    restarts: int


def train_on_ray(context: Context, home: Home, training: Training, asked: Workers) -> Trained:
    """Train on the workers of a Ray cluster; return what the command is to tell.

    Raises UsageError if the cluster has no room for the workers, EngineError if they are lost more
    often than they may be started again.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UsageError("--engine ray starts its own processes: leave torchrun out")
    with ray_cluster(home.path) as cluster:
        chosen = _chosen(context, home, training) if training.options.resume else None
        threads = _threads(home, chosen)
        room = Room.now(threads)
        if room.workers == 0:
            raise UsageError(
                f"{room.described()}: add nodes, or set OMP_NUM_THREADS to fewer threads"
            )
        count = asked.count
        if count is None:
            count = max(1, room.workers if room.has_gpus else room.nodes_with_room)
            each = "GPU" if room.has_gpus else "node"
            context.note(
                f"training with a worker for each {each}, {count} in all: --workers changes it"
            )
        if count > room.workers:
            raise UsageError(f"--workers {count}: {room.described()}; ask for fewer, or add nodes")
        chosen = chosen or _chosen(context, home, training)
        assert chosen.folder is not None
        with model_lock(chosen.folder, by_worker=True):
            run = _Run(context, home, chosen, cluster.requirement, count, asked.restarts, room)
            return run.train()


@dataclass(frozen=True)
class Room:
    """How many workers a cluster can have at once.

    Attributes:
        workers: their number; with GPUs, one for each
        nodes_with_room: how many nodes have room for one
        threads: the processors that each takes
        nodes: how many nodes there are
        processors: how many processors they have together
        gpus: how many GPUs they have together
        has_gpus: whether workers train on GPUs
    """

    workers: int
    nodes_with_room: int
    threads: int
    nodes: int
    processors: int
    gpus: int
    has_gpus: bool

    @classmethod
    def now(cls, threads: int, on_gpus: bool | None = None) -> Room:
        """Return the room that the living nodes have, whoever else works there.

        Workers take a GPU each if they are to be ``on_gpus``, by default if there are any.
        """
        import ray

        living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        processors = [int(node.get("CPU", 0)) for node in living]
        gpus = [int(node.get("GPU", 0)) for node in living]
        workers = [each // threads for each in processors]
        if on_gpus is None:
            on_gpus = any(gpus)
        if on_gpus:
            workers = [min(pair) for pair in zip(workers, gpus, strict=True)]
        with_room = sum(each > 0 for each in workers)
        return cls(
            sum(workers), with_room, threads, len(living), sum(processors), sum(gpus), on_gpus
        )

    def described(self) -> str:
        """Return in words what there is, and what a worker takes."""
        takes = "a processor" if self.threads == 1 else f"{self.threads} processors"
        if self.has_gpus:
            takes += " and a GPU"
        there = f"{self.processors} processors"
        if self.has_gpus:
            there += f" and {self.gpus} GPUs"
        return (
            f"the Ray cluster has room for {self.workers}, each of which takes {takes} of one "
            f"node ({self.nodes} nodes with {there})"
        )


def _chosen(context: Context, home: Home, training: Training) -> Training:
    """Choose the folder of a run, and complete its options accordingly."""
    if training.with_experts:
        joint = JointTraining(context, home, training.options, Processes())
        folder = joint.folder()
        return replace(training, folder=folder, options=joint.options)
    return replace(training, folder=model_folder(home, training.options))


def _threads(home: Home, resumed: Training | None) -> int:
    """Return the threads of a worker: the user's number, or those that a resumed run had before."""
    if user_set_threads():
        text = os.environ["OMP_NUM_THREADS"]
        if not text.isdigit() or int(text) < 1:
            raise UsageError(f"OMP_NUM_THREADS={text} is no number of threads: set 1 or more")
        return int(text)
    if resumed is not None and resumed.folder is not None:
        start = starting_point(home, resumed.folder, resumed.options)
        if start is not None:
            return int(start.about.get("threads", THREADS))
    return THREADS


@dataclass
class _Run:
    """A training on Ray as its command sees it."""

    context: Context
    home: Home
    training: Training
    requirement: Requirement
    workers: int
    restarts: int
    room: Room
    recorded: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    ended: Trained | None = None
    losses: int = 0
    is_lost: bool = False
    is_in_steps: bool = False

    @property
    def folder(self) -> Path:
        """The model's folder."""
        assert self.training.folder is not None
        return self.training.folder

    @property
    def _call(self) -> str:
        return f"train --engine ray --workers {self.workers}"

    def train(self) -> Trained:
        """Let Ray train, and return what has come of it."""
        mailbox = open_mailbox()
        # A command that was killed has left them, and Ray would look for the checkpoints in them.
        self._remove_files_of_ray()
        fit = _Fit(self._trainer(mailbox))
        try:
            with _Shown() as shown, StopSignal() as stop:
                fit.start()
                self._follow(mailbox, fit, shown, stop)
        finally:
            self._remove_files_of_ray()
        if fit.error is not None:
            raise self._explained(mailbox, fit.error) from fit.error
        if self.ended is None:
            raise EngineError(f"Ray ended the run without a result: {self._how_to_go_on()}")
        return self._with_recorded(self.ended)

    def _remove_files_of_ray(self) -> None:
        for name in RAY_FILES:
            (self.folder / name).unlink(missing_ok=True)

    def _follow(self, mailbox: Any, fit: _Fit, shown: _Shown, stop: StopSignal) -> None:
        """Deal with what the workers say until Ray has ended the run."""
        import ray

        looks = 0
        messages = mailbox.take.remote()
        while True:
            has_ended = not fit.is_alive()
            # The result was put into the mailbox before the end, and may be on its way from there.
            is_due = has_ended and fit.error is None and self.ended is None
            seconds = RESULT_SECONDS if is_due else LOOK_SECONDS
            there, _ = ray.wait([messages], timeout=seconds)
            if there:
                for message in ray.get(messages):
                    self._deal_with(pickle.loads(message), shown, stop)
                messages = mailbox.take.remote()
            elif has_ended:
                return
            if not stop.requested:
                continue
            looks += 1
            if looks == 1:
                mailbox.ask_to_stop.remote()
            # The message that the steps have begun may have been on its way.
            elif self.is_lost or (looks == 2 and not self.is_in_steps):
                # There is nothing to save that is not saved.
                raise KeyboardInterrupt

    def _deal_with(self, message: Message, shown: _Shown, stop: StopSignal) -> None:
        match message:
            case Started():
                self.is_lost = False
                self.is_in_steps = False
            case Lost(reason):
                # Ray tells of one loss as long as it lasts.
                if self.is_lost:
                    return
                self.is_lost = True
                self.losses += 1
                if self.losses <= self.restarts:
                    self.context.note(
                        f"a worker was lost ({reason}): all of them are started again, and go on "
                        "from the last checkpoint"
                    )
            case InSteps():
                self.is_in_steps = True
            case Remark(text):
                self.context.note(text)
            case LedgerEntry(entry):
                self._record(entry)
                if stop.requested and entry.get("finished"):
                    # It was asked to stop after its last step: what follows the steps is left out.
                    raise KeyboardInterrupt
            case Ended(value):
                self.ended = value
            case Counted():
                self.is_in_steps = False
                shown.count(message)
            case _:
                shown.record(message)

    def _record(self, entry: Mapping[str, Any]) -> None:
        """Record a part of the run in the ledger, unless workers before have told of it."""
        self.is_in_steps = False
        part = str(entry["preset"])
        if part not in self.recorded:
            self.recorded[part] = entry
            with self.home.ledger() as ledger:
                ledger.record_training(entry)

    def _with_recorded(self, trained: Trained) -> Trained:
        """Return a result whose figures are those of the ledger.

        Workers that were started again after the last step have trained nothing themselves.
        """
        networks = [entry for part, entry in self.recorded.items() if part != EXPERTS_PRESET]
        entry = networks[-1] if networks else {}
        known = {name: entry[name] for name in trained.result if name in entry}
        return replace(trained, result={**trained.result, **known}, call=self._call)

    def _trainer(self, mailbox: Any) -> Any:
        """Return Ray's trainer of the workers."""
        # Read when ray.train is imported, and by the trainer.
        os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
        import ray.train
        from ray.train.torch import TorchConfig, TorchTrainer

        from training.processes import LONGEST_WAIT

        logging.getLogger("ray.train").setLevel(logging.CRITICAL)
        # It warns of what it uses itself.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
        # Its type hints are those of its former version.
        api: Any = ray.train
        room = self.room
        part = Part(
            home=self.home.path,
            store=self.context.store,
            training=self.training,
            requirement=self.requirement,
            mailbox=mailbox,
            where=Path.cwd(),
        )
        environment = {name: os.environ[name] for name in SPIN_SETTINGS if name in os.environ}
        environment["OMP_NUM_THREADS"] = str(room.threads)
        return TorchTrainer(
            train_as_worker,
            train_loop_config={"part": part},
            torch_config=TorchConfig(timeout_s=int(LONGEST_WAIT.total_seconds())),
            scaling_config=api.ScalingConfig(
                num_workers=self.workers,
                use_gpu=room.has_gpus,
                resources_per_worker={"CPU": room.threads} | ({"GPU": 1} if room.has_gpus else {}),
            ),
            run_config=api.RunConfig(
                # The folder in which our checkpoints are, of which Ray is told.
                storage_path=str(self.home.models),
                name=self.folder.name,
                failure_config=api.FailureConfig(
                    max_failures=self.restarts,
                    max_preemption_failures=self.restarts,
                    controller_failure_limit=self.restarts,
                ),
                callbacks=[_watch_over(mailbox)],
                worker_runtime_env={"env_vars": environment},
            ),
        )

    def _explained(self, mailbox: Any, error: BaseException) -> CatalographError:
        """Return the error to raise for what Ray has ended the run with."""
        import ray.train

        failure: Failure | None = ray.get(mailbox.failure.remote())
        if failure is not None:
            kind = UsageError if failure.exit_code == UsageError.exit_code else TrainingError
            return kind(failure.text)
        room = Room.now(self.room.threads, self.room.has_gpus)
        if room.workers < self.workers:
            return EngineError(
                f"{self.workers} workers are needed, and {room.described()}: start the lost nodes "
                f"again; then {self._how_to_go_on()}"
            )
        last = next(iter(_last_line(error)), type(error).__name__)
        if isinstance(error, ray.train.WorkerGroupError):
            times = "once" if self.restarts == 0 else f"{self.restarts + 1} times"
            return EngineError(f"workers failed {times} ({last}): {self._how_to_go_on()}")
        return EngineError(f"Ray ended the training ({last}): {self._how_to_go_on()}")

    def _how_to_go_on(self) -> str:
        """Return what to do to continue the run."""
        from experts.folder import holds_experts

        call = f"catalograph --home {self.home.path} {self._call}"
        if has_begun(self.folder) or holds_experts(self.folder):
            return f"continue with: {call} --resume --name {self.folder.name}"
        return "nothing was kept yet, so train again"


RAY_FILES = (".validate_storage_marker", "checkpoint_manager_snapshot.json")
"""What Ray Train writes into the model's folder about a run, and does not remove."""


class _Fit(threading.Thread):
    """Lets Ray train, in a thread: the main one deals with messages and signals."""

    def __init__(self, trainer: Any) -> None:
        # What threads of Ray print does not belong to stdout, and they are known by their names.
        super().__init__(name="ray_train", daemon=True)
        self._trainer = trainer
        self.error: BaseException | None = None

    def run(self) -> None:
        """Train until Ray has ended the run, and keep the error that it raises."""
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error


def _watch_over(mailbox: Any) -> Any:
    """Return a callback that tells of lost workers, and ends the run if a failure is to stay.

    Ray would start the workers again after any exception.
    """
    from ray.train import UserCallback

    class Watch(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            import ray

            if ray.get(mailbox.failure.remote()) is not None:
                raise RuntimeError("a worker has failed in a way that stays")
            reasons = [line for each in worker_exceptions.values() for line in _last_line(each)]
            reason = reasons[0] if reasons else "for no reason that is known"
            ray.get(mailbox.put.remote(pickle.dumps(Lost(reason))))

    return Watch()


def _last_line(error: BaseException) -> list[str]:
    """Return the last line of an error's text, if it has one: tracebacks come before it."""
    return str(error).strip().splitlines()[-1:]


class _Shown:
    """What the user sees of the workers' progress: a display of records, or a bar."""

    def __init__(self) -> None:
        self._screen = TrainingScreen()
        self._stack = ExitStack()
        self._what: str | None = None
        self._record: ReportCallback = lambda record: None
        self._count: ProgressCallback = lambda done, total: None

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def record(self, record: Record) -> None:
        """Show a record of the training."""
        if self._is_new(""):
            self._record = self._stack.enter_context(self._screen.display())
        self._record(record)

    def count(self, counted: Counted) -> None:
        """Show how far the work is that follows the steps."""
        if self._is_new(counted.label):
            self._count = self._stack.enter_context(self._screen.bar(counted.label))
        self._count(counted.done, counted.total)

    def _is_new(self, what: str) -> bool:
        """End what was shown, if it is something else."""
        if what == self._what:
            return False
        self._stack.close()
        self._what = what
        return True
