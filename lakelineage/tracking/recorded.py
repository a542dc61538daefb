"""A run as the lake tells it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Engine
from lakelineage.errors import RunNotFound
from lakelineage.model import validate
from lakelineage.tracking import artifacts, source_view
from lakelineage.tracking.artifact import Artifact
from lakelineage.tracking.start import run_id_of

if TYPE_CHECKING:
    import pyarrow as pa


class RecordedRun:
    """A run as it was when it was looked up. ``inputs`` is added where snapshots are known, in :mod:`lakelineage.run`.

    Args:
        engine: the open lake.
        run_id: 32 hex digits.

    Raises:
        RunNotFound: there is no such run.
    """

    def __init__(self, engine: Engine, run_id: str) -> None:
        run_id = run_id_of(run_id)
        found = engine.query("SELECT * FROM runs WHERE run_id = ?", [run_id]).to_pylist()
        if not found:
            raise RunNotFound(
                f"no run has the id {run_id}; `lakelineage runs` lists those of the lake {engine.root.uri}"
            )
        self._engine = engine
        self._row: dict[str, Any] = found[0]

    @property
    def id(self) -> str:
        """Run id: 32 hex digits."""
        return str(self._row["run_id"])

    @property
    def name(self) -> str | None:
        """Name for people."""
        name: str | None = self._row["name"]
        return name

    @property
    def status(self) -> str:
        """RUNNING, FINISHED, FAILED or KILLED."""
        return str(self._row["status"])

    @property
    def start_time(self) -> datetime:
        """When it started, UTC."""
        started: datetime = self._row["start_time"]
        return started

    @property
    def end_time(self) -> datetime | None:
        """When it ended, UTC; None while it runs."""
        ended: datetime | None = self._row["end_time"]
        return ended

    @property
    def params(self) -> Mapping[str, str]:
        """Param → value."""
        return dict(self._row["params"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metric → latest value: that of the greatest (step, timestamp, order of the lake)."""
        return dict(self._row["metrics"])

    @property
    def tags(self) -> Mapping[str, str]:
        """Tag → value."""
        return dict(self._row["tags"])

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Everything else that ``runs`` tells: experiment, user, host, source, git commit, environment and more."""
        return {k: v for k, v in self._row.items() if k not in ("params", "metrics", "tags")}

    def history(self, key: str) -> "pa.Table":
        """All values of a metric: step, timestamp, value; by step, timestamp and the order of the lake."""
        return self._engine.query(
            "SELECT step, timestamp, value, model_id, dataset FROM metrics WHERE run_id = ? AND key = ? "
            "ORDER BY step, timestamp, ingested_at, writer, seq",
            [self.id, validate.key(key, "metric key")],
        )

    @property
    def artifacts(self) -> "pa.Table":
        """Logged files: path, size in bytes, sha256."""
        return artifacts.listing(self._engine, self.id)

    def list_artifacts(self, path: str | None = None) -> "pa.Table":
        """What is directly in a folder of the artifacts: path, is_dir, size in bytes. Default the top.

        Raises:
            ArtifactNotFound: the run has nothing at the path.
        """
        return artifacts.children(self._engine, self.id, path)

    def artifact(self, path: str) -> Artifact:
        """An artifact, of which nothing is read until it is asked for."""
        return Artifact(self._engine, self.id, path)

    def download(self, path: str | None, target: str | Path) -> Path:
        """Copy an artifact, a folder of them, or (with ``None``) all to a local folder; return where it is there.

        Paths inside the artifacts are kept: ``plots/roc.png`` goes to ``<target>/plots/roc.png``.

        Raises:
            ArtifactNotFound: the run has nothing at the path.
            LakeDamaged: a file is gone or is not what was logged.
        """
        return artifacts.download(self._engine, self.id, path, Path(target))

    @property
    def source_files(self) -> tuple[str, ...]:
        """Paths of the artifacts that hold the run's code: main file, notebook, executed cells, diff."""
        return source_view.files(self._engine, self.id)

    def code(self) -> str | None:
        """The main file of the run as it was: of a notebook, its cells in percent format.

        It is read from the artifacts, or else from the repository if that is on this machine. None if there was none
        (a prompt, say) or it is not to be had here; ``attributes["git_commit"]`` then tells which commit has it.
        """
        return source_view.code(self._engine, self._row)

    @property
    def diff(self) -> str | None:
        """What was not committed in the run's work tree, as a patch; None if there was nothing, or it was not kept.

        The artifact ``source/uncommitted.diff`` has it as bytes, for ``git apply``.
        """
        return source_view.diff(self._engine, self.id)

    @property
    def packages(self) -> Mapping[str, str]:
        """Installed distributions of its environment → version."""
        found = self._engine.query(
            "SELECT packages FROM environments WHERE environment_id = ? LIMIT 1", [self._row["environment_id"]]
        ).to_pylist()
        return dict(found[0]["packages"]) if found else {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.name or ''} {self.status}>"
