"""The queries of docs/cypher.md and docs/sparql.md, and the catalogue that their answers are of."""

from __future__ import annotations

import json
import random
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kg.sample.kinds import KINDS
from kg.sample.offers import HIDDEN, Offer, TrueValue, corrupt, make_offers
from kg.stores.open import open_store
from kg.stores.protocol import GraphStore, QueryResult
from kg.stores.tables import items_table, statements_table
from schema.terms import Item, Provenance, Rank, Statement

DOCS = Path(__file__).parents[3] / "docs"
SECTION = re.compile(
    r"^## (?P<question>[^\n]+\?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Lookup:
    """A question, its query, and the first rows of the answer as the document shows them."""

    question: str
    query: str
    params: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]


def read_lookups(language: str) -> list[Lookup]:
    """Return the lookups of the document about a query language, in its order."""
    text = (DOCS / f"{language}.md").read_text(encoding="utf-8")
    return [_lookup(language, each["question"], each["text"]) for each in SECTION.finditer(text)]


def _lookup(language: str, question: str, text: str) -> Lookup:
    (query,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    params = {}
    for line in re.findall(r"^`(--param .*)`$", text, re.MULTILINE):
        for word in shlex.split(line):
            if word != "--param":
                name, value = _param(word)
                params[name] = value
    table = [
        [cell.strip() for cell in line[2:-2].split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    # The second line of a table only separates its head from its body.
    columns = table[0] if table else []
    return Lookup(question, query.strip(), params, columns, table[2:])


def _param(word: str) -> tuple[str, Any]:
    """Parse ``k=text`` or ``k:=JSON``."""
    name, _, value = word.partition("=")
    return (name[:-1], json.loads(value)) if name.endswith(":") else (name, value)


def displayed_rows(result: QueryResult, count: int = 3) -> list[list[str]]:
    """Return an answer's first rows as a document shows them."""
    return [
        ["" if cell is None else str(cell).replace("|", "/") for cell in row]
        for row in result.rows[:count]
    ]


def fill(store: GraphStore, size: int = 150) -> None:
    """Put a sample catalogue of so many items into a store.

    It also has the predictions of a model, and what two reviewers decided about some of them.
    """
    rng = random.Random(3)
    offers = make_offers(size, rng)
    items = []
    statements = []
    for number, offer in enumerate(offers):
        # Some sellers copy a title, or have no title and no image.
        title = offers[number - 1].title if number % 25 == 24 else offer.title
        images = () if number % 20 == 7 else (f"images/{offer.id}.jpg",)
        items.append(Item(offer.id, title or None, KINDS[offer.kind].category, images))
        statements += _statements(number, offer, rng)
    store.put(items_table(items), statements_table(statements))


def _statements(number: int, offer: Offer, rng: random.Random) -> list[Statement]:
    """Return what a seller says about an offer, and predictions for what it hides or corrupts."""
    true_values = corrupt(offer, rng)
    batch, source = ("load-1", "shop.csv") if number < 100 else ("load-2", "northgate feed.csv")
    time = f"2026-03-0{batch[-1]}T08:00:00+00:00"
    provenance = Provenance(source, batch, row=number + 2, time=time)
    asserted = [(name, part) for name, value in offer.values.items() for part in value.split("|")]
    if number % 40 == 3 and "colour" in offer.values:
        asserted.append(("colour", offer.values["colour"].title()))
    statements = [
        Statement(offer.id, name, value, Rank.ASSERTED, provenance) for name, value in asserted
    ]
    predictions = [_prediction(3 * number + index, each) for index, each in enumerate(true_values)]
    return statements + predictions


def _prediction(number: int, true_value: TrueValue) -> Statement:
    """Return a prediction of a value that an offer hides or corrupts.

    A reviewer may have accepted or rejected a prediction of a hidden value.
    """
    ranks = (Rank.PREDICTED, Rank.PREDICTED, Rank.ACCEPTED, Rank.PREDICTED, Rank.REJECTED)
    rank = ranks[number % 5] if true_value.kind == HIDDEN else Rank.PREDICTED
    model, day = ("night-1", 3) if number < 300 else ("night-2", 4)
    reviewer = ("ines", "tom")[number % 2] if rank in (Rank.ACCEPTED, Rank.REJECTED) else None
    provenance = Provenance(
        "catalograph complete",
        f"run-{day}",
        model=model,
        confidence=(50 + number * 37 % 50) / 100,
        reviewer=reviewer,
        time=f"2026-03-0{day}T20:00:00+00:00",
    )
    value = f"not {true_value.value}" if rank == Rank.REJECTED else true_value.value
    return Statement(true_value.item, true_value.property, value, rank, provenance)


def with_answers(text: str, store: GraphStore) -> str:
    """Return the text of docs/cypher.md with the answers of a filled store.

    Run this file after changing a query there.
    """

    def section_with_answer(section: re.Match[str]) -> str:
        lookup = _lookup("cypher", section["question"], section["text"])
        result = store.query(lookup.query, lookup.params)
        table = [result.columns, ["---"] * len(result.columns), *displayed_rows(result)]
        lines = [line for line in section[0].rstrip().splitlines() if not line.startswith("|")]
        if lines[-1]:
            lines.append("")
        lines += ["| " + " | ".join(row) + " |" for row in table]
        return "\n".join(lines) + "\n\n"

    return SECTION.sub(section_with_answer, text).rstrip() + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, open_store(f"ladybug:{folder}/graph") as filled:
        fill(filled)
        document = DOCS / "cypher.md"
        text = document.read_text(encoding="utf-8")
        document.write_text(with_answers(text, filled), encoding="utf-8")
