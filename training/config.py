"""The settings of a training run, checked before anything is read."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion.config import FORMER_NAMES
from kg.splits import SPLITS
from schema.documents import read_toml
from schema.errors import SourceNotFoundError, UsageError
from schema.settings import Limits, check_limits, check_type, shown
from training.objectives import OBJECTIVES, TERMS
from training.schedule import parse_stages

CHOICES = {
    "precision": ("bf16", "fp32"),
    "compile": ("auto", "never", "layers", "step"),
    "optimizer": ("adamw", "lamb"),
    "link": ("softmax", "margin", "nssa"),
    "rewrites": ("logged", "any"),
    "corruption": ("type", "uniform", "bernoulli", "category"),
    "random_pieces": ("even", "unigram"),
    "shard": ("auto", "always", "never"),
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
    "cover_rate",
    "label_smoothing",
    "hard_negatives",
    "warmup",
)
COUNT = Limits(1, 1_000_000_000)
FACTOR = Limits(0, 1_000_000)
LIMITS = {
    "batch_size": Limits(2, 65_536),
    "accumulate": Limits(1, 65_536),
    "learning_rate": Limits(0, 1000),
    "table_rate": Limits(1e-6, 1_000_000),
    "pretrained_rate": FACTOR,
    "text_rate": FACTOR,
    "weight_decay": Limits(0, 1000),
    "beta1": Limits(0, 0.999999),
    "beta2": Limits(0, 0.99999999),
    "warmup_steps": Limits(0, 1_000_000_000),
    "clip": Limits(0, 1_000_000_000_000),
    "ema": Limits(0, 1),
    "workers": Limits(0, 1024),
    "data_shards": Limits(1, 1_000_000),
    "log_every": COUNT,
    "validate_every": COUNT,
    "keep_every": COUNT,
    "patience": Limits(0, 1_000_000_000),
    "max_cells": Limits(1, 10_000),
    "max_known": Limits(0, 10_000),
    "max_candidates": Limits(2, 1_000_000),
    "shift": Limits(0, 1024),
    "negatives": Limits(1, 65_536),
    "margin": Limits(-1_000_000, 1_000_000),
    "temperature": Limits(1e-6, 1_000_000),
}
WEIGHT_PREFIX = "loss_"
EXPERTS_PRESET = "experts"
"""The preset that is no network: closed-form experts, which are fitted rather than trained."""
NETWORK_PRESET = "joint"
"""The preset of the network beside experts, and of a network alone if no other is chosen."""
AUTOMATIC = "auto"
"""Stands for None where a setting is chosen from the machine."""
MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class TrainOptions:
    """The options of ``catalograph train``.

    ``minutes`` and ``steps`` are budgets; training ends at whichever comes first. ``overrides`` are
    ``name=value`` settings, which take precedence over the TOML file ``config``. With ``refit`` the
    experts learn from the test split as well; None stands for: unless there is a ``split`` file.
    The encoders are folders of pretrained ones, by which experts compare titles and images.
    """

    preset: str = NETWORK_PRESET
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
    refit: bool | None = None
    text_encoder: Path | None = None
    image_encoder: Path | None = None

    @property
    def learned_splits(self) -> tuple[str, ...]:
        """The splits that experts learn from: they need no items that they have not learned."""
        refit = self.split is None if self.refit is None else self.refit
        return SPLITS if refit else ("train", "validation")


def default_weights() -> dict[str, float]:
    """Return the default weight of every objective."""
    return {objective.name: objective.default_weight for objective in OBJECTIVES}


@dataclass(frozen=True)
class Recipe:
    """The settings of training, by ``--set name=value``; a weight's name is ``loss_TERM``.

    Batches and optimization:

    - ``batch_size``: items per step, in all processes together; ``accumulate``: the number of
      micro-batches that a batch is divided into
    - ``learning_rate``, ``weight_decay``, ``beta1``, ``beta2``, ``clip`` (gradient norm; 0 for no
      limit), ``optimizer`` (adamw or lamb), ``ema`` (decay of the averaged weights)
    - ``pretrained_rate``, ``text_rate``: factors of the learning rate of what ``pretrained`` and
      ``text_pretrained`` name
    - ``table_rate``: factor of the learning rate of the tables of n-grams, values and known
      statements, whose rows occur too rarely to keep up otherwise
    - ``warmup_steps`` and ``warmup`` (a share of the stage): the longer of the two counts
    - ``precision`` (bf16 or fp32); ``compile``: what torch.compile compiles, see
      :func:`training.compilation.compile_objective`
    - ``workers`` (processes that prepare batches; None, or ``auto``
      in a text, chooses their number from the machine)
    - ``data_shards``: into how many parts the items are cut, of which an epoch reads a few at a
      time, so that memory-mapped arrays need not fit into memory (None, or ``auto``: 1, or as many
      as the machine's memory needs)
    - ``shard``: whether each of several processes keeps only a slice of the weights, moments and
      averages (always, never, or auto: if they are too large for a GPU)
    - ``log_every``, ``validate_every``, ``keep_every``: steps between log lines, validations, and
      checkpoints; ``patience``: validations without improvement before the run stops (0: never)

    Titles and known statements:

    - ``title_full``, ``title_blind``: share of titles that are shown in full, and share shown blind
      (without the words of values); the rest is hidden
    - ``thin_titles``, ``drop_words``: this share of the full titles loses this share of its words
    - ``thin_blind``, ``drop_blind``: the same for blind titles, since a blind title nearly
      identifies its item and would be memorised
    - ``known_all``, ``known_none``: share of cells for which all of the item's other statements are
      shown, and share for which none are; for the rest some are
    - ``max_cells``: hidden statements per item; ``max_known``: known statements per cell;
      ``max_candidates``: candidate values per step
    - ``masked_rows``: share of items whose title and image are masked; ``shift``: pixels by which
      an image is shifted at most
    - ``random_pieces``: how the pieces that replace 10% of the masked ones are drawn, ``even``
      among all pieces of words or by their ``unigram`` frequency in the train titles
    - ``cover_rate``: share of MRFR's patches or regions whose content is hidden

    Link prediction:

    - ``link``: ``softmax`` over the property's values, or ``margin`` or ``nssa`` against
      ``negatives`` corrupted statements, drawn by ``corruption``
    - ``margin``, ``temperature`` (of NSSA), ``label_smoothing`` (of the softmax)

    Queries: ``hard_negatives`` is the share of non-matching queries that are of the item's
    category or have one term replaced; ``rewrites`` says which queries the latter may be:
    ``logged`` ones, or ``any``.

    Starting points: ``pretrained`` are models of transformers, as hub names or folders separated by
    commas; ``text_pretrained`` is a text encoder of transformers that reads the titles, by its own
    vocabulary; ``vocabulary`` is a BERT's vocab.txt; ``regions`` is the folder of a detector's
    regions.

    Objectives: ``weights`` are the weights by term. ``stages``, such as
    ``mlm+mpm:0.6,qi+qt+qv:0.4``, are trained one after another, each over its share of the budget
    and with an optimizer state and a learning rate schedule of its own.
    """

    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-3
    table_rate: float = 3.0
    pretrained_rate: float = 1.0
    text_rate: float = 0.1
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    beta1: float = 0.9
    beta2: float = 0.98
    warmup_steps: int = 100
    warmup: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    precision: str = "bf16"
    compile: str = "auto"
    workers: int | None = None
    data_shards: int | None = None
    shard: str = "auto"
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
    random_pieces: str = "even"
    cover_rate: float = 0.8
    shift: int = 6
    label_smoothing: float = 0.05
    pretrained: str = ""
    text_pretrained: str = ""
    vocabulary: str = ""
    regions: str = ""
    stages: str = ""
    link: str = "softmax"
    negatives: int = 16
    corruption: str = "type"
    margin: float = 1.0
    temperature: float = 1.0
    hard_negatives: float = 0.5
    rewrites: str = "logged"
    weights: Mapping[str, float] = field(default_factory=default_weights)

    def __post_init__(self) -> None:
        for field_ in dataclasses.fields(self):
            if field_.name != "weights":
                _check(field_.name, getattr(self, field_.name), field_.default)
        for term, weight in self.weights.items():
            name = WEIGHT_PREFIX + term
            check_type(name, weight, 1.0)
            if weight < 0:
                raise UsageError(f"{name}={weight} is not a valid weight: set {name} to 0 or more")
            FACTOR.check(name, weight)
        parse_stages(self.stages)

    def as_settings(self) -> dict[str, Any]:
        """Return the recipe as flat settings, in which a weight is ``loss_TERM``."""
        settings = dataclasses.asdict(self)
        weights = settings.pop("weights")
        return settings | {WEIGHT_PREFIX + term: weight for term, weight in weights.items()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Recipe:
        """Build a recipe from flat settings; a missing weight gets its default."""
        weights = default_weights()
        fields: dict[str, Any] = {}
        for name, value in settings.items():
            if name.startswith(WEIGHT_PREFIX):
                weights[name.removeprefix(WEIGHT_PREFIX)] = value
            else:
                fields[name] = value
        return cls(**fields, weights=weights)


@dataclass(frozen=True)
class Settings:
    """The settings of a run: those of the recipe, and those of the model."""

    recipe: Recipe = field(default_factory=Recipe)
    model: dict[str, Any] = field(default_factory=dict)


def read_settings(
    config: Path | None,
    overrides: Sequence[str],
    model_fields: Mapping[str, Any],
    start: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings from a TOML file and from ``name=value`` overrides, which take precedence.

    Args:
        config: the TOML file, if any.
        overrides: ``name=value`` texts.
        model_fields: the preset's settings of the model.
        start: the recipe's settings to change: the preset's, or those of a resumed run.

    Raises:
        UsageError: a setting is unknown, or its value is not valid.
    """
    defaults = Recipe().as_settings()
    recipe: dict[str, Any] = dict(start or {})
    unknown = sorted(recipe.keys() - defaults.keys())
    if unknown:
        raise UsageError(
            f"the run was started by another version, whose setting {shown(unknown[0])} is gone: "
            "train a new model, if you like from this one's weights with --init"
        )
    given = _read_toml(config) if config is not None else {}
    for override in overrides:
        name, sign, value = override.partition("=")
        if not sign:
            raise UsageError(f"--set {shown(override)} has no '=': write name=value")
        given[name.strip()] = value.strip()
    model: dict[str, Any] = {}
    for name, value in given.items():
        if name in defaults:
            recipe[name] = _parse(name, value, defaults[name])
        elif name in model_fields:
            model[name] = _parse(name, value, model_fields[name])
        else:
            raise UsageError(_unknown_setting(name, [*defaults, *model_fields]))
    return Settings(Recipe.from_settings(recipe), model)


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SourceNotFoundError(f"no config file {path}: name an existing TOML file")
    try:
        return read_toml(path, MAX_CONFIG_BYTES)
    except ValueError as error:
        raise UsageError(
            f"{path} is not TOML ({error}): write lines like batch_size = 64"
        ) from None


def _unknown_setting(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown setting, with the nearest one that exists."""
    if name.startswith(WEIGHT_PREFIX):
        return f"no setting {shown(name)}: the terms are {', '.join(TERMS)}"
    if name in FORMER_NAMES:
        nearest = [FORMER_NAMES[name]]
    else:
        nearest = difflib.get_close_matches(name, known)
    if nearest:
        return f"no setting {shown(name)}: did you mean {' or '.join(nearest)}?"
    return f"no setting {shown(name)}: choose one of {', '.join(sorted(known))}"


def _parse(name: str, value: Any, default: Any) -> Any:
    """Convert a text to the type of the setting's default; values from TOML have their type."""
    if default is None:
        if value == AUTOMATIC:
            return None
        # Only whole numbers are chosen from the machine.
        try:
            return int(value) if isinstance(value, str) else value
        except ValueError:
            raise UsageError(
                f"{name}={shown(value)} is not a whole number or {AUTOMATIC}: give one such as 2"
            ) from None
    if not isinstance(value, str) or isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise UsageError(f"{name}={shown(value)} is neither true nor false: set one of them")
        return value.lower() == "true"
    try:
        if isinstance(default, tuple):
            return tuple(int(part) for part in value.split(","))
        return type(default)(value)
    except ValueError:
        if isinstance(default, float):
            kind = "a number"
            example = str(default)
        elif isinstance(default, int):
            kind = "a whole number"
            example = str(default)
        else:
            kind = "a list of whole numbers"
            example = ",".join(map(str, default))
        raise UsageError(
            f"{name}={shown(value)} is not {kind}: give one such as {example}"
        ) from None


def _check(name: str, value: Any, default: object) -> None:
    """Raise UsageError if a setting's value is not allowed."""
    if default is None:
        # Only numbers of workers and of shards may be left to the machine.
        if value is None:
            return
        default = 0
    check_type(name, value, default)
    if name in CHOICES and value not in CHOICES[name]:
        choices = ", ".join(CHOICES[name])
        raise UsageError(f"{name}={shown(value)} is unknown: set {name} to {choices}")
    if name in SHARES and not 0 <= value <= 1:
        raise UsageError(f"{name}={value} is not a share: set {name} between 0 and 1")
    if name in LIMITS:
        check_limits(name, value, LIMITS[name])
