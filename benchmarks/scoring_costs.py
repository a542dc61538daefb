"""Scoring a table; beside it, the bare loop: read Parquet, predict on batches of the same size, write Parquet."""

import json
import subprocess
import sys
import time
from pathlib import Path

import lakelineage as ll
from benchmarks.measure import Figure, Report, median

_FILES = 10
_BATCH = 65_536
_FEATURES = ("bmi", "age", "dose", "weight")
#: A process that scores once, and tells its peak memory in MB: its own, where ``ru_maxrss`` begins with its parent's.
_CHILD = """
import json, re, sys
from pathlib import Path
import lakelineage as ll
folder, model, source, output = sys.argv[1:]
with ll.open(folder, durability="process") as lake:
    done = lake.score(model, source, output, mode="overwrite")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([done.rows, int(peak[1]) / 1024]))
"""


def scoring(report: Report, folder: Path, rows: int, times: int) -> None:
    """All rows against the bare loop; an increment of 1 % against all rows; memory at two sizes."""
    from deltalake import write_deltalake

    with ll.open(folder / "lake", durability="process") as lake:
        source, output = str(folder / "source"), str(folder / "output")
        _make(source, rows)
        model = _model(lake, source)
        loaded = lake.load_model(model).pyfunc
        ours, bare, more = [], [], []
        for turn in range(times + 1):
            begun = time.perf_counter()
            _bare(loaded, Path(source), folder / "bare")
            bare.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            assert lake.score(model, source, output, mode="overwrite", batch_size=_BATCH).rows > 0
            ours.append(time.perf_counter() - begun)
            write_deltalake(source, _data(rows * 2 + turn * rows, rows // 100), mode="append")
            begun = time.perf_counter()
            assert lake.score(model, source, output, incremental=True).rows == rows // 100
            more.append(time.perf_counter() - begun)
        _told(report, rows, ours[1:], bare[1:], more[1:])
        _memory(report, folder, model, source, rows)


def _told(report: Report, rows: int, ours: list[float], bare: list[float], more: list[float]) -> None:
    loop, spread = median([rows / seconds for seconds in bare], 1)
    report.add(Figure(f"bare loop over {rows:,} rows", loop, "rows/s", spread))
    value, spread = median([rows / seconds for seconds in ours], 1)
    large = rows >= 5_000_000
    met = value >= 0.8 * loop if large else None
    goal = "at least 80 %" if large else ""
    report.add(Figure("lake.score of them", value, "rows/s", spread, value / loop, "the bare loop", goal, met))
    whole, _ = median(ours, 1e3)
    value, spread = median(more, 1e3)
    report.add(Figure("incremental scoring of 1 % more", value, "ms", spread, value / whole, "scoring all"))


def _data(start: int, rows: int):  # type: ignore[no-untyped-def]
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(start)
    return pa.table({"id": np.arange(start, start + rows), **{name: rng.random(rows) for name in _FEATURES}})


def _make(place: str, rows: int) -> None:
    from deltalake import write_deltalake

    for number in range(_FILES):
        write_deltalake(place, _data(number * (rows // _FILES), rows // _FILES), mode="append")


def _model(lake: ll.Lake, source: str) -> str:
    """Polynomial features and a ridge regression, as a scikit-learn pipeline."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    data = _data(0, 10_000).to_pandas()
    features = data[list(_FEATURES)]
    fitted = make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge()).fit(features, data["bmi"] * data["age"])
    with lake.start_run("scoring") as run:
        run.use(source)
        run.log_model(fitted, "model", input_example=features.head(5))
    return f"runs:/{run.id}/model"


def _bare(model, source: Path, output: Path) -> None:  # type: ignore[no-untyped-def]
    """What one would write by hand."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in (*_FEATURES, "prediction"))])
    output.mkdir(exist_ok=True)
    files = sorted(source.glob("*.parquet"))
    with pq.ParquetWriter(output / "scores.parquet", schema) as writer:
        for batch in ds.dataset(files).to_batches(batch_size=_BATCH):
            made = model.predict(batch.select(list(_FEATURES)).to_pandas())
            writer.write_batch(batch.append_column("prediction", pa.array(made)))


def _memory(report: Report, folder: Path, model: str, source: str, rows: int) -> None:
    """Peak memory of a process that scores a fifth of the rows, and of one that scores all."""
    few = str(folder / "few")
    _make(few, rows // 5)
    peaks = []
    for name, place in (("few", few), ("all", source)):
        command = [sys.executable, "-c", _CHILD, str(folder / "lake"), model, place, str(folder / f"child-{name}")]
        scored, peak = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        report.add(Figure(f"peak memory, scoring {scored:,} rows", peak, "MB", None, peak / (peaks or [peak])[0]))
        peaks.append(peak)
