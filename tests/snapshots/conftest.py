"""A lake, and Delta tables to pin."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
input()
"""


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """As everywhere, but in a process of its own.

    deltalake's file system for Arrow, which commit times are asked of, keeps the interpreter's lock while it waits for
    an answer, so a server in a thread of this process cannot give it (deltalake 1.6.3).
    """
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.communicate("\n", timeout=30)


@pytest.fixture
def patients(tmp_path: Path) -> str:
    """A Delta table of three versions: ids 0–9, then 10–14 too, then without 3."""
    uri = str(tmp_path / "patients")
    write_deltalake(uri, people(0, 10))
    write_deltalake(uri, people(10, 15), mode="append")
    DeltaTable(uri).delete("id = 3")
    return uri


def people(start: int, stop: int) -> pa.Table:
    numbers = range(start, stop)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "name": [None if n % 4 == 1 else f"n{n}" for n in numbers],
            "score": [n / 7 for n in numbers],
        }
    )
