"""Kill (-9) decisions about proposals, and their undo: ledger and graph have to agree afterwards.

What was written down before the kill is made by whoever comes next, so a killed command has either
not begun or come to the end of its batch. Taken back, it leads to what was there before it.
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.run_id import new_run_id
from kg.stores.tables import items_table, statements_table
from schema.proposals import (
    NewProposal,
    ProposalOrigin,
    ProposedDecision,
    ProposedValue,
    RunKind,
)
from schema.terms import Item, Provenance, Statement
from serving.review.agreement import disagreements
from serving.review.session import open_review
from tests.faults.children import call, command, run
from tests.faults.kills import Moments
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes

PAST = "2000-01-01T00:00:00+00:00"
COMMANDS = (
    ("review", "accept", "--property", "colour", "--yes", "--by", "mo"),
    ("review", "accept", "--property", "kind", "--yes", "--by", "mo"),
    ("review", "reject", "--property", "colour", "--yes", "--by", "mo"),
    ("review", "edit", "item-1", "colour", "--value", "navy", "--by", "mo"),
    ("review", "edit", "item-1", "kind", "--value", "bowl", "--by", "mo"),
    ("review", "apply"),
    ("undo", "{completion}"),
    ("undo", "{decision}"),
    ("undo", "{correction}"),
)


@dataclass(frozen=True)
class Look:
    """What a home says after a kill: its content hash, what is wrong, and its runs of proposals."""

    content: str
    wrong: tuple[str, ...]
    runs: tuple[str, ...]


def kill_review(plan: Plan) -> Outcome:
    """Kill each of the commands in turn, as often as planned."""
    base = plan.folder / "base"
    runs = run(_prepare, str(base), plan.items)
    before: Look = run(_look, str(base))
    rng = random.Random(plan.seed)
    commands = [tuple(word.format(**runs) for word in words) for words in COMMANDS]
    moments: dict[tuple[str, ...], Moments] = {}
    outcome = Outcome(figures={"kills": 0, "ended before the kill": 0, "finished later": 0})
    outcome.bad += [f"before any kill: {each}" for each in before.wrong]
    work = plan.folder / "work"
    kills = 0
    while kills < plan.count:
        words = commands[kills % len(commands)]
        if words not in moments:
            moments[words] = _measured(words, base, plan.folder / "measured", rng)
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(base, work)
        with Changes(work) as changes, command(*words, home=work) as child:
            killed = moments[words].kill(child, changes)
        if not killed:
            outcome.count("ended before the kill")
            moments[words].seconds *= 0.95
            moments[words].changes = max(1, int(moments[words].changes * 0.98))
            continue
        kills += 1
        outcome.count("kills")
        name = f"kill {kills} of {' '.join(words)} (seed {plan.seed})"
        for problem in _problems(work, before, outcome):
            outcome.bad.append(f"{name}: {problem}")
        plan.progress(kills)
    return outcome


def _problems(work: Path, before: Look, outcome: Outcome) -> list[str]:
    left: Look = run(_look, str(work))
    problems = list(left.wrong)
    new = [each for each in left.runs if each not in before.runs]
    if len(new) > 1:
        problems.append(f"{len(new)} runs were made")
    if not new:
        if left.content != before.content:
            problems.append("the graph has changed without a run")
        return problems
    outcome.count("finished later")
    undone = call("undo", new[0], home=work)
    if undone.code:
        return [*problems, f"what was left is not undone: {undone}"]
    back: Look = run(_look, str(work))
    if back.content != before.content:
        problems.append("undo of what was left does not lead back")
    verified = call("verify", home=work)
    if verified.code:
        problems.append(f"verify says: {verified}")
    return problems + list(back.wrong)


def _measured(words: tuple[str, ...], base: Path, work: Path, rng: random.Random) -> Moments:
    """Return the moments of a command that is not disturbed."""
    seconds = 0.0
    count = 1
    for _ in range(2):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(base, work)
        with Changes(work) as changes, command(*words, home=work) as child:
            while child.is_running:
                changes.wait_for(changes.count + 1, 0.01)
            seconds = time.monotonic() - child.began
            result = child.result()
            changes.read()
            count = changes.count
        if result.code:
            raise RuntimeError(f"{' '.join(words)} fails undisturbed: {result}")
    return Moments(rng, count, seconds)


def _prepare(folder: str, items: int) -> dict[str, str]:
    """Make a home with proposals, of which some are applied and some decided; return its runs.

    Those about kinds stand in the place of stored ones, of which a third is corrected.
    """
    home = Home.open(folder, create=True)
    ids = [f"item-{number}" for number in range(items)]
    source = Provenance("shop")
    with home.store() as store:
        store.put(
            items_table(Item(id, f"Thing {id}", provenance=source) for id in ids),
            statements_table(Statement(id, "kind", "mug", provenance=source) for id in ids),
            run=new_run_id(),
        )
        refresh_ontology(home, store)
    with open_review(home) as review:
        completion = review.begin(RunKind.COMPLETE)
        review.add(completion, [_proposal(id, "colour") for id in ids[::2]], apply=True)
        review.add(completion, [_proposal(id, "size") for id in ids], apply=False)
        review.add(completion, [_proposal(id, "colour") for id in ids[1::2]], apply=False)
        review.end(completion)
        found = list(review.records.of_cells([(id, "size") for id in ids[::3]]))
        decision = review.accept(found, "mo").run
        audit = review.begin(RunKind.AUDIT)
        review.add_all(audit, [_finding(id) for id in ids])
        review.end(audit)
        found = list(review.records.of_cells([(id, "kind") for id in ids[2::3]]))
        correction = review.accept(found, "mo").run
        review.expire()
    return {"completion": completion.id, "decision": decision, "correction": correction}


def _finding(item: str) -> NewProposal:
    wrong = replace(_proposal(item, "kind"), decision=ProposedDecision.REVIEW)
    return replace(wrong, origin=ProposalOrigin.AUDIT, replaces=("mug",))


def _proposal(item: str, property: str) -> NewProposal:
    value = f"{property} of {item}"
    return NewProposal(
        item,
        property,
        (value,),
        0.75,
        (ProposedValue(value, 0.75),),
        ProposedDecision.FILL,
        model="m",
        due=PAST,
    )


def _look(folder: str) -> Look:
    """Finish what was cut off, and look at the home."""
    with open_review(Home.open(folder)) as review:
        review.expire()
        wrong = tuple(disagreements(review.store, review.records))[:3]
        runs = {each.id for each in review.records.runs()}
        runs = {run for run in runs if review.records.changes_of_run(run)}
        return Look(review.store.content_hash(), wrong, tuple(sorted(runs)))
