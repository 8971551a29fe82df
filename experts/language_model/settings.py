"""The settings of a language model: where it is, what it is sent, and what it may cost.

They are a TOML file that the user writes. It names the environment variable that has the API key,
and never the key itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import math
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from schema.documents import read_toml
from schema.errors import CatalographWarning, SourceNotFoundError, UsageError
from schema.settings import Limits, check_limits, check_type, shown

MAX_BYTES = 1 << 20
PATH = "/chat/completions"
ANSWER_FORMATS = ("json_object", "json_schema", "text")
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
RESERVED = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "response_format",
        "n",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "web_search_options",
        *TOKEN_LIMITS,
    }
)
"""Members of a request that are ours to set. A model that is given tools could act by them."""

LIMITS = {
    "image_size": Limits(32, 2048),
    "items_per_request": Limits(1, 100),
    "properties_per_request": Limits(1, 100),
    "values_per_property": Limits(1, 5000),
    "text_characters": Limits(100, 100_000),
    "parallel_requests": Limits(1, 64),
    "timeout_seconds": Limits(0.1, 3600),
    "retries": Limits(0, 20),
    "backoff_seconds": Limits(0.001, 600),
    "longest_wait_seconds": Limits(0, 3600),
    "answer_tokens": Limits(50, 200_000),
    "training_cells": Limits(1, 1_000_000),
    "calls": Limits(0, 10_000_000),
    "money": Limits(0, 1_000_000),
    "input_price": Limits(0, 1_000_000),
    "output_price": Limits(0, 1_000_000),
    "image_tokens": Limits(0, 1_000_000),
}
_EXAMPLES = {"money": 5.0}
"""What a setting without a default looks like."""


@dataclass(frozen=True)
class BudgetSettings:
    """What the model may be asked at most.

    Prices are for a million tokens, in the currency in which ``money`` is. ``image_tokens`` is what
    an image is taken to count, as long as the server has not said what a call took.
    """

    calls: int = 500
    money: float | None = None
    input_price: float = 0.0
    output_price: float = 0.0
    image_tokens: int = 1500

    def price(self, input_tokens: int, output_tokens: int) -> float:
        """Return what so many tokens cost."""
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1e6


@dataclass(frozen=True)
class LanguageModelSettings:
    """How a language model is asked.

    Attributes:
        url: where the API begins, such as ``http://localhost:8000/v1``
        model: its name there
        api_key_env: the environment variable that has the API key; empty if none is needed
        images: whether it is sent images
        image_size: their longer side in pixels
        statements: whether it is sent the other statements of an item
        items_per_request: items that a request asks about at most
        properties_per_request: properties of an item that a request asks for at most
        values_per_property: values of a property that it is given to choose from at most
        text_characters: characters of an item's text that are sent at most
        parallel_requests: requests that run at once
        timeout_seconds: how long an answer may take
        retries: how often a request is sent again after a passing failure
        backoff_seconds: the pause before it is sent again, which doubles each time
        longest_wait_seconds: the longest pause; a server that asks for more is given up
        answer_format: how JSON is asked for, see ``ANSWER_FORMATS``
        answer_tokens: tokens of an answer at most
        token_limit: the name of that limit, see ``TOKEN_LIMITS``
        training_cells: labelled cells that it is asked for at most to learn its weight
        request: further members of each request, such as the temperature
        budget: what it may be asked at most
    """

    url: str
    model: str
    api_key_env: str = ""
    images: bool = False
    image_size: int = 448
    statements: bool = True
    items_per_request: int = 8
    properties_per_request: int = 12
    values_per_property: int = 150
    text_characters: int = 4000
    parallel_requests: int = 4
    timeout_seconds: float = 120.0
    retries: int = 3
    backoff_seconds: float = 1.0
    longest_wait_seconds: float = 120.0
    answer_format: str = "json_object"
    answer_tokens: int = 4000
    token_limit: str = "max_tokens"
    training_cells: int = 2000
    request: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})
    budget: BudgetSettings = BudgetSettings()

    @property
    def address(self) -> str:
        """The address that requests are sent to."""
        return self.url if self.url.endswith(PATH) else self.url.rstrip("/") + PATH

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return _is_loopback(urlsplit(self.url).hostname or "")

    def api_key(self) -> str | None:
        """Read the API key from the environment; raises UsageError if it is not there."""
        if not self.api_key_env:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise UsageError(
                f"the environment variable {self.api_key_env} has no API key: set it, or remove "
                "api_key_env from the language model's file if the server needs none"
            )
        if not key.isascii() or not key.isprintable():
            raise UsageError(
                f"the environment variable {self.api_key_env} has characters that no API key has: "
                "set it to the key alone"
            )
        if urlsplit(self.url).scheme == "http" and not self.is_local:
            warnings.warn(
                f"the API key and the items are sent to {self.url} without encryption: "
                "use https if others can read along",
                CatalographWarning,
                stacklevel=2,
            )
        return key


def read_settings(path: Path) -> LanguageModelSettings:
    """Read the settings of a language model.

    Raises SourceNotFoundError if there is no such file, UsageError if it says anything that is not
    a setting or is beyond a setting's limits.
    """
    try:
        document = read_toml(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise SourceNotFoundError(
            f"no file {path} with the settings of a language model: "
            "docs/language_models.md has an example"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as TOML ({error}): correct it") from None
    try:
        return parse_settings(document)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse_settings(document: Mapping[str, Any]) -> LanguageModelSettings:
    """Return the settings that a document makes; raises UsageError if they do not fit."""
    given = dict(document)
    if "api_key" in given:
        raise UsageError(
            "an API key does not belong in a file: put it into an environment variable, and name "
            'that with api_key_env = "NAME"'
        )
    budget = given.pop("budget", {})
    check_type("budget", budget, {})
    for name in ("url", "model"):
        if not isinstance(given.get(name), str) or not given[name].strip():
            raise UsageError(f'{name} is missing: add {name} = "..."')
    _check(given, dataclasses.fields(LanguageModelSettings))
    _check(budget, dataclasses.fields(BudgetSettings), "budget.")
    settings = LanguageModelSettings(**given, budget=BudgetSettings(**budget))
    _check_url(settings.url)
    _check_choice("answer_format", settings.answer_format, ANSWER_FORMATS)
    _check_choice("token_limit", settings.token_limit, TOKEN_LIMITS)
    _check_request(settings.request)
    limits = settings.budget
    if limits.money is not None and not (limits.input_price or limits.output_price):
        raise UsageError(
            f"budget.money={limits.money} needs prices: add input_price and output_price for a "
            "million tokens"
        )
    return settings


def _check(
    given: Mapping[str, Any], fields: Iterable[dataclasses.Field[Any]], prefix: str = ""
) -> None:
    """Check names, types and limits of what is given."""
    known = {each.name: each for each in fields if each.name != "budget"}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"{prefix}{shown(name)} is no setting of a language model: {advice}")
        default = _EXAMPLES.get(name, known[name].default)
        if default is dataclasses.MISSING:
            default = {} if name == "request" else ""
        check_type(prefix + name, value, default)
        if name in LIMITS:
            check_limits(prefix + name, value, LIMITS[name])


def _check_url(url: str) -> None:
    example = "write https://HOST/v1 or http://HOST:PORT/v1"
    try:
        parts = urlsplit(url)
        _ = parts.port  # checked only when it is read
    except ValueError as error:
        raise UsageError(f"url={shown(url)} is no address ({error}): {example}") from None
    if "@" in parts.netloc:
        # The message does not repeat what may be a password.
        raise UsageError(
            "url must not hold a user or a password: name the key's variable in api_key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"url={shown(url)} is no address of a server: {example}")
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"url={shown(url)} has more than a server and a path: {example}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name}={shown(value)} is unknown: use one of {', '.join(choices)}")


def _check_request(request: Mapping[str, Any]) -> None:
    taken = sorted(RESERVED & request.keys())
    if taken:
        raise UsageError(
            f"request.{taken[0]} is not yours to set: remove it; of a request's members only those "
            "such as temperature, seed or top_p may be given"
        )
    try:
        json.dumps(request, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"request holds what JSON cannot say ({error}): use texts, numbers, lists and tables"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_amount(value: object, greatest: float = math.inf) -> TypeGuard[float]:
    """Return whether a value of unknown origin is a number from 0 to ``greatest``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # NaN is not between any limits.
    return 0 <= value <= greatest
