"""A lake with runs in it, made of the rows that tracking and pinning write."""

from collections.abc import Callable
from typing import Any

import pytest

from lakelineage.engine import Engine
from lakelineage.model.changes import Rows
from lakelineage.model.ids import new_id
from lakelineage.registry.models import Models
from lakelineage.tables import ARTIFACTS, INPUTS, METRICS, PARAMS, RUNS_HISTORY, SNAPSHOTS

MakeRun = Callable[..., str]


@pytest.fixture
def models(engine: Engine) -> Models:
    return Models(engine)


@pytest.fixture
def make_run(engine: Engine) -> MakeRun:
    """Make a finished run with a model; ``trained_on`` is (table URI, table id, version), ``context`` its use."""

    def make(
        metrics: dict[str, float] | None = None,
        params: dict[str, str] | None = None,
        trained_on: tuple[str, str, int] | None = None,
        context: str = "training",
        path: str = "model",
    ) -> str:
        run = new_id()
        row: dict[str, Any] = {"run_id": run, "experiment_id": "e", "status": "FINISHED", "lifecycle_stage": "active"}
        change = [
            Rows(ARTIFACTS.name, (ARTIFACTS.row(run_id=run, path=f"{path}/MLmodel", size=1, sha256="0"),)),
            Rows(RUNS_HISTORY.name, (RUNS_HISTORY.row(**row, start_time=1, end_time=2),)),
        ]
        for key, value in (metrics or {}).items():
            change.append(Rows(METRICS.name, (METRICS.row(run_id=run, key=key, step=0, timestamp=1, value=value),)))
        for key, text in (params or {}).items():
            change.append(Rows(PARAMS.name, (PARAMS.row(run_id=run, key=key, value=text),)))
        if trained_on is not None:
            uri, table_id, version = trained_on
            pinned = f"snapshot-{table_id}-{version}"
            known = {"table_uri": uri, "table_id": table_id, "version": version, "schema": "{}"}
            change += [
                Rows(SNAPSHOTS.name, (SNAPSHOTS.row(snapshot_id=pinned, num_files=1, bytes=1, **known),)),
                Rows(INPUTS.name, (INPUTS.row(run_id=run, snapshot_id=pinned, name="data", context=context),)),
            ]
        engine.append(tuple(change))
        return run

    return make
