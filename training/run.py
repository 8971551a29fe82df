"""A training run from a home: read the graph, learn the vocabulary, build or resume, loop, record."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from fusion.build import build_model
from fusion.checkpoint import ModelFolder, device_of, find_model, load_weights, save_pretrained
from fusion.config import ModelConfig
from fusion.model import ProductModel
from fusion.presets import preset
from fusion.pretrained import Pretrained
from kg.home import Home
from schema.errors import TrainingError, UsageError
from schema.files import no_space
from schema.memory import keep_freed_memory
from training.collate import Collator
from training.config import Recipe, Settings, TrainOptions, read_settings
from training.flows import FlowSampler
from training.inputs import TrainingInputs, open_pretrained, read_inputs
from training.loader import BatchBuilder
from training.loop import Run, run_loop
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, Budget, build_optimizer
from training.presets import preset_recipe
from training.queries import Matcher, QueryLog, Terms
from training.run_log import Report, RunLog
from training.sampler import StepSampler
from training.schedule import QUERIES, Schedule, make_schedule
from training.state import RunProgress, load_state, restore_optimizer, save_state
from training.validation import Validator

DEFAULT_EPOCHS = 20
KEPT = ("preset", "size", "seed", "steps", "minutes")


def train(
    home: Home, options: TrainOptions, progress: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Train and leave a model folder in the home; under ``torchrun`` every process takes its share of each batch.

    Returns ``{"model", "steps", "seconds", "items_per_second", "metrics", "finished"}``; ``finished`` is False after a signal.
    Raises UsageError on options that do not fit, TrainingError where there is nothing to learn from.
    """
    began = time.monotonic()
    keep_freed_memory()
    report: Report = progress or (lambda record: None)
    rank, world = join_processes()
    folder = model_folder(home, options)
    start = starting_point(home, folder, options)
    options, settings = resolve_options(options, start)
    weights = [] if start is not None else open_pretrained(settings.recipe)
    config = start.config if start is not None else model_config(options, settings, weights)
    inputs = read_inputs(home, options, settings.recipe, config, start, report, weights)
    config = dataclasses.replace(config, vocab_size=inputs.tokenizer.vocab_size)
    torch.manual_seed(options.seed)
    writer = ModelWriter(folder, config, inputs, described(options, settings), rank)
    run = assemble(writer, options, settings.recipe, (rank, world), began, report)
    if run.progress.step == 0:
        load_initial_weights(run, start, weights)
    if not options.resume:
        writer.export(run.average, run.progress, start=True)
    before = run.progress.step, run.progress.items, time.monotonic()
    try:
        finished = run_loop(run, report)
    except OSError as error:
        if not no_space(error):
            raise
        mend = f"free some space, then go on with --resume --name {folder.name}"
        raise TrainingError(f"{folder} cannot be written ({error.strerror}): {mend}") from None
    if run.log is not None:
        run.log.close()
    seconds = max(1e-9, time.monotonic() - before[2])
    speed = round((run.progress.items - before[1]) * world / seconds, 2)
    result = {
        "model": str(folder),
        "steps": run.progress.step,
        "seconds": round(run.progress.seconds, 2),
        "items_per_second": speed,
        "metrics": run.progress.metrics,
        "finished": finished,
    }
    if rank == 0:
        record(home, options, result)
    if world > 1:
        dist.barrier()
    return result


def described(options: TrainOptions, settings: Settings) -> dict[str, Any]:
    """What a run was asked for, as its folder keeps it."""
    asked = {name: getattr(options, name) for name in KEPT}
    return {
        **asked,
        "split": None if options.split is None else str(options.split),
        "recipe": dataclasses.asdict(settings.recipe),
    }


def resolve_options(
    options: TrainOptions, start: ModelFolder | None
) -> tuple[TrainOptions, Settings]:
    """The options and settings of a run; one that goes on keeps its own, but for those given anew."""
    kept = None
    if options.resume and start is not None:
        options = resumed(options, start.about)
        kept = start.about.get("recipe")
    recipe = preset_recipe(options.preset, options.size) if kept is None else kept
    return options, read_settings(
        options.config, options.overrides, preset(options.preset, options.size).as_dict(), recipe
    )


def resumed(options: TrainOptions, about: dict[str, Any]) -> TrainOptions:
    """What the run was asked for that goes on, ``about`` its folder; a budget or split that is given anew stands."""
    kept: dict[str, Any] = {
        name: about[name] for name in ("preset", "size", "seed") if name in about
    }
    if options.steps is None and options.minutes is None:
        kept |= {name: about.get(name) for name in ("steps", "minutes")}
    if options.split is None and about.get("split"):
        kept["split"] = Path(about["split"])
    return dataclasses.replace(options, **kept)


