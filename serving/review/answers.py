"""Read the decisions in a file that :mod:`serving.review.files` has written, and take them.

Between the two a person and a spreadsheet had the file: columns are moved or missing, numbers have
a ``.0``, and cells of the catalogue have changed. What cannot be taken is refused by name, and
keeps nothing else from being taken.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from kg.ingest.scalars import scalar_text
from kg.ingest.source import open_source
from schema.errors import DataError, SourceNotFoundError, UsageError
from schema.mapping import Mapping as TableMapping
from schema.proposals import OPEN, Proposal, ProposalState
from serving.review.files import CANDIDATE_TAG, SEPARATOR, ReviewedCell, reviewed_cells, split
from serving.review.session import Review, Verdict

_FIELDS = (
    "proposal",
    "item",
    "property",
    "proposed",
    "state",
    "fingerprint",
    "decision",
    "value",
    "reviewer",
)
_NUMBER = re.compile(r"([0-9]{1,18})(?:[.,]0+)?\Z")
_EXPONENT = re.compile(r"[0-9]+[.,]?[0-9]*[eE][+]?[0-9]{1,2}\Z")
_LOST_DIGITS = 1e-4
"""By how much of itself a long number may differ that a spreadsheet shows with an exponent."""


class Decision(StrEnum):
    """What a person says of a proposal in a file."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    SKIP = "skip"


_ANNOTATOR = "annotator "
"""Stands before the number that Label Studio gives a user."""
TRUSTING = (Decision.ACCEPT, Decision.EDIT)
"""The decisions by which a cell gets a value that is trusted."""
_AFTER = {
    Decision.ACCEPT: ProposalState.ACCEPTED,
    Decision.REJECT: ProposalState.REJECTED,
    Decision.EDIT: ProposalState.EDITED,
    Decision.SKIP: None,
}
# "correct" is left out: it may say that a value is right, or that it has to be corrected.
_WORDS = {
    Decision.ACCEPT: "accept accepted yes y ok okay right true 1 ✓ ✔ ☑ ja oui si sí wahr vrai vero "
    "verdadero waar",
    Decision.REJECT: "reject rejected no n wrong incorrect false 0 ✗ ✘ ☒ nein non nee falsch faux "
    "falso onwaar",
    Decision.EDIT: "edit edited change changed corrected correction replace",
    Decision.SKIP: "skip skipped later unsure pass ?",
}
_DECISIONS = {word: decision for decision, words in _WORDS.items() for word in words.split()}


@dataclass(frozen=True, slots=True)
class Answer:
    """A row of a file, "" where it has nothing; ``row`` is its line, or the number of its task."""

    row: int
    proposal: str = ""
    item: str = ""
    property: str = ""
    proposed: str = ""
    state: str = ""
    fingerprint: str = ""
    decision: str = ""
    value: str = ""
    reviewer: str = ""


