"""A training run: read inputs from a home, build or resume a model, train it, record the run."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.batch_norm import synchronise_batch_norm
from experts.folder import holds_experts
from fusion.build import build_model
from fusion.checkpoint import (
    HEADS,
    ModelFolder,
    default_device,
    load_weights,
    save_pretrained,
)
from fusion.config import ModelConfig
from fusion.pretrained import Pretrained
from kg.home import Home
from kg.model_lock import model_lock
from schema.arrays import IntArray
from schema.errors import TrainingError, UsageError
from schema.files import is_disk_full
from schema.manifests import NETWORK
from schema.memory import available_memory, keep_freed_memory
from schema.openmp import user_set_threads
from schema.shares import ShareOut
from training.background import BackgroundWriter
from training.checkpoints import (
    copy_state,
    load_checkpoint,
    optimizer_name,
    restore_optimizer,
    write_checkpoint,
)
from training.collate import Collator
from training.compilation import compile_objective
from training.config import Recipe, TrainOptions
from training.flows import TrainingFlows
from training.inputs import TrainingInputs, open_pretrained, read_inputs
from training.loader import BatchBuilder, PairSamplers
from training.loop import run_loop
from training.objectives.contrastive import Contrastive
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, Budget, build_optimizer
from training.processes import Processes
from training.queries import QueryLog, QueryPairBuilder, QueryTerms, Rewrites
from training.records import Preparing, ReportCallback, TrainingWarning, ignore_records
from training.run_log import RunLog
from training.sampler import SHARDS_TOGETHER, StepSampler, choose_shards, shard_bounds
from training.schedule import QUERY_TERMS, Schedule, make_schedule
from training.setup import (
    continued_options,
    describe,
    model_config,
    model_folder,
    resolve_options,
    starting_point,
    training_copies,
)
from training.sharding import all_sharded_like, is_to_be_sharded, shard, whole_averages
from training.state import Run, RunProgress
from training.validation import HeldOutPairs, Validator, some_pairs
from training.workers import Machine, WorkerNeeds, choose_workers, local_processes

DEFAULT_EPOCHS = 20


def train(
    home: Home,
    options: TrainOptions,
    report: ReportCallback = ignore_records,
    processes: Processes | None = None,
    *,
    folder: Path | None = None,
    spent: float = 0.0,
) -> dict[str, Any]:
    """Train a model and store it in the home, in a folder of its own.

    A model ``folder`` of experts gets the network beside them; ``spent`` are the seconds of the
    budget that they took.

    Under ``torchrun`` every process takes its share of each batch. ``processes`` are connected
    already if they are given. If one of them fails, all do, with its reason.

    Returns:
        ``{"model", "steps", "seconds", "items_per_second", "metrics", "finished"}``; ``finished``
        is False if a signal ended the run.

    Raises:
        UsageError: the options do not fit together.
        TrainingError: there is nothing to learn from, or training cannot continue.
    """
    processes = Processes.join() if processes is None else processes
    with processes.failing_together():
        return _train(home, options, report, processes, folder, spent)


def _train(
    home: Home,
    options: TrainOptions,
    report: ReportCallback,
    processes: Processes,
    folder: Path | None,
    spent: float,
) -> dict[str, Any]:
    """See :func:`train`."""
    began = time.monotonic() - spent
    # Otherwise the kernel clears fresh pages in every step: 22 items/s instead of 115.
    keep_freed_memory()
    # A script may train several models.
    if folder is None:
        asked = f"folder of {options} in {home.path}"
        name = processes.recall(asked)
        if name is None:
            # The first process makes the folder, after which another would choose the next name.
            folder = processes.from_first(model_folder(home, options, make=processes.is_first))
            processes.remember(asked, folder.name)
        else:
            folder = home.models / name
            options = continued_options(folder, options)
    with model_lock(folder) if processes.is_first else nullcontext():
        return _train_in(folder, home, options, report, processes, began)


def _train_in(
    folder: Path,
    home: Home,
    options: TrainOptions,
    report: ReportCallback,
    processes: Processes,
    began: float,
) -> dict[str, Any]:
    """Train in a folder that is chosen, and locked; see :func:`train`."""
    start = starting_point(home, folder, options)
    options, settings = resolve_options(options, start)
    if options.resume and start is not None:
        keep_threads(start.about)
    pretrained = [] if start is not None else open_pretrained(settings.recipe)
    config = start.config if start is not None else model_config(options, settings, pretrained)
    with processes.first_alone():
        inputs = read_inputs(home, options, settings.recipe, config, start, report, pretrained)
    recipe = with_shards(settings.recipe, inputs, processes, report)
    settings = dataclasses.replace(settings, recipe=recipe)
    # A catalogue may yield fewer pieces than the preset allows; a given vocabulary has its own.
    config = dataclasses.replace(config, vocab_size=inputs.tokenizer.vocab_size)

    # Just before the weights are drawn, so that they are the same in every process.
    torch.manual_seed(options.seed)
    about = describe(options, settings) | {
        "threads": torch.get_num_threads(),
        "items": len(inputs.splits["train"]),
    }
    # A resumed run does not open the pretrained models again.
    kept = start.about if options.resume and start is not None else {}
    about["pretrained_text"] = kept.get("pretrained_text", any(p.fills_bert for p in pretrained))
    beside = holds_experts(folder)
    writer = ModelWriter(folder, config, inputs, about, processes, beside)

    def load(objective: JointObjective) -> None:
        load_initial_weights(objective, start, pretrained)

    run = assemble(writer, options, recipe, processes, began, report, load)
    # A run that is killed before its first checkpoint can then be resumed as well.
    if not options.resume:
        writer.export(run.average, run.progress, start=True)

    items_before = run.progress.items
    loop_began = time.monotonic()
    finished = train_to_end(run, folder, report)
    seconds = max(1e-9, time.monotonic() - loop_began)
    items = run.progress.items - items_before
    result = {
        "model": str(folder),
        "steps": run.progress.step,
        "seconds": round(run.progress.seconds, 2),
        "items_per_second": round(items / seconds, 2),
        "metrics": run.progress.metrics,
        "finished": finished,
    }
    processes.record(home, ledger_entry(options, result))
    processes.wait()
    return result


def with_shards(
    recipe: Recipe, inputs: TrainingInputs, processes: Processes, report: ReportCallback
) -> Recipe:
    """Return a recipe that says into how many shards the data is cut.

    If it is left to the machine, the first process decides for all. The number is kept, so that a
    run that is resumed with less memory goes on in the same order.
    """
    chosen = recipe.data_shards
    if chosen is None:
        chosen = processes.from_first(choose_shards(inputs.mapped_bytes, available_memory()))
    if chosen > 1:
        size = inputs.mapped_bytes / 1e9
        report(
            Preparing(
                f"arrays of {size:.1f} GB, of which {min(chosen, SHARDS_TOGETHER)} of {chosen} "
                "shards are read at a time (--set data_shards=N changes it)"
            )
        )
    return dataclasses.replace(recipe, data_shards=chosen)


def train_to_end(run: Run, folder: Path, report: ReportCallback) -> bool:
    """Run the training loop; return whether it came to its end rather than to a signal.

    Raises TrainingError if the disk is too full to keep its last state in ``folder``.
    """
    try:
        finished = run_loop(run, report)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise TrainingError(
            f"{folder} cannot be written ({error.strerror}): free some space, "
            f"then continue with --resume --name {folder.name}"
        ) from None
    if run.log is not None:
        run.log.close()
    return finished


def keep_threads(about: dict[str, Any]) -> None:
    """Use as many threads as before the run was resumed, unless the user has set a number.

    The number of threads changes the order of sums, and so the last bits of the weights.
    """
    if "threads" in about and not user_set_threads():
        torch.set_num_threads(about["threads"])


def load_initial_weights(
    objective: JointObjective,
    start: ModelFolder | None,
    pretrained: Sequence[Pretrained],
) -> None:
    """Load weights into a new run's model, from a model folder or from transformers' models."""
    if start is not None:
        load_weights(objective.model, start.model.state_dict())
        objective.load_heads(start.heads)
    for each in pretrained:
        each.load(objective.model)


@dataclass
class ModelWriter:
    """Writes a run's model folder and checkpoints; only the first process writes."""

    folder: Path
    config: ModelConfig
    inputs: TrainingInputs
    about: dict[str, Any]
    processes: Processes
    beside_experts: bool = False
    background: BackgroundWriter = field(default_factory=BackgroundWriter)

    def export(self, average: AveragedWeights, progress: RunProgress, start: bool = False) -> None:
        """Write the averaged weights to the model folder.

        With ``start`` they go to the folder from which ``--resume`` rebuilds the model. All
        processes gather the averages of a sharded model.
        """
        averages = whole_averages(average.shadow)
        if not self.processes.is_first:
            return
        target = self.folder / NETWORK if self.beside_experts else self.folder
        if start:
            target = self.folder / "checkpoints" / "start"
        about = {**self.about, "step": progress.step, "validation": progress.metrics}
        weights = {name.removeprefix("model."): each for name, each in averages.items()}
        save_pretrained(
            target,
            self.config,
            self.inputs.tokenizer,
            self.inputs.ontology,
            weights,
            about,
        )

    def keep(self, run: Run) -> None:
        """Write a checkpoint to resume from, in the background.

        Training goes on while it is written, so that the other processes need not wait for this
        one. Raises OSError if the checkpoint before could not be written.
        """
        if not (self.processes.is_first or run.is_sharded):
            return
        # Memory need not hold two copies of the state.
        self.background.wait()
        state = copy_state(
            run.progress,
            run.objective,
            run.average.shadow,
            run.optimizer,
            writes=self.processes.is_first,
        )
        if state is not None:
            self.background.start(lambda: write_checkpoint(self.folder / "checkpoints", state))


