"""What a shell offers for a half-typed word: runs, experiments, artifacts, metrics, models of the lake that is named.

The lake is that of ``--lake`` or ``LAKELINEAGE_URI``, if it is on this machine: who presses Tab does not wait for a
network. Completing never tells an error; without an answer there is nothing to offer.
"""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import typer

#: The variable by which a shell says that it wants completions, and in which form.
VARIABLE = "_LAKELINEAGE_COMPLETE"
#: Most words offered.
GREATEST = 50

#: Words with anything else could command a shell that evaluates what it is offered, as zsh does.
_HARMLESS = re.compile(r"[^\x00-\x1f\x7f\\'\"`$]+")
#: Signs of help texts that shells, or Typer's markup, take for more than text.
_MARKS = re.compile(r"[\x00-\x1f\x7f\\'\"`$\[\]]+")
#: A word, and what zsh and fish show beside it.
Offer = tuple[str, str]


def run_ids(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of runs, the newest first, with their names."""
    sql = "select run_id, concat_ws(' ', name, lower(status)) from runs where starts_with(run_id, ?)"
    return _offers(ctx, f"{sql} order by start_time desc", [incomplete.lower()])


def run_or_snapshot_ids(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of runs, and of snapshots."""
    return [*run_ids(ctx, incomplete), *snapshot_ids(ctx, incomplete)]


def experiments(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Names of experiments that are not deleted."""
    sql = "select name, '' from experiments where lifecycle_stage = 'active' and starts_with(name, ?) order by name"
    return _offers(ctx, sql, [incomplete])


def artifacts(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Paths of what the run, which is named before, has logged."""
    sql = "select distinct path, '' from artifacts where starts_with(run_id, ?) and starts_with(path, ?) order by path"
    return _offers(ctx, sql, [_run(ctx), incomplete])


def metric_keys(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Metrics of the run, which is named before."""
    sql = "select distinct unnest(map_keys(metrics)) as key from runs where starts_with(run_id, ?)"
    sql = f"select key, '' from ({sql}) where starts_with(key, ?) order by key"
    return _offers(ctx, sql, [_run(ctx), incomplete])


def models(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Names of registered models."""
    sql = "select name, '' from registered_models where lifecycle_stage = 'active' and starts_with(name, ?)"
    return _offers(ctx, f"{sql} order by name", [incomplete])


def snapshot_ids(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Ids of snapshots, the newest first, with their tables."""
    sql = "select snapshot_id, any_value(table_uri || '@' || version) from snapshots where starts_with(snapshot_id, ?)"
    return _offers(ctx, f"{sql} group by snapshot_id order by max(ingested_at) desc", [incomplete.lower()])


def statuses(incomplete: str) -> list[str]:
    """What a run may end as."""
    return [status for status in ("FINISHED", "FAILED", "KILLED") if status.startswith(incomplete.upper())]


def protections(incomplete: str) -> list[str]:
    """How inputs may be pinned."""
    return [level for level in ("reference", "protected", "archived") if level.startswith(incomplete)]


def answer(app: Callable[..., object], name: str) -> int:
    """Tell the shell that asks by :data:`VARIABLE`; nothing but the answer comes out, whatever goes wrong.

    Args:
        app: the command line.
        name: the program's.

    Returns:
        The exit code, by which fish learns whether there is anything.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # loggers and native libraries write there by themselves
    told, code = io.StringIO(), 1
    try:
        with redirect_stdout(told):
            app([], prog_name=name, standalone_mode=False)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 0
    except Exception:  # noqa: BLE001 - a traceback would land in the line that somebody types
        return 1
    words = told.getvalue()
    if os.environ.get(VARIABLE) == "complete_bash":
        # Bash puts a word into the line as it is; zsh and fish quote by themselves.
        words = re.sub(r"([^\w\n@%+=:,./-])", r"\\\1", words)
    sys.stdout.write(words)
    return code


def _offers(ctx: typer.Context, sql: str, values: Sequence[str]) -> list[Offer]:
    """What a query over the lake tells; nothing where it cannot be asked."""
    place = _place(ctx)
    if place is None or not _can_be_asked(place):
        return []
    import lakelineage

    try:
        with lakelineage.open(place, create=False) as lake:
            rows = lake.sql(f"from ({sql}) limit {GREATEST}", list(values))
    except Exception:  # noqa: BLE001 - a traceback would land in the line that somebody types
        return []
    words, told = (column.to_pylist() for column in rows.columns)
    pairs = zip(words, told, strict=True)
    return [(word, _MARKS.sub(" ", help_ or "")) for word, help_ in pairs if _HARMLESS.fullmatch(word)]


def _place(ctx: typer.Context) -> Path | None:
    """The lake that is named on the line, as its shell would read it, or else by the environment."""
    at: Any = ctx
    named = None
    while at is not None and not named:
        named, at = at.params.get("lake_uri"), at.parent
    text = os.path.expandvars(named) if named else os.environ.get("LAKELINEAGE_URI", "")
    return Path(text).expanduser() if text and "://" not in text else None


def _can_be_asked(place: Path) -> bool:
    """Whether it is a lake of this format: pressing Tab upgrades nothing."""
    from lakelineage.settings import FORMAT

    try:
        return bool(json.loads((place / "lake.json").read_text())["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _run(ctx: typer.Context) -> str:
    """The run that an argument before this one names."""
    return str(ctx.params.get("run_id") or ctx.params.get("run") or "").lower()
