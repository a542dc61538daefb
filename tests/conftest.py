"""Fixtures that all rooms share: real lakes on disk, and a real HTTP server that speaks S3."""

import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tests.nursery import Nursery
from tests.people import people

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakelineage import Lake
    from lakelineage.engine import Engine

# Lakes live on disks, whose speed says nothing about correctness: no deadline, no health check of slowness.
_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
# "ci" gives the same examples each time, so that a failure can be run again; "explore" looks further, for evenings.
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=_CHECKS, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1_000, suppress_health_check=_CHECKS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ROOT = Path(__file__).parents[1]
S3 = tuple[str, dict[str, str]]
Start = Callable[..., "subprocess.Popen[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Spark are slow, and hear what pyspark warns of in its own code."""
    noise = (
        "ignore::DeprecationWarning",  # pyspark's own imports
        "ignore::FutureWarning",  # pyspark on pandas 3
        "ignore::ResourceWarning",  # sockets that pyspark leaves to its end
    )
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            for each in noise:
                item.add_marker(pytest.mark.filterwarnings(each))


@pytest.fixture(autouse=True)
def _own_user_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spools and caches of remote lakes go to a temporary folder, not to the home of whoever runs the tests."""
    base = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_STATE_HOME", str(base / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    for name in ("URI", "USER", "SPOOL", "STORAGE_OPTIONS", "TRUST"):
        monkeypatch.delenv(f"LAKELINEAGE_{name}", raising=False)
    # This repository may be dirty, or not: tests that are about kept code make one of their own, and turn it on.
    monkeypatch.setenv("LAKELINEAGE_CAPTURE_SOURCE", "0")


@pytest.fixture
def lake_path(tmp_path: Path) -> Path:
    """Where a lake is to be; nothing is there yet."""
    return tmp_path / "lake"


@pytest.fixture
def patients(tmp_path: Path) -> str:
    """A Delta table of two versions: ids 0–9, then 10–14 too."""
    from deltalake import write_deltalake

    uri = str(tmp_path / "patients")
    write_deltalake(uri, people(0, 10))
    write_deltalake(uri, people(10, 15), mode="append")
    return uri


@pytest.fixture
def lake(lake_path: Path) -> "Iterator[Lake]":
    """An open, empty lake on disk."""
    import lakelineage

    opened = lakelineage.open(lake_path)
    yield opened
    opened.close()


@pytest.fixture
def engine(lake_path: Path) -> "Iterator[Engine]":
    """The engine of an empty lake on disk, without the verbs."""
    from lakelineage.engine import Engine

    opened = Engine(lake_path, durability="process")
    yield opened
    opened.close()


_S3_SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), sep=":", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a server on a free port that speaks S3 over HTTP: moto's.

    It is a process of its own: the file systems of the Delta engine may hold Python's lock while they wait for an
    answer, which a thread of the same process could then not give.
    """
    program = [sys.executable, "-c", _S3_SERVER]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://{server.stdout.readline().strip()}"
        server.communicate()


@pytest.fixture
def s3(s3_endpoint: str) -> S3:
    """An empty bucket: (``s3://`` URI, storage options for deltalake, obstore and lakelineage)."""
    import boto3

    options = {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "aws_region": "us-east-1",
        "aws_endpoint": s3_endpoint,
        "aws_allow_http": "true",
    }
    bucket = f"bucket-{uuid4().hex}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name=options["aws_region"],
        aws_access_key_id=options["aws_access_key_id"],
        aws_secret_access_key=options["aws_secret_access_key"],
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}", options


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts ``start(code, *args, **environment)`` as a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    programs = tmp_path / "programs"
    programs.mkdir()

    def run(code: str, *args: object, **environment: str) -> "subprocess.Popen[str]":
        program = programs / f"program_{len(started)}.py"
        program.write_text(textwrap.dedent(code))
        process = subprocess.Popen(
            [sys.executable, str(program), *map(str, args)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts processes quickly, and kills them."""
    opened = Nursery()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """Spark with Delta Lake, in local mode; one session for all tests of a process."""
    found = subprocess.run([sys.executable, str(ROOT / "tests" / "jars.py")], stdout=subprocess.PIPE, text=True)
    if found.returncode == 3:
        pytest.skip(found.stdout.strip())
    assert found.returncode == 0, "the download of the jars failed; what Maven says is above"
    settings = {
        "spark.jars": found.stdout.strip(),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.host": "127.0.0.1",
        # Many small tables: what Spark does for large ones only takes time.
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",  # VACUUM lists in so many tasks
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyspark's own imports
        from pyspark.sql import SparkSession

        session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def finished(process: "subprocess.Popen[str]", timeout: float = 120.0) -> str:
    """Wait for a process that must succeed, and return what it printed."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"exit code {process.returncode}\n{err[-3000:]}"
    return out


@pytest.fixture
def done() -> Callable[..., str]:
    """:func:`finished`, for tests (which cannot import a conftest)."""
    return finished
