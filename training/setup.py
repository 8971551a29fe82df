"""The set-up of a run: its folder, starting point, options, and model configuration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experts.folder import network_folder
from fusion.build import check_memory, least_parameters
from fusion.checkpoint import ModelFolder, default_device, find_model
from fusion.config import ModelConfig
from fusion.link_prediction.pykeen_interactions import pykeen_interaction
from fusion.pretrained import Pretrained
from kg.home import Home
from kg.home_models import numbered_folder
from schema.errors import UsageError
from schema.manifests import MANIFEST
from schema.settings import shown
from training.config import Settings, TrainOptions, read_settings
from training.inputs import open_pretrained
from training.presets import preset

KEPT_OPTIONS = ("preset", "size", "seed", "steps", "minutes")
"""Options that a model folder keeps, so that ``--resume`` needs none of them."""

TRAINING_COPIES = 5
"""Numbers for each parameter in training: itself, its gradient, two moments and its average."""


def model_folder(home: Home, options: TrainOptions, *, make: bool = True) -> Path:
    """Return the model's folder: the named one, the newest unfinished one, or a new one.

    A new one is made, unless another process is to ``make`` it.
    """
    if options.resume and options.name is None:
        unfinished = sorted(
            (path for path in home.models.glob("*/checkpoints") if has_begun(path.parent)),
            key=lambda path: path.stat().st_mtime,
        )
        if not unfinished:
            raise UsageError(f"nothing to resume in {home.models}: train without --resume first")
        return unfinished[-1].parent
    if options.name is not None:
        folder = home.models / options.name
        exists = has_begun(folder)
        if (exists or (folder / MANIFEST).is_file()) and not options.resume:
            raise UsageError(
                f"model {options.name!r} exists in {home.models}: "
                "continue it with --resume, or choose another --name"
            )
        if options.resume and not exists:
            raise UsageError(
                f"model {options.name!r} has no checkpoint to resume: train without --resume first"
            )
        return folder
    return numbered_folder(home.models, f"{options.preset}-{options.size}", make=make)


def continued_options(folder: Path, options: TrainOptions) -> TrainOptions:
    """Return the options by which a run goes on after ``torchrun`` started its processes again.

    The run in ``folder`` is resumed as if by ``--resume``, unless it had not yet written what that
    rebuilds the model from: then it begins anew in this folder.
    """
    resume = options.resume or has_begun(folder)
    return dataclasses.replace(options, name=folder.name, resume=resume)


def has_begun(folder: Path) -> bool:
    """Return whether a run in a folder has written what it can be resumed from.

    One that was killed before that has not begun, whatever it left.
    """
    return any((folder / "checkpoints").glob("*/manifest.json"))


def starting_point(home: Home, folder: Path, options: TrainOptions) -> ModelFolder | None:
    """Open the model whose vocabulary and weights a run starts from, if any.

    It is the run's own model if the run is resumed, or else the one named by ``--init``.
    """
    if options.resume:
        found = sorted((folder / "checkpoints").glob("start*/manifest.json"))
        return ModelFolder(found[-1].parent) if found else None
    if not options.init:
        return None
    model = find_model(home.models, options.init)
    # Of experts and a network, only the network has weights to start from.
    return ModelFolder(network_folder(model) or model)


def check_options(home: Home, folder: Path, options: TrainOptions) -> ModelConfig:
    """Return a run's configuration before anything is read.

    Raises UsageError or ModelError if its options do not fit.
    """
    start = starting_point(home, folder, options)
    options, settings = resolve_options(options, start)
    if start is not None:
        return start.config
    return model_config(options, settings, open_pretrained(settings.recipe))


def resolve_options(
    options: TrainOptions,
    start: ModelFolder | None,
) -> tuple[TrainOptions, Settings]:
    """Return the run's options and settings; those of a resumed run are kept unless changed."""
    kept: dict[str, Any] | None = None
    if options.resume and start is not None:
        options = resumed_options(options, start.about)
        kept = start.about.get("recipe")
    chosen = preset(options.preset, options.size)
    settings = read_settings(
        options.config,
        options.overrides,
        model_fields=chosen.model.as_dict(),
        start=chosen.recipe.as_settings() if kept is None else kept,
    )
    if start is not None:
        _check_no_other_weights(options, settings, kept or {})
    return options, settings


def _check_no_other_weights(
    options: TrainOptions, settings: Settings, kept: Mapping[str, Any]
) -> None:
    """Raise UsageError if a run that starts from a model names pretrained weights as well."""
    for name in ("pretrained", "text_pretrained"):
        value = getattr(settings.recipe, name)
        if value != kept.get(name, ""):
            option = "--resume" if options.resume else f"--init {options.init}"
            raise UsageError(
                f"{name}={shown(value)} does not fit {option}, which starts from a model's own "
                "weights: leave out one of them"
            )


def resumed_options(options: TrainOptions, about: dict[str, Any]) -> TrainOptions:
    """Complete the options of a resumed run from ``about``, the description in its folder.

    A budget or a split in ``options`` replaces the one in the description.
    """
    kept: dict[str, Any] = {
        name: about[name] for name in ("preset", "size", "seed") if name in about
    }
    if options.steps is None and options.minutes is None:
        kept |= {name: about.get(name) for name in ("steps", "minutes")}
    if options.split is None and about.get("split"):
        kept["split"] = Path(about["split"])
    return dataclasses.replace(options, **kept)


def describe(options: TrainOptions, settings: Settings) -> dict[str, Any]:
    """Return the description of a run that its folder stores, so that it can be resumed."""
    kept = {name: getattr(options, name) for name in KEPT_OPTIONS}
    split = None if options.split is None else str(options.split)
    return {**kept, "split": split, "recipe": settings.recipe.as_settings()}


def model_config(
    options: TrainOptions,
    settings: Settings,
    pretrained: Sequence[Pretrained],
) -> ModelConfig:
    """Build the preset's configuration, changed by the settings and by pretrained weights' sizes.

    Raises UsageError if they do not fit together; nothing has been read by then.
    """
    changes = dict(settings.model)
    # Whether there is a text encoder to freeze is known when the weights have been fitted.
    frozen = changes.pop("frozen_text", False)
    config = dataclasses.replace(preset(options.preset, options.size).model, **changes)
    for each in pretrained:
        config = each.fit(config)
    config = dataclasses.replace(config, frozen_text=frozen or config.frozen_text)
    if config.preset == "wrapped" and not config.wrapped:
        raise UsageError(
            "the preset wrapped needs a model to wrap: "
            "add --set pretrained=FOLDER with a CLIP, ViLT, VisualBERT or LXMERT"
        )
    if config.interaction:
        pykeen_interaction(config.interaction, config.dim)
    check_patches(config)
    check_memory(least_parameters(config), training_copies())
    return config


def check_patches(config: ModelConfig) -> None:
    """Raise UsageError unless an encoder of patches has those that are masked and predicted."""
    if config.image_encoder not in ("patches", "vit"):
        return
    # A vision transformer has a single kernel.
    kernels = config.patch_kernels[:1] if config.image_encoder == "vit" else config.patch_kernels
    grid = config.image_size / max(1, math.prod(kernels))
    if not kernels or grid != config.image_grid:
        raise UsageError(
            f"patch_kernels={list(kernels)} cut image_size={config.image_size} into {grid:g} "
            f"patches per side, but image_grid={config.image_grid}: change one of them"
        )


def training_copies() -> int:
    """Return how many numbers this machine's own memory has to hold for each parameter."""
    return TRAINING_COPIES if default_device().type == "cpu" else 1
