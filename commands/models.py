"""Commands for models: train, runs, model show."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import (
    INTERRUPTED,
    MAX_SEED,
    PATH,
    Command,
    Context,
    FiniteRange,
    Group,
    pass_context,
    table,
)
from commands.cards import LeftOut, model_card, read_trained_on_or_none, write_trained
from commands.engine import Engine, check_workers, engine_options
from commands.language_model import learn, llm_option
from commands.loading import note_champion, note_not_learned, split_option
from commands.progress import TrainingDisplay, TrainingScreen, figures
from schema.errors import UsageError
from schema.manifests import MANIFEST
from schema.modalities import Modality

if TYPE_CHECKING:
    from commands.training import Trained, Training
    from fusion.summary import ModelSummary
    from kg.home import Home
    from kg.model_answers import Answers
    from kg.model_facts import TrainedOn
    from schema.ontology import Ontology
    from training.config import TrainOptions
    from training.processes import Processes


@click.command(cls=Command)
@click.option(
    "--preset",
    metavar="P",
    help="Model to train: experts, fitted in minutes; joint, a network; a paper's k3m, mbsd or "
    "vtbert; a baseline bert, vit, vilt, fashionbert, k3m-without-iifm or k3m-without-knowledge; "
    "or wrapped, a pretrained model.  [default: experts, and the network joint beside them]",
)
@click.option(
    "--size",
    metavar="S",
    default="small",
    show_default=True,
    help="Size of the model: tiny, small or base.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=PATH,
    help="TOML file with settings of the preset to change, such as batch_size = 64.  [default: "
    "none]",
)
@click.option(
    "--set",
    "overrides",
    metavar="K=V",
    multiple=True,
    help="Change one setting of the preset, such as batch_size=64; takes precedence over --config. "
    "May be repeated.",
)
@click.option(
    "--minutes",
    metavar="M",
    type=FiniteRange(0, 10_000_000, min_open=True),
    help="Time budget in minutes, of which the experts take the first; the network's learning rate "
    "decays over it.  [default: none]",
)
@click.option(
    "--steps",
    metavar="N",
    type=click.IntRange(1, 1_000_000_000_000),
    help="Number of steps to train; if --minutes is also given, training ends at whichever comes "
    "first.  [default: 20 epochs, if --minutes is not given either]",
)
@click.option(
    "--init",
    metavar="MODEL",
    help="Start from the weights and the vocabulary of this model: the name of a model of this "
    "home, or a model folder.  [default: random weights]",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Name of the model.  [default: PRESET-SIZE-NUMBER, or joint-SIZE-NUMBER]",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Random seed.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run: the one called --name, or else the latest.",
)
@split_option
@engine_options(
    "With --engine ray: number of processes that share the training of the network, each on a GPU "
    "if the cluster has any. Not the processes that prepare batches (--set workers=N).  [default: "
    "one for each GPU, or else for each node]"
)
@click.option(
    "--max-restarts",
    metavar="N",
    type=click.IntRange(0, 1_000_000),
    help="With --engine ray: how often all workers are started again after one was lost; they go "
    "on from the last checkpoint.  [default: 3]",
)
@click.option(
    "--text-encoder",
    metavar="NAME|DIR",
    help="Pretrained text encoder of transformers by which the experts compare titles as well: a "
    "hub name or a folder, which has to stay where it is.  [default: none]",
)
@click.option(
    "--image-encoder",
    metavar="NAME|DIR",
    help="Pretrained vision model of transformers by which the experts compare images as well: a "
    "hub name or a folder, which has to stay where it is.  [default: none]",
)
@llm_option
@click.option(
    "--refit/--no-refit",
    default=None,
    help="Whether the experts learn from the items of the test split as well.  [default: yes, "
    "unless --split is given]",
)
@pass_context
def train(context: Context, /, **options: Any) -> None:
    """Train a model on the catalogue.

    Fits experts first, which `complete` can use after some minutes, then trains a network for
    the rest of --minutes or for --steps, and lets it join where it helps. Ctrl-C saves the run and
    prints how to continue it. Under torchrun, and on a Ray cluster, every process takes its share
    of each batch.
    docs/commands.md lists the settings for --set and --config.

    \b
    Example:
      catalograph train --size small --minutes 30
      torchrun --nproc-per-node 2 cli.py train --minutes 30
      catalograph train --engine ray --workers 2 --minutes 30
    """
    from commands.training import Training
    from experts.language_model.settings import read_settings
    from training.config import EXPERTS_PRESET, NETWORK_PRESET, TrainOptions
    from training.processes import Processes

    name = options["name"]
    if name is not None and Path(name).name != name:
        raise UsageError(f"--name {name!r} is not a plain name: leave out slashes and dots")
    home = context.home()
    preset = options.pop("preset")
    engine = options.pop("engine")
    workers = options.pop("workers")
    restarts = options.pop("max_restarts")
    check_workers(engine, workers)
    if restarts is not None and engine != Engine.RAY:
        raise UsageError(
            f"--max-restarts {restarts} is about --engine ray: add it, or leave this out"
        )
    llm = options.pop("llm")
    if llm is not None:
        # What is wrong with it is told now, and not after the training.
        read_settings(llm).api_key()
    for name in ("text_encoder", "image_encoder"):
        if options[name] is not None:
            options[name] = _encoder_folder(name, options)
    # The command's options are named like the fields of TrainOptions.
    chosen = TrainOptions(**options, preset=preset or NETWORK_PRESET)
    if preset == EXPERTS_PRESET:
        if engine == Engine.RAY:
            context.note("experts are fitted in this process: --engine ray is about networks")
        _fit_experts(context, home, chosen, llm)
        return
    with_experts = _fits_experts(context, home, chosen, preset)
    if not with_experts and (chosen.text_encoder or chosen.image_encoder):
        raise UsageError(
            "--text-encoder and --image-encoder are for experts, and this is a network alone: use "
            "--set pretrained=NAME|DIR, or leave out --preset"
        )
    if llm is not None and not with_experts:
        raise UsageError(
            "--llm does not fit a network alone: leave out --preset, or train --preset experts"
        )
    on_ray = engine == Engine.RAY
    if on_ray and llm is not None:
        raise UsageError(
            "--llm does not fit --engine ray: train without it, and ask the language model by "
            "`complete --llm`"
        )
    training = Training(chosen, with_experts, llm)
    # With Ray this process is none of those that train.
    processes = Processes() if on_ray else Processes.join()
    trained_on = None
    if processes.is_first:
        note_not_learned(context, home.ontology_or_none())
        trained_on = read_trained_on_or_none(home, chosen.split)
    if on_ray:
        from commands.ray_training import MAX_RESTARTS, Workers, train_on_ray

        trained = train_on_ray(
            context,
            home,
            training,
            Workers(workers, MAX_RESTARTS if restarts is None else restarts),
        )
    else:
        trained = _train_here(context, home, training, processes)
    if processes.is_first:
        _tell(context, home, trained, trained_on)


def _train_here(context: Context, home: Home, training: Training, processes: Processes) -> Trained:
    """Train in this process, together with the others if torchrun started several."""
    if context.reduced_threads is not None and processes.is_first:
        context.note(
            "other programs keep the processor busy, so the number of threads is "
            f"{context.reduced_threads} instead of one per core: set OMP_NUM_THREADS to change it"
        )
    with processes.failing_together():
        trained = training.run(context, home, processes, TrainingScreen())
    processes.leave()
    return trained


def _tell(context: Context, home: Home, trained: Trained, trained_on: TrainedOn | None) -> None:
    """Print what :func:`train` prints, and write the model's card."""
    result = trained.result
    folder = Path(result["model"])
    if (folder / MANIFEST).is_file():
        write_trained(context, folder, trained_on, trained.left_out)
    if trained.finished:
        note_champion(context, home, folder)
    else:
        context.note(
            f"stopped at step {result['steps']}; continue with: "
            f"catalograph --home {home.path} {trained.call} --resume --name {folder.name}"
        )
    context.emit(
        result,
        f"model: {folder}",
        f"{result['steps']:,} steps in {result['seconds']:.0f} s, "
        f"{result['items_per_second']:.0f} items/s",
        f"validation: {figures(result['metrics'])}",
    )
    if not trained.finished:
        click.get_current_context().exit(INTERRUPTED)