def model_config(
    options: TrainOptions, settings: Settings, weights: Sequence[Pretrained]
) -> ModelConfig:
    """The preset's configuration as the settings and pretrained weights have it."""
    config = dataclasses.replace(preset(options.preset, options.size), **settings.model)
    for each in weights:
        config = each.fit(config)
    heads = sum(settings.recipe.weights[term] for term in ("gmlm", "gmrfr", "vtm"))
    if config.preset != "wrapped" and heads > 0:
        config = dataclasses.replace(config, global_heads=True)
    if config.preset == "wrapped" and not config.wrapped:
        raise UsageError(
            "preset wrapped has no model to wrap: add --set pretrained=FOLDER with a CLIP, ViLT, VisualBERT or LXMERT"
        )
    return config


def load_initial_weights(
    run: Run, start: ModelFolder | None, weights: Sequence[Pretrained]
) -> None:
    """Fill a fresh run's model with those of another model folder or of transformers."""
    if start is not None:
        load_weights(run.objective.model, start.model.state_dict())
    for each in weights:
        each.load(run.objective.model)
    run.average.shadow = AveragedWeights(run.objective.model, run.recipe.ema).shadow


def join_processes() -> tuple[int, int]:
    """This process's rank and the number of processes, as ``torchrun`` set them."""
    rank = int(os.environ.get("RANK", "0"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return rank, world


def model_folder(home: Home, options: TrainOptions) -> Path:
    """Where the model goes: a named folder, the newest one to resume, or a fresh name."""
    if options.resume and options.name is None:
        unfinished = sorted(
            home.models.glob("*/checkpoints"), key=lambda path: path.stat().st_mtime
        )
        if not unfinished:
            raise UsageError(f"nothing to resume in {home.models}: train without --resume first")
        return unfinished[-1].parent
    if options.name is not None:
        folder = home.models / options.name
        if (folder / "checkpoints").exists() and not options.resume:
            raise UsageError(
                f"model {options.name!r} exists in {home.models}: go on with --resume, or choose another --name"
            )
        if options.resume and not (folder / "checkpoints").exists():
            raise UsageError(
                f"model {options.name!r} has no checkpoint to resume: train without --resume first"
            )
        return folder
    taken = [
        int(path.name.rpartition("-")[2])
        for path in home.models.glob(f"{options.preset}-{options.size}-*")
        if path.name[-1].isdigit()
    ]
    return home.models / f"{options.preset}-{options.size}-{max(taken, default=0) + 1}"


def starting_point(home: Home, folder: Path, options: TrainOptions) -> ModelFolder | None:
    """The model whose vocabulary and weights a run takes up: its own when resumed, else ``--init``."""
    if options.resume:
        found = sorted((folder / "checkpoints").glob("start*/manifest.json"))
        return ModelFolder(found[-1].parent) if found else None
    return ModelFolder(find_model(home.models, options.init)) if options.init else None


@dataclass
class ModelWriter:
    """Writes a run's model folder and its checkpoints; one process of a run does, the others hold ``rank`` > 0 and write nothing."""

    folder: Path
    config: ModelConfig
    inputs: TrainingInputs
    about: dict[str, Any]
    rank: int

    def export(self, average: AveragedWeights, progress: RunProgress, start: bool = False) -> None:
        """The averaged weights as a model folder; with ``start`` as the one that ``--resume`` builds from."""
        if self.rank == 0:
            target = self.folder / "checkpoints" / "start" if start else self.folder
            described = {**self.about, "step": progress.step, "validation": progress.metrics}
            save_pretrained(
                target,
                self.config,
                self.inputs.tokenizer,
                self.inputs.ontology,
                average.shadow,
                described,
            )

    def keep(
        self,
        model: ProductModel,
        average: AveragedWeights,
        progress: RunProgress,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """A checkpoint to resume from."""
        if self.rank == 0:
            save_state(
                self.folder / "checkpoints",
                progress,
                {"weights": model.state_dict(), "average": average.shadow},
                optimizer,
            )


def assemble(
    writer: ModelWriter,
    options: TrainOptions,
    recipe: Recipe,
    place: tuple[int, int],
    began: float,
    report: Report = lambda record: None,
) -> Run:
    """Model, optimizer, averages, batches and validation of a run; a resumed one with its checkpoint's state."""
    (rank, world) = place
    inputs = writer.inputs
    model = build_model(writer.config, inputs.tokenizer, inputs.ontology).to(device_of("auto"))
    schedule = make_schedule(recipe.weights, recipe.stages, inputs.log is not None)
    if (
        inputs.log is None
        and sum(weight for term, weight in recipe.weights.items() if term in QUERIES) > 0
    ):
        report({"stage": "no query log, so nothing is learned of queries"})
    writer.about["terms"] = sorted({term for stage in schedule.stages for term in stage.weights})
    objective = JointObjective(model, recipe, schedule.stages[0].weights)
    optimizer = build_optimizer(model, recipe)
    average = AveragedWeights(model, recipe.ema)
    progress = RunProgress()
    if options.resume:
        progress = restore_checkpoint(writer.folder, model, average, optimizer) or progress

    def roll_back() -> None:
        """Back to the last checkpoint."""
        restore_checkpoint(writer.folder, model, average, optimizer)

    maker = batch_builder(inputs, recipe, writer.config, schedule, (options.seed, rank, world))
    return Run(
        objective=objective,
        optimizer=optimizer,
        average=average,
        maker=maker,
        schedule=schedule,
        recipe=recipe,
        budget=budget(
            options,
            recipe,
            len(inputs.parts["train"]),
            progress.seconds or time.monotonic() - began,
        ),
        progress=progress,
        seed=options.seed,
        validate=validator(objective, inputs, maker.collator, writer.config),
        log=RunLog(writer.folder / "log.jsonl", progress.step, tensorboard=True)
        if rank == 0
        else None,
        keep=lambda: writer.keep(model, average, progress, optimizer),
        export=lambda: writer.export(average, progress),
        roll_back=roll_back,
        parallel=DistributedDataParallel(objective, find_unused_parameters=True)
        if world > 1
        else None,
        rank=rank,
        world=world,
        parts=recipe.accumulate,
    )


def batch_builder(
    inputs: TrainingInputs,
    recipe: Recipe,
    config: ModelConfig,
    schedule: Schedule,
    place: tuple[int, int, int],
) -> BatchBuilder:
    """What makes the batches of a plan; ``place`` is seed, rank and number of processes."""
    seed, rank, world = place
    if recipe.batch_size < 2 * world:
        raise UsageError(
            f"batch_size={recipe.batch_size} is too few for {world} processes: set batch_size to {2 * world} or more"
        )
    matcher = None
    pairs = None
    if inputs.log is not None:
        matcher = matcher_of(inputs, inputs.log, config, recipe.hard_negatives)
        every = np.arange(len(inputs.log.query))
        # As many pairs in each process, whose embeddings are gathered.
        sizes = (
            max(2, recipe.batch_size // (4 * world)) * world,
            max(1, recipe.batch_size // (2 * world)) * world,
        )
        pairs = (
            StepSampler(every, sizes[0], seed + 1, rank, world),
            StepSampler(every, sizes[1], seed + 1, rank, world),
        )
    train = inputs.parts["train"]
    collator = Collator(
        inputs.data,
        inputs.tokenizer,
        recipe,
        FlowSampler(inputs.data, recipe.max_known),
        config,
        matcher,
        train,
    )
    return BatchBuilder(
        collator, schedule, seed, StepSampler(train, recipe.batch_size, seed, rank, world), pairs
    )


def matcher_of(inputs: TrainingInputs, log: QueryLog, config: ModelConfig, hard: float) -> Matcher:
    """Pairs of a log, whose queries' terms are typed by the values of the train part."""
    return Matcher(inputs.data, log, Terms.of(inputs.ontology), inputs.tokenizer, config, hard)


def validator(
    objective: JointObjective, inputs: TrainingInputs, collator: Collator, config: ModelConfig
) -> Validator:
    """What the validation part says of a model; its negatives are half hard, whatever the model is trained on."""
    items = inputs.parts["validation"]
    if inputs.whole_log is None:
        return Validator(objective, collator, items)
    matcher = matcher_of(inputs, inputs.whole_log, config, hard=0.5)
    return Validator(objective, collator, items, matcher, inputs.whole_log.of_items(items))


def restore_checkpoint(
    folder: Path, model: ProductModel, average: AveragedWeights, optimizer: torch.optim.Optimizer
) -> RunProgress | None:
    """Weights, averages and moments of the folder's last whole checkpoint, and where it stood; None where there is none."""
    saved = load_state(folder / "checkpoints")
    if saved is None:
        return None
    progress, sets, moments = saved
    model.load_state_dict(sets["weights"])
    average.shadow = {
        name: tensor.to(average.shadow[name].device) for name, tensor in sets["average"].items()
    }
    restore_optimizer(optimizer, moments)
    return progress


def budget(options: TrainOptions, recipe: Recipe, items: int, spent: float) -> Budget:
    """What the user allows; where that is nothing, 20 epochs over ``items``."""
    steps = options.steps
    if steps is None and options.minutes is None:
        steps = DEFAULT_EPOCHS * max(1, items // recipe.batch_size)
    return Budget(steps, options.minutes, spent)


def record(home: Home, options: TrainOptions, result: dict[str, Any]) -> None:
    """Put the run into the home's ledger."""
    home.ledger().record_training(
        {**result, "preset": options.preset, "size": options.size, "seed": options.seed}
    )


__all__ = ["Recipe", "TrainOptions", "train"]
