"""The check that a model loads and predicts in a process of its own, where nothing of its maker's is in memory."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from lakelineage.errors import InvalidInput
from lakelineage.inference.models import materialized
from lakelineage.inference.source import of_snapshot
from lakelineage.inference.trust import require
from lakelineage.model import validate
from lakelineage.validation.data import OnRows
from lakelineage.validation.kinds import Finding
from lakelineage.validation.subject import Subject

_LONGEST = 500


@dataclass(frozen=True, kw_only=True)
class LoadAndPredict(OnRows):
    """The model loads in a fresh process of this Python, and gives a prediction for each row.

    Attributes:
        rows: so many of the data, at most; without data, the model's own input example is taken.
        timeout: seconds after which the process is stopped, and the check has failed.
    """

    needs_data: ClassVar[bool] = False

    data: Any = None
    rows: int = 100
    timeout: float = 300.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if validate.step(self.rows) < 1:
            raise InvalidInput(f"rows must be 1 or more, not {self.rows}")
        if not validate.number(self.timeout, "timeout") > 0:
            raise InvalidInput(f"timeout must be more than 0 seconds, not {self.timeout}")
        if self.data is None and self.where is not None:
            raise InvalidInput(f"where={self.where!r} chooses rows of which data? Give data")

    def judge(self, subject: Subject) -> Finding:  # noqa: D102
        folder, keep = materialized(subject.engine, subject.place())
        require(folder, subject.place().label, subject.trusted)
        with keep, tempfile.TemporaryDirectory(prefix="lakelineage-") as temporary:
            rows, answer = Path(temporary, "rows.arrow"), Path(temporary, "answer.json")
            if self.data is not None:
                self._write(subject, rows)
            command = [sys.executable, "-m", "lakelineage.inference.fresh", str(folder), str(rows), str(answer)]
            command += sorted(subject.trusted)
            try:
                done = subprocess.run(command, capture_output=True, timeout=self.timeout, check=False)
            except subprocess.TimeoutExpired:
                return Finding(False, f"it took more than {self.timeout:g} s, and was stopped")
            if done.returncode == 0 and answer.exists():
                return Finding(True, **json.loads(answer.read_text()))
            return Finding(False, _why(done))

    def _write(self, subject: Subject, path: Path) -> None:
        import pyarrow as pa

        source = of_snapshot(self.snapshot(subject))
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, source.schema) as writer:
            for batch in islice(source.batches(self.rows), 1):
                writer.write_batch(batch.slice(0, self.rows))


def _why(done: "subprocess.CompletedProcess[bytes]") -> str:
    if done.returncode < 0:
        return f"the process was ended by signal {-done.returncode}"
    told = done.stderr.decode(errors="replace").strip().splitlines()
    return told[-1][:_LONGEST] if told else f"the process ended with code {done.returncode}"
