"""A real ``mlflow server`` on a lake, and a way to ask it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE = 120.0


@contextmanager
def served(uri: str, folder: Path) -> Iterator[Callable[..., bytes]]:
    """Start a server with one worker; give a function that asks it for a path, with a JSON body if there is one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        uri,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
        try:

            def ask(path: str, body: dict[str, Any] | None = None) -> bytes:
                data = None if body is None else json.dumps(body).encode()
                headers = {"Content-Type": "application/json"} if data else {}
                request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
                with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                    told: bytes = answer.read()
                return told

            _wait(lambda: ask("/health"))
            yield ask
        finally:
            server.terminate()
            server.wait(30)


def _wait(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            ready()
            return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