@dataclass
class Answers:
    """The rows of a file, and how many of its lines are none, by the reason.

    ``unread`` could not be read, and ``passed_over`` are known to be something else.
    """

    rows: list[Answer] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row whose decision is not taken, and why."""

    row: int
    proposal: str
    item: str
    property: str
    reason: str

    def told(self) -> str:
        """Return it as one line."""
        cell = ", ".join(filter(None, (self.item, self.property))) or f"proposal {self.proposal}"
        return f"row {self.row} ({cell}): {self.reason}"


@dataclass
class ImportReport:
    """What became of the rows of a file: each of them is counted once.

    Attributes:
        run: the run that took the decisions, None if there were none or nothing was to be written
        taken: how many decisions of each kind were taken
        undecided: how many rows have no decision
        repeated: how many rows say again what another one says of the same proposal
        already: how many decisions had been taken before, as after a second import
        disputed: how many of those taken most reviewers agreed with, and not all
        refused: rows whose decision was not taken
        unread, passed_over: lines that are no rows, see ``Answers``
    """

    run: str | None = None
    taken: Counter[Decision] = field(default_factory=Counter)
    undecided: int = 0
    repeated: int = 0
    already: int = 0
    disputed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)


# Read


def read_answers(path: Path) -> Answers:
    """Read a table or an export of Label Studio.

    Raises DataError if it has no decisions, or does not say about what, and SourceNotFoundError if
    there is no such file.
    """
    if path.suffix.lower() == ".json":
        return _read_tasks(path)
    mapping = TableMapping("review", id=("proposal",), header=True)
    source = open_source(path, mapping)
    names = {_plain(name): name for name in source.columns(mapping)}
    _check_fields(names.keys(), path)
    answers = Answers()
    for batch in source.batches(mapping):
        empty = [None] * batch.table.num_rows
        columns = [
            batch.table[names[each]].to_pylist() if each in names else empty for each in _FIELDS
        ]
        for line, *cells in zip(batch.lines.tolist(), *columns, strict=True):
            answers.rows.append(Answer(line, *((cell or "").strip() for cell in cells)))
        answers.unread.update(each.reason for each in batch.rejects)
        answers.passed_over.update(each.what for each in batch.skipped)
    return answers


def _plain(name: str) -> str:
    return name.strip().casefold()


def _check_fields(names: Iterable[str], path: Path) -> None:
    found = set(names)
    if "decision" not in found:
        raise DataError(f"{path.name} has no column `decision`: export it again, and keep that one")
    if "proposal" not in found and not {"item", "property"} <= found:
        raise DataError(
            f"{path.name} has neither a column `proposal` nor `item` and `property`, so that "
            "nobody knows what its decisions are about: export it again, and keep them"
        )
    if "fingerprint" not in found and not {"proposed", "state"} <= found:
        raise DataError(
            f"{path.name} has neither a column `fingerprint` nor `proposed` and `state`, so that "
            "nobody knows whether cells have changed: export it again, and keep them"
        )


def _read_tasks(path: Path) -> Answers:
    """Read what Label Studio exports as JSON or JSON-MIN."""
    try:
        tasks = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise SourceNotFoundError(
            f"{path} cannot be read ({error.strerror}): check the path"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is no JSON: {str(error) or 'nested too deeply'}") from None
    if not isinstance(tasks, list):
        raise DataError(f"{path.name} is no list of tasks: export them from Label Studio as JSON")
    answers = Answers()
    for number, task in enumerate(tasks, 1):
        if not isinstance(task, dict):
            answers.unread["no task"] += 1
        elif isinstance(task.get("data"), dict):
            answers.rows += _annotations(number, task)
        else:
            answers.rows.append(_answer(number, task, task, task.get("annotator")))
    if len({each.reviewer for each in answers.rows if each.decision}) < 2:
        answers.rows = [_without_number(each) for each in answers.rows]
    return answers


def _without_number(answer: Answer) -> Answer:
    """Return an answer without a reviewer whom only Label Studio knows, by a number."""
    is_number = answer.reviewer.startswith(_ANNOTATOR)
    return replace(answer, reviewer="") if is_number else answer


def _annotations(number: int, task: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield an answer for each annotation of a task, or an empty one if it has none."""
    annotations = task.get("annotations") or task.get("completions")
    found = [each for each in annotations or () if isinstance(each, dict)]
    for each in found:
        results = each.get("result")
        said: dict[str, Any] = {}
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and isinstance(result.get("from_name"), str):
                said[result["from_name"]] = result.get("value")
        if each.get("was_cancelled"):
            said["decision"] = "skip"
        yield _answer(number, task["data"], said, each.get("completed_by"))
    if not found:
        yield _answer(number, task["data"], {}, None)


def _answer(number: int, data: Mapping[str, Any], said: Mapping[str, Any], who: Any) -> Answer:
    about = {
        name: _texts(data.get(name))
        for name in ("proposal", "item", "property", "proposed", "state", "fingerprint")
    }
    decision = _texts(said.get("decision"))
    value = _texts(said.get("value"))
    if not value and decision == Decision.EDIT:
        value = _texts(said.get(CANDIDATE_TAG))
    who = who.get("email") if isinstance(who, dict) else who
    if isinstance(who, int) and not isinstance(who, bool):
        # Nobody knows the numbers of Label Studio's users here, but they tell one from another.
        who = f"{_ANNOTATOR}{who}"
    return Answer(
        number,
        **about,
        decision=decision,
        value=value,
        reviewer=who.strip() if isinstance(who, str) else "",
    )


def _texts(value: Any) -> str:
    """Return what a tag of Label Studio says as one text: it may be a list, or in an object."""
    if isinstance(value, dict):
        value = value.get("choices", value.get("text"))
    if isinstance(value, list):
        return f" {SEPARATOR} ".join(_texts(each) for each in value)
    return "" if isinstance(value, dict) else (scalar_text(value) or "").strip()


# Take


@dataclass(frozen=True, slots=True)
class _Said:
    """What a row says of a proposal, and the values that its cell has by that."""

    answer: Answer
    decision: Decision
    values: tuple[str, ...]

    @property
    def what(self) -> tuple[Decision, tuple[str, ...]]:
        """What it says, whoever does."""
        return self.decision, self.values