def _encoder_folder(name: str, options: dict[str, Any]) -> Path:
    """Return the folder of an encoder that an option names."""
    from encoders.pretrained_folder import folder_of

    if options["resume"]:
        raise UsageError(
            f"--{name.replace('_', '-')} does not fit --resume: experts keep the encoders they "
            "were fitted with"
        )
    return folder_of(options[name])


def _fits_experts(context: Context, home: Home, options: TrainOptions, preset: str | None) -> bool:
    """Return whether a run is one of experts and a network, rather than of a network alone."""
    from experts.folder import holds_experts
    from training.setup import model_folder

    if options.resume:
        named = None if options.name is None else home.models / options.name
        folder = named if named is not None else model_folder(home, options)
        return holds_experts(folder)
    if preset is not None:
        if options.refit is not None:
            raise UsageError(
                f"--refit does not fit --preset {preset}: only experts can learn from the items "
                "that they are measured by"
            )
        return False
    if options.init is not None:
        context.note(
            f"--init {options.init}: the network is trained alone, without experts; leave it out "
            "to fit these first"
        )
        return False
    return True


def _fit_experts(context: Context, home: Home, options: TrainOptions, llm: Path | None) -> None:
    """Fit, calibrate and store experts, and print what :func:`train` prints."""
    from commands.classifiers import classify_beside, told
    from experts.folder import save_experts
    from kg.model_lock import model_lock
    from serving.expert_calibration import calibrate_experts
    from training.experts import experts_folder, train_experts

    note_not_learned(context, home.ontology_or_none())
    folder = experts_folder(home, options)
    trained_on = read_trained_on_or_none(home, options.split)
    with model_lock(folder):
        with TrainingDisplay() as display:
            run = train_experts(home, options, display, folder=folder)
        calibration = calibrate_experts(run.fitted)
        save_experts(folder, run.fitted.ensemble, run.about, calibration, run.fitted.left_out)
        with TrainingDisplay() as display:
            classifier = classify_beside(context, folder, run, display)
        result = run.result()
        if classifier is not None:
            result["classifier"] = classifier
        run.record(home)
        if llm is not None:
            result["language_model"] = learn(
                context, home, folder, run.fitted, calibration, llm, seed=options.seed
            )
        write_trained(context, folder, trained_on, LeftOut.of(run.fitted))
    note_champion(context, home, folder)
    hits = result["metrics"]["hits@1"]
    context.emit(
        result,
        f"model: {run.folder}",
        f"experts fitted on {len(run.fitted.items):,} items in {run.seconds:.0f} s",
        f"hits@1 {hits:.3f} for items left out, on average over what is known of them",
        *([] if classifier is None else [told(classifier)]),
    )


