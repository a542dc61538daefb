"""A diff of two versions reads what differs; beside it, a full outer join of both by DuckDB itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lakelineage as ll
from benchmarks.measure import Figure, Report, median

_FILES = 20
#: Columns besides the key.
_VALUES = ("x", "y", "label", "z")


def one_of_twenty_files(report: Report, folder: Path, rows: int, times: int) -> None:
    """Two versions of a table of so many rows: 1 % of them differ, all in one of its 20 files."""
    with ll.open(folder / "lake", durability="process") as lake:
        for tells in (False, True):
            uri = table_of(folder / ("told" if tells else "plain"), rows, tells)
            a, b = (lake.snapshot(uri, version=v, protection="reference") for v in (_FILES - 1, _FILES))
            acts: dict[str, Callable[[], int]] = {
                "diff": lambda a=a, b=b: _changed(lake, a, b, key="id"),
                "multiset": lambda a=a, b=b: _changed(lake, a, b, key=None),
                "join": lambda a=a, b=b, uri=uri: _joined(uri, a, b),
            }
            taken = _turns(acts, times)
            join, spread = median(taken["join"], 1e3)
            with_ = ", with change data" if tells else ""
            against = "a full outer join in DuckDB"
            report.add(Figure(f"full outer join of two versions of {rows:,} rows{with_}", join, "ms", spread))
            value, spread = median(taken["diff"], 1e3)
            # Of smaller tables the fixed costs are the greater part.
            met = value < 2_000 and value * 5 <= join if rows >= 10_000_000 else None
            goal = "" if met is None else "under 2 s, and at most a fifth"
            report.add(Figure(f"diff of them by key{with_}", value, "ms", spread, value / join, against, goal, met))
            value, spread = median(taken["multiset"], 1e3)
            report.add(Figure(f"diff of them without a key{with_}", value, "ms", spread, value / join, against))


def table_of(place: Path, rows: int, tells: bool) -> str:
    """A table of 20 files by 20 appends; the 21st commit is an update."""
    import numpy as np
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    rng = np.random.default_rng(0)
    each = rows // _FILES
    for number in range(_FILES):
        data = {
            "id": np.arange(number * each, (number + 1) * each),
            "x": rng.random(each),
            "y": rng.integers(0, 1_000, each),
            "label": rng.choice(["a", "b", "c"], each),
            "z": rng.random(each).astype("f4"),
        }
        settings = {"delta.enableChangeDataFeed": "true"} if tells and number == 0 else None
        write_deltalake(str(place), pa.table(data), mode="append", configuration=settings)
    # A fifth of one of twenty files is 1 % of all.
    where = f"id >= {3 * each} and id < {4 * each} and y < 200"
    DeltaTable(str(place)).update(updates={"x": "x + 1"}, predicate=where)
    return str(place)


def _turns(acts: dict[str, Callable[[], int]], times: int) -> dict[str, list[float]]:
    """Seconds of each act, which take turns; all must find the same number of rows."""
    taken: dict[str, list[float]] = {name: [] for name in acts}
    found = {name: act() for name, act in acts.items()}
    assert len(set(found.values())) == 1, found
    for _ in range(times):
        for name, act in acts.items():
            begun = time.perf_counter()
            act()
            taken[name].append(time.perf_counter() - begun)
    return taken


def _changed(lake: ll.Lake, a: ll.Snapshot, b: ll.Snapshot, key: str | None) -> int:
    with lake.diff(a, b, key=key) as found:
        return found.counts.changed if key else found.counts.added


def _joined(uri: str, a: ll.Snapshot, b: ll.Snapshot) -> int:
    """What one would write by hand: both versions whole, the rows that differ kept."""
    import duckdb

    sides = [[str(Path(uri, pin.file.path)) for pin in snapshot.files] for snapshot in (a, b)]
    unlike = " or ".join(f"a.{name} is distinct from b.{name}" for name in _VALUES)
    with duckdb.connect() as con:
        con.execute(
            f"create table changes as select a, b from read_parquet({sides[0]}) a full join read_parquet({sides[1]}) b "
            f"on a.id = b.id where a.id is null or b.id is null or {unlike}"
        )
        [row] = con.execute("select count(*) from changes").fetchall()
    number: Any = row[0]
    return int(number)
