"""Code that all commands share: the global options, and the printing of results."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from schema.errors import CatalographWarning, UsageError
from schema.settings import shown
from schema.terminal import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from kg.home import Home

INTERRUPTED = 130
"""128 and the number of SIGINT, 2: the code that shells give to an interrupted program."""
MAX_SEED = (1 << 63) - 1
"""The greatest seed that PyTorch takes."""
DEFAULT_HOME = "catalog"
PATH = click.Path(path_type=Path)
"""A path argument. The library checks it, so that the error message says how to fix it."""
as_of_option = click.option(
    "--as-of",
    "moment",
    metavar="TIME|RUN",
    help="Go back to what there was then: at a time in UTC such as 2026-01-31 (its end) or "
    "2026-01-31T08:00, or after a run that `catalograph history` lists.",
)
"""Gives a command an option whose value it gets as ``moment``."""


@dataclass
class Context:
    """The global options of one call, and the methods that print its result.

    ``reduced_threads`` is the number of threads if it was lowered because other programs keep the
    processor busy, or else None.
    """

    home_path: str = DEFAULT_HOME
    store: str | None = None
    json: bool = False
    verbose: bool = False
    reduced_threads: int | None = None

    def home(self, create: bool = False) -> Home:
        """Open the catalogue's home. Raises HomeNotFoundError if it does not exist."""
        from kg.home import Home

        return Home.open(self.home_path, create=create, store=self.store)

    def emit(self, document: Any, *lines: object) -> None:
        """Print the result on stdout: ``document`` with ``--json``, otherwise ``lines``.

        A line is a string or anything that rich can print, such as a table.
        """
        if self.json:
            text = json.dumps(
                json_safe(document),
                ensure_ascii=False,
                allow_nan=False,
                default=str,
            )
            click.echo(printable_json(text))
            return

        for line in lines:
            if isinstance(line, str):
                click.echo(printable(line))
            else:
                console().print(line)

    def note(self, text: str) -> None:
        """Print a remark for the user on stderr."""
        click.echo(printable(text), err=True)


@contextmanager
def remarks_as_lines(context: Context) -> Iterator[None]:
    """Print what the library remarks as a line on stderr; other warnings stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CatalographWarning)
        show_other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, CatalographWarning):
                context.note("warning: " + " ".join(str(message).split()))
            else:
                show_other(message, category, *where, **more)

        warnings.showwarning = show
        yield


class FiniteRange(click.FloatRange):
    """A number within limits; click's own type lets NaN pass them all."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fails on NaN and infinity, too."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number such as 0.5", param, ctx)
        return number


pass_context = click.make_pass_decorator(Context, ensure=True)


def json_safe(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value


def console(stderr: bool = False) -> Console:
    """Return a rich console that prints text literally: no markup, emoji or highlighting."""
    from commands.screen import Screen

    return Screen(stderr=stderr)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
) -> Table:
    """Build a table to print; the columns named in ``right`` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    result = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        justify: Any = "right" if column in right else "left"
        # By default rich would cut long cells off with an ellipsis.
        result.add_column(printable(column), justify=justify, overflow="fold")
    for row in rows:
        result.add_row(*(printable(cell) for cell in row))
    return result


def shortened(text: str, length: int) -> str:
    """Return a text on one line, with at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _check_text(value: Any) -> None:
    """Raise UsageError if an argument, or one of several, is text that no file or store can hold.

    Python passes on bytes that are no UTF-8 as halves of surrogate pairs. In a path they may stay.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the argument {shown(value)} is not UTF-8: write it anew") from None
    elif isinstance(value, tuple | list):
        for each in value:
            _check_text(each)


def _set_global_option(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    _check_text(value)
    # The option can be given before and after the command's name. The default value of one of the
    # two places must not overwrite the value given in the other.
    name = param.name or ""
    if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
        setattr(ctx.ensure_object(Context), name, value)


def _global_options(
    home_envvar: str | None = None,
    store_envvar: str | None = None,
    hidden: bool = True,
) -> list[click.Option]:
    shared: dict[str, Any] = {
        "expose_value": False,
        "callback": _set_global_option,
        "hidden": hidden,
    }
    return [
        click.Option(
            ["--home", "home_path"],
            metavar="DIR",
            envvar=home_envvar,
            help="Home of the catalogue: the folder with its graph, ledger, ontology and models.  "
            f"[default: $CATALOGRAPH_HOME, or ./{DEFAULT_HOME}]",
            **shared,
        ),
        click.Option(
            ["--store", "store"],
            metavar="URL",
            envvar=store_envvar,
            help="Graph store to use in place of the home's own, such as neo4j://HOST.  "
            "[default: $CATALOGRAPH_STORE, or the URL given to `init`]",
            **shared,
        ),
        click.Option(
            ["--json", "json"],
            is_flag=True,
            help="Print the result as one JSON document on stdout; all else goes to stderr.",
            **shared,
        ),
        click.Option(
            ["-v", "--verbose", "verbose"],
            is_flag=True,
            help="If the command fails, show the traceback.",
            **shared,
        ),
    ]


_EPILOG = "Global options: --home, --store, --json and -v; see `catalograph --help`."


class Command(click.Command):
    """A command that also takes the global options after its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("epilog", _EPILOG)
        super().__init__(*args, **kwargs)
        self.params += _global_options()

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command. Raises UsageError if an argument is no text."""
        for value in ctx.params.values():
            _check_text(value)
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands; it takes the global options, and so do its commands."""

    command_class = Command
    # This is how click is told that subgroups are of this class, too.
    group_class = type
    home_envvar: str | None = None
    store_envvar: str | None = None
    hide_global_options = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.hide_global_options:
            kwargs.setdefault("epilog", _EPILOG)
        super().__init__(*args, **kwargs)
        self.params += _global_options(
            self.home_envvar,
            self.store_envvar,
            self.hide_global_options,
        )


def write_json(document: Any, out: Path | None) -> None:
    """Write a result to a file as JSON; nothing without one."""
    if out is not None:
        out.write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
