"""The command line: a click group that imports a command's module when the command is called.

Every error becomes one line on stderr and an exit code.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

PACKAGES = (
    "schema",
    "kg",
    "encoders",
    "fusion",
    "experts",
    "training",
    "serving",
    "evaluation",
    "commands",
)
"""Catalograph's own top-level packages, which are in the same folder as this file."""


def check_packages() -> None:
    """End the process with one line on stderr if a foreign package hides one of ours.

    Our packages have common names. Another distribution in the same environment may have one of
    the same name (PyPI's ``schema``, for example), and Python imports whichever it finds first.
    """
    here = Path(__file__)
    # Both spellings: an installer may link each file from its cache, and a user may link this one.
    folders = {here.absolute().parent, here.resolve().parent}

    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        if Path(spec.origin) not in {folder / name / "__init__.py" for folder in folders}:
            sys.exit(
                f"error: Python finds another distribution's package {name!r} ({spec.origin}) "
                "instead of Catalograph's: install Catalograph into an environment of its own, for "
                "example with `uv tool install` or `pipx install`"
            )


check_packages()  # before the first import of a package of ours

from commands.base import INTERRUPTED, Context, Group, remarks_as_lines  # noqa: E402
from schema.errors import CatalographError  # noqa: E402
from schema.openmp import share_processor  # noqa: E402
from schema.settings import shown  # noqa: E402
from schema.terminal import (  # noqa: E402
    open_closed_streams,
    printable,
    printable_line,
    printable_streams,
)

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("catalogue", "Create a catalogue home."),
    "sample": ("catalogue", "Generate a synthetic catalogue to experiment with."),
    "ingest": ("catalogue", "Load product data into the catalogue."),
    "queries": ("catalogue", "Load a query log."),
    "rejects": ("catalogue", "List the rows that an ingest rejected."),
    "schema": (
        "catalogue",
        "Show the ontology, infer it from the data, or compare it with new data.",
    ),
    "show": ("store", "Show an item and its statements."),
    "review": ("review", "Decide about what models propose: accept, reject, correct."),
    "history": ("history", "Show what changed an item, when, and from which source."),
    "undo": ("history", "Take back what a run changed."),
    "delete": ("history", "Delete items with all that is stated of them."),
    "sources": (
        "history",
        "List the sources of the catalogue, and declare which of them counts first.",
    ),
    "stats": ("store", "Show the size of the catalogue and the coverage of its properties."),
    "validate": ("store", "Check every item against the ontology and SHACL shapes."),
    "cypher": ("store", "Run a read-only Cypher query on the graph."),
    "sparql": ("exchange", "Run a read-only SPARQL query on an RDF store."),
    "copy": ("exchange", "Copy the graph from one store to another and compare the two."),
    "export": ("exchange", "Write the graph to files for other tools."),
    "verify": ("store", "Check the catalogue for damage."),
    "backup": ("store", "Copy the home into a new folder, while others use it."),
    "rebuild": ("store", "Rebuild the graph from its journal."),
    "salvage": ("store", "Rescue what a damaged catalogue still holds into a new home."),
    "split": ("datasets", "Share the items out to train, validation and test."),
    "card": ("datasets", "Write a data card: what the catalogue holds, and how it is split."),
    "train": ("models", "Train a model on the catalogue."),
    "runs": ("models", "Compare training runs."),
    "model": ("models", "Inspect a model."),
    "models": ("home_models", "List, compare, promote and delete the models of a home."),
    "complete": ("completion", "Fill in missing values, with probabilities and evidence."),
    "audit": ("audit", "Find stored values, images and titles that are probably wrong."),
    "finetune": ("finetuning", "Train a model for a task on labelled examples."),
    "align": ("alignment", "Find the items that are the same product."),
    "index": ("retrieval", "Index the catalogue for `search` and `similar`."),
    "search": ("retrieval", "Search for items."),
    "similar": ("retrieval", "Find the items most like another one."),
    "match": ("retrieval", "Score how well an item matches a query."),
    "evaluate": ("evaluation", "Evaluate a model on held-out items."),
    "baseline": ("baselines", "Tune baselines for `evaluate completion --against`."),
    "leaks": ("evaluation", "Report train/test leakage in a split."),
    "paper": ("papers", "Repeat the experiments of a paper on this catalogue."),
    "report": ("evaluation", "Write an HTML report on what completion did."),
    "serve": ("serving", "Serve the catalogue: a REST API, and pages to review and search it."),
    "token": ("serving", "Make, list and revoke the tokens by which the API is used."),
}
"""Each command's module in ``commands/`` and its summary.

The summary repeats the first line of the command's docstring, so that ``--help`` need not import
the module.
"""


class LazyGroup(Group):
    """The commands of ``COMMANDS``, each imported when it is called."""

    # Only the outermost group reads the environment. A command after it would let the environment
    # override an option given before the command's name.
    home_envvar = "CATALOGRAPH_HOME"
    store_envvar = "CATALOGRAPH_STORE"
    hide_global_options = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names, in the order in which a catalogue needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and return the command, or None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module_name, _ = COMMANDS[cmd_name]
        module = importlib.import_module(f"commands.{module_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="catalograph", prog_name="catalograph")
def cli() -> None:
    """Turn a product catalogue into a product graph and complete it.

    The options below can be given before or after the name of the command.

    \b
    Example:
      catalograph sample shop && catalograph ingest shop/items.csv
      catalograph train --minutes 5 && catalograph complete --out filled.jsonl
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    open_closed_streams()
    # Before any command loads PyTorch, which reads these settings once.
    context = Context(reduced_threads=share_processor())
    with printable_streams(), remarks_as_lines(context):
        return _run(args, context)


def _run(args: Sequence[str] | None, context: Context) -> int:
    try:
        # In standalone mode click would print errors in its own form, of several lines, and exit.
        # Otherwise it returns the code that a command passed to ctx.exit().
        code = cli.main(args, prog_name="catalograph", obj=context, standalone_mode=False)
        # A broken pipe has to show here, and not when Python exits.
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except BrokenPipeError:
        # The reader is gone (`catalograph ... | head`). Python flushes stdout once more when it
        # exits and would print a second error; a stdout that leads nowhere prevents that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        if context.verbose and not isinstance(error, click.ClickException):
            click.echo(printable(traceback.format_exc()), err=True)
        message, code = explain(error)
        click.echo(f"error: {printable_line(message)}", err=True)
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """Return the message for an error, and the exit code."""
    if isinstance(error, CatalographError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        message = error.format_message().rstrip(".")
        if isinstance(error, click.UsageError) and error.ctx is not None:
            message += f" (see `{error.ctx.command_path} --help`)"
        return message, error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted", INTERRUPTED
    if isinstance(error, MemoryError):
        reason = str(error) or "a larger one than there is was asked for"
        return f"not enough memory ({reason}): close other programs, or do less at once", 1
    if isinstance(error, UnicodeEncodeError):
        # Such as the name of a file to write, which Python passes on whatever its bytes are.
        return f"{shown(error.object)} is not UTF-8: give it another name", 1
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}" if error.filename else reason, 1
    hint = "this is a bug in Catalograph: -v shows the traceback"
    return f"unexpected {type(error).__name__}: {error} ({hint})", 1


if __name__ == "__main__":
    sys.exit(main())
