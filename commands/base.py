"""What every command shares: the context, the global options, one JSON document or a readable text on stdout."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kg.home import Home

DEFAULT_HOME = "catalog"
_PIPE_WIDTH = 1000  # a table that is not shown on a terminal is not cut


@dataclass
class Context:
    """The global options of a call, and how its results are said."""

    home_path: str = DEFAULT_HOME
    store: str | None = None
    json: bool = False
    verbose: bool = False

    def home(self, create: bool = False) -> Home:
        """The catalogue's home; HomeNotFoundError where it was never made."""
        from kg.home import Home

        return Home.open(self.home_path, create=create, store=self.store)

    def emit(self, document: Any, *lines: object) -> None:
        """The result: the document with ``--json``, else the lines, which are texts or rich's renderables."""
        if self.json:
            click.echo(
                json.dumps(plain(document), ensure_ascii=False, allow_nan=False, default=str)
            )
            return
        for line in lines:
            if isinstance(line, str):
                click.echo(printable(line))
            else:
                console().print(line)

    def note(self, text: str) -> None:
        """A remark for the person at the terminal, on stderr."""
        click.echo(printable(text), err=True)


pass_context = click.make_pass_decorator(Context, ensure=True)


def plain(value: Any) -> Any:
    """The value without NaN and infinities, which JSON does not have: null stands for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def printable(value: object) -> str:
    """A value as text that cannot command the terminal."""
    text = "" if value is None else str(value)
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def console(stderr: bool = False) -> Console:
    """A rich console that takes texts as they are."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()
) -> Any:
    """A table to print; the columns named in ``right`` are aligned there."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(
            printable(column), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        made.add_row(*(printable(cell) for cell in row))
    return made


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if ctx.get_parameter_source(param.name or "") is not click.core.ParameterSource.DEFAULT:
        setattr(ctx.ensure_object(Context), param.name or "", value)


def _home_params(
    envvar: str | None = None, store_envvar: str | None = None, hidden: bool = True
) -> list[click.Option]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _remember, "hidden": hidden}
    home_help = f"The catalogue's home.  [default: ./{DEFAULT_HOME}, or $CATALOGRAPH_HOME]"
    store_help = "A graph store other than the home's, like neo4j://HOST.  [default: $CATALOGRAPH_STORE, or what `init` was told]"
    return [
        click.Option(
            ["--home", "home_path"], metavar="DIR", envvar=envvar, help=home_help, **shared
        ),
        click.Option(
            ["--store", "store"], metavar="URL", envvar=store_envvar, help=store_help, **shared
        ),
        click.Option(
            ["--json", "json"], is_flag=True, help="Print one JSON document on stdout.", **shared
        ),
        click.Option(
            ["-v", "--verbose", "verbose"],
            is_flag=True,
            help="Show the traceback of an error.",
            **shared,
        ),
    ]


class Command(click.Command):
    """A command that takes the global options after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _home_params()


class Group(click.Group):
    """A group whose commands take the global options, as it does itself."""

    command_class = Command
    group_class = type
    home_envvar: str | None = None
    store_envvar: str | None = None
    hidden_home = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _home_params(self.home_envvar, self.store_envvar, self.hidden_home)


READABLE = click.Path(path_type=Path)
"""A path that the library checks, so that its error says the mend."""
