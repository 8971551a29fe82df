"""Tokens of the API: made, found by their hash alone, revoked, and past their time."""

from datetime import UTC, datetime, timedelta

import pytest

from schema.errors import UsageError
from schema.ledger import Ledger
from schema.ledger_tokens import TokenRecords
from schema.ledger_verification import verify_ledger
from schema.tokens import PREFIX, Scope, digest_of, new_token, scopes_with


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def records(path):
    with Ledger(f"sqlite:///{path}") as ledger:
        yield TokenRecords(ledger)


def test_a_token_is_found_by_its_hash_and_kept_nowhere(records, path):
    text, token = new_token("shop", [Scope.WRITE])
    records.add(token)
    assert records.find(digest_of(text)) == token
    assert records.find(digest_of(text + "x")) is None
    assert text.encode() not in path.read_bytes()
    assert text.startswith(PREFIX)
    assert verify_ledger(path) == []


def test_a_revoked_name_is_free_again(records):
    _, first = new_token("shop", [Scope.READ])
    records.add(first)
    with pytest.raises(UsageError, match="there is a token 'shop' already"):
        records.add(new_token("shop", [Scope.READ])[1])
    revoked = records.revoke("shop")
    assert "was revoked" in revoked.refusal(datetime.now(UTC))
    records.add(new_token("shop", [Scope.READ])[1])
    assert [each.revoked is None for each in records.all()] in ([False, True], [True, False])
    with pytest.raises(UsageError, match="no token 'till'"):
        records.revoke("till")


def test_a_token_is_refused_from_its_end_on():
    _, token = new_token("shop", [Scope.READ], days=1)
    moment = datetime.now(UTC)
    assert token.refusal(moment) is None
    assert "has expired" in str(token.refusal(moment + timedelta(days=1, seconds=1)))


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ([], set()),
        (["read"], {"read"}),
        (["review"], {"read", "review"}),
        (["write"], {"read", "write"}),
        (["admin"], {"read", "review", "write", "admin"}),
    ],
)
def test_scopes_include_others(scopes, allowed):
    assert scopes_with(map(Scope, scopes)) == allowed


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_a_name_has_to_be_printable(name):
    with pytest.raises(UsageError, match="printable"):
        new_token(name, [Scope.READ])
