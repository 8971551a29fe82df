"""Commands that put a catalogue behind HTTP: serve, and token add, list and revoke."""

from __future__ import annotations

import importlib.util

import click

from commands.base import Command, Context, FiniteRange, Group, pass_context, table
from commands.loading import model_option
from schema.errors import UsageError

NEEDED = ("django_htmx", "fastapi", "uvicorn", "prometheus_client", "multipart")
"""The packages of the extra ``[serve]``."""


@click.command(cls=Command)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Which port to listen on; 0 takes any that is free.",
)
@model_option
@click.option(
    "--token/--no-token",
    "require_token",
    default=None,
    help="Whether each request needs a token.  [default: yes, unless only this machine can reach "
    "the server and no token was made]",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A further name by which the server may be addressed; may be repeated.",
)
@click.option(
    "--cors",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="Let the web pages of this origin, such as https://shop.example, call the API; may be "
    "repeated.  [default: none]",
)
@click.option(
    "--rate",
    metavar="N",
    type=FiniteRange(0, min_open=True),
    default=100,
    show_default=True,
    help="Requests a second that each token, or address without one, may make on average.",
)
@click.option(
    "--query-timeout",
    metavar="SECONDS",
    type=FiniteRange(0, 3600, min_open=True),
    default=10,
    show_default=True,
    help="How long a Cypher or SPARQL query may take.",
)
@pass_context
def serve(
    context: Context,
    host: str,
    port: int,
    model: str | None,
    require_token: bool | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    rate: float,
    query_timeout: float,
) -> None:
    """Serve the catalogue: a REST API, and pages to review and search it.

    Pages are at the address that is printed, the API at /v2 below it, described by /openapi.json.
    The server ends at Ctrl-C, after the requests that are being answered.

    \b
    Example:
      catalograph serve --port 8000
    """
    _check_installed()
    from schema.ledger_tokens import TokenRecords
    from serving.api.options import Limits, ServeOptions
    from serving.api.running import serve as run

    home = context.home()
    limits = Limits(
        requests_per_second=rate, burst=max(2, round(2 * rate)), query_seconds=query_timeout
    )
    options = ServeOptions(
        host=host,
        port=port,
        model=model,
        require_token=require_token,
        origins=origins,
        hosts=hosts,
        limits=limits,
    )
    with home.ledger() as ledger:
        has_token = any(each.revoked is None for each in TokenRecords(ledger).all())
    needs_token = options.require_token or (require_token is None and not options.is_local)
    if needs_token and not has_token:
        raise UsageError(
            "every request needs a token, and there is none: make one with `catalograph token add "
            "NAME --scope review`, or give --no-token to let everybody in who can reach "
            f"{host}"
        )
    if require_token is False and not options.is_local:
        context.note(f"warning: everybody who can reach {host} may read and change the catalogue")

    def started(url: str) -> None:
        context.emit({"url": url, "home": str(home.path)}, f"serving {home.path} at {url}")

    run(home, options, started)


def _check_installed() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the server needs packages that are not installed ({', '.join(missing)}): "
            "`pip install 'catalograph[serve]'`"
        )


@click.group(cls=Group)
def token() -> None:
    """Make, list and revoke the tokens by which the API is used.

    A token is shown once, when it is made; the home keeps its hash.

    \b
    Example:
      catalograph token add shop --scope read
    """


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "review", "write", "admin"]),
    help="read: look, search and complete; review: decide about proposals; write: change items and "
    "start jobs; admin: everything. May be repeated.  [default: read]",
)
@click.option(
    "--days",
    metavar="N",
    type=FiniteRange(0, 36_500, min_open=True),
    help="Refuse it after so many days.  [default: never]",
)
@pass_context
def add(context: Context, name: str, scopes: tuple[str, ...], days: float | None) -> None:
    """Make a token and print it.

    NAME says whom or what it is for; decisions that are made by it carry this name.

    \b
    Example:
      catalograph token add anna --scope review --days 90
    """
    from schema.ledger_tokens import TokenRecords
    from schema.tokens import Scope, new_token

    wanted = tuple(map(Scope, scopes)) or (Scope.READ,)
    text, made = new_token(name, wanted, days)
    with context.home().ledger() as ledger:
        TokenRecords(ledger).add(made)
    context.note(f"this is the only time that the token of {name} is shown: keep it safe")
    context.emit({**made.as_dict(), "token": text}, text)


@token.command(name="list")
@pass_context
def list_tokens(context: Context) -> None:
    """List tokens by their names.

    \b
    Example:
      catalograph token list
    """
    from schema.ledger_tokens import TokenRecords

    with context.home().ledger() as ledger:
        found = [each.as_dict() for each in TokenRecords(ledger).all()]
    columns = ("name", "scopes", "created", "expires", "revoked")
    rows = [
        (
            row["name"],
            ", ".join(row["scopes"]),
            row["created"],
            row["expires"] or "never",
            row["revoked"] or "",
        )
        for row in found
    ]
    context.emit(found, table(columns, rows) if rows else "no token")


@token.command()
@click.argument("name")
@pass_context
def revoke(context: Context, name: str) -> None:
    """Revoke a token: the server refuses it within a second.

    \b
    Example:
      catalograph token revoke shop
    """
    from schema.ledger_tokens import TokenRecords

    with context.home().ledger() as ledger:
        revoked = TokenRecords(ledger).revoke(name)
    context.emit(revoked.as_dict(), f"the token of {name} is revoked")
