"""The reference of the command line is what the commands say, and each says what it must."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lakelineage.cli.app import app
from lakelineage.cli.reference import markdown

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def commands(group: Any = None, name: str = "lakelineage") -> Iterator[tuple[str, Any]]:
    for child, command in (group or typer.main.get_command(app)).commands.items():
        yield f"{name} {child}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {child}")


ALL = dict(commands())


def test_the_reference_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == markdown(), "run `make reference`"


def test_the_reference_has_a_section_for_every_command() -> None:
    sections = {line.removeprefix("### ") for line in PAGE.read_text().splitlines() if line.startswith("### ")}
    assert sections == {name.removeprefix("lakelineage ") for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_every_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    prose, _, examples = ALL[name].help.partition("\b\n")
    assert prose.strip()
    assert examples.split("\n")[0] in ("Example:", "Examples:")
    assert name in examples.replace("--lake mylake ", "")
    assert all(getattr(parameter, "help", None) for parameter in ALL[name].params if parameter.name != "help")


@pytest.mark.parametrize("name", ALL)
def test_the_line_of_a_command_in_the_list_is_whole(name: str) -> None:
    # 80 columns, less what Click takes around the longest name of a list.
    assert not ALL[name].get_short_help_str(61).endswith("...")
