"""The file of a language model's settings: what it may say, and that it holds no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from experts.language_model.settings import (
    BudgetSettings,
    LanguageModelSettings,
    parse_settings,
    read_settings,
)
from schema.errors import CatalographWarning, SourceNotFoundError, UsageError

LEAST = {"url": "http://localhost:8000/v1", "model": "m"}


def test_a_file_says_everything(tmp_path: Path) -> None:
    file = tmp_path / "llm.toml"
    file.write_text(
        'url = "https://api.example.com/v1"\nmodel = "m"\napi_key_env = "KEY"\nimages = true\n'
        "items_per_request = 3\nparallel_requests = 2\ntimeout_seconds = 5\nretries = 1\n"
        "[budget]\ncalls = 7\nmoney = 2\ninput_price = 0.5\noutput_price = 1.5\n"
        "[request]\ntemperature = 0.5\nseed = 1\n"
    )
    settings = read_settings(file)
    assert settings.address == "https://api.example.com/v1/chat/completions"
    assert settings.images
    assert settings.budget == BudgetSettings(7, 2, 0.5, 1.5)
    assert settings.budget.price(1_000_000, 2_000_000) == 3.5
    assert settings.request == {"temperature": 0.5, "seed": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": ""}, "url is missing"),
        ({"model": 3}, "model is missing"),
        ({"url": "ftp://host/v1"}, "no address of a server"),
        ({"url": "http://host:99999/v1"}, "no address"),
        ({"url": "http://me:hush@host/v1"}, "must not hold a user or a password"),
        ({"url": "http://host/v1?key=1"}, "more than a server and a path"),
        ({"api_key": "hush"}, "does not belong in a file"),
        ({"itemsperrequest": 3}, "did you mean items_per_request"),
        ({"items_per_request": 0}, "below its minimum 1"),
        ({"items_per_request": 2.5}, "set items_per_request to a whole number"),
        ({"retries": True}, "does not fit"),
        ({"timeout_seconds": float("nan")}, "does not fit"),
        ({"answer_format": "xml"}, "use one of json_object"),
        ({"budget": {"call": 3}}, "did you mean calls"),
        ({"budget": {"money": 3}}, "needs prices"),
        ({"budget": {"calls": -1}}, "budget.calls"),
        ({"budget": 3}, "set budget to a table"),
        ({"request": {"tools": []}}, "request.tools is not yours to set"),
        ({"request": {"messages": []}}, "request.messages is not yours to set"),
        ({"request": {"seed": float("inf")}}, "what JSON cannot say"),
    ],
)
def test_what_does_not_fit_is_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_settings(LEAST | given)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_missing_or_broken_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"language_models\.md has an example"):
        read_settings(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("url =")
    with pytest.raises(UsageError, match=r"broken\.toml cannot be read as TOML"):
        read_settings(broken)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_settings(LEAST).api_key() is None
    settings = parse_settings(LEAST | {"api_key_env": "MY_KEY"})
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="MY_KEY has no API key"):
        settings.api_key()
    monkeypatch.setenv("MY_KEY", "hush\n")
    assert settings.api_key() == "hush"
    assert "hush" not in repr(settings)


def test_a_key_in_the_clear_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "hush")
    settings = LanguageModelSettings("http://elsewhere.example/v1", "m", api_key_env="MY_KEY")
    with pytest.warns(CatalographWarning, match="without encryption"):
        settings.api_key()
