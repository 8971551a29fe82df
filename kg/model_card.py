"""The model card of a model folder: a page in the form of Hugging Face's, and its metadata.

The head is YAML, whose ``model-index`` has the measured figures
(https://huggingface.co/docs/hub/model-cards). The text says the same for people. Both follow from
the files of the folder alone: a figure without an interval is in neither table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kg.home_models import Kind, model_digests, model_kind, whole_file
from kg.markdown import cell, more, row, section
from kg.model_facts import LEFT_OUT, Measured, ModelFacts, Numbers
from schema.documents import parse_json_object
from schema.errors import CatalographError, ModelError
from schema.files import write_atomically
from schema.manifests import CALIBRATION, CARD, CARD_FACTS, CONFIG, ONTOLOGY
from schema.ontology import Ontology

TARGET = 0.99
"""The target precision of which the page tells how far it is proven."""
_LISTED = 60
"""Properties that a table lists."""
_KNOWN_LICENCES = (
    "apache-2.0 mit bsd-2-clause bsd-3-clause cc0-1.0 cc-by-4.0 cc-by-sa-4.0 cc-by-nc-4.0 "
    "cc-by-nc-sa-4.0 cc-by-nd-4.0 gpl-3.0 lgpl-3.0 agpl-3.0 mpl-2.0 odbl pddl openrail unlicense"
).split()
"""Those of the hub's licences that are likely; another one is "other" with its name."""
_TASKS = {
    "completion": ("graph-ml", "Completion of missing property values"),
    "classification": ("tabular-classification", "Category of an item"),
    "alignment": ("tabular-classification", "Same product or not, of two items"),
    "matching": ("text-ranking", "Match of a query and an item"),
    "match": ("text-ranking", "Match of a query and an item"),
    "attributes": ("token-classification", "Property values in titles"),
    "qa": ("question-answering", "Questions about an item"),
    "same-products": ("sentence-similarity", "Retrieval of the same product"),
}
"""The hub's task and a name for each task that is measured."""
_OTHER_TASK = ("other", "Another task")
_TAGS = {
    Kind.EXPERTS: ("knowledge-graph-completion", "safetensors"),
    Kind.NETWORK: ("knowledge-graph-completion", "safetensors"),
    Kind.BOTH: ("knowledge-graph-completion", "safetensors"),
    Kind.ALIGNMENT: ("entity-resolution",),
}
_DOES = {
    Kind.EXPERTS: "It ranks the values that an item's missing properties may have, each with a "
    "calibrated probability. It is a stack of closed-form experts (kernel ridge regression on "
    "title, description, image, category and known statements) joined by a stacker.",
    Kind.NETWORK: "It is a network that ranks the values that an item's missing properties may "
    "have, from its title, image and known statements.",
    Kind.BOTH: "It ranks the values that an item's missing properties may have, each with a "
    "calibrated probability: closed-form experts, and a network that joins them where it helps.",
    Kind.ALIGNMENT: "It tells how probably two items are the same product.",
}


def write_card(folder: Path) -> Path:
    """Write the card of a model folder, and return its path.

    Raises ModelError if the folder or the facts in it are damaged.
    """
    path = folder / CARD
    write_atomically(path, card_text(folder))
    return path


def card_text(folder: Path) -> str:
    """Return the card of a model folder; raises ModelError as :func:`write_card` does."""
    return _Card(folder, ModelFacts.read(folder)).text()


