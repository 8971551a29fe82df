"""What `train` does by default: the experts, then a network beside them, then what joins both."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.base import Context
from commands.cards import LeftOut
from commands.language_model import learn
from commands.progress import TrainingScreen
from schema.errors import UsageError

if TYPE_CHECKING:
    from fusion.inference.scorer import CellScorer
    from kg.home import Home
    from serving.joining import Joined
    from training.config import TrainOptions
    from training.experts import ExpertsRun
    from training.processes import Processes
    from training.records import Record, ReportCallback


@dataclass
class JointTraining:
    """A run of experts and a network in one model folder.

    The folder is a model as soon as the experts are fitted, and it becomes the joint one at the
    end. Of several processes the first one fits the experts and joins the network to them, while
    the others wait. ``left_out`` tells how good the experts are that were fitted. Who starts the
    processes may have chosen the ``chosen`` folder.
    """

    context: Context
    home: Home
    options: TrainOptions
    processes: Processes
    llm: Path | None = None
    chosen: Path | None = None
    screen: TrainingScreen = field(default_factory=TrainingScreen)
    began: float = field(default_factory=time.monotonic)
    left_out: LeftOut = field(default_factory=LeftOut)

    def run(self) -> dict[str, Any]:
        """Fit, train and join; return what ``catalograph train`` prints.

        ``finished`` is False if a signal ended the training.
        """
        from kg.model_lock import model_lock

        folder = self.folder() if self.chosen is None else self.chosen
        with model_lock(folder) if self.processes.is_first else nullcontext():
            return self._run(folder)

    def _run(self, folder: Path) -> dict[str, Any]:
        from experts.folder import holds_experts
        from training.run import train
        from training.setup import check_options, has_begun

        options = self.options
        with self.screen.display(quiet=not self.processes.is_first) as display:
            report = _EachWarningOnce(display)
            config = check_options(self.home, folder, options)
            fitted: _Calibrated | None = None
            is_there = holds_experts(folder)
            if self.processes.is_first and not (is_there and has_begun(folder)):
                fitted = self._fit_experts(folder, report, config.reads_pixels)
            self.processes.wait()
            spent = self.processes.from_first(time.monotonic() - self.began)
            if not options.resume and options.minutes is not None and spent >= 60 * options.minutes:
                return self._without_network(fitted, spent)
            result = train(self.home, options, report, self.processes, folder=folder, spent=spent)
        joined = None
        if result["finished"] and self.processes.is_first:
            joined = self._join(folder, fitted)
        self.processes.wait()
        if joined is not None:
            if joined.language_model is not None:
                result["language_model"] = joined.language_model
            result["experts"] = joined.about["validation"]
            result["second_stage"] = joined.joined.stage.as_dict()["gains"]
            for line in joined.joined.lines():
                self.context.note(line)
        return result

    def folder(self) -> Path:
        """Return the run's folder: the same in all processes, and when they are started again."""
        from training.setup import continued_options, has_begun, model_folder

        processes = self.processes
        asked = f"folder of experts and {self.options} in {self.home.path}"
        name = processes.recall(asked)
        if name is not None:
            folder = self.home.models / name
            self.options = continued_options(folder, self.options)
            return folder
        options = self.options
        if options.resume and options.name is not None:
            folder = self.home.models / options.name
            if not has_begun(folder):
                # The experts are there alone: the network is trained from its beginning.
                self.options = replace(options, resume=False)
                return folder
        folder = processes.from_first(model_folder(self.home, options, make=processes.is_first))
        processes.remember(asked, folder.name)
        return folder

    def _fit_experts(
        self, folder: Path, report: ReportCallback, needs_images: bool = False
    ) -> _Calibrated:
        """Fit the experts and store them, so that the folder is a model from now on."""
        from commands.classifiers import classify_beside
        from experts.folder import save_experts
        from training.experts import options_of, train_experts

        options = self.options
        about = _about(folder)
        if options.resume and about is not None:
            options = options_of(about, folder)
        run = train_experts(self.home, options, report, folder=folder, needs_images=needs_images)
        self.left_out = LeftOut.of(run.fitted)
        fitted = _Calibrated.of(run)
        left_out = run.fitted.left_out
        save_experts(folder, run.fitted.ensemble, run.about, fitted.calibration, left_out)
        self.processes.record(self.home, run.ledger_entry())
        classify_beside(self.context, folder, run, report)
        self.context.note(
            f"experts fitted on {len(run.fitted.items):,} items in {run.seconds:.0f} s, and ready "
            f"to use: hits@1 {run.about['validation']['hits@1']:.3f} for items left out"
        )
        return fitted

    def _without_network(self, fitted: _Calibrated | None, spent: float) -> dict[str, Any]:
        minutes = self.options.minutes
        if fitted is None:
            return {"finished": True}
        self.context.note(
            f"the experts took {spent:.0f} s of --minutes {minutes:g}, so no network is trained: "
            f"continue with --resume --name {fitted.run.folder.name} and more --minutes"
        )
        result = fitted.run.result() | {
            "finished": True,
            "experts": fitted.run.about["validation"],
        }
        if self.llm is not None:
            result["language_model"] = self._learn(fitted, self.llm)
        return result

    def _join(self, folder: Path, fitted: _Calibrated | None) -> _JoinedRun:
        """Join the network to the experts, which are fitted again if the run was resumed."""
        from serving.joining import join_network, open_network, save_joint

        if fitted is None:
            with self.screen.display() as display:
                fitted = self._fit_experts(folder, display)
        network = open_network(folder)
        if network is None:
            raise UsageError(f"{folder} has no network: train again without --resume")
        with self.screen.bar("joining") as progress:
            joined = join_network(
                self.home,
                fitted.run.fitted,
                fitted.calibration,
                network,
                fitted.run.unseen,
                progress,
            )
        save_joint(folder, joined)
        asked = None
        if self.llm is not None:
            asked = self._learn(fitted, self.llm, (joined, network))
        return _JoinedRun(joined, fitted.run.about, asked)

    def _learn(
        self, fitted: _Calibrated, llm: Path, network: tuple[Joined, CellScorer] | None = None
    ) -> dict[str, Any]:
        """Ask a language model about the cells that are left out, and learn where it helps."""
        return learn(
            self.context,
            self.home,
            fitted.run.folder,
            fitted.run.fitted,
            fitted.calibration,
            llm,
            network,
            seed=self.options.seed,
        )


