"""The lookups that docs/cypher.md and docs/sparql.md give, read out of the documents, and the catalogue that they are asked of."""

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
LANGUAGES = ("cypher", "sparql")
SECTION = re.compile(
    r"^## (?P<question>[^\n]+\?)\n(?P<text>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Lookup:
    """A question, how it is asked, and the first rows of the answer as the document shows them."""

    question: str
    query: str
    params: dict[str, Any]
    columns: list[str]
    rows: list[list[str]]


def read_lookups(language: str) -> list[Lookup]:
    """The document's lookups, in its order."""
    text = (DOCS / f"{language}.md").read_text(encoding="utf-8")
    return [_lookup(language, each["question"], each["text"]) for each in SECTION.finditer(text)]


def _lookup(language: str, question: str, text: str) -> Lookup:
    (query,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    words = [
        word
        for line in re.findall(r"^`(--param .*)`$", text, re.MULTILINE)
        for word in shlex.split(line)
        if word != "--param"
    ]
    lines = [
        [cell.strip() for cell in line[2:-2].split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return Lookup(
        question, query.strip(), dict(map(_param, words)), lines[0] if lines else [], lines[2:]
    )


def _param(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    return (name[:-1], json.loads(value)) if name.endswith(":") else (name, value)


def shown(result: QueryResult, count: int = 3) -> list[list[str]]:
    """An answer's first rows as a document shows them."""
    return [
        ["" if cell is None else str(cell).replace("|", "/") for cell in row]
        for row in result.rows[:count]
    ]


def fill(store: GraphStore) -> None:
    """Put a drawn catalogue of 150 items, with what a model and two reviewers said of it, into a store."""
    rng = random.Random(3)
    offers = make_offers(150, rng)
    items = []
    facts = []
    for number, offer in enumerate(offers):
        # Some sellers copy a title, or write none and take no image.
        title = offers[number - 1].title if number % 25 == 24 else offer.title
        images = () if number % 20 == 7 else (f"images/{offer.id}.jpg",)
        items.append(Item(offer.id, title or None, KINDS[offer.kind].category, images))
        facts += _facts(number, offer, rng)
    store.put(items_table(items), statements_table(facts))


def _facts(number: int, offer: Offer, rng: random.Random) -> list[Statement]:
    true_values = corrupt(offer, rng)
    load, source = ("load-1", "shop.csv") if number < 100 else ("load-2", "northgate feed.csv")
    said = Provenance(source, load, row=number + 2, time=f"2026-03-0{load[-1]}T08:00:00+00:00")
    facts = [
        Statement(offer.id, name, part, Rank.ASSERTED, said)
        for name, value in offer.values.items()
        for part in value.split("|")
    ]
    if number % 40 == 3 and "colour" in offer.values:
        facts.append(
            Statement(offer.id, "colour", offer.values["colour"].title(), Rank.ASSERTED, said)
        )
    return facts + [_guess(3 * number + place, each) for place, each in enumerate(true_values)]


def _guess(number: int, true_value: TrueValue) -> Statement:
    """What a model says of a value that was hidden or spoilt, and of some what a person said of that."""
    rank = (Rank.PREDICTED, Rank.PREDICTED, Rank.ACCEPTED, Rank.PREDICTED, Rank.REJECTED)[
        number % 5 if true_value.kind == HIDDEN else 0
    ]
    model, day = ("night-1", 3) if number < 300 else ("night-2", 4)
    confidence = (50 + number * 37 % 50) / 100
    reviewer = ("ines", "tom")[number % 2] if rank in (Rank.ACCEPTED, Rank.REJECTED) else None
    said = Provenance(
        "catalograph complete",
        f"run-{day}",
        model=model,
        confidence=confidence,
        reviewer=reviewer,
        time=f"2026-03-0{day}T20:00:00+00:00",
    )
    value = f"not {true_value.value}" if rank == Rank.REJECTED else true_value.value
    return Statement(true_value.item, true_value.property, value, rank, said)


def with_answers(text: str, store: GraphStore) -> str:
    """The document of Cypher with the answers that a filled store gives; for whoever changed a query."""

    def answered(section: re.Match[str]) -> str:
        lookup = _lookup("cypher", section["question"], section["text"])
        result = store.query(lookup.query, lookup.params)
        table = [result.columns, ["---"] * len(result.columns), *shown(result)]
        lines = [line for line in section[0].rstrip().splitlines() if not line.startswith("|")]
        return (
            "\n".join(
                [
                    *lines,
                    *([""] if lines[-1] else []),
                    *("| " + " | ".join(row) + " |" for row in table),
                ]
            )
            + "\n\n"
        )

    return SECTION.sub(answered, text).rstrip() + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, open_store(f"ladybug:{folder}/graph") as filled:
        fill(filled)
        document = DOCS / "cypher.md"
        document.write_text(
            with_answers(document.read_text(encoding="utf-8"), filled), encoding="utf-8"
        )
