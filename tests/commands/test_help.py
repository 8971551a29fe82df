"""Every command explains itself, with an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from cli import COMMANDS, cli
from tests.commands.conftest import Call


def all_commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command and subcommand with its path, such as ("model", "show")."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


ALL = list(all_commands(cli))
each_command = pytest.mark.parametrize(
    ("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL]
)


@each_command
def test_help_has_an_example_that_calls_the_command(
    call: Call, path: tuple[str, ...], command: click.Command
) -> None:
    result = call(*path, "--help")
    assert result.code == 0
    _, _, example = result.out.partition("Example:")
    assert f"catalograph {path[0]}" in example or f" {path[0]}" in example


@each_command
def test_every_option_is_explained(path: tuple[str, ...], command: click.Command) -> None:
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_summaries_of_subcommands_fit_their_list() -> None:
    for path, command in ALL:
        summary = (command.help or "").splitlines()[0]
        assert len(path) == 1 or command.get_short_help_str(limit=60) == summary


def test_summaries_are_those_of_the_commands() -> None:
    context = click.Context(cli)
    for name, (_, summary) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == summary


def test_help_lists_every_command(call: Call) -> None:
    result = call("--help")
    assert all(f"  {name} " in result.out for name in COMMANDS)


def test_no_command_shows_the_help_and_is_a_usage_error(call: Call) -> None:
    result = call()
    assert result.code == 2
    assert "Usage: catalograph" in result.out + result.err


def test_version(call: Call) -> None:
    assert call("--version").out.startswith("catalograph, version ")
