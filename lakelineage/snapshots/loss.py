"""What became of pinned files that are gone: which commit removed them, which vacuum deleted them, or what else."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakelineage.errors import LakelineageError, Removal
from lakelineage.store import files, log_history, source
from lakelineage.store.files import FileState
from lakelineage.store.log_history import Commit

if TYPE_CHECKING:
    from lakelineage.snapshots.places import Pinned, PinnedFile

#: Reasons that a message lists; the others are in ``SnapshotLost.removals``.
_SHOWN = 4


def explain(pinned: "Pinned", missing: Sequence[str]) -> tuple[Removal, ...]:
    """What became of each file, as far as storage and the table's log still tell.

    Args:
        pinned: the snapshot.
        missing: its files that are gone or were altered, as the log names them.
    """
    try:
        return _explained(pinned, missing)
    except (LakelineageError, OSError, ValueError) as error:  # the loss itself must be told, whatever else fails
        return tuple(Removal(path, f"the table's log cannot be read ({error})") for path in missing)


def summary(removals: Sequence[Removal]) -> str:
    """The reasons in one text, those of many files first."""
    counts = Counter(removal.reason for removal in removals)
    told = [reason if len(counts) == 1 else f"{count} files: {reason}" for reason, count in counts.most_common(_SHOWN)]
    if len(counts) > _SHOWN:
        told.append(f"and {len(counts) - _SHOWN} more reasons, in `removals` of this error")
    text = "; ".join(told)
    return text[:1].upper() + text[1:]


def _explained(pinned: "Pinned", missing: Sequence[str]) -> tuple[Removal, ...]:
    pins = {pin.file.path: pin for pin in pinned.files}
    states = dict(zip(missing, files.states(pinned.uri, pinned.options, missing), strict=True))
    there = source.table_id_at(pinned.uri, pinned.options)
    if there is not None and there != pinned.table_id:
        return tuple(Removal(path, f"{pinned.uri} is another table by now ({there})") for path in missing)
    if there is None:
        gone = f"there is no table at {pinned.uri} any more"
        return tuple(Removal(path, _altered(pins[path], states[path]) or gone) for path in missing)
    altered = {path: why for path in missing if (why := _altered(pins[path], states[path]))}
    told = _removals(pinned, [path for path in missing if path not in altered])
    return tuple(Removal(path, altered[path]) if path in altered else told[path] for path in missing)


def _altered(pin: "PinnedFile", state: FileState | None) -> str | None:
    """How a file that is there differs from what was pinned; None if there is none."""
    if state is None:
        return None
    if state.size != pin.file.size:
        return f"altered in place: {state.size:,} bytes, {pin.file.size:,} were pinned"
    since = "" if pin.modified is None else f", {_time(pin.modified)} was pinned"
    return f"altered in place: last changed {_time(state.modified)}{since}"


def _removals(pinned: "Pinned", missing: Sequence[str]) -> dict[str, Removal]:
    """What the log tells, from the newest commit back until every file is found."""
    left = {log_history.plain(pinned.uri, path): path for path in missing}
    vacuums: list[Commit] = []
    found: dict[str, Removal] = {}
    for commit in log_history.newest_first(pinned.uri, pinned.options, after=pinned.version):
        if not left:
            break
        if commit.operation in ("VACUUM START", "VACUUM"):
            vacuums.append(commit)
        for name in commit.removed & left.keys():
            path = left.pop(name)
            found[path] = _removal(path, commit, vacuums)
    untold = "gone from storage; the table's log does not tell of its removal"
    return {path: found.get(path) or Removal(path, untold) for path in missing}


def _removal(path: str, commit: Commit, vacuums: Sequence[Commit]) -> Removal:
    """A removal, and the first of the vacuums after it (given newest first) that may have deleted the file."""
    reason = f"removed by {_named(commit)}"
    vacuum = next((each for each in reversed(vacuums) if _expired(commit, each)), None)
    if vacuum is None:
        reason += "; the log does not tell what deleted it from storage"
        return Removal(path, reason, commit.operation, commit.version, commit.at, commit.by)
    later = " or a later one" if vacuum is not vacuums[0] else ""
    reason += f", deleted from storage by {_named(vacuum)}{later}"
    return Removal(
        path,
        reason,
        commit.operation,
        commit.version,
        commit.at,
        commit.by,
        vacuum.version,
        vacuum.at,
        vacuum.by,
    )


def _expired(removal: Commit, vacuum: Commit) -> bool:
    """Whether a vacuum may have taken what a commit removed, by the retention that it tells of."""
    if log_history.VACUUM_KEY in vacuum.info:
        millis = json.loads(vacuum.info[log_history.VACUUM_KEY])["retention_hours"] * 3_600_000
    else:
        told = vacuum.info.get("operationParameters") or {}
        specified = told.get("specifiedRetentionMillis")
        millis = told.get("defaultRetentionMillis") or 0 if specified is None else specified
    return removal.at + int(millis) * 1000 <= vacuum.at


def _named(commit: Commit) -> str:
    name = "VACUUM" if commit.operation.startswith("VACUUM") else commit.operation
    if log_history.VACUUM_KEY in commit.info:
        name = "`lakelineage vacuum`"
    by = "" if commit.by is None else f", {commit.by}"
    return f"{name} in version {commit.version} ({_time(commit.at)}{by})"


def _time(micros: int) -> str:
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    return moment.isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
