"""Checks of a store's URL, which is shown, logged and saved, and so must not hold a secret."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from schema.errors import UsageError


def checked_url(url: str) -> str:
    """Return a store's URL; raises UsageError if it has a user, a password, a query or a fragment.

    The message does not repeat what may be a password.
    """
    location = url.partition("://")[2]
    if "@" in location:
        raise UsageError(
            "a store's URL must not hold a user or password, because it is shown and saved: "
            "set NEO4J_USERNAME and NEO4J_PASSWORD, or CATALOGRAPH_SPARQL_USERNAME and "
            "CATALOGRAPH_SPARQL_PASSWORD, or keep Neo4j's password in a keyring"
        )
    if "?" in location or "#" in location:
        allowed = url.partition("?")[0].partition("#")[0]
        raise UsageError(
            f"a store's URL ends with its path, but this one goes on after {allowed!r}: "
            "remove the rest"
        )
    return url


def split_server_url(url: str, example: str) -> SplitResult:
    """Split the URL of a server; raises UsageError if it has no host or no valid port.

    The message recommends the ``example``.
    """
    try:
        parts = urlsplit(checked_url(url))
        _ = parts.port  # urlsplit checks the port only when it is read
    except ValueError as error:
        raise UsageError(f"{url!r} is not a server's URL ({error}): write {example}") from None
    if not parts.hostname:
        raise UsageError(f"{url!r} names no server: write {example}")
    return parts
