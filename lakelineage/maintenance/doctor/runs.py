"""Runs that are told as running, and that nobody can be logging to any more."""

import platform
import time
from collections.abc import Iterator

from lakelineage.journal.lanes import boot_id
from lakelineage.maintenance.doctor.finding import Finding, Place, Severity, some
from lakelineage.store.locks import is_held

#: Seconds that a run must have been still: its process may be between two lanes (a lake closed and opened again).
STILL = 60.0
_LOGS = ("runs_history", "metrics", "params", "tags_history", "artifacts")


def runs(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Runs of this host whose every process has ended."""
    running = _running(place)
    ended = [run for run, writers in _writers(place, running).items() if all(_is_dead(place, w) for w in writers)]
    still = _running(place)  # again, after the processes: one may have ended its run just before it ended itself
    dead = sorted(run for run in ended if still.get(run) == running[run])
    if dead:
        yield Finding(
            "runs",
            Severity.WARNING,
            f"{len(dead):,} are RUNNING, but the processes that logged to them here have ended: {some(dead)}",
            f"end them: `lakelineage end {dead[0]} --status KILLED`; or log on, if they are logged to from a shell",
        )
    else:
        told = f"{len(running):,} are running on this host" if running else "none is running on this host"
        yield Finding("runs", Severity.OK, told)


def _running(place: Place) -> dict[str, float]:
    """Runs of this host that are told as running → when they were last logged to, seconds since 1970."""
    rows = place.rows(
        "SELECT run_id, epoch_us(updated_at) / 1e6 AS seen FROM runs "
        "WHERE status = 'RUNNING' AND lifecycle_stage = 'active' AND host = ?",
        [platform.node()],
    )
    return {row["run_id"]: float(row["seen"]) for row in rows if time.time() - row["seen"] > STILL}


def _writers(place: Place, running: dict[str, float]) -> dict[str, set[str]]:
    """Who ever logged to them: forked children and resuming processes have writers of their own."""
    found: dict[str, set[str]] = {}
    if running:
        parts = (f"SELECT DISTINCT run_id, writer FROM {t} WHERE list_contains($ids, run_id)" for t in _LOGS)
        for row in place.reader.query(" UNION ".join(parts), {"ids": list(running)}).to_pylist():
            found.setdefault(row["run_id"], set()).add(row["writer"])
    return found


def _is_dead(place: Place, writer: str) -> bool:
    """Whether no process can be logging as this writer; a lane that is kept elsewhere is none that we can judge."""
    locks = [lock for folder in place.folders if (lock := folder / f"{writer}.lock").exists()]
    if locks:
        return not any(map(is_held, locks))
    return not writer.startswith(boot_id())  # started before this boot of the host
