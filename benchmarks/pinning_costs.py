"""Pinning costs metadata only: tables of many files, whose bytes nobody reads."""

import json
import shutil
import time
import uuid
from functools import partial
from pathlib import Path

import lakelineage as ll
from benchmarks.measure import Figure, Report, each, median


def many_files(report: Report, folder: Path, sizes: list[int], times: int) -> None:
    """Pin tables of so many files for the first time, at each level, and again."""
    limits = {10_000: 0.5, 100_000: 5.0}
    for files in sizes:
        table = table_of(folder / f"table-{files}", files)
        for level in ("reference", "archived"):
            lakes = [_warm(folder / f"{level}-{files}-{number}") for number in range(times)]
            taken = []
            for lake in lakes:
                begun = time.perf_counter()
                lake.snapshot(table, protection=level)
                taken.append(time.perf_counter() - begun)
            value, spread = median(taken * 2, 1e3)  # quantiles want two values
            limit = limits.get(files)
            name, goal = f"pin a table of {files:,} files, {level}, first time", f"under {limit} s"
            met = None if limit is None else value < limit * 1e3
            report.add(Figure(name, value, "ms", spread, goal=goal if limit else "", met=met))
            again, spread = median(each(20, partial(_pin, lakes[-1], table, level)), 1e3)
            name, goal = f"pin that version again, {level}", "under 50 ms"
            report.add(Figure(name, again, "ms", spread, again / value, "the first time", goal, again < 50))
            for lake in lakes:
                lake.close()
                shutil.rmtree(lake.uri)
        shutil.rmtree(table)


def _pin(lake: ll.Lake, table: str, level: str, _: int) -> None:
    lake.snapshot(table, protection=level)


def _warm(place: Path) -> ll.Lake:
    """An open lake that has pinned something: what is measured is the pin, not the imports."""
    import pyarrow as pa

    lake = ll.open(place)
    lake.snapshot(pa.table({"n": [1]}), name="warm")
    return lake


def table_of(place: Path, files: int) -> str:
    """A Delta table of so many small files with statistics, in one commit."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import Schema
    from deltalake.transaction import AddAction, create_table_with_add_actions

    place.mkdir()
    rows = pa.table({"id": list(range(10)), "x": [0.5] * 10})
    pq.write_table(rows, place / "seed")
    content = (place / "seed").read_bytes()
    (place / "seed").unlink()
    least, greatest, nulls = {"id": 0, "x": 0.5}, {"id": 9, "x": 0.5}, {"id": 0, "x": 0}
    stats = json.dumps({"numRecords": 10, "minValues": least, "maxValues": greatest, "nullCount": nulls})
    added = []
    for number in range(files):
        name = f"part-{number:05d}-{uuid.uuid4()}-c000.snappy.parquet"
        (place / name).write_bytes(content)
        added.append(AddAction(name, len(content), {}, time.time_ns() // 1_000_000, True, stats))
    create_table_with_add_actions(str(place), Schema.from_arrow(rows.schema), added, mode="error")
    return str(place)
