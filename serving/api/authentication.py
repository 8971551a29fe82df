"""Who may do what: tokens in a header, or of a signed-in browser in a cookie."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from schema.ledger import Ledger
from schema.ledger_tokens import TokenRecords
from schema.tokens import Scope, Token, digest_of, scopes_with
from serving.api.guarding import RateLimiter
from serving.api.options import ServeOptions
from serving.api.problems import ProblemError

COOKIE = "catalograph_token"
REMEMBERED_SECONDS = 1.0
"""For so long a token is not looked up again: one that is revoked is refused a second later."""
MAX_REMEMBERED = 1000
LOCAL_USER = "local"
"""The name of a user of this machine without a token."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_bearer = HTTPBearer(
    auto_error=False,
    description="A token made by `catalograph token add`; none is needed on the same machine "
    "before the first one is made.",
)


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a name for decisions, and what it may do."""

    name: str
    scopes: frozenset[Scope]


class Authenticator:
    """Looks up tokens in the ledger of a home."""

    def __init__(self, ledger: Ledger, options: ServeOptions) -> None:
        self._records = TokenRecords(ledger)
        self._options = options
        self._lock = threading.Lock()
        self._remembered: dict[str, tuple[float, Token | None]] = {}
        self._needs_token: tuple[float, bool] = (-REMEMBERED_SECONDS, True)
        limits = options.limits
        self._limiter = RateLimiter(limits.requests_per_second, limits.burst)

    def caller_of(self, request: Request, header: str | None) -> Caller:
        """Return who makes a request.

        Raises ProblemError with status 401 if that is unknown, and 429 if it asks too often.
        """
        address = request.client.host if request.client else ""
        try:
            found = self.known(request, header)
        except ProblemError:
            # Nobody can try many tokens by sending another one each time.
            self._count(f"refused {address}")
            raise
        self._count(found.name if found.name != LOCAL_USER else f"local {address}")
        return found

    def _count(self, client: str) -> None:
        wait = self._limiter.wait_of(client)
        if wait:
            seconds = math.ceil(wait)
            rate = self._options.limits.requests_per_second
            raise ProblemError(
                429,
                f"more than {rate:g} requests a second: try again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def known(self, request: Request, header: str | None) -> Caller:
        """Return who makes a request, without counting it.

        Raises ProblemError with status 401 if that is unknown.
        """
        text = header or request.cookies.get(COOKIE)
        if text is None:
            if self.needs_token or any(name in request.headers for name in _FORWARDED):
                raise _unauthorised(
                    "a token is needed: send `Authorization: Bearer TOKEN`, made by `catalograph "
                    "token add`"
                )
            return Caller(LOCAL_USER, scopes_with([Scope.ADMIN]))
        token = self.find(text)
        if token is None:
            raise _unauthorised("this token is unknown: `catalograph token add` makes one")
        refusal = token.refusal(datetime.now(UTC))
        if refusal is not None:
            raise _unauthorised(f"{refusal}: `catalograph token add` makes a new one")
        return Caller(token.name, scopes_with(token.scopes))

    @property
    def needs_token(self) -> bool:
        """Whether a request needs a token."""
        if self._options.require_token is not None:
            return self._options.require_token
        if not self._options.is_local:
            return True
        moment, needed = self._needs_token
        if time.monotonic() - moment > REMEMBERED_SECONDS:
            needed = any(each.revoked is None for each in self._records.all())
            self._needs_token = (time.monotonic(), needed)
        return needed

    def find(self, text: str) -> Token | None:
        """Return the token of a text, as it was at most a second ago."""
        digest = digest_of(text)
        moment = time.monotonic()
        with self._lock:
            found = self._remembered.get(digest)
        if found is not None and moment - found[0] < REMEMBERED_SECONDS:
            return found[1]
        token = self._records.find(digest)
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (moment, token)
        return token


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": 'Bearer realm="catalograph"'})


def caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Return who makes a request."""
    authenticator: Authenticator = request.app.state.authenticator
    header = None if credentials is None else credentials.credentials
    found = authenticator.caller_of(request, header)
    request.state.caller = found
    return found


def _requires(scope: Scope) -> object:
    def check(found: Annotated[Caller, Depends(caller)]) -> Caller:
        if scope not in found.scopes:
            have = ", ".join(each for each in Scope if each in found.scopes) or "nothing"
            raise ProblemError(
                403,
                f"{found.name!r} may {have}, and this needs the scope {scope}: `catalograph token "
                f"add NAME --scope {scope}` makes a token with it",
            )
        return found

    return Depends(check)


Reader = Annotated[Caller, _requires(Scope.READ)]
Reviewer = Annotated[Caller, _requires(Scope.REVIEW)]
Writer = Annotated[Caller, _requires(Scope.WRITE)]
Admin = Annotated[Caller, _requires(Scope.ADMIN)]
