"""The command that looks for errors in what is stored: audit."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import PATH, Command, Context, pass_context, table
from commands.loading import model_option, warn_of_unreadable_images
from commands.progress import bar
from schema.errors import PropertyNotFoundError, UsageError
from schema.files import atomic_file

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from serving.audit.findings import Finding, Looked
    from serving.audit.judging import Judge
    from serving.loading import ModelScorer

SHOWN = 20
"""Findings to print."""


@click.command(cls=Command)
@model_option
@click.option(
    "--item",
    "items",
    metavar="ID",
    multiple=True,
    help="Look at this item only; may be repeated.  [default: all items]",
)
@click.option(
    "--property",
    "properties",
    metavar="NAME",
    multiple=True,
    help="Look at this property only; may be repeated.  [default: all properties]",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 1_000_000_000),
    help="Give the first N findings only.  [default: all]",
)
@click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Write the findings to this file, one JSON line each.  [default: the first ones are "
    "printed]",
)
@click.option(
    "--propose",
    is_flag=True,
    help="Propose the better values of the findings, for `catalograph review` to decide.",
)
@pass_context
def audit(
    context: Context,
    model: str | None,
    items: tuple[str, ...],
    properties: tuple[str, ...],
    limit: int | None,
    out: Path | None,
    propose: bool,
) -> None:
    """Find stored values, images and titles that are probably wrong.

    Each asserted or accepted value is judged by the rest of its item: by experts that leave out
    the item itself if they have learned from it. Images and titles are looked at if all items and
    properties are. Values that other sources or reviewers contradict are found, too. The findings
    are ordered by expected gain: how much more probable what is proposed is than what is stored.
    Nothing is changed. What a person has kept is not found again.

    \b
    Example:
      catalograph audit --property colour --out findings.jsonl
      catalograph audit --propose
    """
    if out is not None and not out.parent.is_dir():
        raise UsageError(f"the folder {out.parent} for {out.name} does not exist: create it first")
    # Imported only now, so that a wrong option is reported without loading PyTorch.
    from kg.source_conflicts import conflicts
    from schema.ledger_proposals import ProposalRecords
    from serving.asking import indexes_of
    from serving.audit import audit as run_audit
    from serving.audit.proposing import KeptValues
    from serving.items import CatalogItems
    from serving.loading import load_regions, load_scorer

    started = time.monotonic()
    home = context.home()
    scorer = load_scorer(home, model)
    snapshot = home.snapshot(details=scorer.reads_details)
    ontology = home.ontology()
    _check_properties(properties, {*ontology.properties, *snapshot.properties})
    with home.store(read_only=True) as store:
        contradicted = list(conflicts(store, ontology))
    indexes = indexes_of(snapshot, dict.fromkeys(items)) if items else None
    catalogue = CatalogItems(snapshot, home.image_files(), load_regions(home, scorer))
    if scorer.reads_pixels:
        every = range(len(snapshot.items)) if indexes is None else indexes
        warn_of_unreadable_images(catalogue.unreadable_images(every))
    judge = _judge(context, home, scorer, snapshot)
    with bar("looking at") as progress:
        found = run_audit(
            judge,
            catalogue,
            ontology,
            indexes=indexes,
            properties=set(properties) or None,
            conflicts=contradicted,
            progress=progress,
        )
    with home.ledger() as ledger:
        kept = KeptValues(ProposalRecords(ledger), ontology)
    new = [each for each in found.findings if not kept.has(each)]
    findings = new if limit is None else new[:limit]
    if out is not None:
        with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8") as file:
            for each in findings:
                file.write(json.dumps(each.as_dict(), ensure_ascii=False) + "\n")
    proposed = _propose(home, findings, scorer.name) if propose else None
    kinds = Counter(each.kind.value for each in findings)
    document = {
        "model": scorer.name,
        "findings": len(findings),
        "kinds": dict(sorted(kinds.items())),
        "kept": len(found.findings) - len(new),
        "proposals": proposed,
        **found.looked.as_dict(),
        "first": [each.as_dict() for each in findings[:SHOWN]],
        "out": None if out is None else str(out),
        "seconds": round(time.monotonic() - started, 2),
    }
    lines = [*_lines(findings, kinds, found.looked, out)]
    if document["kept"]:
        lines.append(f"left out, since people have kept the values: {document['kept']:,}")
    if proposed is not None:
        lines += _lines_of_proposals(proposed)
    context.emit(document, *lines)


def _propose(home: Home, findings: Sequence[Finding], model: str) -> dict[str, Any]:
    """Record findings as the proposals of a run, and return what became of them."""
    from schema.proposals import RunKind
    from serving.audit.proposing import proposals_of
    from serving.review.session import open_review

    not_proposed: Counter[str] = Counter()
    proposals = list(proposals_of(findings, model, not_proposed))
    with open_review(home) as review:
        review.expire()
        run = review.begin(RunKind.AUDIT, report={"model": model})
        made = review.add_all(run, proposals)
        review.end(run)
    not_proposed.update({str(reason): count for reason, count in made.not_written.items()})
    return {
        "run": run.id,
        "added": made.added,
        "replaced": made.replaced,
        "not_proposed": dict(sorted(not_proposed.items())),
    }


def _lines_of_proposals(proposed: dict[str, Any]) -> Iterator[str]:
    yield f"proposed: {proposed['added']:,}; `catalograph review list --origin audit` has them"
    if proposed["not_proposed"]:
        told = ", ".join(f"{name} {count:,}" for name, count in proposed["not_proposed"].items())
        yield f"not proposed: {told}"
    yield f"`catalograph undo {proposed['run']}` takes this back"


def _check_properties(names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise PropertyNotFoundError(
                f"no property {name!r} in this catalogue: choose one of {', '.join(sorted(known))}"
            )


def _judge(context: Context, home: Home, scorer: ModelScorer, snapshot: GraphSnapshot) -> Judge:
    """Return what judges values: experts without the item itself, where the model has them."""
    from experts.ensemble import ExpertEnsemble
    from experts.folder import load_left_out
    from fusion.inference.scorer import CellScorer
    from serving.audit.judging import LeavingOut, Memorising
    from serving.audit.learned import learned_ids

    if isinstance(scorer, CellScorer):
        context.note(
            f"model {scorer.name} is a network alone, which cannot leave out what it has learned "
            "from: only the other items are looked at; `catalograph train --preset experts` fits "
            "experts, which look at all"
        )
        return Memorising(scorer, learned_ids(scorer, snapshot))
    experts = scorer if isinstance(scorer, ExpertEnsemble) else scorer.experts
    left_out = load_left_out(experts)
    if left_out is not None:
        return LeavingOut(left_out)
    context.note(
        f"model {scorer.name} is of an earlier version, which does not keep what leaving out an "
        "item takes: only items that it has not learned from are looked at; train again"
    )
    return Memorising(experts, learned_ids(experts, snapshot))


def _lines(
    findings: Sequence[Finding], kinds: Counter[str], looked: Looked, out: Path | None
) -> Iterator[Any]:
    """Yield lines for a person, and a table of the first findings."""
    listed = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
    yield f"findings: {len(findings):,}" + (f" ({listed})" if listed else "")
    yield f"looked at by the model: {looked.statements:,} statements of {looked.items:,} items"
    if looked.not_looked_at.total():
        reasons = "; ".join(
            f"{reason.told()} {count:,}" for reason, count in looked.not_looked_at.most_common()
        )
        yield f"not looked at: {looked.not_looked_at.total():,} statements ({reasons})"
    if out is not None:
        yield f"written: {out}"
        return
    if findings:
        columns = ("item", "what", "stored", "probability", "proposed", "probability", "gain")
        yield table(columns, map(_row, findings[:SHOWN]), right=("probability", "gain"))
    if len(findings) > SHOWN:
        yield f"the first {SHOWN} of {len(findings):,}; --out FILE writes them all"


def _row(finding: Finding) -> list[object]:
    what = finding.property or finding.kind.value
    if finding.property is not None and finding.kind.value != "value":
        what = f"{finding.property} ({finding.kind.value})"
    best = finding.proposed[0] if finding.proposed else None
    return [
        finding.item,
        what,
        finding.value,
        _percent(finding.probability),
        best.value if best else None,
        _percent(best.probability) if best else "",
        "" if finding.gain is None else f"{finding.gain:.3f}",
    ]


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"
