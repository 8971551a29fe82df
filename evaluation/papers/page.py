"""A paper's page: its tables beside ours, curves, and whether its orderings hold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics import Estimate
from evaluation.modality_faults import ModalityFault
from evaluation.papers.experiment import PaperResult, RowResult
from evaluation.papers.plans import Claim, Curves, Table
from evaluation.tasks.curves import Curve, figure_of
from evaluation.tasks.measures import estimate
from schema.files import write_atomically

PERCENT = 100


@dataclass(frozen=True)
class CheckedClaim:
    """Whether an ordering of the paper holds here, by a paired difference in percent."""

    better: str
    worse: str
    where: str
    difference: Estimate
    paper: float | None

    @property
    def verdict(self) -> str:
        """Say in words whether it holds."""
        if self.difference.low > 0:
            return "holds"
        if self.difference.high < 0:
            return "does not hold"
        return "within the interval"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "better": self.better,
            "worse": self.worse,
            "where": self.where,
            "difference": self.difference.as_dict(),
            "paper": None if self.paper is None else round(self.paper, 2),
            "verdict": self.verdict,
        }


def check_claims(result: PaperResult, table: Table) -> list[CheckedClaim]:
    """Return whether the orderings of a table hold in its first metric."""
    checked = []
    for claim in table.claims:
        better = result.rows.get((claim.better, table.task))
        worse = result.rows.get((claim.worse, table.task))
        if better is None or worse is None:
            continue
        metric = table.metrics[0]
        checked.append(
            CheckedClaim(
                claim.better,
                claim.worse,
                f"{table.title}, {metric}",
                _percent(paired(better, worse, metric)),
                _paper_difference(table, claim),
            )
        )
    return checked


def paired(better: RowResult, worse: RowResult, metric: str) -> Estimate:
    """Return by how much a row exceeds another in a metric, with a 95% interval.

    Both are measured on the same items, whose resamples are paired. With several seeds, a resample
    also draws one training of each row, so that the interval covers how trainings differ.
    """
    rng = np.random.default_rng(0)
    value = better.mean(metric) - worse.mean(metric)
    resamples = len(better.measured[0].resampled[metric])
    number = np.arange(resamples)

    def drawn(row: RowResult) -> Any:
        every = np.stack([each.resampled[metric] for each in row.measured])
        return every[rng.integers(0, len(every), resamples), number]

    return estimate(value, drawn(better) - drawn(worse))


def check_curves(result: PaperResult, curves: Curves) -> list[CheckedClaim]:
    """Return whether the orderings of curves hold, at each fault and ratio but 0.

    The curves keep intervals and no resamples, so these intervals are unpaired: half the root of
    the sum of both squared widths on either side.
    """
    checked = []
    for claim in curves.claims:
        for fault in dict.fromkeys(each.fault for each in result.curves):
            better = _curve(result, claim.better, curves.task, fault)
            worse = _curve(result, claim.worse, curves.task, fault)
            if better is None or worse is None:
                continue
            for index, ratio in enumerate(better.ratios):
                if ratio == 0:
                    continue
                difference = better.values[index] - worse.values[index]
                spread = np.hypot(
                    better.high[index] - better.low[index], worse.high[index] - worse.low[index]
                )
                checked.append(
                    CheckedClaim(
                        claim.better,
                        claim.worse,
                        f"{curves.title}, {fault.value} {ratio:.0%}",
                        _percent(
                            Estimate(difference, difference - spread / 2, difference + spread / 2)
                        ),
                        None,
                    )
                )
    return checked


def falls(result: PaperResult, curves: Curves) -> list[tuple[str, float]]:
    """Return what each row loses, in percent, as all titles go missing; the least first."""
    found = []
    for row in curves.rows:
        curve = _curve(result, row, curves.task, ModalityFault.TMR)
        if curve is not None:
            found.append((row, PERCENT * (curve.values[0] - curve.values[-1])))
    return sorted(found, key=lambda each: each[1])


def write_page(result: PaperResult, path: Path) -> None:
    """Write the page as one self-contained HTML file."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan = result.plan
    curves = [
        {
            "title": each.title,
            "drawing": _drawing(result, each),
            "falls": falls(result, each),
            "smallest": each.smallest_fall,
            "claims": _summary(check_curves(result, each)),
        }
        for each in plan.curves
        if any(curve.task == each.task for curve in result.curves)
    ]
    html = environment.get_template("page.html.j2").render(
        plan=plan,
        result=result,
        tables=[_shown(result, table) for table in plan.tables],
        curves=curves,
    )
    write_atomically(path, html)


