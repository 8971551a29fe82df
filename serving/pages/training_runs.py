"""What the page of runs shows: models, how they were trained, and what decisions say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.home_models import Kind, ModelEntry, list_models, read_champion
from schema.ledger_proposals import ProposalRecords
from schema.proposals import DECIDED, PREDICTIONS, Proposal, ProposalFilter
from schema.training_log import read_training_log
from serving.pages.charts import Chart, Measured, line_chart, reliability_chart
from serving.review.statistics import Realised, by_kind

MAX_CHARTS = 12
LOG = "log.jsonl"
TOTAL = "total"
OVERALL = ("hits@1", "mrr", "accuracy", "f1")
"""The names of figures over all cells, the first that there is being told."""
_KINDS = {Kind.BOTH: "experts and network"}


@dataclass(frozen=True)
class ModelRow:
    """A model of the home, as a table shows it.

    Attributes:
        entry: what its folder says
        is_champion: whether `complete` uses it by default
        training: what the ledger has of its last training
        realised: what decisions say of its proposals, None without any
    """

    entry: ModelEntry
    is_champion: bool
    training: Mapping[str, Any]
    realised: Realised | None

    @property
    def kind(self) -> str:
        """What it holds, in words."""
        kind = self.entry.kind
        return "" if kind is None else _KINDS.get(kind, kind)

    @property
    def headline(self) -> tuple[str, float] | None:
        """Its figure over all held-out cells, with its name; None if there is none."""
        figures = self.entry.held_out or {}
        return next(((name, figures[name]) for name in OVERALL if name in figures), None)

    @property
    def situations(self) -> list[tuple[str, float]]:
        """The same figure by what was known of the items, the best first."""
        figures = self.entry.held_out or {}
        rest = [(name, value) for name, value in figures.items() if name not in OVERALL]
        return sorted(rest, key=lambda pair: -pair[1])


def model_rows(home: Home) -> list[ModelRow]:
    """Return the models of a home, the newest first."""
    champion = read_champion(home)
    with home.ledger() as ledger:
        trainings = {Path(str(each.get("model", ""))).name: each for each in ledger.trainings()}
        realised = by_kind(_decided(ProposalRecords(ledger)))["model"]
    rows = [
        ModelRow(
            entry,
            champion is not None and champion.name == entry.name,
            trainings.get(entry.name, {}),
            realised.get(entry.name),
        )
        for entry in list_models(home)
    ]
    return sorted(rows, key=lambda row: row.entry.time or "", reverse=True)


def training_charts(home: Home, name: str) -> list[Chart]:
    """Return a chart of each term of a model's loss over the steps, the total first.

    There are none if it was trained without steps, as experts alone are.
    """
    records = read_training_log(home.models / name / LOG)
    terms = dict.fromkeys(term for record in records for term in record["loss"])
    ordered = sorted(terms, key=lambda term: term != TOTAL)
    charts = []
    for term in ordered[:MAX_CHARTS]:
        points = [
            (float(record["step"]), float(record["loss"][term]))
            for record in records
            if record["loss"].get(term) is not None
        ]
        charts.append(line_chart(term, {term: points}, x_label="step"))
    return charts


def reliability(records: ProposalRecords, model: str | None = None) -> tuple[Chart, list[Measured]]:
    """Return how often reviewers found proposals right, by the probability that was promised."""
    found = by_kind(_decided(records, model))["probability"]
    measured = [
        Measured(band, each.promised, each.precision, *each.interval)
        for band, each in sorted(found.items(), key=lambda pair: pair[1].promised)
    ]
    return reliability_chart("right, by probability", measured, x_label="promised"), measured


def _decided(records: ProposalRecords, model: str | None = None) -> list[Proposal]:
    return records.find(ProposalFilter(states=DECIDED, origins=PREDICTIONS, model=model))
