"""The option --llm, and what commands do with the language model that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import PATH, Context
from commands.progress import bar
from schema.errors import UsageError

if TYPE_CHECKING:
    from experts.fitting import FittedExperts
    from experts.language_model.asking import LanguageModel
    from fusion.inference.featurizer import ItemInput
    from fusion.inference.scorer import CellScorer
    from kg.home import Home
    from serving.cells import Cell
    from serving.home_scorer import HomeScorer
    from serving.joining import Joined
    from serving.loading import ModelScorer
    from serving.results import Completion

llm_option = click.option(
    "--llm",
    metavar="FILE",
    type=PATH,
    help="TOML file that names a language model to ask as well, and what it may cost; see "
    "docs/language_models.md.  [default: none is asked]",
)


@contextmanager
def opened(home: Home, llm: Path | None) -> Iterator[LanguageModel | None]:
    """Open the language model of ``--llm``; None without the option."""
    if llm is None:
        yield None
        return
    from serving.language_model import open_language_model

    with open_language_model(home, llm) as model:
        yield model


def with_language_model(
    context: Context, scorer: ModelScorer, model: LanguageModel | None
) -> ModelScorer:
    """Return a scorer that asks a language model where that helps.

    Without ``--llm`` it is said if the scorer could do so. Raises UsageError if it has not learned
    how far to trust the model.
    """
    from experts.ensemble import ExpertEnsemble
    from experts.joint_scorer import JointScorer
    from serving.language_model import read_language_model

    joined = None
    if isinstance(scorer, ExpertEnsemble | JointScorer):
        joined = read_language_model(scorer)
    if model is None:
        if joined is not None and joined.joins:
            context.note(
                f"model {scorer.name} has learned from answers of {joined.model} as well, which is "
                "not asked: its experts answer alone; --llm FILE asks it"
            )
        return scorer
    if not isinstance(scorer, ExpertEnsemble | JointScorer) or joined is None:
        raise UsageError(
            f"model {scorer.name} has not learned how far to trust a language model: train experts "
            "with --llm FILE first"
        )
    if not joined.joins:
        context.note(
            f"{joined.model} did not help model {scorer.name} when it was trained, and is not asked"
        )
    return joined.scorer(scorer, model)


def learn(
    context: Context,
    home: Home,
    folder: Path,
    fitted: FittedExperts,
    calibration: dict[str, Any],
    llm: Path,
    network: tuple[Joined, CellScorer] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Ask the language model of ``--llm`` about left-out cells; store what is learned."""
    from serving.language_model import learn_language_model, save_language_model

    with opened(home, llm) as model, bar("asking", "cells") as progress:
        if model is None:
            raise UsageError("no language model is named: give --llm FILE")
        learned = learn_language_model(
            home, folder, fitted, calibration, model, network, seed=seed, progress=progress
        )
    save_language_model(folder, learned.joined)
    for line in (*learned.report.lines(), *learned.joined.lines()):
        context.note(line)
    return learned.as_dict()


@dataclass(frozen=True)
class Told:
    """What a language model has told of cells, by item and property."""

    evidence: Mapping[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def explained(self, completion: Completion) -> Completion:
        """Return a completion with what the language model said of its cell."""
        said = self.evidence.get((completion.item, completion.property))
        if said is None:
            return completion
        return replace(completion, evidence=replace(completion.evidence, language_model=said))


def ask_ahead(
    scorer: ModelScorer, adapted: HomeScorer, items: Sequence[ItemInput], cells: Sequence[Cell]
) -> Told:
    """Ask a scorer's language model for cells, in the words of the home, before they are scored."""
    from experts.language_model.scorer import AskedScorer
    from fusion.inference.scorer import CellQuery

    if not isinstance(scorer, AskedScorer):
        return Told()
    known = {name for name, spec in adapted.ontology.properties.items() if spec.values}
    asked = [cell for cell in cells if cell.property in known]
    statements = {index: items[index].known for index in {cell.item for cell in asked}}
    queries = [
        adapted.model_query(CellQuery(cell.item, cell.property, statements[cell.item]))
        for cell in asked
    ]
    with bar("asking", "cells") as progress:
        answers = scorer.ask_ahead(items, queries, progress)
    return Told(
        {
            (items[cell.item].id, cell.property): answer.evidence()
            for cell, answer in zip(asked, answers, strict=True)
            if answer is not None
        }
    )
