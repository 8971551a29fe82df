"""What the Dockerfile, compose.yaml and the proxy's configuration name is there."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, without comments and broken lines."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]  # type: ignore[misc]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def check_command(arguments: list[str]) -> None:
    """Parse a command line as the program does, without calling the command."""
    command: click.Command = cli.cli
    context = command.make_context("catalograph", list(arguments), resilient_parsing=False)
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(command.name, rest, parent=context)


def compose() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_what_is_copied_is_there_and_is_all_of_the_distribution() -> None:
    copied = [words.split()[:-1] for words in of("COPY") if not words.startswith("--from")]
    names = {name for each in copied for name in each}
    assert all((ROOT / name).exists() for name in names)
    packaged = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    assert packaged | {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} == names
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert kept == names


def test_extras_are_those_of_the_project() -> None:
    (installed,) = [run for run in of("RUN") if "'.[" in run]
    extras = re.findall(r"'\.\[(.*)\]'", installed)[0].split(",")
    assert set(extras) < set(PROJECT["project"]["optional-dependencies"])
    assert "--constraint constraints.txt" in installed


def test_the_image_serves_as_a_user_without_rights() -> None:
    assert of("USER") == ["10001"]
    assert [name for name, _ in instructions()].index("USER") > 0
    assert json.loads(of("ENTRYPOINT")[0]) == ["catalograph"]
    check_command(json.loads(of("CMD")[0]))
    assert of("VOLUME") == ["/data"]
    (environment,) = [each for each in of("ENV") if "CATALOGRAPH_HOME" in each]
    assert "CATALOGRAPH_HOME=/data/" in environment


def test_the_health_check_asks_a_route_that_is_served() -> None:
    from serving.api.routes.health import router

    (check,) = of("HEALTHCHECK")
    (path,) = re.findall(r"8000(/[^']*)'", check)
    assert path in {getattr(route, "path", None) for route in router.routes}
    code = json.loads(check[check.index("[") :])[2]
    compile(code, "HEALTHCHECK", "exec")
    assert of("EXPOSE") == ["8000"]


def test_commands_of_compose_are_commands() -> None:
    services = compose()["services"]
    assert set(services) == {"init", "server", "graph", "ledger"}
    for name in ("init", "server"):
        check_command(services[name]["command"])
    comments = (ROOT / "compose.yaml").read_text().splitlines()
    shown = [line.partition(" server ")[2] for line in comments if "run --rm server" in line]
    assert len(shown) == 3
    for line in shown:
        check_command(shlex.split(line))


def named_hosts() -> Iterator[str]:
    for word in compose()["services"]["init"]["command"]:
        yield from re.findall(r"://(?:[^@/]*@)?([a-z]+)", word)


def test_services_reach_each_other_and_wait() -> None:
    services = compose()["services"]
    assert set(named_hosts()) == {"graph", "ledger"}
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert ("healthcheck" in services[other]) == healthy
    used = {v.split(":")[0] for s in services.values() for v in s["volumes"] if v[0].isalpha()}
    assert used == set(compose()["volumes"])


def test_no_password_is_written_down_and_the_port_is_not_open_to_all() -> None:
    text = (ROOT / "compose.yaml").read_text()
    for name in ("NEO4J_PASSWORD", "PGPASSWORD"):
        assert re.search(rf"\$\{{{name}:\?", text)
        assert not re.search(rf"\$\{{{name}:-", text)
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("arguments", [["serve", "--hots", "x"], ["sevre"]])
def test_a_wrong_command_is_noticed(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        check_command(arguments)
