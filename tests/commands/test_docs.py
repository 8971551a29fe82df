"""What README.md and docs/commands.md say of commands holds: options, results and examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from cli import cli
from kg.sample import write_sample
from tests.commands.conftest import Call
from tests.commands.test_help import ALL

ROOT = Path(__file__).parents[2]
COMMANDS_TEXT = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
README_TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SECTION = re.compile(r"^### `([a-z]+)(.*?)`\n(.*?)(?=^##|\Z)", re.DOTALL | re.MULTILINE)
SECTIONS = [(name, f"{rest}\n{body}") for name, rest, body in SECTION.findall(COMMANDS_TEXT)]
OF_TORCHRUN = {"--nproc-per-node", "--max-restarts"}
Parse = Callable[[list[str]], None]
GLOBAL = {option for each in cli.params for option in each.opts}


def options_of(name: str) -> list[set[str]]:
    """Return the options of a command and of its subcommands, each with its other names."""
    return [
        {option for option in (*each.opts, *each.secondary_opts) if option.startswith("--")}
        for path, command in ALL
        if path[0] == name
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden
    ]


def documented(name: str) -> str:
    """Return all that docs/commands.md says of a command."""
    return "\n".join(text for each, text in SECTIONS if each == name)


@pytest.mark.parametrize("name", sorted({name for name, _ in SECTIONS}))
def test_the_options_of_a_command_are_those_that_are_documented(name: str) -> None:
    heading = " ".join(text.partition("\n")[0] for each, text in SECTIONS if each == name)
    own = options_of(name)
    assert set(OPTION.findall(heading)) <= set().union(*own)
    shown = set(OPTION.findall(documented(name)))
    assert shown <= set().union(
        *(options for path, _ in ALL for options in options_of(path[0]))
    ) | (GLOBAL | OF_TORCHRUN)
    assert [options for options in own if not options & (shown | GLOBAL)] == []


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parse:
    """Parse the words of a call, and call nothing; raises click.UsageError."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.Command, "invoke", lambda command, context: None)
    write_files(tmp_path)
    return lambda words: cli.main(words, "catalograph", standalone_mode=False)


def split(line: str) -> list[str] | None:
    """Return the words of a call; None if the line ends within quotes."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    return words[: words.index("&&")] if "&&" in words else words


def calls(text: str) -> list[list[str]]:
    """Return the words of each call of Catalograph in lines that are indented.

    A call goes on in the next line after a backslash, or within quotes.
    """
    found = []
    lines = iter(text.replace("\\\n", " ").splitlines())
    for line in lines:
        start = re.match(r" +(?:\.venv/bin/)?catalograph (?!\[)(.*)", line)
        if start is not None:
            shown = start[1]
            while (words := split(shown)) is None:
                shown = f"{shown}\n{next(lines)}"
            found.append(words)
    return found


EXAMPLES = calls(README_TEXT) + calls(COMMANDS_TEXT)


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_the_options_of_an_example_exist(words: list[str], parse: Parse) -> None:
    parse(words)


def test_an_option_that_there_is_not_is_found(parse: Parse) -> None:
    with pytest.raises(click.UsageError, match="--nothing"):
        parse(["ingest", "products.csv", "--nothing"])


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_the_example_of_a_commands_help_can_be_called(
    path: tuple[str, ...], command: click.Command, parse: Parse
) -> None:
    _, _, example = (command.help or "").partition("Example:")
    found = calls(example)
    assert found
    for words in found:
        parse(words)


def write_files(folder: Path) -> None:
    """Write the files that examples name, as far as Catalograph can write them itself."""
    write_sample(folder / "sample", 12, seed=0)
    (folder / "sample" / "items.csv").rename(folder / "products.csv")
    (folder / "sample" / "images").rename(folder / "photos")
    (folder / "sample" / "queries.csv").rename(folder / "clicks.csv")


RUN = [
    words
    for words in EXAMPLES
    if words[0] in ("ingest", "queries", "stats", "export", "validate", "copy", "show", "schema")
]
"""The examples that need no model and no server."""


def test_the_examples_of_the_readme_run(call: Call, tmp_path: Path) -> None:
    write_files(tmp_path)
    item = (tmp_path / "products.csv").read_text().splitlines()[1].split(",")[0]
    assert len(RUN) >= 8
    for words in RUN:
        result = call(*(item if word == "15970" else word for word in words))
        # That is what `validate` says of a sample with values that are wrong on purpose.
        allowed = (0, 1) if words[0] == "validate" else (0,)
        assert result.code in allowed, (words, result.err)
        assert "error: " not in result.err
    assert (tmp_path / "products.jsonld").stat().st_size > 0
    assert (tmp_path / "item.png").stat().st_size > 0


def keys(json: str) -> list[str]:
    """Return the names of the outermost object of what a page says of a command's JSON."""
    depth = 0
    found = []
    for part in re.findall(r'"[^"]*"|[{}\[\]]', json.lstrip("[")):
        if part in "{[":
            depth += 1
        elif part in "}]":
            depth -= 1
            if depth == 0:
                break
        elif depth == 1:
            found.append(part.strip('"'))
    return found


