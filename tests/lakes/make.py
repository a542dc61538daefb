"""Makes the lake of a format: ``python tests/lakes/make.py`` (Linux, extra ``demo``).

Writes ``tests/lakes/format-<n>/lake.tar.xz`` and ``expected.json`` for the format of the installed lakelineage. Run it
once, with the last code of a format, and never again: what it wrote is read by the tests for ever.

The lake holds a bit of everything: published, compacted and checkpointed tables, rows that were committed later, rows
of a process that was killed between two commits, pins whose sources are gone, a registered model with rules, requests
and checks. One file keeps git from changing times and line ends. Nothing in it tells of the machine that it was made
on.
"""

import json
import math
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LAKE = "lake.tar.xz"
#: The same on every machine: paths are part of what is recorded.
SCRATCH = Path("/tmp/lakelineage-lakes")


def double(frame: Any) -> Any:
    """The model that is logged."""
    return frame["x"] * 2


def early(lake_path: Path) -> None:
    """The first process: runs, pins and models, all of it published and compacted."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    import lakelineage as ll
    from lakelineage.validation import Documentation, Metric

    source, csv = lake_path.parent / "points", lake_path.parent / "people.csv"
    write_deltalake(str(source), pa.table({"x": [1.0, 2.0, 3.0], "label": ["a", None, "ü"]}), partition_by=["label"])
    write_deltalake(DeltaTable(str(source)), pa.table({"x": [4.0], "label": ["b"]}), mode="append")
    csv.write_text("name,age\nada,36\ngrace,85\n")
    images = lake_path.parent / "images"
    (images / "cats").mkdir(parents=True)
    (images / "cats" / "ü.bin").write_bytes(bytes(range(256)))
    (images / "empty").touch()
    with ll.open(lake_path) as lake:
        with lake.start_run("first", name="trained", tags={"team": "x", "gone": 1}) as run:
            run.use(source, version=0, name="points", where="x < 3")
            run.use(csv, name="people", context="test", columns=["age"])
            run.log_params({"alpha": 0.1, "text": "tab\tand ü"})
            for step, value in enumerate((1.5, math.nan, math.inf, -math.inf, 0.25), start=-2):
                run.log_metric("loss", value, step=step)
                lake.flush()
            run.log_metric_table({"step": [0, 1, 2], "bulk": [0.0, 0.5, math.nan]})
            run.delete_tag("gone")
            run.log_text("hello\n", "notes/hello.txt")
            run.log_model(double, "model", input_example=_example())
        for version in (1, 2):
            lake.models.register("doubler", run, description=f"number {version}", tags={"n": str(version)})
        lake.models.set_alias("doubler", "champion", 1)
        lake.models.set_alias("doubler", "champion", 2, comment="better")
        lake.models.set_alias("doubler", "old", 1)
        lake.models.delete_alias("doubler", "old")
        lake.models.set_rules("doubler", stages=["Production"], requester_may_approve=True, comment="four eyes")
        lake.models.approve(lake.models.request("doubler", 2, stage="Production", comment="please"), comment="fine")
        lake.models.request("doubler", 1, alias="old", comment="open")
        lake.models.set_checks("doubler", {"low": Metric(key="loss", max=0.5), "told": Documentation(length=99)})
        lake.models.validate("doubler", 2, comment="first look")
        lake.snapshot(source, version=1, protection="archived", until="2999-12-31")
        with lake.start_run("second", name="looked") as run:
            run.use(images, name="images", protection="archived")
        lake.snapshot(pa.table({"who": ["ada", "grace"]}), name="secret")
        lake.forget("secret", "who = 'ada'", dry_run=False, comment="request 1")
        lake.pins.release(lake.snapshot(pa.table({"n": [1]}), name="gone"), comment="no longer needed")
        assert all(each.ok for each in lake.verify(depth="checksums"))
        lake.maintain()
    shutil.rmtree(source)
    shutil.rmtree(images)
    csv.unlink()


def _example() -> Any:
    import pandas as pd

    return pd.DataFrame({"x": [1.0, 2.0]})


def later(lake_path: Path) -> None:
    """The second process: commits after what was published."""
    import lakelineage as ll

    with ll.open(lake_path) as lake:
        (old,) = lake.search_runs("attributes.run_name = 'trained'").to_pylist()
        parent = lake.resume_run(old["run_id"])
        with lake.start_run("second", name="child", parent=parent) as run:
            run.log_metrics({"loss": 0.75, "acc": 1.0}, step=9)
        failed = lake.start_run("second", name="failed")
        failed.end("FAILED")
        parent.set_tag("later", "yes")
        parent.log_metric("loss", 0.125, step=10)
        parent.end()
        lake.flush()


def killed(lake_path: Path) -> None:
    """The third process: is killed when some of its tables are committed and others are not."""
    import lakelineage as ll

    lake = ll.open(lake_path)
    done = lake.start_run("first", name="done", tags={"t": 1})
    done.log_param("p", "only in the journal")
    done.log_metric("loss", 7.0)
    done.log_metric_table({"step": [5, 6], "bulk": [5.0, 6.0]})
    done.log_text("late", "late.txt")
    done.end()
    running = lake.start_run("second", name="running")
    running.log_metric("loss", math.nan)
    lake.flush()


STEPS: dict[str, Callable[[Path], None]] = {"early": early, "later": later, "killed": killed}
#: The third process dies where two tables have been committed.
FAULTS = {"killed": "commit.between_tables:2"}


def queries() -> list[str]:
    """One per table, with its columns named: later formats append some."""
    from lakelineage.tables import BY_NAME

    found = []
    for table in BY_NAME.values():
        columns = ", ".join(f'"{column.name}"' for column in table.all_columns)
        order = "ingested_at, writer, seq" if table.is_fact else ", ".join(table.key)
        found.append(f"SELECT {columns} FROM {table.name} ORDER BY {order}")
    return found


def plain(value: Any) -> Any:
    """A value as JSON tells it for certain: times and floats as texts, maps as sorted pairs."""
    if isinstance(value, float):
        return repr(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, dict):
        return sorted([key, plain(v)] for key, v in value.items())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def answer(lake: Any, sql: str) -> list[list[Any]]:
    """What a lake answers, as JSON tells it."""
    return [[plain(value) for value in row.values()] for row in lake.sql(sql).to_pylist()]


def answers(lake: Any) -> dict[str, Any]:
    """Everything that the lake says."""
    pinned = [row["snapshot_id"] for row in lake.snapshots.to_pylist() if row["pins"]]
    pins = {snapshot_id: lake.load_snapshot(snapshot_id) for snapshot_id in pinned}
    return {
        "lake_id": lake.id,
        "sql": {sql: answer(lake, sql) for sql in queries()},
        "snapshots": {key: plain(pin.to_arrow().to_pylist()) for key, pin in pins.items()},
    }


def unpack(packed: Path, folder: Path) -> Path:
    """A copy of the lake of one format.

    Args:
        packed: its folder, ``format-<n>``.
        folder: where the copy goes.
    """
    with tarfile.open(packed / LAKE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _of_nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _step(name: str, lake_path: Path) -> None:
    environment = {**os.environ, "LAKELINEAGE_USER": "ada", "TZ": "UTC"}
    if name in FAULTS:
        environment["LAKELINEAGE_FAULT"] = FAULTS[name]
    program = SCRATCH / "train.py"  # what runs tell as their source
    done = subprocess.run([sys.executable, program, name, lake_path], env=environment, cwd=SCRATCH, check=False)
    assert done.returncode == (-signal.SIGKILL if name in FAULTS else 0), done.returncode


def main() -> None:
    """Make the lake of the present format."""
    from lakelineage.settings import FORMAT

    target, lake_path = HERE / f"format-{FORMAT}", SCRATCH / "lake"
    assert not target.exists(), f"{target} is there, and what is checked in stays as it is"
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir()
    shutil.copyfile(__file__, SCRATCH / "train.py")
    for name in STEPS:
        _step(name, lake_path)
    target.mkdir(parents=True)
    # Every file whole, also what is linked to another: the archive of pins is read without its sources.
    with tarfile.open(target / LAKE, "w:xz", dereference=True, preset=9) as packed:
        for file in sorted(lake_path.iterdir()):
            packed.add(file, file.name, filter=_of_nobody)
    with tempfile.TemporaryDirectory() as folder:
        unpack(target, Path(folder))
        import lakelineage as ll

        with ll.open(folder) as lake:
            expected = answers(lake)
    (target / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(SCRATCH)


if __name__ == "__main__":
    platform.node = socket.gethostname = lambda: "host-a"
    platform.platform = lambda: "Linux-x86_64"  # type: ignore[assignment]
    if len(sys.argv) == 1:
        main()
    else:
        STEPS[sys.argv[1]](Path(sys.argv[2]))
