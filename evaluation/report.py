"""The report page: what completion did to a catalogue, as one self-contained HTML file."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schema.errors import DataError

if TYPE_CHECKING:
    from kg.home import Home
    from kg.snapshot import GraphSnapshot
    from schema.ontology import Ontology

EXAMPLES = 12
BINS = 10
THUMBNAIL = 160


@dataclass(frozen=True)
class Coverage:
    """A property's share of applicable cells that have a value: trusted ones ``before``, with filled ones ``after``."""

    property: str
    cells: int
    before: float
    after: float


@dataclass(frozen=True)
class Accuracy:
    """A property's share of hidden values found first, beside the most frequent value's; ``low`` to ``high`` is the 95% interval."""

    property: str
    cells: int
    model: float
    low: float
    high: float
    guess: float


@dataclass(frozen=True)
class Bin:
    """Cells whose probability lies in a band: how sure the model was, how often it was right."""

    count: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Example:
    """A filled cell to show."""

    title: str
    item: str
    property: str
    value: str
    probability: float
    truth: str | None
    evidence: list[tuple[str, float]]
    image: str | None


@dataclass(frozen=True)
class ReportData:
    """Everything on the page."""

    items: int
    statements: int
    decisions: dict[str, int]
    coverage: list[Coverage]
    accuracy: list[Accuracy]
    reliability: list[Bin]
    examples: list[Example]
    filled_right: tuple[int, int] | None


def write_report(home: Home, out: Path, completions: Path, truth: Path | None = None) -> None:
    """Write the page for what ``completions`` (JSONL) filled, held against ``truth`` (CSV) where it is given."""
    from kg.snapshot import read_snapshot

    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store)
    lines = read_completions(completions)
    data = report_data(
        snapshot, home.ontology(), lines, read_truth(truth) if truth is not None else {}
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(data), encoding="utf-8")


def render(data: ReportData) -> str:
    """The page's HTML."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(data=data)


def read_completions(path: Path) -> list[dict[str, Any]]:
    """The lines of ``catalograph complete --out``; raises DataError on a line that is none."""
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            record["item"], record["property"], record["candidates"], record["decision"]
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{path}:{number} is no completion: give the file that `catalograph complete --out` wrote"
            ) from None
        lines.append(record)
    return lines


def read_truth(path: Path) -> dict[tuple[str, str], set[str]]:
    """Hidden values of each cell from ``truth.csv``; raises DataError where columns are missing."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"item", "property", "value", "kind"} <= set(rows.fieldnames or ()):
            raise DataError(
                f"{path} has columns {rows.fieldnames}: it needs item,property,value,kind"
            )
        cells: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            if row["kind"] == "hidden":
                cells.setdefault((row["item"], row["property"]), set()).add(row["value"])
    return cells


def report_data(
    snapshot: GraphSnapshot,
    ontology: Ontology,
    lines: Sequence[Mapping[str, Any]],
    truth: Mapping[tuple[str, str], set[str]],
) -> ReportData:
    """Count, measure and choose what the page shows."""
    answered = [line for line in lines if line["candidates"]]
    judged = [
        (line, truth[line["item"], line["property"]])
        for line in answered
        if (line["item"], line["property"]) in truth
    ]
    right = [(line, line["candidates"][0]["value"] in values) for line, values in judged]
    filled = [hit for line, hit in right if line["decision"] == "fill"]
    decisions = {
        name: sum(line["decision"] == name for line in lines)
        for name in ("fill", "review", "abstain")
    }
    return ReportData(
        items=len(snapshot.items),
        statements=len(snapshot.triples),
        decisions=decisions,
        coverage=coverage(snapshot, ontology, lines),
        accuracy=accuracy(ontology, judged),
        reliability=reliability(
            [(line["candidates"][0]["probability"], hit) for line, hit in right]
        ),
        examples=examples(snapshot, answered, truth),
        filled_right=(sum(filled), len(filled)) if filled else None,
    )


