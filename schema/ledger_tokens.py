"""The tokens of the API in a catalogue's ledger."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from schema.errors import UsageError
from schema.ledger import Ledger, table_checksums, tokens
from schema.ledger_checksums import CHECKSUM, ChecksummedTable
from schema.terms import now
from schema.tokens import Scope, Token


class TokenRecords:
    """The tokens of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def add(self, token: Token) -> None:
        """Add a token. Raises UsageError if there is one of its name that is not revoked."""
        row = {
            "digest": token.digest,
            "name": token.name,
            "scopes": [str(each) for each in token.scopes],
            "created": token.created,
            "expires": token.expires,
            "revoked": token.revoked,
        }
        with self._ledger.writing() as connection:
            same = sa.select(tokens.c.digest).where(
                tokens.c.name == token.name, tokens.c.revoked.is_(None)
            )
            if connection.execute(same).first() is not None:
                raise UsageError(
                    f"there is a token {token.name!r} already: choose another name, or revoke it "
                    f"with `catalograph token revoke {token.name}`"
                )
            ChecksummedTable(connection, tokens, table_checksums).insert([row])

    def find(self, digest: str) -> Token | None:
        """Return the token with a hash, revoked or not; None if there is none."""
        found = self._ledger.rows(_query().where(tokens.c.digest == digest))
        return _token(found[0]) if found else None

    def all(self) -> list[Token]:
        """Return all tokens, the oldest first."""
        query = _query().order_by(tokens.c.created, tokens.c.name)
        return [_token(row) for row in self._ledger.rows(query)]

    def revoke(self, name: str) -> Token:
        """Revoke the token of a name from now on. Raises UsageError if there is none."""
        with self._ledger.writing() as connection:
            query = _query().where(tokens.c.name == name, tokens.c.revoked.is_(None))
            row = connection.execute(query).mappings().first()
            if row is None:
                raise UsageError(
                    f"no token {name!r} that is not revoked: `catalograph token list` names them"
                )
            moment = now()
            table = ChecksummedTable(connection, tokens, table_checksums)
            table.update(row["digest"], {"revoked": moment})
            return _token({**row, "revoked": moment})


def _query() -> sa.Select[Any]:
    return sa.select(*(column for column in tokens.columns if column.name != CHECKSUM))


def _token(row: Any) -> Token:
    return Token(
        name=row["name"],
        digest=row["digest"],
        scopes=tuple(Scope(each) for each in row["scopes"]),
        created=row["created"],
        expires=row["expires"],
        revoked=row["revoked"],
    )
