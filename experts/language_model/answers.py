"""What a language model answered: read without trust, and only as far as it fits what was asked."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.language_model.prompt import Entry
from experts.language_model.settings import is_amount
from schema.documents import parse_json
from schema.literals import UNPARSED
from schema.ontology import PropertySpec
from schema.terminal import printable

MAX_VALUE = 200
"""Characters of a value, or of a span; a longer one is no answer."""
MAX_REASON = 160
"""Characters of a reason; what comes after them is left out."""

_FENCE = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_THOUGHT = "</think>"

RawAnswer = Mapping[str, Any]
"""An answer as the model gave it: value, confidence, span and reason."""


class Flaw(StrEnum):
    """What was wrong with an answer."""

    NO_JSON = "no_json"
    """The model answered something that is no JSON, or is cut off."""
    NO_ANSWERS = "no_answers"
    """It answered JSON that is no list of answers."""
    UNKNOWN_ITEM = "unknown_item"
    """An answer names an item that is not in the request."""
    NOT_ASKED = "not_asked"
    """An answer names a property that was not asked of the item."""
    REPEATED = "repeated"
    """The item's property was answered before: the first answer counts."""
    BAD_VALUE = "bad_value"
    """The value is no value: a list, a text of many lines, or none of the datatype."""
    BAD_CONFIDENCE = "bad_confidence"
    """The confidence is no number from 0 to 1."""
    SPAN_NOT_FOUND = "span_not_found"
    """The item's texts do not hold the span: the answer counts, the span does not."""
    OMITTED = "omitted"
    """A property was asked and not answered."""


@dataclass(frozen=True)
class CellAnswer:
    """The answer for a cell.

    Attributes:
        value: the value; None if the model says that the item does not tell
        position: its position in the property's vocabulary; None if it is not in it
        confidence: the probability that the model gives it
        span: the part of the item's texts that says it, verbatim, or None
        reason: how else the model knows, in its own words, or None
    """

    value: str | None
    position: int | None
    confidence: float
    span: str | None = None
    reason: str | None = None

    @property
    def open_value(self) -> str | None:
        """The value, if the vocabulary does not have it."""
        return self.value if self.position is None else None

    def scores(self, values: int) -> NDArray[np.float32] | None:
        """Return the confidence at the answered one of ``values`` V, and 0 at the others, [V].

        None if no value of the vocabulary was answered.
        """
        if self.position is None:
            return None
        scores = np.zeros(values, np.float32)
        scores[self.position] = self.confidence
        return scores

    def evidence(self) -> dict[str, Any]:
        """Return where the answer comes from, as plain data."""
        evidence: dict[str, Any] = {"value": self.value, "confidence": round(self.confidence, 4)}
        if self.span is not None:
            evidence["span"] = self.span
        if self.reason is not None:
            evidence["reason"] = self.reason
        return evidence


def read_answers(
    content: str, entries: Mapping[str, Entry], flaws: Counter[Flaw]
) -> dict[tuple[str, str], RawAnswer]:
    """Return what a model answered, by entry id and property, as far as that was asked.

    All else is counted in ``flaws``, and so is what was asked and not answered.
    """
    found: dict[tuple[str, str], RawAnswer] = {}
    answers = _listed(content, flaws)
    if answers is None:
        return found
    for answer in answers:
        if not isinstance(answer, dict):
            flaws[Flaw.NO_ANSWERS] += 1
            continue
        id, name = answer.get("item"), answer.get("property")
        if not isinstance(id, str) or id not in entries:
            flaws[Flaw.UNKNOWN_ITEM] += 1
        elif not isinstance(name, str) or name not in entries[id].asked:
            flaws[Flaw.NOT_ASKED] += 1
        elif (id, name) in found:
            flaws[Flaw.REPEATED] += 1
        else:
            found[id, name] = {
                key: _shortened(answer.get(key))
                for key in ("value", "confidence", "span", "reason")
            }
    asked = sum(len(entry.asked) for entry in entries.values())
    flaws[Flaw.OMITTED] += asked - len(found)
    return found


def checked_answer(
    raw: RawAnswer, spec: PropertySpec, texts: Mapping[str, str], flaws: Counter[Flaw]
) -> CellAnswer | None:
    """Return an answer as far as it fits the property and the item's texts.

    None if it does not; what is wrong with it is counted in ``flaws``.
    """
    confidence = raw.get("confidence")
    if raw.get("value") is None:
        # The confidence of not knowing means nothing to us.
        return CellAnswer(None, None, float(confidence) if is_amount(confidence, 1) else 0.0)
    if not is_amount(confidence, 1):
        flaws[Flaw.BAD_CONFIDENCE] += 1
        return None
    value = _value(raw["value"], spec)
    if value is None:
        flaws[Flaw.BAD_VALUE] += 1
        return None
    position = spec.position(value)
    if position is not None:
        value = spec.values[position]
    span = raw.get("span")
    if not isinstance(span, str) or not span.strip():
        span = None
    elif not any(span in text for text in texts.values()):
        flaws[Flaw.SPAN_NOT_FOUND] += 1
        span = None
    return CellAnswer(value, position, float(confidence), span, _reason(raw.get("reason")))


def _listed(content: str, flaws: Counter[Flaw]) -> list[Any] | None:
    """Return the list of answers in a model's text; None if there is none."""
    # Models that think aloud, and those that write Markdown whatever they are asked for.
    _, _, text = content.rpartition(_THOUGHT)
    fenced = _FENCE.fullmatch(text)
    try:
        document = parse_json(fenced[1] if fenced else text)
    except ValueError:
        flaws[Flaw.NO_JSON] += 1
        return None
    answers = document.get("answers") if isinstance(document, dict) else None
    if not isinstance(answers, list):
        flaws[Flaw.NO_ANSWERS] += 1
        return None
    return answers


def _shortened(value: object) -> Any:
    """Return a scalar as it is, a text no longer than is looked at, and nothing else."""
    if isinstance(value, str):
        return value[: MAX_VALUE + 1]
    # A whole number of thousands of digits could not even be written.
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return value if value is None or isinstance(value, bool | int | float) else False


def _value(value: object, spec: PropertySpec) -> str | None:
    """Return a value as the property's values are written; None if it cannot be one."""
    if isinstance(value, bool):
        if spec.datatype != "boolean":
            return None
        return _truth_value(value, spec)
    if isinstance(value, int | float):
        text = f"{value:.15g}"
        if spec.unit and spec.position(text) is None:
            text = f"{text} {spec.unit}"
    elif isinstance(value, str):
        text = unicodedata.normalize("NFC", value).strip()
    else:
        return None
    if not text or len(text) > MAX_VALUE or printable(text) != text or "\n" in text:
        return None
    if spec.position(text) is None and spec.datatype not in UNPARSED and spec.parse(text) is None:
        return None
    if spec.datatype == "boolean" and spec.position(text) is None:
        return _truth_value(bool(spec.parse(text)), spec)
    return text


def _truth_value(truth: bool, spec: PropertySpec) -> str:
    """Return the word for a truth value that the vocabulary has, or else an English one."""
    same = (text for text in spec.values if spec.parse(text) is truth)
    return next(same, "yes" if truth else "no")


def _reason(reason: object) -> str | None:
    if not isinstance(reason, str) or not reason.strip():
        return None
    return " ".join(printable(reason).split())[:MAX_REASON]