def coverage(
    snapshot: GraphSnapshot, ontology: Ontology, lines: Iterable[Mapping[str, Any]]
) -> list[Coverage]:
    """Coverage of every property over the items to which it applies."""
    pairs = np.unique(snapshot.triples[:, :2], axis=0)
    held = {(snapshot.items[i], snapshot.properties[p]) for i, p in pairs}
    filled = {(line["item"], line["property"]) for line in lines if line["decision"] == "fill"}
    applicable = {
        category: set(ontology.applicable(category)) for category in set(snapshot.categories)
    }
    rows = []
    for name in ontology.properties:
        cells = {
            (item, name)
            for item, c in zip(snapshot.items, snapshot.categories, strict=True)
            if name in applicable[c]
        }
        if cells:
            before = len(cells & held) / len(cells)
            after = len(cells & (held | filled)) / len(cells)
            rows.append(Coverage(name, len(cells), before, after))
    return sorted(rows, key=lambda row: row.before)


def accuracy(
    ontology: Ontology, judged: Sequence[tuple[Mapping[str, Any], set[str]]]
) -> list[Accuracy]:
    """Hits@1 of each property on the hidden truth with Wilson's interval, beside the most frequent value's."""
    rows = []
    for name in sorted({line["property"] for line, _ in judged}):
        mine = [
            (line["candidates"][0]["value"], values)
            for line, values in judged
            if line["property"] == name
        ]
        hits = sum(value in values for value, values in mine)
        common = ontology.properties[name].values[0] if name in ontology.properties else None
        low, high = wilson(hits, len(mine))
        guess = sum(common in values for _, values in mine) / len(mine)
        rows.append(Accuracy(name, len(mine), hits / len(mine), low, high, guess))
    return rows


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    spread = z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * ((share * (1 - share) + spread / 4) / count) ** 0.5 / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability(answers: Sequence[tuple[float, bool]]) -> list[Bin]:
    """Answers (probability, right) in bands of a tenth; empty bands are left out."""
    bins = []
    for number in range(BINS):
        inside = [(p, hit) for p, hit in answers if min(int(p * BINS), BINS - 1) == number]
        if inside:
            probability, hit = (float(np.mean(column)) for column in zip(*inside, strict=True))
            bins.append(Bin(len(inside), probability, hit))
    return bins


def examples(
    snapshot: GraphSnapshot,
    answered: Sequence[Mapping[str, Any]],
    truth: Mapping[tuple[str, str], set[str]],
) -> list[Example]:
    """A dozen filled cells (answered ones where none is filled), of as many properties as there are."""
    place = {item: index for index, item in enumerate(snapshot.items)}
    pool = [line for line in answered if line["decision"] == "fill"] or list(answered)
    by_property: dict[str, list[Mapping[str, Any]]] = {}
    for line in pool:
        by_property.setdefault(line["property"], []).append(line)
    turns = [
        lines[turn]
        for turn in range(EXAMPLES)
        for lines in by_property.values()
        if turn < len(lines)
    ]
    chosen = []
    for line in turns[:EXAMPLES]:
        index = place.get(line["item"])
        best = line["candidates"][0]
        known = truth.get((line["item"], line["property"]))
        chosen.append(
            Example(
                title=(snapshot.titles[index] if index is not None else None) or "(no title)",
                item=line["item"],
                property=line["property"],
                value=best["value"],
                probability=best["probability"],
                truth=" / ".join(sorted(known)) if known else None,
                evidence=reasons(line.get("evidence") or {}),
                image=thumbnail(snapshot.images[index]) if index is not None else None,
            )
        )
    return chosen


def reasons(evidence: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What moved the probability most, strongest first."""
    parts = [
        (name, float(evidence[name]))
        for name in ("title", "image")
        if isinstance(evidence.get(name), int | float)
    ]
    parts += [
        (f"{known['property']}: {known['value']}", float(known["effect"]))
        for known in evidence.get("known") or ()
    ]
    return sorted(parts, key=lambda part: -abs(part[1]))[:4]


def thumbnail(path: str | None) -> str | None:
    """An image as a data URL, or None where it cannot be read."""
    from PIL import Image

    if path is None:
        return None
    try:
        with Image.open(path) as image:
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=82)
    except (OSError, ValueError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
