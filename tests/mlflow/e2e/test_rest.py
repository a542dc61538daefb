"""MLflow's REST API over a lake, asked by plain curl."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

import lakelineage as ll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Curl = Callable[..., tuple[int, dict[str, Any]]]


def _experiment(curl: Curl) -> str:
    status, made = curl("POST", "experiments/create", name=f"curl {uuid4().hex}")
    assert status == 200
    return str(made["experiment_id"])


def _run(curl: Curl, experiment_id: str) -> str:
    status, made = curl("POST", "runs/create", experiment_id=experiment_id, run_name="by curl", start_time=1_000)
    assert (status, made["run"]["info"]["status"]) == (200, "RUNNING")
    return str(made["run"]["info"]["run_id"])


def test_what_curl_logs_is_what_curl_and_sql_read(curl: Curl, server: Any) -> None:
    experiment = _experiment(curl)
    run = _run(curl, experiment)
    for step in range(3):
        body = {"run_id": run, "key": "loss", "value": 1 / (step + 1), "timestamp": 2_000 + step, "step": step}
        assert curl("POST", "runs/log-metric", **body) == (200, {})
    assert curl("POST", "runs/log-parameter", run_id=run, key="alpha", value="0.1") == (200, {})
    assert curl("POST", "runs/set-tag", run_id=run, key="team", value="blau & grün") == (200, {})
    many = [{"key": f"m{i}", "value": i, "timestamp": 1, "step": 0} for i in range(500)]
    params = [{"key": f"p{i}", "value": str(i)} for i in range(50)]
    assert curl("POST", "runs/log-batch", run_id=run, metrics=many, params=params) == (200, {})
    ended = {"run_id": run, "status": "FINISHED", "end_time": 5_000}
    assert curl("POST", "runs/update", **ended)[1]["run_info"]["status"] == "FINISHED"

    status, answer = curl("GET", "runs/get", f"?run_id={run}")
    data = answer["run"]["data"]
    assert (status, answer["run"]["info"]["end_time"]) == (200, 5_000)
    assert {m["key"]: m["value"] for m in data["metrics"]} == {"loss": 1 / 3} | {f"m{i}": float(i) for i in range(500)}
    assert {p["key"]: p["value"] for p in data["params"]} == {"alpha": "0.1"} | {f"p{i}": str(i) for i in range(50)}
    assert {"key": "team", "value": "blau & grün"} in data["tags"]
    history = curl("GET", "metrics/get-history", f"?run_id={run}&metric_key=loss")[1]["metrics"]
    assert [(m["step"], m["value"]) for m in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]

    with ll.open(server.folder / "lake") as lake:
        row = lake.sql("select name, metrics['loss'] as loss from runs where run_id = ?", [run]).to_pylist()[0]
    assert row == {"name": "by curl", "loss": 1 / 3}


def test_curl_finds_runs_page_by_page(curl: Curl) -> None:
    experiment = _experiment(curl)
    runs = [_run(curl, experiment) for _ in range(5)]
    for number, run in enumerate(runs):
        curl("POST", "runs/log-batch", run_id=run, metrics=[{"key": "n", "value": number, "timestamp": 1, "step": 0}])
    asked = {"experiment_ids": [experiment], "filter": "metrics.n >= 1", "order_by": ["metrics.n DESC"]}
    found, token = [], None
    for _ in range(2):
        page = curl("POST", "runs/search", **asked, max_results=3, **({"page_token": token} if token else {}))[1]
        found += [run["info"]["run_id"] for run in page["runs"]]
        token = page.get("next_page_token")
    assert (found, token) == (runs[:0:-1], None)


def test_errors_have_the_codes_that_clients_branch_on(curl: Curl) -> None:
    experiment = _experiment(curl)
    run = _run(curl, experiment)
    name = curl("GET", "experiments/get", f"?experiment_id={experiment}")[1]["experiment"]["name"]

    def refused(status: int, code: str, *asked: Any, **body: Any) -> str:
        got, answer = curl(*asked, **body)
        assert (got, answer["error_code"]) == (status, code), answer
        return str(answer["message"])

    assert "f" * 32 in refused(404, "RESOURCE_DOES_NOT_EXIST", "GET", "runs/get", f"?run_id={'f' * 32}")
    assert name in refused(400, "RESOURCE_ALREADY_EXISTS", "POST", "experiments/create", name=name)
    refused(404, "RESOURCE_DOES_NOT_EXIST", "GET", "experiments/get", "?experiment_id=987654321")
    curl("POST", "runs/log-parameter", run_id=run, key="alpha", value="1")
    said = refused(400, "INVALID_PARAMETER_VALUE", "POST", "runs/log-parameter", run_id=run, key="alpha", value="2")
    assert "alpha" in said
    refused(400, "INVALID_PARAMETER_VALUE", "POST", "runs/search", experiment_ids=[experiment], filter="nonsense")
    refused(400, "INVALID_PARAMETER_VALUE", "POST", "runs/log-metric", run_id=run, key="x", value="much", timestamp=1)


def test_what_a_lake_does_not_keep_is_refused_by_name(curl: Curl) -> None:
    experiment = _experiment(curl)
    status, answer = curl("POST", "traces/delete-traces", experiment_id=experiment, request_ids=["tr-1"])
    assert (status, answer["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert "delete_traces" in answer["message"]