def take_answers(
    review: Review, answers: Answers, by: str, *, dry_run: bool = False
) -> ImportReport:
    """Take the decisions of a file as one run; ``by`` decided where a row names no reviewer.

    Of several reviewers the majority decides. A decision about a cell that has changed meanwhile is
    refused, and so are those about one proposal that contradict each other otherwise.
    """
    report = ImportReport(unread=answers.unread, passed_over=answers.passed_over)
    decided = list(_decided(answers.rows, report))
    known = _Known.of(review, [answer for answer, _ in decided])
    said: dict[int, list[_Said]] = defaultdict(list)
    for answer, decision in decided:
        try:
            proposal = known.proposal_of(answer)
            values = _values(review, proposal, decision, answer.value)
        except UsageError as error:
            report.refused.append(_refusal(answer, None, str(error)))
            continue
        said[proposal.id].append(_Said(answer, decision, values))
    proposals = {id: known.proposals[id] for id in said}
    cells = {
        each.proposal.id: each for each in reviewed_cells(review.store, list(proposals.values()))
    }
    verdicts: list[Verdict] = []
    for id, several in said.items():
        verdict = _verdict(review, cells[id], several, by, report)
        if verdict is not None:
            verdicts.append(verdict)
    if dry_run or not verdicts:
        report.taken.update(_decision_of(each) for each in verdicts)
        return _sorted(report)
    report.run = review.decide(verdicts, by).run
    after = review.records.get(each.proposal.id for each in verdicts)
    for verdict in verdicts:
        answer = said[verdict.proposal.id][0].answer
        if after[verdict.proposal.id].state is ProposalState.EXPIRED:
            reason = "it has expired: other values are stored by now, or the item is gone"
            report.refused.append(_refusal(answer, verdict.proposal, reason))
        else:
            report.taken[_decision_of(verdict)] += 1
    return _sorted(report)


def _decision_of(verdict: Verdict) -> Decision:
    return next(decision for decision, after in _AFTER.items() if after is verdict.after)


def _sorted(report: ImportReport) -> ImportReport:
    report.refused.sort(key=lambda each: each.row)
    return report


def _decided(rows: Iterable[Answer], report: ImportReport) -> Iterator[tuple[Answer, Decision]]:
    """Yield the rows that say something that is understood."""
    for answer in rows:
        word = answer.decision.casefold().rstrip(".!")
        # A spreadsheet that takes 1 for a number may write 1.0.
        word = word.removesuffix(".0")
        decision = _DECISIONS.get(word)
        if decision is not None:
            yield answer, decision
        elif answer.decision:
            reason = f"{answer.decision!r} is none of {', '.join(Decision)}"
            report.refused.append(_refusal(answer, None, reason))
        elif answer.value:
            reason = f"{answer.value!r} is a value without a decision: write `edit` beside it"
            report.refused.append(_refusal(answer, None, reason))
        else:
            report.undecided += 1


@dataclass(frozen=True)
class _Known:
    """The proposals that answers may mean, by their numbers, and the open ones by their cells."""

    proposals: Mapping[int, Proposal]
    by_cell: Mapping[tuple[str, str], Proposal]

    @classmethod
    def of(cls, review: Review, answers: Sequence[Answer]) -> _Known:
        numbers = {int(found[1]) for each in answers if (found := _NUMBER.match(each.proposal))}
        unnumbered = {(each.item, each.property) for each in answers if not each.proposal}
        proposals = review.records.get(numbers)
        by_cell = {}
        if unnumbered:
            found_there = review.records.of_cells(unnumbered, tuple(ProposalState))
            found_there.sort(key=lambda each: (each.state in OPEN, each.id))
            by_cell = {each.cell: each for each in found_there}
            proposals |= {each.id: each for each in by_cell.values()}
        return cls(proposals, by_cell)

    def proposal_of(self, answer: Answer) -> Proposal:
        """Return what an answer is about. Raises UsageError if that is nothing."""
        if not answer.proposal:
            found = self.by_cell.get((answer.item, answer.property))
            if found is None:
                raise UsageError("there is no proposal for this item and property")
            return found
        number = _NUMBER.match(answer.proposal)
        found = self.proposals.get(int(number[1])) if number else None
        if found is None:
            raise UsageError(f"there is no proposal {answer.proposal}")
        if answer.property and answer.property != found.property:
            raise UsageError(f"proposal {found.id} is about {found.property}: rows are mixed up")
        if answer.item and not _may_be(answer.item, found.item):
            raise UsageError(f"proposal {found.id} is about item {found.item}: rows are mixed up")
        return found


