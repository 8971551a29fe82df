"""Address, limits and credentials of a Neo4j server, read without a server."""

import pytest
from keyring.errors import KeyringLocked, NoKeyringError

from kg.stores.neo4j_server import Address, Credentials, Limits, read_credentials
from schema.errors import StoreError, UsageError

ADDRESS = Address("bolt://127.0.0.1:1", None)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    """No credentials in the environment, and no keyring."""
    for name in ("AUTH", "USERNAME", "PASSWORD", "DATABASE"):
        monkeypatch.delenv(f"NEO4J_{name}", raising=False)
    monkeypatch.setattr("keyring.get_password", _raise(NoKeyringError))


def _raise(error):
    def get_password(service, entry):
        raise error

    return get_password


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("neo4j://localhost", Address("neo4j://localhost:7687", None)),
        ("bolt+s://example.com:99/shoes", Address("bolt+s://example.com:99", "shoes")),
    ],
)
def test_url_is_split_into_server_and_database(url, address):
    assert Address.parse(url) == address


@pytest.mark.parametrize("url", ["http://localhost", "bolt://localhost/a/b", "bolt://localhost:x"])
def test_other_urls_are_refused(url):
    with pytest.raises(UsageError, match="HOST:7687/DATABASE"):
        Address.parse(url)


def test_database_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("NEO4J_DATABASE", "shoes")
    assert Address.parse("bolt://localhost").database == "shoes"
    assert Address.parse("bolt://localhost/hats").database == "hats"


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_invalid_limit_is_reported(monkeypatch, text):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_CONNECT", text)
    with pytest.raises(UsageError, match=f"CATALOGRAPH_NEO4J_CONNECT='{text}'.*like 10.0"):
        Limits.from_environment()


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("CATALOGRAPH_NEO4J_RETRY", "2.5")
    monkeypatch.setenv("CATALOGRAPH_NEO4J_POOL", "3")
    assert Limits.from_environment() == Limits(retry=2.5, pool=3)


def test_username_and_password_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    assert read_credentials(ADDRESS) == Credentials("neo4j", "secret")
    monkeypatch.setenv("NEO4J_USERNAME", "ada")
    assert read_credentials(ADDRESS) == Credentials("ada", "secret")
    assert "secret" not in repr(read_credentials(ADDRESS))


@pytest.mark.parametrize("password", [None, "unused"])
def test_neo4j_auth_none_means_no_credentials(monkeypatch, password):
    monkeypatch.setattr("keyring.get_password", _raise(AssertionError("the keyring was asked")))
    monkeypatch.setenv("NEO4J_AUTH", "none")
    if password is not None:
        monkeypatch.setenv("NEO4J_PASSWORD", password)
    assert read_credentials(ADDRESS) is None


@pytest.mark.parametrize("auth", ["ada/secret", "ada/secret/true"])
def test_neo4j_auth_may_give_user_and_password(monkeypatch, auth):
    monkeypatch.setenv("NEO4J_AUTH", auth)
    assert read_credentials(ADDRESS) == Credentials("ada", "secret")


@pytest.mark.parametrize("auth", ["secret", "secret/", "/secret", "a/secret/b", "None"])
def test_other_values_of_neo4j_auth_are_refused_and_not_shown(monkeypatch, auth):
    monkeypatch.setenv("NEO4J_AUTH", auth)
    with pytest.raises(UsageError, match="NEO4J_AUTH is neither none nor USER/PASSWORD") as caught:
        read_credentials(ADDRESS)
    assert "secret" not in str(caught.value)


def test_empty_neo4j_auth_counts_as_unset(monkeypatch):
    monkeypatch.setenv("NEO4J_AUTH", "")
    monkeypatch.setenv("NEO4J_PASSWORD", "secret")
    assert read_credentials(ADDRESS) == Credentials("neo4j", "secret")


def test_keyring_gives_the_password(monkeypatch):
    entries = {("catalograph", "neo4j@bolt://127.0.0.1:1"): "secret"}
    monkeypatch.setattr("keyring.get_password", lambda *entry: entries[entry])
    assert read_credentials(ADDRESS) == Credentials("neo4j", "secret")


@pytest.mark.parametrize(
    "advice",
    ["set NEO4J_PASSWORD", "keyring set catalograph neo4j@bolt://127", "NEO4J_AUTH=none"],
)
def test_missing_password_is_reported_with_all_ways_to_fix_it(advice):
    with pytest.raises(StoreError, match=f"no password for neo4j at bolt://127.*{advice}"):
        read_credentials(ADDRESS)


def test_locked_keyring_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr("keyring.get_password", _raise(KeyringLocked))
    with pytest.raises(StoreError, match="unlock it, or set NEO4J_PASSWORD") as caught:
        read_credentials(ADDRESS)
    assert "\n" not in str(caught.value)
