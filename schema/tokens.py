"""Tokens of the API: who may do what, kept as hashes alone."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from schema.errors import UsageError

PREFIX = "cat_"
"""The beginning of every token, by which scanners of leaked secrets find them."""
_RANDOM_BYTES = 32
MAX_NAME = 100


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    """Read items, statements and proposals; search; complete without writing."""
    REVIEW = "review"
    """Decide about proposals, and take such decisions back."""
    WRITE = "write"
    """Create, change and delete items; start jobs."""
    ADMIN = "admin"
    """Everything, and change the model that is served."""


def scopes_with(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """Return scopes with those that they include: everyone may read, an admin may do everything."""
    given = frozenset(scopes)
    if Scope.ADMIN in given:
        return frozenset(Scope)
    return given | {Scope.READ} if given else given


@dataclass(frozen=True)
class Token:
    """A token as it is stored.

    Attributes:
        name: whom or what it is for; decisions by it carry this name
        digest: SHA-256 of the token, in hexadecimal digits. A token is 256 random bits, which
            nobody guesses, so that no slow hash is needed
        scopes: what it allows
        created: when it was made, in ISO 8601
        expires: from when on it is refused, in ISO 8601; None if never
        revoked: when it was revoked, None if it was not
    """

    name: str
    digest: str
    scopes: tuple[Scope, ...]
    created: str
    expires: str | None = None
    revoked: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is told of it, which is all but its hash."""
        return {
            "name": self.name,
            "scopes": [str(each) for each in self.scopes],
            "created": self.created,
            "expires": self.expires,
            "revoked": self.revoked,
        }

    def refusal(self, moment: datetime) -> str | None:
        """Return why it is refused at a moment; None if it is not."""
        if self.revoked is not None:
            return f"the token {self.name!r} was revoked at {self.revoked}"
        if self.expires is not None and datetime.fromisoformat(self.expires) <= moment:
            return f"the token {self.name!r} has expired at {self.expires}"
        return None


def digest_of(text: str) -> str:
    """Return the hash of a token by which it is looked up."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def new_token(name: str, scopes: Collection[Scope], days: float | None = None) -> tuple[str, Token]:
    """Return the text of a new token, which is kept nowhere, and what is stored of it.

    Raises UsageError if the name is empty, too long or cannot be printed.
    """
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise UsageError(
            f"the token's name {name[:MAX_NAME]!r} is not 1 to {MAX_NAME} printable characters: "
            "name whom or what it is for"
        )
    moment = datetime.now(UTC)
    expires = None if days is None else _told(moment + timedelta(days=days))
    text = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    ordered = tuple(each for each in Scope if each in scopes)
    return text, Token(name, digest_of(text), ordered, _told(moment), expires)


def _told(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
