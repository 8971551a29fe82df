"""The command line: a click group that loads a command's module when the command is called, and one-line errors."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from commands.base import Context, Group
from schema.errors import CatalographError

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("catalogue", "Make a catalogue home."),
    "sample": ("catalogue", "Draw a synthetic catalogue to try things with."),
    "ingest": ("catalogue", "Load product tables into the catalogue's graph."),
    "queries": ("catalogue", "Load a query log."),
    "rejects": ("catalogue", "List the rows that an ingest put aside."),
    "schema": ("catalogue", "Show the ontology, or infer it from the data."),
    "show": ("store", "Show one item and its statements."),
    "stats": ("store", "Count the catalogue and the coverage of its properties."),
    "validate": ("store", "Check every item against the ontology and against SHACL shapes."),
    "cypher": ("store", "Ask the graph a read-only Cypher query."),
    "sparql": ("exchange", "Ask an RDF store a read-only SPARQL query."),
    "copy": ("exchange", "Copy a graph from one store into another, and compare both."),
    "export": ("exchange", "Write the graph as files of other tools."),
    "verify": ("store", "Check the journal and the graph against each other."),
    "rebuild": ("store", "Make the graph anew from its journal."),
    "train": ("models", "Train a model on the catalogue."),
    "runs": ("models", "Compare training runs."),
    "model": ("models", "Look at a model."),
    "complete": ("completion", "Fill in missing facts, with a probability and a reason."),
    "match": ("retrieval", "Say whether a query and an item match."),
    "evaluate": ("evaluation", "Measure a model on held-out items."),
    "leaks": ("evaluation", "Report what lets a model see through a split."),
    "report": ("evaluation", "Write a page that shows what completion did."),
}
"""Each command's module and its line in the help, so that help needs none of the modules."""

HINT = "this is a fault of Catalograph itself: -v shows the traceback"


class LazyGroup(Group):
    """The commands of ``COMMANDS``, each imported when it is called."""

    home_envvar = "CATALOGRAPH_HOME"
    store_envvar = "CATALOGRAPH_STORE"
    hidden_home = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of a catalogue's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module loaded now."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"commands.{COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="catalograph", prog_name="catalograph")
def cli() -> None:
    """Turn a product catalogue into a product graph and complete it.

    Global options may stand before the command or after it.

    \b
    Example:
      catalograph sample shop && catalograph ingest shop/items.csv
      catalograph train --minutes 5 && catalograph complete --out filled.jsonl
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Whatever goes wrong is one line on stderr."""
    context = Context()
    try:
        code = cli.main(args, prog_name="catalograph", obj=context, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except BrokenPipeError:
        # The reader has gone; without this Python complains once more when it flushes stdout on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if context.verbose and not isinstance(error, click.ClickException):
            traceback.print_exc()
        message, code = explain(error)
        click.echo("error: " + " ".join(message.split()), err=True)
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    if isinstance(error, CatalographError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        ctx = getattr(error, "ctx", None)
        see = f" (see `{ctx.command_path} --help`)" if ctx is not None else ""
        return error.format_message().rstrip(".") + see, error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted", 130
    if isinstance(error, OSError):
        return (f"{error.filename}: " if error.filename else "") + (error.strerror or str(error)), 1
    return f"unexpected {type(error).__name__}: {error} ({HINT})", 1


if __name__ == "__main__":
    sys.exit(main())
