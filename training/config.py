"""What a training run may be told, checked before anything is read."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schema.errors import SourceNotFoundError, UsageError
from training.schedule import TERMS, parse_stages

CHOICES = {
    "precision": ("bf16", "fp32"),
    "optimizer": ("adamw", "lamb"),
    "link": ("softmax", "margin", "nssa"),
    "corruption": ("type", "uniform", "bernoulli", "category"),
}
SHARES = (
    "title_full",
    "title_blind",
    "thin_titles",
    "drop_words",
    "thin_blind",
    "drop_blind",
    "known_all",
    "known_none",
    "masked_rows",
    "label_smoothing",
    "hard_negatives",
    "warmup",
)
LEAST = {
    "batch_size": 2,
    "accumulate": 1,
    "warmup_steps": 0,
    "log_every": 1,
    "validate_every": 1,
    "keep_every": 1,
    "max_cells": 1,
    "max_candidates": 2,
    "workers": 0,
    "negatives": 1,
}


@dataclass(frozen=True)
class TrainOptions:
    """What a user asks of a run; ``minutes`` and ``steps`` are budgets, whichever ends first."""

    preset: str = "joint"
    size: str = "small"
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    minutes: float | None = None
    steps: int | None = None
    init: str | None = None
    name: str | None = None
    seed: int = 0
    resume: bool = False
    split: Path | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train; every field can be set by ``--set name=value``.

    A step's ``batch_size`` items, those of all processes together, go through the model in ``accumulate`` parts. ``loss_TERM`` weighs a
    term; ``stages`` like ``mlm+mpm:0.6,qi+qt+qv:0.4`` trains by some after others, each over its share of the budget, with an optimizer and
    a schedule of its own. The rate warms up over ``warmup_steps`` and over the share ``warmup`` of a stage.

    ``link`` is how statements are told from others: a ``softmax`` over the property's values, or ``margin`` or ``nssa`` against
    ``negatives`` corrupted ones, drawn by ``corruption``. ``hard_negatives`` of the queries that do not match are of the item's category or
    have one term rewritten. ``workers`` are processes that make batches ahead.

    ``title_full`` and ``title_blind`` are the shares of titles shown whole and without value words (the rest is hidden);
    ``known_all`` and ``known_none`` the shares of cells asked with all or none of the item's other statements (the rest with
    some). ``thin_titles`` of the whole titles lose ``drop_words`` of their words, ``thin_blind`` of the blind ones ``drop_blind``: a title
    without its value words is nearly a name of its item, and would be learned by heart. ``table_rate`` multiplies the learning rate of
    the tables of n-grams, values and known statements, whose rows are seen too seldom to keep up otherwise. ``pretrained`` are models of
    transformers to start from, hub names or folders, by commas; ``vocabulary`` a BERT's vocab.txt; ``regions`` the detector's files.
    """

    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-3
    table_rate: float = 3.0
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.98
    warmup_steps: int = 100
    warmup: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "bf16"
    workers: int = 0
    log_every: int = 20
    validate_every: int = 400
    patience: int = 0
    keep_every: int = 200
    title_full: float = 0.45
    title_blind: float = 0.25
    thin_titles: float = 0.2
    drop_words: float = 0.1
    thin_blind: float = 0.5
    drop_blind: float = 0.3
    known_all: float = 0.45
    known_none: float = 0.3
    max_cells: int = 12
    max_known: int = 24
    max_candidates: int = 2048
    masked_rows: float = 0.3
    shift: int = 6
    label_smoothing: float = 0.05
    pretrained: str = ""
    vocabulary: str = ""
    regions: str = ""
    stages: str = ""
    link: str = "softmax"
    negatives: int = 16
    corruption: str = "type"
    margin: float = 1.0
    temperature: float = 1.0
    hard_negatives: float = 0.5
    loss_lpm: float = 1.0
    loss_lpm_unseen: float = 1.0
    loss_mlm: float = 0.1
    loss_mpm: float = 0.1
    loss_mrfr: float = 0.0
    loss_mrc: float = 0.0
    loss_gmlm: float = 0.02
    loss_gmrfr: float = 2e-5
    loss_vtm: float = 0.0
    loss_qi: float = 0.2
    loss_qt: float = 0.1
    loss_qv: float = 0.1
    loss_kl: float = 0.1
    loss_rs: float = 0.1
    loss_contrastive: float = 0.1

    def __post_init__(self) -> None:
        for name, low in LEAST.items():
            if getattr(self, name) < low:
                raise UsageError(
                    f"{name}={getattr(self, name)} is below its least value {low}: set {name} to {low} or more"
                )
        for name, words in CHOICES.items():
            if getattr(self, name) not in words:
                raise UsageError(
                    f"{name}={getattr(self, name)!r} is unknown: set {name} to {', '.join(words)}"
                )
        for name in (f"loss_{term}" for term in TERMS):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(
                    f"{name}={getattr(self, name)} is no weight: set {name} to 0 or more"
                )
        parse_stages(self.stages)
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"{name}={getattr(self, name)} is not a share: set {name} between 0 and 1"
                )

    @property
    def weights(self) -> dict[str, float]:
        """The terms' weights."""
        return {term: getattr(self, f"loss_{term}") for term in TERMS}


@dataclass(frozen=True)
class Settings:
    """Overrides parted into those of the recipe and those of the model."""

    recipe: Recipe = field(default_factory=Recipe)
    model: dict[str, Any] = field(default_factory=dict)


def read_settings(
    config: Path | None,
    overrides: Sequence[str],
    model_fields: dict[str, Any],
    start: dict[str, Any] | None = None,
) -> Settings:
    """Recipe and model settings from a TOML file, then ``name=value`` overrides; raises UsageError on a name that is neither's.

    ``model_fields`` are the preset's; the recipe ``start`` stands where nothing else is said: the preset's or that of a run that goes on.
    """
    given: dict[str, Any] = {}
    if config is not None:
        if not config.is_file():
            raise SourceNotFoundError(f"no config file {config}: name an existing TOML file")
        try:
            given.update(tomllib.loads(config.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{config} is not TOML ({error}): write lines like batch_size = 64"
            ) from None
    for override in overrides:
        name, sign, value = override.partition("=")
        if not sign:
            raise UsageError(f"--set {override!r} has no '=': write name=value")
        given[name.strip()] = value.strip()
    recipe_fields = {f.name: f.default for f in dataclasses.fields(Recipe)}
    recipe: dict[str, Any] = dict(start or {})
    unknown = sorted(recipe.keys() - recipe_fields.keys())
    if unknown:
        raise UsageError(
            f"the run was begun by another version, whose setting {unknown[0]!r} is gone: train anew, with --init where it is"
        )
    model: dict[str, Any] = {}
    for name, value in given.items():
        if name in recipe_fields:
            recipe[name] = _parse(name, value, recipe_fields[name])
        elif name in model_fields:
            model[name] = _parse(name, value, model_fields[name])
        else:
            raise UsageError(
                f"no setting {name!r}: choose one of {', '.join(sorted(recipe_fields | model_fields))}"
            )
    return Settings(Recipe(**recipe), model)


def _parse(name: str, value: Any, default: Any) -> Any:
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UsageError(f"{name}={value!r} is neither true nor false: set one of them")
        return value.lower() == "true"
    try:
        return (
            tuple(int(part) for part in value.split(","))
            if isinstance(default, tuple)
            else type(default)(value)
        )
    except ValueError:
        raise UsageError(
            f"{name}={value!r} is not {type(default).__name__}: give it like {default}"
        ) from None