def documented_keys(name: str, number: int = 0) -> set[str]:
    """Return the keys of a command's JSON, the ``number``th of those that its section shows."""
    _, _, text = documented(name).partition("JSON: ")
    shown = re.findall(r"`(\[?\{.*?\})\]?`", text, re.DOTALL)
    return set(keys(shown[number]))


def test_the_keys_of_json_are_read_off_a_page() -> None:
    assert keys('{"a","b":[{"c","d":{e: f}}],"g":{"h"}}') == ["a", "b", "g"]
    assert keys('[{"a","b"}]') == ["a", "b"]


@pytest.fixture
def catalogue(call: Call, tmp_path: Path) -> Call:
    """A catalogue with a rejected row."""
    lines = ["id,title,category,colour", ",Nothing,Mugs,red"]
    colours = ("blue", "Red", "grey", "gray")
    lines += [f"{n},Mug {n},Mugs,{colours[n % 4]}" for n in range(40)]
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "log.csv").write_text("query,item\nmug,1\n")
    assert call("ingest", "items.csv", "--max-rejects", "5%").code == 0
    return call


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["init"], 0),
        (["sample", "out", "--items", "10"], 0),
        (["ingest", "items.csv", "--max-rejects", "5%"], 0),
        (["queries", "log.csv"], 0),
        (["rejects"], 0),
        (["schema"], 0),
        (["schema", "synonyms"], 2),
        (["schema", "diff", "items.csv"], 3),
        (["show", "1"], 0),
        (["stats"], 0),
        (["validate"], 0),
        (["cypher", "MATCH (i:Item) RETURN i.id"], 0),
        (["copy", "--to", "rdf:copy"], 0),
        (["export", "--format", "csv", "out"], 0),
        (["verify"], 0),
        (["rebuild"], 0),
        (["salvage", "rescued"], 0),
    ],
)
def test_the_json_of_a_command_has_the_keys_that_are_documented(
    catalogue: Call, words: list[str], number: int
) -> None:
    result = catalogue(*words, "--json")
    found: Any = result.json
    found = found[0] if isinstance(found, list) else found
    assert set(found) == documented_keys(words[0], number)


def test_a_dry_run_has_the_preview_that_is_documented(catalogue: Call) -> None:
    found = catalogue("ingest", "items.csv", "--dry-run", "--max-rejects", "5%", "--json").json
    assert set(found) == documented_keys("ingest") | {"preview"}
    (preview,) = found["preview"]
    (shown,) = re.findall(r'`(\{"source".*?\})`', COMMANDS_TEXT)
    assert set(preview) == set(keys(shown))
    assert set(preview["columns"][0]) == set(keys(shown.partition('"columns":[')[2]))
    assert set(preview["items"][0]) == set(keys(shown.partition('"items":[')[2]))