@click.command(cls=Command)
@click.option(
    "--plot",
    metavar="FILE",
    type=PATH,
    help="Plot the loss terms of all runs to this PNG, SVG or PDF file.",
)
@pass_context
def runs(context: Context, plot: Path | None) -> None:
    """Compare training runs.

    Lists every run of this home with its speed and its validation metrics, the oldest first.

    \b
    Example:
      catalograph runs --plot runs.png
    """
    home = context.home()
    with home.ledger() as ledger:
        trainings = ledger.trainings()
    if plot is not None:
        from evaluation.runs import plot_runs

        # A resumed run has an entry in the ledger for each time it was continued.
        folders = list(dict.fromkeys(Path(run["model"]) for run in trainings))
        plot_runs(folders, plot)
        context.note(f"plot: {plot}")
    if not trainings:
        context.emit(trainings, "no runs yet: start one with `catalograph train`")
        return
    columns = ("model", "time", "preset", "size", "steps", "seconds", "items/s", "validation")
    rows = [_run_row(run) for run in trainings]
    context.emit(trainings, table(columns, rows, right=("steps", "seconds", "items/s")))


def _run_row(run: dict[str, Any]) -> list[object]:
    return [
        Path(run["model"]).name,
        run["time"],
        run.get("preset"),
        run.get("size"),
        run.get("steps"),
        f"{run.get('seconds', 0):.0f}",
        f"{run.get('items_per_second', 0):.0f}",
        figures(run.get("metrics") or {}),
    ]


@click.group(cls=Group)
def model() -> None:
    """Inspect a model.

    \b
    Example:
      catalograph model show
    """


model.add_command(model_card)


@model.command(name="show")
@click.argument("name", metavar="[NAME|DIR]", required=False)
@pass_context
def show_model(context: Context, name: str | None) -> None:
    """Show a model's tensors and parameters, or its experts.

    NAME is a model of this home, DIR any model folder; by default, the champion of the home, or
    else its newest model.
    Equal layers share one line, and the column "times" counts them.

    \b
    Example:
      catalograph model show joint-small-1
    """
    from experts.folder import has_experts
    from fusion.checkpoint import ModelFolder, find_model
    from fusion.summary import summarize
    from kg.home_models import champion_or

    home = context.home()
    path = find_model(home.models, champion_or(home, name))
    if has_experts(path):
        _show_experts(context, home, path)
        return
    folder = ModelFolder(path)
    summary = summarize(folder.model)
    answers = _answers(home, path, folder.ontology)
    specs = folder.ontology.properties.values()
    document = {
        "model": folder.name,
        "path": str(folder.path),
        **{key: folder.about.get(key) for key in ("preset", "size", "seed", "step", "validation")},
        "parameters": summary.parameters,
        "parts": summary.parts,
        "tensors": [
            {
                "name": tensor.name,
                "times": tensor.times,
                "shape": list(tensor.shape),
                "parameters": tensor.parameters,
            }
            for tensor in summary.tensors
        ],
        "reads": [each.value for each in Modality if each in folder.config.modalities],
        "properties": len(specs),
        "values": sum(len(spec.values) for spec in specs),
        "calibrated": folder.calibration is not None,
        "config": folder.config.as_dict(),
        "answers": None if answers is None else answers.as_dict(),
    }
    calibrated = "calibrated" if folder.calibration is not None else "not calibrated"
    columns = ("part", "times", "shape", "parameters")
    context.emit(
        document,
        f"{folder.name}: preset {document['preset']}, size {document['size']}, "
        f"step {document['step']}, at {folder.path}",
        f"{document['properties']} properties, {document['values']:,} values; {calibrated}",
        *(answers.lines() if answers is not None else ()),
        table(columns, _model_rows(summary), right=("times", "parameters")),
    )


