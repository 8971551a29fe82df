"""The commands about tokens: shown once, listed without their secret, revoked by name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from schema.tokens import PREFIX
from tests.commands.conftest import Call, assert_fails


def test_a_token_is_shown_once(call: Call) -> None:
    call("init")
    made = call("token", "add", "anna", "--scope", "review", "--scope", "write", "--json").json
    assert made["token"].startswith(PREFIX)
    assert made["scopes"] == ["review", "write"]
    listed = call("token", "list", "--json")
    assert made["token"] not in listed.out
    assert [each["name"] for each in listed.json] == ["anna"]
    assert made["token"].encode() not in Path("catalog/ledger.sqlite").read_bytes()
    plain = call("token", "add", "shop")
    assert plain.out.strip().startswith(PREFIX)
    assert "only time" in plain.err


def test_a_token_ends_after_its_days(call: Call) -> None:
    call("init")
    made = call("token", "add", "till", "--days", "2", "--json").json
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=1.9) < left <= timedelta(days=2)
    assert made["scopes"] == ["read"]


def test_a_revoked_token_is_told_and_its_name_is_free(call: Call) -> None:
    call("init")
    call("token", "add", "shop")
    assert_fails(call("token", "add", "shop"), 2, "'shop'", "token revoke shop")
    assert "revoked" in call("token", "revoke", "shop").out
    assert_fails(call("token", "revoke", "shop"), 2, "'shop'", "token list")
    assert call("token", "add", "shop").code == 0
    assert [bool(each["revoked"]) for each in call("token", "list", "--json").json].count(True) == 1


def test_a_name_or_time_that_is_none_is_refused(call: Call) -> None:
    call("init")
    assert_fails(call("token", "add", " "), 2, "printable")
    assert call("token", "add", "x", "--days", "0").code == 2
    assert call("token", "add", "x", "--scope", "all").code == 2
    assert call("token", "list").out.strip() == "no token"
