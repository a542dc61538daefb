"""MLflow's official Java client, over the server, on a lake."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import lakelineage as ll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
_ROOT = Path(__file__).parents[3]
_PROGRAM = Path(__file__).parent / "java" / "src" / "main" / "java" / "lakelineage" / "LogAndRead.java"


@pytest.fixture(scope="module")
def jars() -> str:
    """The class path of MLflow's client."""
    if shutil.which("javac") is None:
        pytest.skip("the program is in Java, and there is no JDK on the PATH")
    found = subprocess.run(
        [sys.executable, str(_ROOT / "tests" / "jars.py"), "client"], stdout=subprocess.PIPE, text=True
    )
    if found.returncode == 3:
        pytest.skip(found.stdout.strip())
    assert found.returncode == 0, "the download of the jars failed; what Maven says is above"
    return found.stdout.strip()


def test_what_the_java_client_logs_it_reads_back_and_so_does_sql(server: Any, jars: str) -> None:
    name = f"java {uuid4().hex}"
    # Java compiles a program of one file when it is run.
    command = ["java", "-cp", f"{jars}/*", str(_PROGRAM), server.uri, name]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert ran.returncode == 0, ran.stderr[-3000:]
    run_id = ran.stdout.strip()
    with ll.open(server.folder / "lake") as lake:
        run = lake.run(run_id)
        assert (run.name, run.metrics["loss"], run.params["p99"]) == ("from Java", 0.5, "v99")
        assert [version.version for version in lake.models.versions(name)] == [1, 2]