def _answers(home: Home, path: Path, ontology: Ontology) -> Answers | None:
    """Return what a model can still answer in this home; None if that has no ontology."""
    from kg.home_ontology import VocabularyEdits
    from kg.model_answers import Answers

    current = home.ontology_or_none()
    if current is None:
        return None
    own = path.resolve().is_relative_to(home.models.resolve())
    return Answers.of(current, ontology, VocabularyEdits.of(home), own=own)


def _show_experts(context: Context, home: Home, path: Path) -> None:
    """Show what a model of experts has learned of how many properties, and what joins them."""
    from experts.folder import load_experts, network_folder
    from fusion.checkpoint import ModelFolder
    from fusion.summary import summarize
    from serving.joining import read_stage
    from serving.language_model import read_language_model

    ensemble = load_experts(path)
    answers = _answers(home, path, ensemble.ontology)
    joined = read_stage(ensemble)
    language_model = read_language_model(ensemble)
    beside = network_folder(path)
    network = None if beside is None else ModelFolder(beside)
    network_lines = []
    if network is not None:
        summary = summarize(network.model)
        network_lines.append(
            f"network: preset {network.about.get('preset')}, size {network.about.get('size')}, "
            f"step {network.about.get('step')}, {summary.parameters:,} parameters"
        )
        if joined is None:
            network_lines.append(
                f"the network has not joined the experts: train --resume --name {ensemble.name}"
            )
    experts = [asdict(each) for each in ensemble.summaries()]
    specs = [ensemble.ontology[name] for name in ensemble.ontology.learned()]
    document = {
        "model": ensemble.name,
        "path": str(path),
        **{key: ensemble.about.get(key) for key in ("preset", "seed", "validation")},
        "parameters": sum(each["parameters"] for each in experts),
        "landmarks": ensemble.kernels.landmarks,
        "experts": experts,
        "reads": [each.value for each in Modality if each in ensemble.modalities],
        "properties": len(specs),
        "values": sum(len(spec.values) for spec in specs),
        "calibrated": ensemble.calibration is not None,
        "network": None
        if network is None
        else {
            **{key: network.about.get(key) for key in ("preset", "size", "step", "validation")},
            "parameters": summary.parameters,
            "config": network.config.as_dict(),
        },
        "second_stage": None if joined is None else joined.stage.as_dict()["gains"],
        "language_model": None
        if language_model is None
        else {
            "model": language_model.model,
            "prompt": language_model.prompt,
            "gains": language_model.stage.as_dict()["gains"],
        },
        "answers": None if answers is None else answers.as_dict(),
    }
    calibrated = "calibrated" if ensemble.calibration is not None else "not calibrated"
    columns = ("expert", "properties", "parameters")
    rows = [(each["name"], each["properties"], f"{each['parameters']:,}") for each in experts]
    context.emit(
        document,
        f"{ensemble.name}: experts that compare an item with {ensemble.kernels.landmarks:,} "
        f"others, at {path}",
        f"{document['properties']} properties, {document['values']:,} values; {calibrated}",
        *(answers.lines() if answers is not None else ()),
        *network_lines,
        *(joined.lines() if joined is not None else ()),
        *(language_model.lines() if language_model is not None else ()),
        table(columns, rows, right=columns[1:]),
    )


def _model_rows(summary: ModelSummary) -> list[tuple[object, ...]]:
    """Return a row for each part, followed by the rows of its tensors, and one for the total."""
    rows: list[tuple[object, ...]] = []
    for part, parameters in summary.parts.items():
        rows.append((part, "", "", f"{parameters:,}"))
        for tensor in summary.tensors:
            if tensor.part == part:
                shape = " x ".join(map(str, tensor.shape))
                rows.append((f"  {tensor.name}", tensor.times, shape, f"{tensor.parameters:,}"))
    rows.append(("total", "", "", f"{summary.parameters:,}"))
    return rows
