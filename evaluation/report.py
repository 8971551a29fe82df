"""The report page: what completion changed in a catalogue, as one self-contained HTML file."""

from __future__ import annotations

import base64
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.metrics import TARGETS, ReliabilityBin, reliability
from kg.image_files import ImageFiles, UnreadableImages, is_address
from schema.csv_rows import csv_rows, limited_lines
from schema.documents import parse_json_object
from schema.errors import CatalographWarning, DataError, ImageRefusedError
from schema.files import write_atomically
from schema.modalities import CONTENT_MODALITIES, Modality

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from schema.ontology import Ontology

MAX_EXAMPLES = 12
MAX_TITLE_VALUES = 20
MAX_REASONS = 4
RELIABILITY_BINS = 10
THUMBNAIL_SIZE = 160
MAX_EFFECT = 1e6
"""No input changes a probability as much, nor the logit of one."""

CompletionLine = Mapping[str, Any]
"""One line of ``catalograph complete --out``."""
HiddenValues = Mapping[tuple[str, str], set[str]]
"""The true values of cells (item, property)."""


@dataclass(frozen=True)
class CoverageChange:
    """The share of a property's applicable cells that have a value.

    ``before`` counts trusted statements, ``after`` filled cells as well.
    """

    property: str
    cells: int
    before: float
    after: float


@dataclass(frozen=True)
class PropertyAccuracy:
    """The share of a property's hidden values that the best candidates match.

    ``low`` to ``high`` is the 95% interval; ``most_frequent`` is the share that always predicting
    the property's most frequent value would match.
    """

    property: str
    cells: int
    model: float
    low: float
    high: float
    most_frequent: float


@dataclass(frozen=True)
class ExampleCell:
    """A completed cell to show; ``truth`` are its true values, if they are known."""

    title: str
    item: str
    property: str
    value: str
    probability: float
    truth: list[str]
    evidence: list[tuple[str, float]]
    image: str | None


@dataclass(frozen=True)
class CheckedFills:
    """The filled cells whose truth is known, and how many of them are right."""

    count: int
    right: int


@dataclass(frozen=True)
class TargetRow:
    """What can be filled at a target precision, and how much of it is right where that is known.

    ``cells`` are those for which the target is proven, a ``share`` of all; of the ``checked`` ones
    among them whose truth is known, ``right`` are right.
    """

    target: float
    cells: int
    share: float
    checked: int
    right: int


@dataclass(frozen=True)
class TitleValue:
    """A value that no item had, as a title says it, and of how many cells it is the first one."""

    property: str
    value: str
    cells: int
    title: str


@dataclass(frozen=True)
class ReportData:
    """Everything on the page."""

    items: int
    statements: int
    decisions: dict[str, int]
    coverage: list[CoverageChange]
    accuracy: list[PropertyAccuracy]
    reliability: list[ReliabilityBin]
    examples: list[ExampleCell]
    checked_fills: CheckedFills
    targets: list[TargetRow]
    title_values: list[TitleValue]


@dataclass(frozen=True)
class CheckedCompletion:
    """A completion whose true values are known; ``right`` is whether the best candidate is one."""

    property: str
    decision: str
    probability: float
    truth: set[str]
    right: bool
    proven: float = 0.0


def write_report(home: Home, out: Path, completions: Path, truth: Path | None = None) -> None:
    """Write the page about ``completions`` (JSONL), checked against ``truth`` (CSV) if given."""
    from kg.snapshot import read_snapshot

    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology())
    lines = read_completions(completions)
    hidden = read_truth(truth) if truth is not None else {}
    files = home.image_files()
    data = report_data(snapshot, home.ontology(), lines, hidden, files)
    shown = sum(example.image is not None for example in data.examples)
    unreadable = UnreadableImages(shown + len(files.failures), files.failures)
    if unreadable:
        warnings.warn(str(unreadable), CatalographWarning, stacklevel=2)
    write_atomically(out, render(data))