def _may_be(text: str, item: str) -> bool:
    """Return whether a text is an item's id, or what a spreadsheet makes of it."""
    if text == item.strip():
        return True
    number = _NUMBER.match(text)
    if number is not None:
        return number[1].lstrip("0") == item.strip().lstrip("0")
    if _EXPONENT.match(text) and item.isascii() and item.isdigit():
        return abs(float(text.replace(",", ".")) - float(item)) <= _LOST_DIGITS * float(item)
    return False


def _values(review: Review, proposal: Proposal, decision: Decision, text: str) -> tuple[str, ...]:
    """Return the values that a decision gives a cell. Raises UsageError if it cannot have them."""
    whole = (text,) if text else ()
    given = split(text) if review.has_several(proposal) else whole
    if decision is Decision.EDIT:
        if not given:
            raise UsageError("`edit` needs the right value in the column `value`")
        return review.checked_values(proposal, given)
    if given and not (decision is Decision.ACCEPT and given == proposal.values):
        raise UsageError(f"`{decision}` takes no value, and {text!r} is given: write `edit`")
    return proposal.values if decision is Decision.ACCEPT else ()


def _verdict(
    review: Review, cell: ReviewedCell, several: Sequence[_Said], by: str, report: ImportReport
) -> Verdict | None:
    """Return what answers about one proposal say together; None if it is not taken."""
    proposal = cell.proposal
    found = _majority(several, by)
    if found is None:
        told = " and ".join(f"{each.decision} in row {each.answer.row}" for each in several[:5])
        report.refused += [
            _refusal(each.answer, proposal, f"decisions contradict each other: {told}")
            for each in several
        ]
        return None
    said, reviewers, agreement = found
    report.repeated += len(several) - 1
    after = _AFTER[said.decision]
    is_decided = proposal.state not in OPEN
    if is_decided and proposal.state is after and proposal.decided == said.values:
        report.already += 1
        return None
    if said.decision is Decision.SKIP and not is_decided and proposal.skips:
        report.already += 1
        return None
    reasons = [_changed(each.answer, cell) for each in several]
    reason = next(filter(None, reasons), None)
    if reason is not None:
        report.refused.append(_refusal(said.answer, proposal, reason))
        return None
    report.disputed += agreement < 1
    return Verdict(proposal, after, ", ".join(reviewers), said.values, agreement)


def _majority(several: Sequence[_Said], by: str) -> tuple[_Said, list[str], float] | None:
    """Return what most reviewers say of a proposal, who they are, and their share.

    Who leaves it to others does not count if others decide. None if it is not more than half of
    those who do, or if one reviewer says two things.
    """
    voices: dict[str, _Said] = {}
    for each in several:
        who = each.answer.reviewer or by
        if each.what != voices.setdefault(who, each).what:
            return None
    deciding = {who: each for who, each in voices.items() if each.decision is not Decision.SKIP}
    deciding = deciding or voices
    ((what, count),) = Counter(each.what for each in deciding.values()).most_common(1)
    if 2 * count <= len(deciding):
        return None
    agreeing = {who: each for who, each in deciding.items() if each.what == what}
    return next(iter(agreeing.values())), list(agreeing), count / len(deciding)


def _changed(answer: Answer, cell: ReviewedCell) -> str | None:
    """Return what has changed since the export, None if nothing has."""
    proposal = cell.proposal
    by = f" by {proposal.reviewer}" if proposal.reviewer else ""
    if proposal.state not in OPEN:
        return f"it is {proposal.state}{by} since {proposal.changed}"
    now = f"it is {proposal.state}{by}, and the cell has {cell.told_stored or 'no value'}"
    if answer.fingerprint:
        same = _plain(answer.fingerprint) == cell.fingerprint
    elif answer.proposed and answer.state:
        told = cell.cells()
        same = (answer.proposed, _plain(answer.state)) == (told["proposed"], told["state"])
    else:
        return "the row has no fingerprint, so that nobody knows whether the cell has changed"
    return None if same else f"the cell has changed since the export: {now}"


def _refusal(answer: Answer, proposal: Proposal | None, reason: str) -> Refusal:
    if proposal is None:
        return Refusal(answer.row, answer.proposal, answer.item, answer.property, reason)
    return Refusal(answer.row, str(proposal.id), proposal.item, proposal.property, reason)
