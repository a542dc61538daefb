"""Real servers of MLflow, over a lake and over MLflow's own SQLite store."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

#: Seconds that a server may take until it answers: it imports all of MLflow twice, maybe on a busy machine.
STARTS_WITHIN = 240
#: Uvicorn takes a worker for dead that is silent for 5 s, which one that imports MLflow on a busy machine is.
_PATIENT = ("--uvicorn-opts", "--timeout-worker-healthcheck 120")
#: MLflow starts uvicorn by its name: that of the environment that the tests run in.
_BIN = Path(sys.executable).parent
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        uri: ``http://…``, for clients.
        store: what it serves, as ``--backend-store-uri`` has it.
        folder: where it was started; its lake is ``folder / "lake"``.
    """

    uri: str
    store: str
    folder: Path


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def wait_until_up(url: str, process: "subprocess.Popen[Any]", log: Path) -> None:
    """Return as soon as an address answers; fail when the process has ended, or after a bounded time."""
    for attempt in Retrying(
        stop=stop_after_delay(STARTS_WITHIN),
        wait=wait_fixed(0.2),
        retry=retry_if_exception_type((URLError, ConnectionError)),
        reraise=True,
    ):
        with attempt:
            if process.poll() is not None:
                pytest.fail(f"{process.args!r} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
            with urlopen(url, timeout=60) as answer:
                assert answer.status == 200


@contextmanager
def running(command: list[str], folder: Path, health: str, **environment: str) -> Iterator[None]:
    """A process that serves HTTP: up inside of the block, gone with all its children after it."""
    log = folder / f"{health.rpartition(':')[2].replace('/', '-')}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **_QUIET, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_up(health, process, log)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(120)
            with suppress(ProcessLookupError):  # nothing is left of it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def serving(store: str, folder: Path, *options: str, verb: str = "server") -> Iterator[Server]:
    """``mlflow server`` over a store."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", verb, "--backend-store-uri", store, "--port", str(port)]
    command += [*_PATIENT, *options]
    uri = f"http://127.0.0.1:{port}"
    with running(command, folder, f"{uri}/health"):
        yield Server(uri, store, folder)


@pytest.fixture(autouse=True)
def _fresh_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow remembers the experiment that was set, in a module and in the environment: each test begins without."""
    import mlflow.tracking.fluent

    monkeypatch.setattr(mlflow.tracking.fluent, "_active_experiment_id", None)
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that it is taken away again
        monkeypatch.delenv(name)


@pytest.fixture
def uri(lake_path: Path) -> Iterator[str]:
    """Of a new lake, which MLflow tracks to, and which the environment names."""
    import mlflow

    from lakelineage.mlflow_plugin import lakes

    uri = f"lakelineage://{lake_path}"
    mlflow.set_tracking_uri(uri)
    yield uri
    lakes.opened(uri).close()
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Any]:
    """:func:`serving`, for tests (which cannot import a conftest)."""
    return serving


@pytest.fixture(scope="session")
def start_process() -> Callable[..., Any]:
    """:func:`running`, likewise."""
    return running


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    return _free_port()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers over a lake, which keeps the artifacts too; tests make experiments of their own."""
    folder = tmp_path_factory.mktemp("server")
    store = f"lakelineage://{folder}/lake"
    state = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CACHE_HOME": str(folder / "cache")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in state.items():
            patch.setenv(name, value)
        with serving(store, folder, "--workers", "2", "--artifacts-destination", f"{store}/artifacts") as served:
            yield served


Answer = tuple[int, dict[str, Any]]


@pytest.fixture
def curl(server: Server) -> Callable[..., Answer]:
    """Asks the server by curl: ``curl("POST", "runs/create", experiment_id=…)`` gives the status and the JSON."""

    def ask(method: str, path: str, query: str = "", **body: Any) -> Answer:
        url = f"{server.uri}/api/2.0/mlflow/{path}{query}"
        command = ["curl", "-sS", "-X", method, url, "--max-time", "60", "-w", "\n%{http_code}"]
        if body:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        answer, _, status = told.rpartition("\n")
        return int(status), json.loads(answer)

    return ask
