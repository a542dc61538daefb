"""MLflow's client says the same of a lake behind a server with two workers as of its own SQLite store."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:.*deprecated since 2.9.0:FutureWarning"),  # stages, which are still served
]
STARTS_WITHIN = 300  # seconds, for two workers that import all of MLflow on a busy machine
Known = dict[str, str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over a new lake."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    store, uri = f"lakelineage://{folder}/lake", f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "2",
    ]
    command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120", "--artifacts-destination", f"{store}/artifacts"]
    quiet = {"PYTHONWARNINGS": "ignore", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    places = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **quiet, **places}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait(f"{uri}/health", process, log)
        yield uri
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(120)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN
    while True:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urlopen(url, timeout=60).close()
        except (URLError, ConnectionError):
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.3)
        else:
            return


@pytest.fixture
def agree(server: str, opened: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """``agree(case)``: what a case sees through a client is the same on both sides. Returns it.

    A case gets a client, names of its own by ``name(stem)``, and gives what it saw, without ids and times.
    """

    def check(case: Callable[[MlflowClient, Callable[[str], str]], Any]) -> Any:
        token = uuid4().hex[:8]
        seen = [
            case(MlflowClient(uri, registry_uri=uri), lambda stem: f"{stem}-{token}")
            for uri in (opened("mlflow").uri, server)
        ]
        assert seen[1] == seen[0]
        return seen[1]

    return check


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[str, str]:
    with pytest.raises(MlflowException) as raised:
        call(*arguments, **named)
    return raised.value.error_code, raised.value.message.split("Error:")[0].split("(sqlite3")[0].removeprefix(
        f"{raised.value.error_code}: "
    )


Client, Name, Agree = MlflowClient, Callable[[str], str], Callable[..., Any]


def test_experiments(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        made = client.create_experiment(name("日本"), tags={"a": "1"})
        client.set_experiment_tag(made, "b", "ü")
        client.rename_experiment(made, name("new"))
        found = client.get_experiment(made)
        client.delete_experiment(made)
        gone = client.get_experiment_by_name(name("new"))
        client.restore_experiment(made)
        listed = client.search_experiments(filter_string=f"name LIKE '%{name('')}' AND tags.a = '1'")
        missing = client.get_experiment_by_name(name("日本"))
        return found.name[:3], found.tags, gone.lifecycle_stage, [one.experiment_id == made for one in listed], missing

    assert agree(case) == ("new", {"a": "1", "b": "ü"}, "deleted", [True], None)


def test_runs_and_what_is_logged_to_them(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        experiment = client.create_experiment(name("runs"))
        run = client.create_run(experiment, start_time=5, tags={"t": "1"}, run_name="first").info.run_id
        for step, value in enumerate((1.5, math.nan, 3.0)):
            client.log_metric(run, "m", value, timestamp=step, step=step)
        client.log_batch(run, [Metric("n", float(i), i, i) for i in range(1_000)])
        client.log_batch(run, [], [Param(f"p{i}", str(i)) for i in range(100)], [])
        client.log_batch(run, [], [], [RunTag("ß", "日本"), RunTag("t", "2")])
        client.delete_tag(run, "ß")
        client.log_inputs(
            run, [DatasetInput(Dataset("d", "1", "local", "{}"), [InputTag("mlflow.data.context", "training")])]
        )
        client.set_terminated(run, "FAILED", end_time=9)
        found = client.get_run(run)
        inputs = [(one.dataset.name, [tag.value for tag in one.tags]) for one in found.inputs.dataset_inputs]
        history = [(one.step, str(one.value)) for one in client.get_metric_history(run, "m")]
        many = [one.value for one in client.get_metric_history(run, "n")]
        info = found.info
        return (
            (info.status, info.start_time, info.end_time, info.run_name),
            found.data.to_dictionary(),
            inputs,
            history,
            many,
        )

    agree(case)


def test_a_search_page_by_page(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        experiment = client.create_experiment(name("search"))
        for i in range(7):
            run = client.create_run(experiment, start_time=i, run_name=f"r{i}")
            client.log_metric(run.info.run_id, "m", [3.0, math.nan, -1.0, 3.0, 0.0, 1e300, 2.0][i])
            client.log_param(run.info.run_id, "p", "ab"[i % 2])
        client.delete_run(run.info.run_id)
        seen = []
        for query, order in (
            ("", []),
            ("metrics.m > 0", ["metrics.m DESC"]),
            ("params.p = 'a'", ["metrics.m"]),
            ("run_name LIKE 'r%'", []),
        ):
            token = None
            while True:
                page = client.search_runs([experiment], query, ViewType.ALL, 2, order, token)
                seen.append([run.info.run_name for run in page])
                token = page.token
                if not token:
                    break
        return seen

    agree(case)


def test_what_is_refused(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        experiment = client.create_experiment(name("refused"))
        run = client.create_run(experiment, start_time=5).info.run_id
        client.log_param(run, "p", "1")
        client.delete_run(deleted := client.create_run(experiment).info.run_id)
        answers = [
            refusal(client.create_experiment, name("refused")),
            refusal(client.get_experiment, "987654321"),
            refusal(client.get_run, "f" * 32),
            refusal(client.log_metric, run, "a;b", 1.0),
            refusal(client.log_batch, run, [], [Param("p", "2")]),
            refusal(client.log_metric, deleted, "m", 1.0),
            refusal(client.delete_tag, run, "nothing"),
            refusal(client.search_runs, [experiment], "nothing = 1"),
            refusal(client.search_runs, [experiment], order_by=["nothing"]),
            refusal(client.search_experiments, filter_string="nothing = 1"),
            refusal(client.get_registered_model, "nothing"),
            refusal(client.create_model_version, "nothing", "s3://bucket/x"),
            refusal(client.search_model_versions, "nothing = 1"),
        ]
        return [
            (code, words.replace(run, "<run>").replace(deleted, "<deleted>").replace(name(""), ""))
            for code, words in answers
        ]

    agree(case)


def test_models_and_their_versions(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        model = name("model")
        client.create_registered_model(model, {"a": "1"}, "about")
        for i in range(3):
            client.create_model_version(model, f"s3://bucket/{i}", tags={"i": str(i)}, description=f"number {i}")
        client.set_registered_model_alias(model, "best", "2")
        client.transition_model_version_stage(model, "1", "Production")
        client.transition_model_version_stage(model, "3", "Production", archive_existing_versions=True)
        client.delete_model_version(model, "2")
        client.rename_registered_model(model, name("other"))
        found = client.get_registered_model(name("other"))
        versions = client.search_model_versions(f"name = '{name('other')}'", order_by=["version_number"])
        shown = [(str(one.version), one.current_stage, one.source, one.tags, one.description) for one in versions]
        uri = client.get_model_version_download_uri(name("other"), "3")
        return found.tags, found.description, dict(found.aliases), shown, uri

    agree(case)


def test_logged_models(agree: Agree) -> None:
    def case(client: Client, name: Name) -> Any:
        experiment = client.create_experiment(name("logged"))
        run = client.create_run(experiment).info.run_id
        made = client.create_logged_model(experiment, "net", run, {"t": "1"}, {"p": "1"}, "Agent")
        client.log_metric(run, "acc", 0.5, timestamp=1, step=0, model_id=made.model_id)
        client.set_logged_model_tags(made.model_id, {"u": "2"})
        client.finalize_logged_model(made.model_id, "READY")
        found = client.get_logged_model(made.model_id)
        listed = client.search_logged_models([experiment], "metrics.acc > 0.1", order_by=[{"field_name": "name"}])
        client.delete_logged_model(made.model_id)
        after = client.search_logged_models([experiment])
        metrics = [(one.key, one.value) for one in found.metrics]
        return (
            str(found.status),
            found.tags,
            found.params,
            found.model_type,
            metrics,
            [one.name for one in listed],
            len(after),
        )

    agree(case)


def test_what_one_worker_wrote_the_other_reads_at_once(server: str) -> None:
    client = MlflowClient(server)
    experiment = client.create_experiment(f"workers-{uuid4().hex}")
    for number in range(15):
        run = client.create_run(experiment, run_name=f"r{number}").info.run_id
        client.log_param(run, "p", str(number))
        assert client.get_run(run).data.params == {"p": str(number)}
        assert [one.info.run_id for one in client.search_runs([experiment], f"params.p = '{number}'")] == [run]
        client.set_tag(run, "t", str(number))
        assert client.get_run(run).data.tags["t"] == str(number)