class _EachWarningOnce:
    """Shows the records of a run; experts and network may warn of the same images."""

    def __init__(self, report: ReportCallback) -> None:
        self._report = report
        self._said: set[Record] = set()

    def __call__(self, record: Record) -> None:
        """Show a record, unless it is a warning that was shown."""
        from training.records import TrainingWarning

        if isinstance(record, TrainingWarning):
            if record in self._said:
                return
            self._said.add(record)
        self._report(record)


@dataclass(frozen=True)
class _JoinedRun:
    joined: Joined
    about: dict[str, Any]
    language_model: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Calibrated:
    """Fitted experts with their calibration.

    Of the left-out cells only those of items are kept that a network does not learn from: while it
    is trained, the others would take memory for nothing.
    """

    run: ExpertsRun
    calibration: dict[str, Any]

    @classmethod
    def of(cls, run: ExpertsRun) -> _Calibrated:
        """Calibrate fitted experts."""
        from experts.joint_scorer import held_out_of
        from serving.expert_calibration import calibrate_experts

        calibration = calibrate_experts(run.fitted)
        fitted = replace(run.fitted, held_out=held_out_of(run.fitted, run.unseen))
        return cls(replace(run, fitted=fitted), calibration)


def _about(folder: Path) -> dict[str, Any] | None:
    """Return what the experts of a folder say of themselves; None if there are none."""
    from experts.folder import holds_experts, load_experts

    return load_experts(folder).about if holds_experts(folder) else None
