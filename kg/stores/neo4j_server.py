"""Where a Neo4j server is, who asks it, and what its errors mean."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kg.stores.url import server_parts
from schema.errors import QueryTimeoutError, StoreError, UsageError

if TYPE_CHECKING:
    from neo4j import Driver

SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
OLDEST = (5, 7)
"""The first server whose Community edition keeps relationships' properties unique."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server and one of its databases, the server's default where none is named; it holds no secret."""

    server: str
    database: str | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """``neo4j://HOST[:PORT][/DATABASE]``; raises UsageError on anything else, and on a password in it."""
        example = f"{url.partition(':')[0]}://HOST:7687/DATABASE"
        parts = server_parts(url, example)
        if parts.scheme not in SCHEMES or parts.path.count("/") > 1:
            raise UsageError(
                f"{url!r} names no Neo4j: write {example}, with one of the schemes {', '.join(SCHEMES)}"
            )
        place = f"{parts.hostname}:{parts.port or 7687}"
        database = parts.path.strip("/") or os.environ.get("NEO4J_DATABASE") or None
        return cls(f"{parts.scheme}://{place}", database)

    def __str__(self) -> str:
        return self.server + (f"/{self.database}" if self.database else "")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and connections: how long to wait to reach a server, for a free connection, and through an outage; from the environment."""

    connect: float = 10.0
    acquire: float = 30.0
    retry: float = 120.0
    pool: int = 8

    @classmethod
    def from_environment(cls) -> Limits:
        """``CATALOGRAPH_NEO4J_CONNECT`` and its like; raises UsageError on what is no number above 0."""
        given: dict[str, Any] = {}
        for name, kind in (("connect", float), ("acquire", float), ("retry", float), ("pool", int)):
            text = os.environ.get(f"CATALOGRAPH_NEO4J_{name.upper()}")
            if text is None:
                continue
            try:
                given[name] = kind(text)
            except ValueError:
                given[name] = 0
            if not given[name] > 0:
                raise UsageError(
                    f"CATALOGRAPH_NEO4J_{name.upper()}={text!r} is no number above 0: set it like {getattr(cls(), name)}"
                )
        return cls(**given)


def credentials(address: Address) -> tuple[str, str]:
    """User and password of a server, from the environment or else from the keyring's entry ``catalograph`` for the server."""
    user = os.environ.get("NEO4J_USERNAME", "neo4j")
    password = os.environ.get("NEO4J_PASSWORD")
    if password is None:
        password = _from_keyring(f"{user}@{address.server}")
    if password is None:
        raise StoreError(
            f"no password for {user} at {address}: set NEO4J_PASSWORD, or `keyring set catalograph {user}@{address.server}`"
        )
    return user, password


def _from_keyring(name: str) -> str | None:
    """The password of an entry; None where there is none, or no keyring; raises StoreError where the keyring stays shut."""
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password("catalograph", name)
    except NoKeyringError:
        return None
    except KeyringError as error:
        raise StoreError(
            f"the keyring gives no password for {name} ({_first_line(error)}): unlock it, or set NEO4J_PASSWORD"
        ) from None


def connect(address: Address, limits: Limits) -> Driver:
    """An open driver; raises StoreError where the server is not there, is too old, or knows the user otherwise."""
    try:
        import neo4j
    except ImportError:
        raise StoreError("Neo4j needs its driver: pip install 'catalograph[neo4j]'") from None
    # The driver tells of every attempt to reach a server that is away; who wants to read that sets up logging.
    logging.getLogger("neo4j").addHandler(logging.NullHandler())
    user, password = credentials(address)
    driver = neo4j.GraphDatabase.driver(
        address.server,
        auth=(user, password),
        connection_timeout=limits.connect,
        connection_acquisition_timeout=limits.acquire,
        max_transaction_retry_time=limits.retry,
        max_connection_pool_size=limits.pool,
        user_agent="catalograph",
        notifications_min_severity="OFF",
    )
    try:
        with said(address, user):
            agent = driver.get_server_info().agent
        version = tuple(
            int(part) for part in agent.partition("/")[2].split(".")[:2] if part.isdigit()
        )
        if version < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise StoreError(
                f"{address} is {agent}, older than {oldest}: upgrade it to Neo4j 5.26 LTS or later"
            )
    except BaseException:
        driver.close()
        raise
    return driver


@contextmanager
def said(address: Address, user: str = "", timeout: float | None = None) -> Iterator[None]:
    """Turn the driver's errors into ours, a line each; ``timeout`` in seconds is a query's limit."""
    from neo4j import exceptions

    try:
        yield
    except exceptions.AuthError:
        raise StoreError(
            f"{address} refused the user {user or 'neo4j'}: check NEO4J_USERNAME and NEO4J_PASSWORD"
        ) from None
    except (exceptions.ServiceUnavailable, exceptions.SessionExpired) as error:
        raise StoreError(
            f"no Neo4j answers at {address} ({_first_line(error)}): start it, or check host and port"
        ) from None
    except exceptions.Neo4jError as error:
        code = error.code or ""
        if timeout is not None and ("TransactionTimedOut" in code or "Terminated" in code):
            raise QueryTimeoutError(
                f"the query ran past its limit of {timeout:g} s: narrow it"
            ) from None
        if "AuthenticationRateLimit" in code:
            raise StoreError(
                f"{address} refused us after too many wrong passwords: wait some seconds, then give the right one"
            ) from None
        if "DatabaseNotFound" in code:
            raise StoreError(
                f"{address} has no database {address.database!r}: create it, or leave it out of the URL"
            ) from None
        raise StoreError(
            f"{address} failed ({_first_line(error)}): correct it, or see the server's log"
        ) from None
    except exceptions.DriverError as error:
        raise StoreError(
            f"no Neo4j answers at {address} ({_first_line(error)}): start it, or check host and port"
        ) from None


def _first_line(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:160]
