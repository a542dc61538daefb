"""Keys that are searched again are read as plain columns: the answers are those of the maps."""

import math
import random
from pathlib import Path

import pyarrow as pa
import pytest

import lakelineage as ll
from lakelineage.model.changes import Batch
from lakelineage.model.ids import new_id
from lakelineage.tables import METRICS, PARAMS, RUNS_HISTORY, TAGS_HISTORY, Table

#: Enough for parts of thousands of rows.
MANY = 2_500
VALUES = (0.5, -1.0, math.nan, math.inf, -math.inf, 0.0, 2.0)
KEYS = ("a", "it's", "x y", "r.metrics['a']")


def batch(table: Table, **columns: list[object]) -> Batch:
    count = len(next(iter(columns.values())))
    arrays = [pa.array(columns.get(f.name, [None] * count), f.type) for f in table.own_schema]
    return Batch(table.name, pa.RecordBatch.from_arrays(arrays, schema=table.own_schema))


def log_many(lake: ll.Lake, seed: int) -> list[str]:
    """Runs of which each has some of the metrics, params and tags."""
    draw = random.Random(seed)
    experiment = lake.experiments.id_of("e")
    ids = [new_id() for _ in range(MANY)]
    metrics = [(i, key, draw.choice(VALUES)) for i in ids for key in KEYS if draw.random() < 0.7]
    params = [(i, key, draw.choice("abc")) for i in ids for key in KEYS if draw.random() < 0.7]
    tags = [(i, key, draw.choice("abc")) for i in ids for key in KEYS if draw.random() < 0.7]
    runs, names, values = (list(column) for column in zip(*metrics, strict=True))
    none = [0] * len(metrics)
    lake.engine.append((batch(METRICS, run_id=runs, key=names, value=values, step=none, timestamp=none),))
    for table, rows in ((PARAMS, params), (TAGS_HISTORY, tags)):
        runs, names, values = (list(column) for column in zip(*rows, strict=True))
        lake.engine.append((batch(table, run_id=runs, key=names, value=values),))
    states = {"status": "FINISHED", "lifecycle_stage": "active", "start_time": 0, "experiment_id": experiment}
    lake.engine.append((batch(RUNS_HISTORY, run_id=ids, **{name: [value] * MANY for name, value in states.items()}),))
    return ids


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two published parts, and runs that changed since."""
    path = tmp_path_factory.mktemp("flat") / "lake"
    with ll.open(path, durability="process") as lake:
        ids = log_many(lake, 0)
        lake.maintain()
        log_many(lake, 1)
        lake.maintain()
        for run_id in ids[::500]:
            with lake.resume_run(run_id) as run:
                run.log_metric("a", 0.25, step=9)
                run.set_tag("a", "fresh")
    return path


def questions() -> list[tuple[str, list[str]]]:
    found = []
    for key in KEYS:
        quoted = f"`{key}`"
        found += [
            (f"metrics.{quoted} < 0.6", [f"metrics.{quoted} DESC"]),
            (f"metrics.{quoted} != 0.5 AND params.{quoted} = 'a'", [f"params.{quoted}", f"metrics.{quoted}"]),
            (f"tags.{quoted} IS NULL OR params.{quoted} LIKE 'b%'", [f"tags.{quoted} DESC"]),
        ]
    return [*found, ("params.a = 'a' AND NOT params.`it's` = 'a'", ["metrics.`x y`", "metrics.a DESC"])]


@pytest.mark.parametrize(("asked", "order"), questions())
def test_a_question_asked_again_has_the_same_answer(big: Path, asked: str, order: list[str]) -> None:
    with ll.open(big, durability="process") as lake:
        answers = [lake.search_runs(asked, order_by=order, limit=700).column("run_id").to_pylist() for _ in range(4)]
        whole = lake.search_runs(asked, order_by=order).column("run_id").to_pylist()  # read from the maps
        assert answers == [whole[:700]] * 4
        pages = [page.column("run_id").to_pylist() for page in lake.search_pages(asked, order_by=order, page_size=333)]
        assert [run_id for page in pages for run_id in page] == whole


def test_what_is_logged_after_a_key_was_taken_out_is_found(big: Path) -> None:
    with ll.open(big, durability="process") as lake:
        for _ in range(3):
            lake.search_runs("metrics.a = 77", limit=10)
        with lake.start_run("e") as run:
            run.log_metric("a", 77.0)
        for _ in range(2):
            assert lake.search_runs("metrics.a = 77", limit=10).column("run_id").to_pylist() == [run.id]
            lake.maintain()
        lake.delete_run(run.id)


def test_values_are_held_within_bounds(big: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakelineage.query.duckdb import flat

    monkeypatch.setattr(flat, "_MOST", 4 * 2 * MANY)
    with ll.open(big, durability="process") as lake:
        for number in range(12):
            for _ in range(2):
                lake.search_runs(f"metrics.`k{number}` > 0 OR metrics.a > {number}", limit=5)
            held = lake.engine.reader._flat._columns
            assert len(held) <= 4
        assert ("metrics", "a") in held
