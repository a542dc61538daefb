"""Processes that start at once, since what they need was imported before they were forked; and that can be killed."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

#: Imports, and uses nothing: the Delta engine survives no fork once it was used.
_PROGRAM = """
import faulthandler, json, os, sys, traceback, warnings
warnings.simplefilter("ignore")
import deltalake, duckdb, obstore, pandas, polars, pyarrow.dataset, pyarrow.fs, pyarrow.parquet
import mlflow.pyfunc, mlflow.sklearn, sklearn.linear_model, skops.io
import lakelineage, lakelineage.lake, lakelineage.inference.scoring, lakelineage.inference.upsert
import lakelineage.query.duckdb.workspace, lakelineage.registry, lakelineage.snapshots.diff.compute
from lakelineage.store import faults

for line in sys.stdin:
    task = json.loads(line)
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        faulthandler.dump_traceback_later(100, exit=True)
        try:
            os.environ.update(task["environment"])
            faults._STEP, _, count = task["fault"].partition(":")
            faults._left = int(count or 1)
            answer = {"args": task["args"]}
            exec(task["code"], answer)
            os.write(tell, json.dumps(answer.get("answer")).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(tell)
    print(json.dumps(pid), flush=True)
    answer = os.read(told, 1 << 16).decode()
    os.close(told)
    _, status = os.waitpid(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), answer]), flush=True)
"""


@dataclass
class Child:
    """A process under way."""

    pid: int
    _nursery: "subprocess.Popen[str]"

    def wait(self) -> tuple[bool, Any]:
        """Whether it was killed, and what its ``answer`` was; a process that failed fails the test."""
        assert self._nursery.stdout is not None
        code, answer = json.loads(self._nursery.stdout.readline())
        assert code in (0, -signal.SIGKILL), f"exit code {code}; its error is above"
        return code != 0, None if code else json.loads(answer)


class Nursery:
    """Forks processes from one that has imported everything; one at a time."""

    def __init__(self) -> None:
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | threads,
        )

    def start(self, code: str, *args: object, fault: str = "", **environment: str) -> Child:
        """Run a program; it finds ``args``, and may leave an ``answer``.

        Args:
            code: the program.
            args: of it; what JSON has.
            fault: step at which it kills itself, as in LAKELINEAGE_FAULT.
            environment: variables, besides those of lakelineage that are set now.
        """
        own = {k: v for k, v in os.environ.items() if k.startswith(("LAKELINEAGE_", "XDG_"))} | environment
        task = {"code": code, "args": args, "fault": fault, "environment": own}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return Child(json.loads(self._process.stdout.readline()), self._process)

    def run(self, code: str, *args: object, fault: str = "", **environment: str) -> tuple[bool, Any]:
        """Start a program and wait for it."""
        return self.start(code, *args, fault=fault, **environment).wait()

    def close(self) -> None:
        """End the process that forks; its children have ended."""
        self._process.communicate()