def render(data: ReportData) -> str:
    """Return the page's HTML."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        # Titles and values come from suppliers' files and must not run as scripts in a browser.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(data=data)


def read_completions(path: Path) -> list[CompletionLine]:
    """Read what ``catalograph complete --out`` wrote; raises DataError on any other line."""
    lines: list[CompletionLine] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in limited_lines(file):
                lines.append(_checked_completion(parse_json_object(line)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{path}:{len(lines) + 1} is not a completion: "
            "give the file that `catalograph complete --out` wrote"
        ) from None
    return lines


def _checked_completion(record: dict[str, Any]) -> CompletionLine:
    """Return a line of completions.

    Raises ValueError, KeyError, TypeError or AttributeError if it is none.
    """
    texts = [record["item"], record["property"], record["decision"]]
    probabilities = []
    effects = []
    probabilities.append(record.get("proven") or 0)
    for candidate in record["candidates"]:
        texts.append(candidate["value"])
        probabilities.append(candidate["probability"])
    evidence = record.get("evidence") or {}
    for each in evidence.get(Modality.STATEMENTS.value) or ():
        texts += [each["property"], each["value"]]
        effects.append(each["effect"])
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is none")
    # Written so that they refuse NaN, too.
    if not all(0 <= probability <= 1 for probability in probabilities):
        raise ValueError("a probability is none")
    if not all(-MAX_EFFECT <= effect <= MAX_EFFECT for effect in effects):
        raise ValueError("an effect is none")
    return record


def read_truth(path: Path) -> dict[tuple[str, str], set[str]]:
    """Read the hidden values from ``truth.csv``; raises DataError if it is no such file."""
    cells: dict[tuple[str, str], set[str]] = {}
    try:
        for _, row in csv_rows(path, ("item", "property", "value", "kind")):
            # A corrupted value was replaced by another one, so its cell is not missing.
            if row["kind"] == "hidden":
                cells.setdefault((row["item"], row["property"]), set()).add(row["value"])
    except ValueError as error:
        raise DataError(f"{path} {error}") from None
    return cells


def report_data(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    lines: Sequence[CompletionLine],
    truth: HiddenValues,
    files: ImageFiles,
) -> ReportData:
    """Compute everything that the page shows, with images from the home's ``files``."""
    with_candidates = [line for line in lines if line["candidates"]]
    checked = check_completions(with_candidates, truth, ontology)
    checked_fills = [each.right for each in checked if each.decision == "fill"]
    decisions = {
        decision: sum(line["decision"] == decision for line in lines)
        for decision in ("fill", "review", "abstain")
    }
    return ReportData(
        items=len(snapshot.items),
        statements=len(snapshot.triples),
        decisions=decisions,
        coverage=coverage_by_property(snapshot, ontology, lines),
        accuracy=accuracy_by_property(ontology, checked),
        reliability=reliability(
            np.array([each.probability for each in checked]),
            np.array([each.right for each in checked], dtype=bool),
            RELIABILITY_BINS,
        ),
        examples=choose_examples(snapshot, with_candidates, truth, files),
        checked_fills=CheckedFills(len(checked_fills), sum(checked_fills)),
        targets=fills_by_target(lines, checked),
        title_values=values_of_titles(snapshot, with_candidates),
    )


def fills_by_target(
    lines: Sequence[CompletionLine], checked: Sequence[CheckedCompletion]
) -> list[TargetRow]:
    """Return what is proven at each target precision; nothing if no line says what is proven."""
    proven = [float(line.get("proven") or 0) for line in lines]
    if not any(proven):
        return []
    rows = []
    for target in TARGETS:
        cells = sum(each >= target for each in proven)
        known = [each.right for each in checked if each.proven >= target]
        rows.append(TargetRow(target, cells, cells / len(lines), len(known), sum(known)))
    return rows


def values_of_titles(snapshot: GraphSnapshot, lines: Sequence[CompletionLine]) -> list[TitleValue]:
    """Return the values that no item had and that are the best candidates, the commonest first."""
    title_of = dict(zip(snapshot.items, snapshot.titles, strict=True))
    counts: Counter[tuple[str, str]] = Counter()
    titles: dict[tuple[str, str], str] = {}
    for line in lines:
        best = line["candidates"][0]
        if best.get("source") == "title":
            key = line["property"], best["value"]
            counts[key] += 1
            titles.setdefault(key, title_of.get(line["item"]) or "")
    return [
        TitleValue(property, value, count, titles[property, value])
        for (property, value), count in counts.most_common(MAX_TITLE_VALUES)
    ]


def check_completions(
    lines: Iterable[CompletionLine], truth: HiddenValues, ontology: Ontology
) -> list[CheckedCompletion]:
    """Compare the best candidates with the truth where it is known, as values of the ontology."""
    checked = []
    for line in lines:
        name = line["property"]
        cell = line["item"], name
        if cell in truth:
            best = line["candidates"][0]
            true_values = {ontology.shown(name, value) for value in truth[cell]}
            checked.append(
                CheckedCompletion(
                    property=line["property"],
                    decision=line["decision"],
                    probability=best["probability"],
                    truth=true_values,
                    right=ontology.shown(name, best["value"]) in true_values,
                    proven=float(line.get("proven") or 0),
                )
            )
    return checked