def as_document(result: PaperResult) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "paper": result.plan.name,
        "minutes": round(result.minutes, 2),
        "size": result.options.size,
        "seeds": result.options.seeds,
        "items": dict(result.items),
        "questions": dict(result.questions),
        "skipped": list(result.skipped),
        "twins": result.twins.as_dict(),
        "rows": [
            {
                "model": row.variant,
                "task": row.task,
                "seconds": round(row.seconds, 1),
                "training_seconds": round(result.training.get(row.variant, 0.0), 1),
                "metrics": {
                    name: _row_estimate(row, name).as_dict() for name in row.measured[0].values
                },
                "without_twins": None
                if row.untwinned is None
                else {name: each.as_dict() for name, each in row.untwinned.estimates().items()},
            }
            for row in result.rows.values()
        ],
        "claims": [
            each.as_dict() for table in result.plan.tables for each in check_claims(result, table)
        ],
        "curve_claims": [
            each.as_dict() for curves in result.plan.curves for each in check_curves(result, curves)
        ],
        "falls": {curves.title: dict(falls(result, curves)) for curves in result.plan.curves},
    }


def _drawing(result: PaperResult, curves: Curves) -> str:
    """Return an SVG drawing of a task's curves."""
    from markupsafe import Markup

    own = [
        curve
        for name in curves.rows
        for curve in result.curves
        if (curve.model, curve.task) == (name, curves.task)
    ]
    metric = next(table.metrics[0] for table in result.plan.tables if table.task == curves.task)
    drawn = io.StringIO()
    figure_of(own, metric).savefig(drawn, format="svg")
    svg = drawn.getvalue()
    # Markup: the drawing has no text but names of this package.
    return Markup(svg[svg.index("<svg") :])


def _shown(result: PaperResult, table: Table) -> dict[str, Any]:
    rows = []
    for name in table.rows:
        row = result.rows.get((name, table.task))
        if row is None:
            continue
        paper = table.paper.get(name, (None,) * len(table.metrics))
        rows.append(
            {
                "name": name,
                "ours": [_percent(_row_estimate(row, metric)) for metric in table.metrics],
                "paper": paper,
                "untwinned": _untwinned(row, table.metrics[0]),
                "seeds": len(row.measured),
                "minutes": (row.seconds + result.training.get(name, 0.0)) / 60,
            }
        )
    return {
        "table": table,
        "rows": rows,
        "claims": check_claims(result, table),
        "has_paper": bool(table.paper),
        "questions": result.questions.get(table.task),
    }


def _untwinned(row: RowResult, metric: str) -> Estimate | None:
    """Return a metric over the items without a twin."""
    if row.untwinned is None:
        return None
    return _percent(estimate(row.untwinned.values[metric], row.untwinned.resampled[metric]))


def _row_estimate(row: RowResult, metric: str) -> Estimate:
    """Return the mean over seeds, with the interval of items and seeds together."""
    resampled = np.concatenate([each.resampled[metric] for each in row.measured])
    return estimate(row.mean(metric), resampled)


def _paper_difference(table: Table, claim: Claim) -> float | None:
    better = table.paper.get(claim.better, (None,))[0]
    worse = table.paper.get(claim.worse, (None,))[0]
    return None if better is None or worse is None else better - worse


def _percent(value: Estimate) -> Estimate:
    return Estimate(PERCENT * value.value, PERCENT * value.low, PERCENT * value.high)


def _curve(result: PaperResult, variant: str, task: str, fault: ModalityFault) -> Curve | None:
    return next(
        (
            each
            for each in result.curves
            if (each.model, each.task, each.fault) == (variant, task, fault)
        ),
        None,
    )


def _summary(claims: Sequence[CheckedClaim]) -> list[dict[str, Any]]:
    """Count by ordering at how many ratios and faults it holds."""
    counted: dict[tuple[str, str], dict[str, Any]] = {}
    for each in claims:
        key = (each.better, each.worse)
        row = counted.setdefault(
            key,
            {"better": key[0], "worse": key[1], "points": 0, "above": 0, "beyond": 0, "below": []},
        )
        row["points"] += 1
        row["above"] += each.difference.value > 0
        row["beyond"] += each.difference.low > 0
        if each.difference.value <= 0:
            row["below"].append(f"{each.where.rpartition(', ')[2]} ({each.difference.value:+.1f})")
    return list(counted.values())
