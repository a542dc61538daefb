"""The reference of the command line, made from its declarations: ``python -m lakelineage.cli.reference``."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer

from lakelineage.cli.app import app, panel

_HEAD = """# Command line

Made by `make reference` from the declarations in `lakelineage/cli`; do not edit. `lakelineage COMMAND --help` tells the
same in a terminal. [The command line in scripts](how-to/shell.md): how to use it from programs, and how to have your
shell complete it.
"""
#: Options that every command has; they are told once.
_SHARED = ("lake_uri", "as_json", "help")


def markdown() -> str:
    """The reference as Markdown."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("lakelineage", ["sql"], resilient_parsing=True)
    lines = [_HEAD, *_usage(root, context), "Options of every command, before its name or after it:", ""]
    lines += _table("option", (p for p in root.params if p.name in _SHARED), context)
    lines += ["| `-h`, `--help` | Show help and exit. |", "", "Others:", ""]
    lines += [*_table("option", (p for p in root.params if p.name not in _SHARED), context), ""]
    heading = ""
    # Stable, and in the order of the panels: groups come last in the app's own list.
    order = list(dict.fromkeys(map(panel, root.commands.values())))
    for command in sorted(root.commands.values(), key=lambda found: order.index(panel(found))):
        if panel(command) != heading:
            heading = panel(command)
            lines += [f"## {heading}", ""]
        lines += _section(command, context)
    return "\n".join(lines).rstrip() + "\n"


def _section(command: Any, parent: Any) -> list[str]:
    context = type(parent)(command, info_name=command.name, parent=parent)
    lines = [f"### {context.command_path.removeprefix('lakelineage ')}", ""]
    lines += [*_prose(command.help), *_usage(command, context)]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name not in _SHARED]
    for kind, several in (("argument", arguments), ("option", options)):
        lines += [*_table(kind, several, context), ""] if several else []
    lines += _examples(command.help)
    for child in getattr(command, "commands", {}).values():
        lines += _section(child, context)
    return lines


def _usage(command: Any, context: Any) -> list[str]:
    return ["```text", " ".join([context.command_path, *command.collect_usage_pieces(context)]), "```", ""]


def _table(kind: str, parameters: Any, context: Any) -> Iterator[str]:
    """A row for each, as its help in a terminal says it."""
    yield f"| {kind} | meaning |"
    yield "|---|---|"
    for parameter in parameters:
        names, help_ = parameter.get_help_record(context)
        yield f"| {_code(names)} | {_cell(help_)} |"


def _code(names: str) -> str:
    """The names of a parameter, each with what follows it: ``-o, --output FILE``."""
    return ", ".join(f"`{name.replace('|', chr(92) + '|')}`" for name in re.split(r", (?=-)", names.strip()))


def _cell(text: str) -> str:
    """Text of a cell of a table: HTML and bars are signs as any other."""
    escaped = re.sub(r"([<>|*_\\[\]])", r"\\\1", " ".join(text.split()))
    return escaped or " "


def _prose(help_: str) -> Iterator[str]:
    for paragraph in help_.partition("\b")[0].strip().split("\n\n"):
        yield from (_quoted(paragraph), "")


def _quoted(paragraph: str) -> str:
    """Outside of backquotes, signs of Markdown are signs as any other."""
    parts = re.split(r"(`[^`]*`)", " ".join(paragraph.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([<>*_\\[\]])", r"\\\1", part) for part in parts)


def _examples(help_: str) -> list[str]:
    """What follows the mark that keeps Click from wrapping."""
    shown = help_.partition("\b")[2].strip().splitlines()[1:]
    return ["```text", *(line.strip() for line in shown), "```", ""] if shown else []


if __name__ == "__main__":
    sys.stdout.write(markdown())
