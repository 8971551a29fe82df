"""Every command explains itself, with an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from cli import COMMANDS, cli
from tests.commands.conftest import Call


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = list(commands(cli))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_help_has_an_example_that_names_the_command(
    call: Call, path: tuple[str, ...], command: click.Command
) -> None:
    said = call(*path, "--help")
    assert said.code == 0
    assert (
        f"catalograph {path[0]}" in said.out.partition("Example:")[2]
        or f" {path[0]}" in said.out.partition("Example:")[2]
    )


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_option_is_explained(path: tuple[str, ...], command: click.Command) -> None:
    assert [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ] == []


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    context = click.Context(cli)
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == line


def test_help_lists_every_command(call: Call) -> None:
    said = call("--help")
    assert all(f"  {name} " in said.out for name in COMMANDS)


def test_no_command_shows_the_help_and_is_a_usage_error(call: Call) -> None:
    said = call()
    assert said.code == 2
    assert "Usage: catalograph" in said.out + said.err


def test_the_version_is_said(call: Call) -> None:
    assert call("--version").out.startswith("catalograph, version ")
