"""The connection to a Neo4j server: its address, its credentials, and its errors."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from kg.stores.url import split_server_url
from schema.errors import QueryTimeoutError, StoreError, UsageError

if TYPE_CHECKING:
    from neo4j import Session

SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")
OLDEST_VERSION = (5, 7)
"""The first server whose Community edition can keep a relationship's property unique."""
FETCH_ROWS = 5_000
"""Rows that the driver asks the server for at once."""
DEFAULT_USER = "neo4j"
KEYRING_SERVICE = "catalograph"
# The form that Neo4j's Docker image takes. "/true" asks the server to have the password changed,
# which does not concern a client.
USER_AND_PASSWORD = re.compile(r"(?P<user>[^/]+)/(?P<password>[^/]+)(/true)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """A server and one of its databases, or None for the default one; it holds no secret."""

    server: str
    database: str | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse ``neo4j://HOST[:PORT][/DATABASE]``; raises UsageError on anything else."""
        example = f"{url.partition(':')[0]}://HOST:7687/DATABASE"
        parts = split_server_url(url, example)
        if parts.scheme not in SCHEMES or parts.path.count("/") > 1:
            raise UsageError(
                f"{url!r} is not the URL of a Neo4j server: "
                f"write {example}, with one of the schemes {', '.join(SCHEMES)}"
            )
        server = f"{parts.scheme}://{parts.hostname}:{parts.port or 7687}"
        database = parts.path.strip("/") or os.environ.get("NEO4J_DATABASE") or None
        return cls(server, database)

    def __str__(self) -> str:
        return self.server + (f"/{self.database}" if self.database else "")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on a connection; the environment may set each, as CATALOGRAPH_NEO4J_CONNECT and so on.

    ``connect`` is how long to wait for the server, ``acquire`` for a free connection, and ``retry``
    through an outage, all in seconds; ``pool`` is the number of connections.
    """

    connect: float = 10.0
    acquire: float = 30.0
    # In a test of twenty kills the longest outage took 71.6 s; the driver's default is 30 s.
    retry: float = 120.0
    pool: int = 8

    @classmethod
    def from_environment(cls) -> Limits:
        """Read the limits; raises UsageError if one is not a number above 0."""
        limits: dict[str, Any] = {}
        for field in fields(cls):
            variable = f"CATALOGRAPH_NEO4J_{field.name.upper()}"
            text = os.environ.get(variable)
            if text is None:
                continue
            try:
                limit = int(text) if field.name == "pool" else float(text)
            except ValueError:
                limit = 0
            if not limit > 0:  # "not", so that NaN is refused, too
                raise UsageError(
                    f"{variable}={text!r} is not a number above 0: set it like {field.default}"
                )
            limits[field.name] = limit
        return cls(**limits)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and the user's password."""

    user: str
    password: str

    def __repr__(self) -> str:
        # Without the password, because tracebacks and logs may show this text.
        return f"Credentials({self.user!r}, ...)"


def read_credentials(address: Address) -> Credentials | None:
    """Return the credentials for a server, or None to connect without any.

    They are read from the environment: from NEO4J_AUTH, which is ``none`` or ``USER/PASSWORD`` as
    in Neo4j's Docker image, or else from NEO4J_USERNAME and NEO4J_PASSWORD. If there is no
    password, the keyring is searched. Raises StoreError if it has none either, and UsageError if
    NEO4J_AUTH is anything else.
    """
    auth = os.environ.get("NEO4J_AUTH")
    if auth == "none":
        return None
    if auth:
        match = USER_AND_PASSWORD.fullmatch(auth)
        if match is None:
            raise UsageError(
                "NEO4J_AUTH is neither none nor USER/PASSWORD: correct it, or unset it and set "
                "NEO4J_USERNAME and NEO4J_PASSWORD"
            )
        return Credentials(match["user"], match["password"])

    user = os.environ.get("NEO4J_USERNAME", DEFAULT_USER)
    entry = f"{user}@{address.server}"
    password = os.environ.get("NEO4J_PASSWORD")
    if password is None:
        password = _keyring_password(entry)
    if password is None:
        raise StoreError(
            f"no password for {user} at {address}: set NEO4J_PASSWORD, or run "
            f"`keyring set {KEYRING_SERVICE} {entry}`, or set NEO4J_AUTH=none if the server has "
            "authentication turned off"
        )
    return Credentials(user, password)


def _keyring_password(entry: str) -> str | None:
    """Return the password of a keyring entry, or None if there is no entry or no keyring.

    Raises StoreError if the keyring is locked.
    """
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password(KEYRING_SERVICE, entry)
    except NoKeyringError:
        return None
    except KeyringError as error:
        raise StoreError(
            f"the keyring gives no password for {entry} ({_reason(error)}): "
            "unlock it, or set NEO4J_PASSWORD"
        ) from None


class Connection:
    """An open driver for a server; a context manager that closes itself."""

    def __init__(self, address: Address, limits: Limits) -> None:
        """Connect; raises StoreError if the server is away, too old, or refuses the user."""
        try:
            import neo4j
        except ImportError:
            raise StoreError("Neo4j needs its driver: pip install 'catalograph[neo4j]'") from None
        # The driver logs every attempt to reach a server that is away, and Python prints warnings
        # that have no handler. Whoever wants to read them can set up logging.
        logging.getLogger("neo4j").addHandler(logging.NullHandler())
        self.address = address
        self.credentials = read_credentials(address)
        auth = None
        if self.credentials is not None:
            auth = (self.credentials.user, self.credentials.password)
        self._driver = neo4j.GraphDatabase.driver(
            address.server,
            auth=auth,
            connection_timeout=limits.connect,
            connection_acquisition_timeout=limits.acquire,
            max_transaction_retry_time=limits.retry,
            max_connection_pool_size=limits.pool,
            user_agent="catalograph",
            notifications_min_severity="OFF",
        )
        try:
            # The driver connects only when it is used: asking for the version makes it connect now.
            with self.translated_errors():
                agent = self._driver.get_server_info().agent
            _check_version(address, agent)
        except BaseException:
            self.close()
            raise

    def session(self, *, read: bool) -> Session:
        """Open a session on the address's database, for reading or for writing."""
        return self._driver.session(
            database=self.address.database,
            default_access_mode="READ" if read else "WRITE",
            fetch_size=FETCH_ROWS,
        )

    @contextmanager
    def translated_errors(self, timeout: float | None = None) -> Iterator[None]:
        """Turn the driver's errors into StoreErrors of one line.

        ``timeout`` is the time limit of a query in seconds.
        """
        from neo4j import exceptions

        try:
            yield
        except exceptions.AuthError:
            raise self._refusal() from None
        except exceptions.Neo4jError as error:
            reason = _reason(error, error.message)
            raise self._server_error(error.code or "", reason, timeout) from None
        except exceptions.DriverError as error:
            raise StoreError(
                f"no Neo4j answers at {self.address} ({_reason(error, error.message)}): "
                "start it, or check host and port"
            ) from None

    def close(self) -> None:
        """Close the driver and its connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refusal(self) -> StoreError:
        if self.credentials is None:
            return StoreError(
                f"{self.address} refused a connection without a user: "
                "unset NEO4J_AUTH, and set NEO4J_USERNAME and NEO4J_PASSWORD"
            )
        return StoreError(
            f"{self.address} refused the user {self.credentials.user}: "
            "check NEO4J_USERNAME and NEO4J_PASSWORD, or NEO4J_AUTH"
        )

    def _server_error(self, code: str, reason: str, timeout: float | None) -> StoreError:
        """Return the StoreError for an error with one of Neo4j's status codes."""
        if timeout is not None and ("TransactionTimedOut" in code or "Terminated" in code):
            return QueryTimeoutError(f"the query ran past its limit of {timeout:g} s: narrow it")
        if "AuthenticationRateLimit" in code:
            return StoreError(
                f"{self.address} refused us after too many wrong passwords: "
                "wait a few seconds, then give the right one"
            )
        if "DatabaseNotFound" in code:
            return StoreError(
                f"{self.address} has no database {self.address.database!r}: "
                "create it, or leave it out of the URL"
            )
        return StoreError(f"{self.address} failed ({reason}): correct it, or see the server's log")


def _check_version(address: Address, agent: str) -> None:
    """Raise StoreError if a server is too old; its agent is like ``Neo4j/5.26.0``."""
    numbers = agent.partition("/")[2].split(".")[:2]
    version = tuple(int(number) for number in numbers if number.isdigit())
    if version < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise StoreError(
            f"{address} is {agent}, older than {oldest}: upgrade it to Neo4j 5.26 LTS or later"
        )


def _reason(error: Exception, message: str | None = None) -> str:
    """Return the first line of an error's message, or else its type."""
    text = message or str(error) or type(error).__name__
    return text.splitlines()[0][:160]
