"""URLs of ledgers: a file in a home, or a database of a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from schema.errors import UsageError
from schema.settings import shown

if TYPE_CHECKING:
    import sqlalchemy as sa

EXAMPLE = "postgresql://catalograph@localhost/catalograph"
_POSTGRES = ("postgresql", "postgres")
_MAX_LENGTH = 2000


def checked_ledger_url(url: str) -> str:
    """Return the URL of a PostgreSQL database.

    Raises UsageError if it is none, or if it has a password, since it is shown and saved; the
    message does not repeat it.
    """
    try:
        if not url.isprintable() or " " in url or len(url) > _MAX_LENGTH:
            raise ValueError("it is no word")
        parts = urlsplit(url)
        password = parts.password or parse_qs(parts.query).get("password")
        _ = parts.port  # urlsplit checks the port only when it is read
    except ValueError:
        raise UsageError(
            f"the ledger's URL is none: write {EXAMPLE}, and give the password in PGPASSWORD or a "
            "password file"
        ) from None
    if password:
        raise UsageError(
            "the ledger's URL must not hold a password, because it is shown and saved: set "
            "PGPASSWORD, or PGPASSFILE to the path of a password file"
        )
    if parts.scheme not in _POSTGRES:
        raise UsageError(
            f"a ledger of {shown(parts.scheme)} is not supported: write {EXAMPLE}, or give no "
            "--ledger for a file in the home"
        )
    if not parts.path.strip("/"):
        raise UsageError(f"the ledger's URL names no database: write {EXAMPLE}")
    return url


def engine_url(url: str) -> sa.URL:
    """Return the URL by which SQLAlchemy opens a ledger.

    Raises UsageError if its driver is not installed.
    """
    import sqlalchemy as sa

    # A path may contain a "?" or a "%", which would mean something else inside a URL.
    path = url.removeprefix("sqlite:///")
    if path != url:
        return sa.URL.create("sqlite", database=path)
    parsed = sa.make_url(url)
    if parsed.drivername not in _POSTGRES:
        return parsed
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise UsageError(
            "a ledger on PostgreSQL needs the package psycopg: `pip install "
            "'catalograph[postgres]'`"
        ) from None
    return parsed.set(drivername="postgresql+psycopg")