def assemble(
    writer: ModelWriter,
    options: TrainOptions,
    recipe: Recipe,
    processes: Processes,
    began: float,
    report: ReportCallback = ignore_records,
    load: Callable[[JointObjective], None] = lambda objective: None,
) -> Run:
    """Build everything that a run needs; restore the last checkpoint if the run is resumed.

    ``load`` loads the weights that a run starts from.
    """
    inputs = writer.inputs
    schedule = make_schedule(recipe.weights, recipe.stages, inputs.log is not None)
    objective = build_objective(writer, recipe, schedule, report)
    load(objective)
    is_sharded = is_to_be_sharded(recipe, objective, processes)
    evaluator = copy.deepcopy(objective) if is_sharded else None
    if processes.world > 1:
        train_together(objective, processes)
    if is_sharded:
        shard(objective)
    compile_objective(objective, recipe.compile, default_device())
    optimizer = build_optimizer(objective, recipe, writer.about.get("pretrained_text", False))
    average = AveragedWeights(objective, recipe.ema)
    progress = RunProgress()
    if options.resume:
        restored = restore_checkpoint(
            writer.folder, objective, average, optimizer, processes, report
        )
        progress = restored or progress

    batches = batch_builder(
        inputs,
        recipe,
        writer.config,
        schedule,
        options.seed,
        processes,
        string_lengths=objective.model.knowledge.lengths,
    )
    workers = worker_processes(inputs, recipe, writer.config, processes, report)
    # Reading the inputs counts as time of a new run, and is not counted again when it is resumed.
    spent = processes.from_first(progress.seconds or time.monotonic() - began)
    log = None
    if processes.is_first:
        log = RunLog(writer.folder / "log.jsonl", progress.step, tensorboard=True)
    run = Run(
        objective=objective,
        optimizer=optimizer,
        average=average,
        batches=batches,
        schedule=schedule,
        recipe=recipe,
        budget=make_budget(options, recipe, len(inputs.splits["train"]), spent),
        progress=progress,
        seed=options.seed,
        validate=make_validator(
            objective if evaluator is None else evaluator,
            inputs,
            batches.collator,
            writer.config,
            processes.share_out,
        ),
        log=log,
        keep=lambda: writer.keep(run),
        finish_writing=writer.background.finish,
        export=lambda: writer.export(average, progress),
        roll_back=lambda: _roll_back(writer, run),
        processes=processes,
        evaluator=evaluator,
        micro_batches=recipe.accumulate,
        workers=workers,
    )
    return run


