"""A store's URL, which is shown, logged and kept, and so holds no secret."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from schema.errors import UsageError


def checked_url(url: str) -> str:
    """The URL of a store; raises UsageError, which does not repeat it, on a user, a password or a query in it."""
    place = url.partition("://")[2]
    if "@" in place:
        mend = "set NEO4J_USERNAME and NEO4J_PASSWORD, or CATALOGRAPH_SPARQL_USERNAME and CATALOGRAPH_SPARQL_PASSWORD"
        raise UsageError(
            f"a store's URL holds no user and password, since it is shown: {mend}, or keep Neo4j's password in a keyring"
        )
    if "?" in place or "#" in place:
        kept = url.partition("?")[0].partition("#")[0]
        raise UsageError(
            f"a store's URL ends with its path, and this one goes on after {kept!r}: cut the rest off"
        )
    return url


def server_parts(url: str, example: str) -> SplitResult:
    """The parts of a server's URL, which names a host; raises UsageError with the ``example`` where it does not, or names no port."""
    try:
        parts = urlsplit(checked_url(url))
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no server's URL ({error}): write {example}") from None
    if not parts.hostname:
        raise UsageError(f"{url!r} names no server: write {example}")
    return parts
