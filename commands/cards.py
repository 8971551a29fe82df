"""What commands write into the card of a model folder, and the command that writes it anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import Command, Context, pass_context
from schema.errors import CatalographError, UsageError
from schema.manifests import MANIFEST, NETWORK

if TYPE_CHECKING:
    from experts.fitting import FittedExperts
    from kg.home import Home
    from kg.model_facts import ModelFacts, Numbers, TrainedOn

_COMPLETION_METRICS = ("hits@1", "hits@3", "mrr", "ece", "coverage@0.99", "precision@0.99")
"""Those of the metrics of completion that a card has."""


@dataclass(frozen=True)
class LeftOut:
    """The figures of the ``items`` that experts have learned from, each left out; none at first."""

    figures: Mapping[str, Mapping[str, Numbers]] = field(default_factory=dict)
    items: int = 0

    @classmethod
    def of(cls, fitted: FittedExperts) -> LeftOut:
        """Measure fitted experts."""
        from evaluation.left_out import left_out_figures

        return cls(left_out_figures(fitted), len(fitted.items))


def read_trained_on_or_none(home: Home, split: Path | None) -> TrainedOn | None:
    """Read what a model is about to be trained on; None if that fails, as the training will say."""
    from kg.model_facts import read_trained_on

    try:
        return read_trained_on(home, split)
    except (CatalographError, OSError):
        return None


def write_trained(
    context: Context, folder: Path, trained_on: TrainedOn | None, left_out: LeftOut
) -> None:
    """Write the card of a model that was just trained."""
    from kg.model_facts import LEFT_OUT, Measured

    if trained_on is None:
        return

    def change(facts: ModelFacts) -> ModelFacts:
        found = Measured(
            task="completion",
            setting="on average over what is known of an item",
            part=LEFT_OUT,
            split=trained_on.split,
            digest=trained_on.digest,
            count=left_out.items,
            time=trained_on.time,
            figures=left_out.figures,
        )
        # What was measured of other weights is no figure of this model. Experts stay as they are
        # when the training of a network beside them goes on.
        before = tuple(each for each in facts.measured if each.part == LEFT_OUT)
        return replace(
            facts, trained_on=trained_on, measured=(found,) if left_out.figures else before
        )

    _change(context, folder, change)


@dataclass(frozen=True)
class PartOfSplit:
    """What is measured: a part of a split, by a ``file`` or else by the items' ids."""

    name: str
    file: Path | None = None


@dataclass(frozen=True)
class NewFigures:
    """What a command below ``evaluate`` has measured in one setting, see ``Measured``."""

    task: str
    setting: str
    count: int
    figures: Mapping[str, Mapping[str, Numbers]]


def write_measured(
    context: Context, home: Home, folder: Path, part: PartOfSplit, found: Sequence[NewFigures]
) -> None:
    """Write what was measured into the card of a model of this home.

    A model folder of elsewhere is left alone, and what was measured on train items is no figure.
    """
    from kg.data_card import data_digest
    from kg.model_facts import Measured, told_split
    from schema.terms import now

    folder = folder.resolve()
    if folder.name == NETWORK and (folder.parent / MANIFEST).is_file():
        # The card is of the model whose network this is.
        folder = folder.parent
    if not folder.is_relative_to(home.models.resolve()) or part.name == "train":
        return
    digest = data_digest(home.snapshot(details=True))
    measured = [
        Measured(
            each.task,
            each.setting,
            part.name,
            told_split(part.file),
            digest,
            each.count,
            now(),
            each.figures,
        )
        for each in found
    ]
    _change(context, folder, lambda facts: facts.plus(measured))


def rewrite_card(context: Context, folder: Path) -> None:
    """Write the card of a model folder that has changed."""
    _change(context, folder, lambda facts: facts)


def completion_figures(document: Mapping[str, Any]) -> dict[str, dict[str, Numbers]]:
    """Return the figures of a report of completion: macro, pooled, and by property."""
    from kg.model_facts import figures_of

    about = {name: document[name] for name in ("macro", "pooled")} | document["properties"]
    return {
        name: figures_of({metric: found.get(metric) for metric in _COMPLETION_METRICS})
        for name, found in about.items()
    }


def told_setting(setting: Mapping[str, str]) -> str:
    """Return what a model saw of items as a text."""
    return ", ".join(f"{modality}: {choice}" for modality, choice in setting.items())


def _change(context: Context, folder: Path, change: Callable[[ModelFacts], ModelFacts]) -> None:
    """Change the facts of a model folder and write its card, or tell why that cannot be done.

    The model is what was asked for: a card that cannot be written ends no command.
    """
    from kg.model_card import write_card
    from kg.model_facts import ModelFacts
    from kg.model_lock import model_lock

    try:
        with model_lock(folder):
            change(ModelFacts.read(folder)).write(folder)
            write_card(folder)
    except (CatalographError, OSError) as error:
        context.note(f"the card of {folder.name} is as it was: {error}")


@click.command(name="card", cls=Command)
@click.argument("name", metavar="[NAME|DIR]", required=False)
@click.option(
    "--licence",
    metavar="TEXT",
    help="The licence to name in the card, such as cc-by-4.0.  [default: that of the last time, or "
    "none]",
)
@click.option(
    "--about",
    metavar="TEXT",
    help="A text of your own for the card.  [default: that of the last time, or none]",
)
@pass_context
def model_card(context: Context, name: str | None, licence: str | None, about: str | None) -> None:
    """Write a model's card, README.md in its folder.

    NAME is a model of this home, DIR any model folder; by default, the champion of the home, or
    else its newest model. The page has Hugging Face's metadata with the figures that `train` and
    `evaluate` have measured, each with its interval. These write it themselves; this command
    writes it after an edit of card.toml, beside it.

    \b
    Example:
      catalograph model card joint-small-1 --licence cc-by-4.0
    """
    from fusion.checkpoint import find_model
    from kg.home_models import champion_or, find_folder
    from kg.model_card import write_card
    from kg.model_facts import ModelFacts
    from kg.model_lock import model_lock

    for option, text in (("--licence", licence), ("--about", about)):
        if text is not None and not text.strip():
            raise UsageError(f"{option} is empty: give a text, or leave it out")
    home = context.home()
    folder = find_model(home.models, champion_or(home, None)) if name is None else None
    folder = folder or find_folder(home, name or "")
    with model_lock(folder):
        facts = ModelFacts.read(folder)
        if licence is not None or about is not None:
            facts = replace(facts, licence=licence or facts.licence, about=about or facts.about)
            facts.write(folder)
        page = write_card(folder)
    metrics = sum(len(found) for each in facts.measured for found in each.figures.values())
    document = {
        "model": folder.name,
        "page": str(page),
        "measured": len(facts.measured),
        "metrics": metrics,
    }
    context.emit(document, f"page: {page}", f"{metrics:,} figures with intervals")