def worker_processes(
    inputs: TrainingInputs,
    recipe: Recipe,
    config: ModelConfig,
    processes: Processes,
    report: ReportCallback,
) -> int:
    """Return how many processes prepare batches; batches and results are the same with any number.

    If the recipe does not say, the number is chosen from the machine.
    """
    workers = recipe.workers
    if workers is None:
        items = -(-recipe.batch_size // processes.world)
        needs = WorkerNeeds.of(config, items)
        workers = choose_workers(default_device(), local_processes(), needs, Machine.here())
    where = f"{workers} worker processes" if workers else "the training process"
    report(Preparing(f"batches, in {where} (--set workers=N changes it)"))
    return workers


def build_objective(
    writer: ModelWriter,
    recipe: Recipe,
    schedule: Schedule,
    report: ReportCallback,
) -> JointObjective:
    """Build the model with its objectives, on the GPU if there is one.

    A warning is reported for objectives that have a weight but cannot be trained, because there is
    no query log or because the model lacks what they predict from.
    """
    inputs = writer.inputs
    if inputs.log is None and any(recipe.weights[term] > 0 for term in QUERY_TERMS):
        report(TrainingWarning("there is no query log, so the loss terms of queries are left out"))
    model = build_model(writer.config, inputs.tokenizer, inputs.ontology, training_copies())
    objective = JointObjective(model, writer.config, recipe, schedule.stages[0].weights)
    objective.to(default_device())
    terms = {term for stage in schedule.stages for term in stage.weights}
    left_out = terms & set(objective.unavailable)
    if left_out:
        names = ", ".join(sorted(left_out))
        report(TrainingWarning(f"this model cannot be trained by {names}: they are left out"))
    writer.about["terms"] = sorted(terms - left_out)
    return objective


def train_together(objective: JointObjective, processes: Processes) -> None:
    """Let what compares or normalises examples see those of all processes.

    All of them begin with the weights of the first one.
    """
    processes.copy_from_first(objective.state_dict().values())
    synchronise_batch_norm(
        objective,
        processes.sum_in_pass,
        processes.rank,
        processes.world,
    )
    for part in objective.objectives.values():
        if isinstance(part, Contrastive):
            part.sum_over = processes.sum_in_pass


def _roll_back(writer: ModelWriter, run: Run) -> None:
    """Restore weights, averages and moments of the last checkpoint, but not the step count."""
    with run.processes.first_alone():
        # If the last one cannot be written, the one before is read; it is reported later.
        writer.background.wait()
    restore_checkpoint(writer.folder, run.objective, run.average, run.optimizer, run.processes)


def batch_builder(
    inputs: TrainingInputs,
    recipe: Recipe,
    config: ModelConfig,
    schedule: Schedule,
    seed: int,
    processes: Processes,
    string_lengths: IntArray | None = None,
) -> BatchBuilder:
    """Return a builder of the batches of all stages of a schedule.

    ``string_lengths`` are the word pieces of the names that the model encodes (see
    :class:`training.collate.Collator`).
    """
    rank = processes.rank
    world = processes.world
    # A quarter of a batch are pairs of the query log, of which each process needs one.
    least = world * (2 if inputs.log is None else 4) if world > 1 else 0
    if recipe.batch_size < least:
        raise UsageError(
            f"batch_size={recipe.batch_size} is too small for {world} processes: "
            f"set batch_size to {least} or more"
        )
    pair_builder = None
    pairs = None
    if inputs.log is not None:
        pair_builder = make_pair_builder(
            inputs,
            inputs.log,
            config,
            hard=recipe.hard_negatives,
            rewrites=Rewrites(recipe.rewrites),
        )
        every_pair = np.arange(len(inputs.log.query))
        # Each matching pair brings one that does not match, so half of the batch size fills a batch
        # of pairs alone. The numbers do not depend on that of the processes.
        with_items = max(2, recipe.batch_size // 4)
        alone = max(1, recipe.batch_size // 2)
        pairs = PairSamplers(
            with_items=StepSampler(every_pair, with_items, seed + 1, rank, world),
            alone=StepSampler(every_pair, alone, seed + 1, rank, world),
        )
    train_items = inputs.splits["train"]
    collator = Collator(
        data=inputs.data,
        tokenizer=inputs.tokenizer,
        recipe=recipe,
        flows=TrainingFlows(inputs.data, recipe.max_known),
        config=config,
        pairs=pair_builder,
        train=train_items,
        string_lengths=string_lengths,
    )
    shards = shard_bounds(inputs.data.indptr, train_items, recipe.data_shards or 1)
    items = StepSampler(train_items, recipe.batch_size, seed, rank, world, shards)
    return BatchBuilder(collator, schedule, seed, items, pairs)


def make_pair_builder(
    inputs: TrainingInputs,
    log: QueryLog,
    config: ModelConfig,
    hard: float,
    rewrites: Rewrites = Rewrites.LOGGED,
    among: IntArray | None = None,
) -> QueryPairBuilder:
    """Return a builder of query pairs; the terms of queries are values of the train split.

    ``among`` are the numbers of the pairs that are used; all if None.
    """
    terms = QueryTerms.from_ontology(inputs.ontology)
    return QueryPairBuilder(
        inputs.data, log, terms, inputs.tokenizer, config, hard, rewrites, among
    )


def make_validator(
    objective: JointObjective,
    inputs: TrainingInputs,
    collator: Collator,
    config: ModelConfig,
    share_out: ShareOut,
) -> Validator:
    """Return the validator of a run; half of its negatives are hard, regardless of the recipe."""
    items = inputs.splits["validation"]
    held_out = None
    train_log = inputs.log
    if train_log is not None and inputs.whole_log is not None:
        pairs = some_pairs(inputs.whole_log.pairs_of_items(items))
        if len(pairs):
            held_out = HeldOutPairs(
                builder=make_pair_builder(inputs, inputs.whole_log, config, 0.5, among=pairs),
                pairs=pairs,
                # Not built for runs that are never validated by queries.
                train_builder=lambda: make_pair_builder(inputs, train_log, config, 0.5),
            )
    return Validator(objective, collator, items, held_out, share_out)


def restore_checkpoint(
    folder: Path,
    objective: JointObjective,
    average: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
    report: ReportCallback = ignore_records,
) -> RunProgress | None:
    """Restore weights, averages and moments of the folder's last complete checkpoint.

    A run that is resumed with other weights of its terms may have other heads than the checkpoint;
    a new head begins untrained. If it is resumed with another optimizer, this is reported. Returns
    the run's progress at that checkpoint; None if there is no checkpoint.
    """
    saved = load_checkpoint(folder / "checkpoints")
    steps = processes.gather([-1 if saved is None else saved.progress.step])[:, 0]
    if bool((steps != steps[0]).any()):
        found = ", ".join(str(int(step)) if step >= 0 else "none" for step in steps)
        raise TrainingError(
            f"the processes read different checkpoints of {folder} (steps {found}): "
            "put the home on a disk that all of them share"
        )
    if saved is None:
        return None
    try:
        weights = all_sharded_like(saved.weights, objective.state_dict())
        differing = objective.load_state_dict(weights, strict=False)
        names = (*differing.missing_keys, *differing.unexpected_keys)
        fits = all(name.startswith(HEADS) for name in names)
    except RuntimeError:
        fits = False
    if not fits:
        raise TrainingError(
            f"the checkpoint in {folder} was written by another version: "
            f"train a new model with --init {folder.name}"
        )
    average.load(saved.average)
    restore_optimizer(optimizer, objective, saved.moments)
    chosen = optimizer_name(optimizer)
    if saved.optimizer != chosen:
        report(
            TrainingWarning(
                f"up to step {saved.progress.step} the run was trained by {saved.optimizer}: it "
                f"continues by {chosen} with the same moments of the gradient. They need different "
                "learning rates: check learning_rate"
            )
        )
    return saved.progress


def make_budget(options: TrainOptions, recipe: Recipe, items: int, spent: float) -> Budget:
    """Return the budget given by the options; by default, 20 epochs over ``items`` items."""
    steps = options.steps
    if steps is None and options.minutes is None:
        steps = DEFAULT_EPOCHS * max(1, items // recipe.batch_size)
    return Budget(steps, options.minutes, spent)


def ledger_entry(options: TrainOptions, result: dict[str, Any]) -> dict[str, Any]:
    """Return what the home's ledger says of a run."""
    about = {"preset": options.preset, "size": options.size, "seed": options.seed}
    return {**result, **about}
