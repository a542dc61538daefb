"""What reading a pin back costs, beside the engines' own readers on the same files. All take turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lakelineage as ll
from benchmarks.measure import Figure, Report

if TYPE_CHECKING:
    from lakelineage.snapshots import Snapshot

_FILES = 20
#: Rows from which on the reading itself is what is measured, and a goal was set.
_ENOUGH = 1_000_000
_AGGREGATE = "select k, sum(x) from {} group by 1"


def reading(report: Report, folder: Path, rows: int, times: int) -> None:
    """A table of so many rows in 20 files, at both levels, in every form."""
    uri = _table(folder / "table", rows)
    lake = ll.open(folder / "lake", durability="process")
    for level in ("reference", "archived"):
        pinned = lake.snapshot(uri, protection=level)
        for name, ours, theirs in _forms(pinned, sorted(map(str, (folder / "table").glob("*.parquet")))):
            _beside(report, f"{name}, {rows:,} rows, {level}", ours, theirs, rows, times)
    lake.close()


def _table(place: Path, rows: int) -> str:
    import numpy as np
    import pyarrow as pa
    from deltalake import write_deltalake

    rng = np.random.default_rng(0)
    each = rows // _FILES
    for number in range(_FILES):
        data = {
            "id": np.arange(number * each, (number + 1) * each),
            "x": rng.normal(size=each),
            "y": rng.normal(size=each),
            "k": rng.integers(0, 1_000, each),
            "s": np.char.add("name-", rng.integers(0, 10_000, each).astype(str)),
        }
        write_deltalake(str(place), pa.table(data), mode="append", target_file_size=1 << 30)
    return str(place)


def _forms(
    pinned: "Snapshot", files: Sequence[str]
) -> list[tuple[str, Callable[[], Any], dict[str, Callable[[], Any]]]]:
    import duckdb
    import polars as pl
    import pyarrow.dataset as ds

    con = duckdb.connect()

    def in_duckdb() -> object:
        pinned.to_duckdb(con, "pinned")
        return con.sql(_AGGREGATE.format("pinned")).fetchall()

    def grouped(frame: "pl.LazyFrame") -> object:
        return frame.group_by("k").agg(pl.col("x").sum()).collect()

    return [
        ("to_polars", pinned.to_polars, {"polars.read_parquet": lambda: pl.read_parquet(files)}),
        (
            "to_arrow",
            pinned.to_arrow,
            {
                "the faster of DuckDB and pyarrow": lambda: con.sql(f"from read_parquet({files})").to_arrow_table(),
                "pyarrow": lambda: ds.dataset(files).to_table(),
            },
        ),
        (
            "to_duckdb and an aggregate",
            in_duckdb,
            {"DuckDB": lambda: con.sql(_AGGREGATE.format(f"read_parquet({files})")).fetchall()},
        ),
        (
            "scan and an aggregate",
            lambda: grouped(pinned.scan()),
            {"polars.scan_parquet": lambda: grouped(pl.scan_parquet(files))},
        ),
    ]


def _beside(
    report: Report, name: str, ours: Callable[[], Any], theirs: dict[str, Callable[[], Any]], rows: int, times: int
) -> None:
    taken: dict[str, list[float]] = {who: [] for who in ("ours", *theirs)}
    for turn in range(times + 1):
        for who, act in {"ours": ours, **theirs}.items():
            begun = time.perf_counter()
            result = act()
            if turn:  # the first warms up
                taken[who].append((time.perf_counter() - begun) * 1e3)
            del result
    mine = statistics.median(taken["ours"])
    best = min(statistics.median(taken[who]) for who in theirs)
    deciles = statistics.quantiles(taken["ours"], n=10)
    ratio = best / mine
    spread, peer = (deciles[0], deciles[-1]), next(iter(theirs))
    figure = Figure(name, mine, "ms", spread, ratio, f"the speed of {peer}")
    if rows >= _ENOUGH:
        figure.goal, figure.met = "at least 0.9", ratio >= 0.9
    report.add(figure)