class _Card:
    """What the page is written from."""

    def __init__(self, folder: Path, facts: ModelFacts) -> None:
        digests = model_digests(folder)
        self.name = folder.resolve().name
        self.facts = facts
        self.kind = model_kind(folder, digests)
        try:
            self.config = parse_json_object(whole_file(folder, CONFIG, digests))
            text = whole_file(folder, ONTOLOGY, digests).decode()
            self.ontology = Ontology.from_toml(text, str(folder / ONTOLOGY))
            self.calibration: Mapping[str, Any] | None = None
            if CALIBRATION in digests:
                self.calibration = parse_json_object(whole_file(folder, CALIBRATION, digests))
        except ModelError:
            raise
        except (ValueError, CatalographError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{folder} cannot be read ({reason}): train again") from None

    def text(self) -> str:
        import yaml

        head = yaml.safe_dump(self.metadata(), sort_keys=False, allow_unicode=True, width=1000)
        lines = [
            "---",
            f"# From {CARD_FACTS}; `catalograph model card` writes this page, and no edit stays.",
            head.rstrip("\n"),
            "---",
            "",
            *self.lines(),
        ]
        return "\n".join(lines) + "\n"

    def metadata(self) -> dict[str, Any]:
        """Return what the head says."""
        document: dict[str, Any] = dict(_licence(self.facts.licence))
        document["library_name"] = "catalograph"
        if self.kind is not Kind.ALIGNMENT:
            document["pipeline_tag"] = "graph-ml"
        document["tags"] = ["catalograph", "product-graph", *_TAGS[self.kind]]
        if self.facts.trained_on is not None:
            document["datasets"] = [dataset_id(self.facts.trained_on.digest)]
        results = [self._result(each) for each in self.facts.measured]
        results = [each for each in results if each["metrics"]]
        if results:
            names = [metric["type"] for each in results for metric in each["metrics"]]
            document["metrics"] = list(dict.fromkeys(names))
            document["model-index"] = [{"name": self.name, "results": results}]
        return document

    def _result(self, measured: Measured) -> dict[str, Any]:
        task, name = _TASKS.get(measured.task, _OTHER_TASK)
        told = f"{name}, {measured.setting}" if measured.setting else name
        return {
            "task": {"type": task, "name": told},
            "dataset": {
                "type": dataset_id(measured.digest),
                "name": f"{measured.count:,} of the catalogue {measured.digest[:12]}…",
                "split": measured.part,
                "revision": measured.digest,
            },
            "metrics": [
                {
                    "type": metric,
                    "value": round(value, 6),
                    "name": f"{metric} ({about})" if about else metric,
                    "args": {"low": round(low, 6), "high": round(high, 6), "confidence": 0.95},
                }
                for about, metrics in measured.figures.items()
                for metric, (value, low, high) in metrics.items()
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield the text."""
        yield f"# {cell(self.name)}"
        yield ""
        yield (
            "A model of Catalograph, which turns a product catalogue into a product graph and "
            f"completes it. {_DOES[self.kind]}"
        )
        if self.facts.about:
            yield ""
            yield self.facts.about.strip()
        if self.kind is not Kind.ALIGNMENT:
            yield from self._completes()
        yield from self._trained_on()
        yield from self._figures()
        if self.kind is not Kind.ALIGNMENT:
            yield from self._proven()
        yield from self._limits()
        yield from self._use()
        yield from self._made_with()

    def _completes(self) -> Iterator[str]:
        learned = self.ontology.learned()
        yield from section("What it completes", ("property", "datatype", "values"), "llr")
        for name in list(learned)[:_LISTED]:
            spec = self.ontology[name]
            yield row(name, str(spec.datatype), f"{len(spec.values):,}")
        yield from more(len(learned) - _LISTED, "properties")

    def _trained_on(self) -> Iterator[str]:
        yield ""
        yield "## What it was trained on"
        yield ""
        found = self.facts.trained_on
        if found is None:
            yield "That was not recorded when it was trained."
            return
        learned = self.config.get("items")
        parts = self.config.get("learned") or ["train"]
        own = f", of which it learned from {learned:,}" if isinstance(learned, int) else ""
        how = (
            f"Learned from the {_listed(parts)} part{'s' if len(parts) > 1 else ''} of the split "
            f"{cell(found.split)}."
        )
        if self.kind is Kind.ALIGNMENT:
            own, how = "", "Learned from labelled pairs of its items."
        yield (
            f"{found.items:,} items with {found.statements:,} statements{own}. {how} SHA-256 of "
            f"the items and statements: `{found.digest}`."
        )
        yield from section("Sources", ("source", "items"), "lr", level=3)
        for name, count in list(found.sources.items())[:_LISTED]:
            yield row(name, f"{count:,}")
        yield from more(len(found.sources) - _LISTED, "sources")

    def _figures(self) -> Iterator[str]:
        yield ""
        yield "## Figures"
        yield ""
        if not self.facts.measured:
            yield (
                "None was measured with an interval yet: `catalograph evaluate` measures, and "
                "writes them here."
            )
            return
        yield "Each with the 95% interval over resampled items (or queries, or pairs)."
        for each in self.facts.measured:
            _, name = _TASKS.get(each.task, _OTHER_TASK)
            yield ""
            yield f"### {cell(name)}: {cell(each.setting or 'as it is')}"
            yield ""
            yield f"{_told_part(each)} {each.time[:10]}, data `{each.digest[:12]}…`."
            metrics = list(dict.fromkeys(name for found in each.figures.values() for name in found))
            yield ""
            yield row("", *metrics)
            yield "|---|" + "---:|" * len(metrics)
            for about, found in list(each.figures.items())[: _LISTED + 2]:
                cells = [_told(found[metric]) if metric in found else "" for metric in metrics]
                yield row(about or "all", *cells)
            yield from more(len(each.figures) - 2 - _LISTED, "properties")

    def _proven(self) -> Iterator[str]:
        yield ""
        yield "## Calibration"
        yield ""
        proven = (self.calibration or {}).get("proven")
        if not isinstance(proven, Mapping) or not proven:
            yield (
                "Nothing is proven: there were no cells to calibrate it by, so that it proposes "
                "values for review and fills none."
            )
            return
        yield (
            f"A value is filled in where a precision of {TARGET} is proven with 95% confidence, in "
            "the situation of its item: which of title, image, category and statements it has. The "
            "table tells in how many situations that is so for a property, and the share of its "
            "cells that are filled in the best of them."
        )
        columns = (
            "property",
            "situations",
            f"proven at {TARGET}",
            "share at best",
            "highest target",
        )
        yield from section(None, columns, "lrrrr")
        found = _proven_by_property(proven)
        for name, (situations, shares, highest) in list(found.items())[:_LISTED]:
            share = f"{max(shares):.1%}" if shares else "none"
            told = "none" if highest is None else f"{highest:g}"
            yield row(name, str(situations), str(len(shares)), share, told)
        yield from more(len(found) - _LISTED, "properties")

    def _limits(self) -> Iterator[str]:
        yield ""
        yield "## Limits"
        yield ""
        if self.kind is Kind.ALIGNMENT:
            yield "- Its probabilities hold for pairs like those that it learned from."
        else:
            yield (
                "- It answers the properties and ranks the values above"
                ", and what is written in an item's own text; other values it does not know."
            )
            yield (
                "- Its probabilities and precisions hold for items like those that it learned "
                "from. With another catalogue, or when the catalogue changes, evaluate again."
            )
        yield (
            "- It repeats what the catalogue says, errors and one-sidedness included. Where a "
            "wrong value does harm (allergens, safety, law), let a person decide."
        )
        if any(each.part == LEFT_OUT for each in self.facts.measured):
            yield (
                "- Figures of items that were left out one at a time are of the experts, without "
                "a network beside them."
            )
        if self.kind in (Kind.EXPERTS, Kind.BOTH) and any(
            each.task == "completion" and each.part != LEFT_OUT for each in self.facts.measured
        ):
            yield (
                "- Experts that had learned from the items of a part were fitted again without "
                "them, to be measured on it."
            )

    def _use(self) -> Iterator[str]:
        yield ""
        yield "## How to use it"
        yield ""
        yield "In a catalogue that was loaded with `catalograph ingest`, with this folder at hand:"
        yield ""
        yield "```sh"
        if self.kind is Kind.ALIGNMENT:
            yield f"catalograph align --model {self.name} --pairs pairs.csv"
        else:
            yield f"catalograph complete --model {self.name} --out filled.jsonl"
            yield f"catalograph evaluate completion --model {self.name}"
        yield "```"

    def _made_with(self) -> Iterator[str]:
        found = self.facts.trained_on
        yield ""
        yield "## How it was made"
        yield ""
        names = ("preset", "size", "step")
        told = [
            f"{name} {self.config[name]}"
            for name in names
            if self.config.get(name) not in ("", None)
        ]
        if found is not None:
            told.append(f"on {found.time[:10]}")
            told += [f"{name} {version}" for name, version in found.versions.items()]
        yield f"{', '.join(told)}."


def dataset_id(digest: str) -> str:
    """Return a name for a catalogue's data, by the digest in its data card."""
    return f"catalogue-{digest[:12]}"


def _licence(licence: str | None) -> Iterator[tuple[str, str]]:
    if licence is None:
        return
    plain = re.sub(r"[^a-z0-9.]+", "-", licence.casefold()).strip("-")
    if plain in _KNOWN_LICENCES:
        yield "license", plain
    else:
        yield "license", "other"
        yield "license_name", plain or "other"


def _proven_by_property(
    proven: Mapping[str, Any],
) -> dict[str, tuple[int, list[float], float | None]]:
    """Return for each property its situations, its shares at the target, its highest precision."""
    found: dict[str, tuple[int, list[float], float | None]] = {}
    for properties in proven.values():
        for name, property in properties.items():
            situations, shares, highest = found.get(name, (0, [], None))
            steps = property["steps"]
            best = max((step[2] for step in steps if step[0] >= TARGET), default=None)
            if best is not None:
                shares = [*shares, float(best)]
            highest = max((highest or 0.0, *(float(step[0]) for step in steps)))
            found[name] = situations + 1, shares, highest or None
    return dict(sorted(found.items()))


def _told_part(measured: Measured) -> str:
    count = f"{measured.count:,}"
    if measured.part == LEFT_OUT:
        return f"{count} items, each scored as if it had been left out of the training."
    if measured.task == "alignment":
        return f"{count} pairs: {cell(measured.part)}."
    return f"{count} of the {measured.part} part of the split {cell(measured.split)}."


def _told(numbers: Numbers) -> str:
    value, low, high = numbers
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _listed(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