def coverage_by_property(
    snapshot: GraphSnapshot, ontology: Ontology, lines: Iterable[CompletionLine]
) -> list[CoverageChange]:
    """Return every property's coverage of the items to which it applies, lowest first."""
    pairs = np.unique(snapshot.triples[:, :2], axis=0)
    stated = {(snapshot.items[item], snapshot.properties[name]) for item, name in pairs}
    filled = {(line["item"], line["property"]) for line in lines if line["decision"] == "fill"}
    applicable = {
        category: set(ontology.applicable(category)) for category in set(snapshot.categories)
    }
    rows = []
    for name in ontology.learned():
        cells = {
            (item, name)
            for item, category in zip(snapshot.items, snapshot.categories, strict=True)
            if name in applicable[category]
        }
        if cells:
            before = len(cells & stated) / len(cells)
            after = len(cells & (stated | filled)) / len(cells)
            rows.append(CoverageChange(name, len(cells), before, after))
    return sorted(rows, key=lambda row: row.before)


def accuracy_by_property(
    ontology: Ontology, checked: Sequence[CheckedCompletion]
) -> list[PropertyAccuracy]:
    """Return Hits@1 of each property on the hidden values, with Wilson's 95% interval."""
    from scipy.stats import binomtest

    rows = []
    for name in sorted({each.property for each in checked}):
        cells = [each for each in checked if each.property == name]
        hits = sum(each.right for each in cells)
        # Wilson's interval is sound for few cells, too, and for shares near 0 and 1.
        interval = binomtest(hits, len(cells)).proportion_ci(method="wilson")
        # An ontology lists a property's values by falling frequency.
        spec = ontology.properties.get(name)
        most_frequent = spec.values[0] if spec is not None and spec.values else None
        most_frequent_hits = sum(most_frequent in each.truth for each in cells)
        rows.append(
            PropertyAccuracy(
                property=name,
                cells=len(cells),
                model=hits / len(cells),
                low=float(interval.low),
                high=float(interval.high),
                most_frequent=most_frequent_hits / len(cells),
            )
        )
    return rows


def choose_examples(
    snapshot: GraphSnapshot,
    lines: Sequence[CompletionLine],
    truth: HiddenValues,
    files: ImageFiles,
) -> list[ExampleCell]:
    """Choose a dozen filled cells of as many properties as possible.

    Cells with other decisions are shown only if no cell is filled.
    """
    index_of = {item: index for index, item in enumerate(snapshot.items)}
    pool = [line for line in lines if line["decision"] == "fill"] or list(lines)
    by_property: dict[str, list[CompletionLine]] = {}
    for line in pool:
        by_property.setdefault(line["property"], []).append(line)
    in_turns = [
        property_lines[turn]
        for turn in range(MAX_EXAMPLES)
        for property_lines in by_property.values()
        if turn < len(property_lines)
    ]

    examples = []
    for line in in_turns[:MAX_EXAMPLES]:
        index = index_of.get(line["item"])
        title = snapshot.titles[index] if index is not None else None
        best = line["candidates"][0]
        examples.append(
            ExampleCell(
                title=title or "(no title)",
                item=line["item"],
                property=line["property"],
                value=best["value"],
                probability=best["probability"],
                truth=sorted(truth.get((line["item"], line["property"]), ())),
                evidence=strongest_reasons(line.get("evidence") or {}),
                image=thumbnail(snapshot.images[index], files) if index is not None else None,
            )
        )
    return examples


def strongest_reasons(evidence: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the inputs with the largest effects on the probability, and those effects."""
    reasons = []
    for modality in CONTENT_MODALITIES:
        effect = evidence.get(modality.value)
        if isinstance(effect, int | float):
            reasons.append((modality.value, float(effect)))
    for each in evidence.get(Modality.STATEMENTS.value) or ():
        reasons.append((f"{each['property']}: {each['value']}", float(each["effect"])))
    return sorted(reasons, key=lambda reason: -abs(reason[1]))[:MAX_REASONS]


def thumbnail(image: str | None, files: ImageFiles) -> str | None:
    """Return a small version of an image as a data URL, or None if it cannot be read.

    It is encoded anew: nothing of the file itself gets into the page.
    """
    from kg.image_decoding import decode_image

    if image is None or is_address(image):
        return None
    try:
        small = decode_image(files.read(image), THUMBNAIL_SIZE)
    except ImageRefusedError as error:
        files.failures[image] = str(error)
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
