"""Two processes and a server with two workers log to one lake at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

import lakelineage as ll

if TYPE_CHECKING:
    import subprocess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
Start = Callable[..., "subprocess.Popen[str]"]
Done = Callable[..., str]

#: A program that begins when it is told to, and logs to a run of its own and to the one that all share.
_WRITER = """
    import sys, warnings
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException

    uri, who, experiment, shared, contested, points = sys.argv[1:]
    client = MlflowClient(uri)
    client.get_run(shared)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        client.create_experiment(contested)
        made = "made"
    except MlflowException as refusal:
        assert refusal.error_code == "RESOURCE_ALREADY_EXISTS", refusal
        made = "taken"
    own = client.create_run(experiment, run_name=who).info.run_id
    for step in range(int(points)):
        client.log_metric(shared, f"loss of {who}", step / 2, step=step, timestamp=step)
        client.log_metric(own, "loss", step / 2, step=step, timestamp=step)
        client.log_batch(shared, [Metric("all", float(step), 0, step)], [Param(f"{who} {step}", "1")])
    client.set_terminated(own)
    print(made, own)
"""
_POINTS = 30


def test_what_processes_and_a_server_log_at_once_is_there_once(server: Any, start: Start, done: Done) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    experiment = client.create_experiment(f"crowd {uuid4().hex}")
    shared, contested = client.create_run(experiment).info.run_id, f"contested {uuid4().hex}"
    places = {"first": server.store, "second": server.store, "by http": server.uri, "by http too": server.uri}
    writers = {who: start(_WRITER, uri, who, experiment, shared, contested, _POINTS) for who, uri in places.items()}
    for writer in writers.values():
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers.values():
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    told = {who: done(writer).splitlines()[-1].split() for who, writer in writers.items()}

    assert sorted(made for made, _ in told.values()) == ["made", "taken", "taken", "taken"]
    curve = [(step, step / 2) for step in range(_POINTS)]
    for who, (_, own) in told.items():
        for run, key in ((shared, f"loss of {who}"), (own, "loss")):
            assert [(m.step, m.value) for m in client.get_metric_history(run, key)] == curve
        assert client.get_run(own).info.status == "FINISHED"
    run = client.get_run(shared)
    assert run.data.params == {f"{who} {step}": "1" for who in places for step in range(_POINTS)}
    with ll.open(server.folder / "lake") as lake:
        counted = "select count(*) as rows from metrics where run_id = ? and key = 'all'"
        assert lake.sql(counted, [shared]).to_pylist() == [{"rows": len(places) * _POINTS}]
        # What was doubled would have been so in the tables: look at these alone.
        lake.flush()
        assert lake.sql(counted, [shared]).to_pylist() == [{"rows": len(places) * _POINTS}]


def test_a_param_that_has_a_value_keeps_it_for_all_processes(server: Any) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    clients = [MlflowClient(server.uri), MlflowClient(server.store)]
    experiment = clients[0].create_experiment(f"conflict {uuid4().hex}")
    run = clients[0].create_run(experiment).info.run_id
    for number, (writer, other) in enumerate((clients, clients[::-1])):
        key = f"seed {number}"
        writer.log_param(run, key, 1)
        for late in (other, writer) * 3:  # more often than the server has workers
            with pytest.raises(MlflowException, match=key) as refusal:
                late.log_param(run, key, 2)
            assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"
            late.log_param(run, key, 1)


def test_of_values_that_race_for_a_param_all_see_the_same_one(server: Any) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    clients = [MlflowClient(server.uri), MlflowClient(server.store)] * 4
    experiment = clients[0].create_experiment(f"race {uuid4().hex}")
    run = clients[0].create_run(experiment).info.run_id

    def log(numbered: tuple[int, MlflowClient]) -> str | None:
        number, client = numbered
        try:
            client.log_param(run, "seed", number)
        except MlflowException as refusal:
            if refusal.error_code != "INVALID_PARAMETER_VALUE":
                raise
            return None
        return str(number)

    with ThreadPoolExecutor(len(clients)) as pool:
        accepted = [value for value in pool.map(log, enumerate(clients)) if value is not None]
    seen = {client.get_run(run).data.params["seed"] for client in clients}
    assert len(seen) == 1
    assert seen <= set(accepted)
