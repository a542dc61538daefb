"""The app: its commands, and how their errors are told."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lakelineage.cli import (
    artifacts,
    audit,
    compare,
    complete,
    diff,
    doctor,
    edit,
    experiments,
    forget,
    impact,
    lakes,
    lineage,
    models,
    plots,
    reload,
    runs,
    scoring,
    shell,
    snapshots,
    source,
    sql,
    transfer,
    vacuum,
    verify,
)
from lakelineage.cli.session import JsonOption, LakeOption, Session, UsageError, shared_options
from lakelineage.display.cells import printable
from lakelineage.errors import LakelineageError

_NAME = "lakelineage"
_HELP = """The memory of a machine-learning team on its own lakehouse.

\b
Examples:
  lakelineage demo
  lakelineage --lake mylake runs --filter "metrics.rmse < 70" --order-by metrics.rmse
  lakelineage --lake mylake sql "select name, metrics['rmse'] from runs order by 2"

--lake and --json may come before or after the command. Storage options of an object store come as a JSON object in
the variable LAKELINEAGE_STORAGE_OPTIONS. Exit codes: 0 done, 1 an error, 2 typed wrongly.
"""

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class _Grouped(TyperGroup):
    """Help that lists the commands under the heading of their panel. Rich would, in three times the start-up time."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Click calls it
        """Write the lists."""
        told = [(name, command) for name, command in self.commands.items() if not command.hidden]
        width = max(len(name) for name, _ in told)
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in told:
            help_ = command.get_short_help_str(formatter.width - 6 - width)
            panels.setdefault(panel(command), []).append((name.ljust(width), help_))
        for heading, rows in panels.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def panel(command: Any) -> str:
    """The heading under which a command is listed."""
    given = getattr(command, "rich_help_panel", None)
    return given if isinstance(given, str) else "Commands"


app = typer.Typer(
    name=_NAME,
    cls=_Grouped,
    help=_HELP,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_SETTINGS,
)
#: Heading → name → what it does: a function, or an app of its own.
_COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Lake": {
        "demo": lakes.demo,
        "init": lakes.init,
        "sql": sql.sql,
        "flush": lakes.flush,
        "maintain": lakes.maintain,
        "doctor": doctor.doctor,
        "import": transfer.imports,
        "export": transfer.exports,
    },
    "Runs": {
        "runs": runs.runs,
        "run": runs.run,
        "compare": compare.compare,
        "history": compare.history,
        "artifacts": artifacts.artifacts,
        "source": source.source,
        "plot": plots.app,
        "experiments": experiments.app,
    },
    "Logging": {
        "start": shell.start,
        "log": shell.log,
        "end": shell.end,
        "tag": edit.tag,
        "note": edit.note,
        "delete": edit.delete,
        "restore": edit.restore,
    },
    "Data and models": {
        "snapshot": snapshots.app,
        "reload": reload.reload,
        "diff": diff.diff,
        "verify": verify.verify,
        "forget": forget.forget,
        "vacuum": vacuum.vacuum,
        "lineage": lineage.lineage,
        "impact": impact.impact,
        "models": models.app,
        "audit": audit.audit,
        "score": scoring.score,
    },
}
for _panel, _commands in _COMMANDS.items():
    for _name, _what in _commands.items():
        if isinstance(_what, typer.Typer):
            app.add_typer(_what, name=_name, rich_help_panel=_panel)
        else:
            app.command(_name, rich_help_panel=_panel)(shared_options(_what))


def _version(wanted: bool) -> None:
    if wanted:
        import lakelineage

        print(f"lakelineage {lakelineage.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    lake_uri: LakeOption = None,
    as_json: JsonOption = False,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Session(lake_uri, as_json)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; default those of the process.

    Returns:
        The exit code.
    """
    if complete.VARIABLE in os.environ:
        return complete.answer(app, _NAME)
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name=_NAME, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Exit as exit_:
        return int(exit_.exit_code)
    except UsageError as error:
        return _usage(given, error)
    except LakelineageError as error:
        return _tell(given, 1, error.code, str(error))
    except (KeyboardInterrupt, typer.Abort):
        return _tell(given, 130, "interrupted", "interrupted")
    except (BrokenPipeError, SystemExit) as gone:  # the latter is Typer's answer to the former
        if isinstance(gone, SystemExit) and not gone.code:
            return 0  # and how it ends after --show-completion
        # What is still buffered has no reader either: let the interpreter flush it to nowhere at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _usage(given: Sequence[str], error: Any) -> int:
    hint = "" if error.ctx is None else f" (see `{error.ctx.command_path} --help`)"
    return _tell(given, 2, "usage", error.format_message() + hint)


def _tell(given: Sequence[str], exit_code: int, code: str, message: str) -> int:
    if "--json" in given:
        told = json.dumps({"error": {"code": code, "message": " ".join(message.split())}}, ensure_ascii=False)
    else:
        # Lines stay: DuckDB marks the place of a mistake on a line below it.
        told = "\n".join(printable(line).rstrip() for line in f"error: {message}".splitlines() if line.strip())
    print(told, file=sys.stderr)
    return exit_code
