"""One process's part in a training, whoever started it: the command itself, torchrun or Ray."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.base import Context
from commands.cards import LeftOut
from commands.joint_training import JointTraining
from commands.progress import TrainingScreen
from schema.progress import no_progress

if TYPE_CHECKING:
    from kg.home import Home
    from training.config import TrainOptions
    from training.processes import Processes


@dataclass(frozen=True)
class Trained:
    """What a training leaves for its command to tell.

    Attributes:
        result: what ``catalograph train`` prints
        finished: whether the training came to its end rather than to a signal
        left_out: how good the experts are that were fitted
        call: the command, and the options of its engine, by which it is continued
    """

    result: dict[str, Any]
    finished: bool
    left_out: LeftOut = field(default_factory=LeftOut)
    call: str = "train"


@dataclass(frozen=True)
class Training:
    """A training of a network, with experts or alone.

    Attributes:
        options: the options of the run
        with_experts: whether experts are fitted first
        folder: the model's folder, if it is chosen and locked already
    """

    options: TrainOptions
    with_experts: bool
    llm: Path | None = None
    folder: Path | None = None

    def run(
        self, context: Context, home: Home, processes: Processes, screen: TrainingScreen
    ) -> Trained:
        """Do this process's part; all processes call it together, and have the same result."""
        from training.run import train

        if self.with_experts:
            training = JointTraining(
                context, home, self.options, processes, self.llm, self.folder, screen
            )
            result = training.run()
            return Trained(result, result.pop("finished", True), training.left_out)
        with screen.display(quiet=not processes.is_first) as display:
            result = train(home, self.options, display, processes, folder=self.folder)
        # Not one of the figures that are printed.
        finished = result.pop("finished", True)
        if finished:
            self._calibrate(home, Path(result["model"]), processes, screen)
        return Trained(result, finished)

    def _calibrate(
        self, home: Home, folder: Path, processes: Processes, screen: TrainingScreen
    ) -> None:
        """Calibrate a network that was trained alone."""
        from kg.model_lock import model_lock
        from serving.loading import calibrate_model

        first = processes.is_first
        calibrating = screen.bar("calibrating") if first else nullcontext(no_progress)
        locked = model_lock(folder) if first else nullcontext()
        with locked, calibrating as progress:
            calibrate_model(home, folder, progress, share_out=processes.share_out, store=first)
