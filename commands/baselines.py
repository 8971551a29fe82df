"""Commands about baselines: baseline kge."""

from __future__ import annotations

from pathlib import Path

import click

from commands.base import Command, Context, FiniteRange, Group, pass_context, table
from commands.loading import split_option
from commands.progress import bar

EMBEDDINGS = ("transe", "rotate", "complex")


@click.group(cls=Group)
def baseline() -> None:
    """Tune baselines for `evaluate completion --against`.

    \b
    Example:
      catalograph baseline kge --minutes 10
    """


@baseline.command(cls=Command)
@click.option(
    "--only",
    "names",
    type=click.Choice(EMBEDDINGS),
    multiple=True,
    help="Tune this one; may be repeated.  [default: all three]",
)
@click.option(
    "--minutes",
    metavar="M",
    type=FiniteRange(0.01, 10_000),
    default=10,
    show_default=True,
    help="Time of the search for each, in minutes.",
)
@split_option
@pass_context
def kge(context: Context, names: tuple[str, ...], minutes: float, split: Path | None) -> None:
    """Tune TransE, RotatE and ComplEx.

    Searches the settings of PyKEEN's knowledge graph embeddings with PyKEEN's own search. They
    learn from the train split, and are chosen by one statement that is hidden of each validation
    item, or of a fifth of the train items if there is no validation split. Never looks at the test
    split. The settings are kept in the home for `evaluate completion --against transe`.

    \b
    Example:
      catalograph baseline kge --only transe --minutes 5
    """
    from evaluation.against import Baselines
    from evaluation.kge.search import tune
    from evaluation.kge.settings import INTERACTIONS, write_tuned

    home = context.home()
    baselines = Baselines(home, split)
    documents = []
    rows = []
    chosen = list(dict.fromkeys(names)) or list(EMBEDDINGS)
    with bar("tuning", "embeddings") as progress:
        for number, name in enumerate(chosen, 1):
            tuned = tune(
                name,
                baselines.ontology,
                baselines.statements["train"],
                baselines.statements["validation"],
                minutes=minutes,
            )
            path = write_tuned(home.baselines, tuned)
            progress(number, len(chosen))
            documents.append({**tuned.as_dict(), "file": str(path)})
            rows.append(
                (
                    INTERACTIONS[name],
                    f"{tuned.trials:,}",
                    f"{tuned.seconds:,.0f}",
                    f"{tuned.validation_mrr:.3f}",
                    f"{tuned.fold_in_mrr:.3f}",
                    f"{tuned.settings.loss}, {tuned.settings.width} wide",
                )
            )
    columns = ("embedding", "trials", "seconds", "validation MRR", "folded in", "best")
    context.emit(
        {"tuned": documents},
        table(columns, rows, right=columns[1:-1]),
        f"to measure them: catalograph evaluate completion --against {chosen[0]}",
    )
