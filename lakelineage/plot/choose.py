"""Which runs a plot shows, and what each of them is called in it."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, RunNotFound
from lakelineage.tracking import search
from lakelineage.tracking.active import ActiveRun
from lakelineage.tracking.ids import full_id
from lakelineage.tracking.recorded import RecordedRun

if TYPE_CHECKING:
    from lakelineage.engine import Reads

#: Runs that one plot shows at most; of more that a filter finds, the newest are taken.
MOST_RUNS = 10_000
#: Hex digits of a run id beside a name that several runs have.
_SHORT_ID = 16
#: A run id or the beginning of one; no filter looks like this.
_RUN_ID = re.compile(r"\s*[0-9a-fA-F]{4,32}\s*")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Runs to plot.

    Attributes:
        ids: run ids, in the order they were given, or newest first.
        labels: a name for each; no two are alike.
        starts: when each started, µs since 1970 UTC.
        notes: what a reader of the plot should know of the choice.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    starts: tuple[int, ...]
    notes: tuple[str, ...] = ()


def choose(engine: "Reads", runs: Any = None, filter: str = "") -> Chosen:  # noqa: A002 - the word of search
    """Find the runs to plot.

    Args:
        engine: the open lake.
        runs: a run, its id or the beginning of it, several of them, a table with the column ``run_id``, or a filter as
            for search; None means all that satisfy ``filter``.
        filter: conditions as for search; only without ``runs``.

    Raises:
        InvalidInput: both were given, there is no run to plot, or what was given is no run.
        InvalidFilter: the filter cannot be understood.
        RunNotFound: a run that was named is not there.
    """
    if runs is not None and filter:
        raise InvalidInput("give runs or a filter, not both")
    if isinstance(runs, str) and not _RUN_ID.fullmatch(runs):
        runs, filter = None, runs  # noqa: A001
    if runs is None:
        return _found(engine, filter)
    wanted = list(dict.fromkeys(_ids(engine, runs)))
    if not wanted:
        raise InvalidInput("there is no run to plot: what was given is empty")
    if len(wanted) > MOST_RUNS:
        raise InvalidInput(f"{len(wanted):,} runs are too many for one plot; give at most {MOST_RUNS:,}")
    return _named(engine, wanted, ())


def _found(engine: "Reads", filter: str) -> Chosen:  # noqa: A002
    found = search.search_runs(engine, filter, limit=MOST_RUNS + 1).column("run_id").to_pylist()
    if not found:
        which = f"satisfies the filter {filter!r}" if filter else "is in the lake"
        raise InvalidInput(f"there is no run to plot: none {which}")
    notes = (f"the newest {MOST_RUNS:,} runs of more",) if len(found) > MOST_RUNS else ()
    return _named(engine, found[:MOST_RUNS], notes)


def _ids(engine: "Reads", runs: Any) -> list[str]:
    if isinstance(runs, (str, ActiveRun, RecordedRun)):
        return [_id(engine, runs)]
    names = getattr(runs, "column_names", None)  # Arrow's word; Polars and pandas say columns
    names = getattr(runs, "columns", None) if names is None else names
    if names is not None:
        if "run_id" not in list(names):
            raise InvalidInput(f"a table of runs needs the column run_id; this one has {list(names)}")
        return [_id(engine, value) for value in runs["run_id"].to_numpy().tolist()]
    if isinstance(runs, Iterable):
        return [_id(engine, run) for run in runs]
    raise InvalidInput(f"{runs!r} is no run; give run ids, runs, a table with the column run_id, or a filter")


def _id(engine: "Reads", run: Any) -> str:
    return run.id if isinstance(run, (ActiveRun, RecordedRun)) else full_id(engine, run)


def _named(engine: "Reads", wanted: Sequence[str], notes: tuple[str, ...]) -> Chosen:
    sql = "SELECT run_id, name, epoch_us(start_time) FROM runs WHERE run_id IN (SELECT unnest(?::VARCHAR[]))"
    run_ids, names, starts = (column.to_pylist() for column in engine.query(sql, [list(wanted)]).columns)
    known = dict(zip(run_ids, zip(names, starts, strict=True), strict=True))
    missing = next((run_id for run_id in wanted if run_id not in known), None)
    if missing is not None:
        raise RunNotFound(f"no run has the id {missing}; `lake.search_runs()` lists those of {engine.root.uri}")
    labels = _labels([(run_id, known[run_id][0]) for run_id in wanted])
    return Chosen(tuple(wanted), labels, tuple(known[run_id][1] for run_id in wanted), notes)


def _labels(runs: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
    """Names, or the beginning of the id; the whole id where that is not enough to tell runs apart."""
    short = [name or run_id[:_SHORT_ID] for run_id, name in runs]
    often = Counter(short)
    full = (f"{name} ({run_id})" if name else run_id for run_id, name in runs)
    return tuple(s if often[s] == 1 else f for s, f in zip(short, full, strict=True))
