"""A run as the lake tells it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Engine, Reads
from lakelineage.errors import Conflict, InvalidInput, RunNotFound
from lakelineage.model import validate
from lakelineage.model.changes import Row, Rows
from lakelineage.model.values import Lifecycle, RunStatus
from lakelineage.tables import RUN_COLUMNS, RUNS, TAGS_HISTORY
from lakelineage.tracking import artifacts, failure, source_view
from lakelineage.tracking.active import NOTE_TAG, tag_rows
from lakelineage.tracking.artifact import Artifact
from lakelineage.tracking.ids import full_id
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa


_MAPS = frozenset(column.name for column in RUNS.columns if column.type.endswith("_map"))


class RecordedRun:
    """A run as it was when it was looked up. ``inputs`` is added where snapshots are known, in :mod:`lakelineage.run`.

    Args:
        engine: the open lake.
        run_id: 32 hex digits, or the first of them if no other run begins so.

    Raises:
        RunNotFound: there is no such run.
    """

    def __init__(self, engine: Reads, run_id: str) -> None:
        run_id = full_id(engine, run_id)
        found = engine.find_run(run_id, RUN_COLUMNS)
        if found is None or found["lifecycle_stage"] == Lifecycle.PURGED:
            raise RunNotFound(
                f"no run has the id {run_id}; `lakelineage runs` lists those of the lake {engine.root.uri}"
            )
        self._engine = engine
        self._row = found

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

    def set_tag(self, key: str, value: Any) -> None:
        """Set one tag. See :meth:`set_tags`."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags, all or none, whether the run has ended or not; each replaces the value that it had.

        Raises:
            InvalidInput: a key or value cannot be kept.
            Conflict: the run is deleted.
        """
        rows = tag_rows(self.id, tags)
        if rows:
            self._retag(rows)

    def delete_tag(self, key: str) -> None:
        """Take a tag off; no error if it was not set."""
        self._retag(((self.id, validate.key(key, "tag key"), None),))

    def _retag(self, rows: tuple[Row, ...]) -> None:
        if self.is_deleted:
            raise Conflict(f"run {self.id} is deleted; `lake.restore_run({self.id!r})` brings it back")
        if not isinstance(self._engine, Engine):
            raise InvalidInput(f"this is run {self.id} as it was; `lake.run` gives it as it is, to be changed")
        self._engine.journal.witness(microseconds(self._row["updated_at"]))  # so that ours replaces what was seen
        self._engine.append((Rows(TAGS_HISTORY.name, rows),))
        tags = dict(self._row["tags"]) | {key: value for _, key, value in rows}
        self._row["tags"] = [(key, value) for key, value in tags.items() if value is not None]

    @property
    def note(self) -> str | None:
        """Its note; None if there is none."""
        return self.tags.get(NOTE_TAG)

    def set_note(self, text: str) -> None:
        """Set the note of the run (Markdown); it replaces the note that it had."""
        self.set_tag(NOTE_TAG, validate.text(text, "note"))

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted: searches do not show it, SQL does."""
        return bool(self._row["lifecycle_stage"] == Lifecycle.DELETED)

    @property
    def parent_id(self) -> str | None:
        """Run that it is part of; None if there is none."""
        parent: str | None = self._row["parent_run_id"]
        return parent

    @property
    def children(self) -> "pa.Table":
        """The runs that are part of it and not deleted, the oldest first: rows of the table ``runs``."""
        return self._engine.query(
            "SELECT * FROM runs WHERE parent_run_id = ? AND lifecycle_stage = 'active' ORDER BY start_time, run_id",
            [self.id],
        )

    @property
    def error(self) -> str | None:
        """The traceback of the exception that ended it; None if it did not fail so."""
        if self.status != RunStatus.FAILED or failure.TAG not in self.tags:
            return None
        kept = f"{artifacts.folder(self.id)}/{failure.PATH}"
        if not self._engine.root.exists(kept):
            return self.tags[failure.TAG]
        return self._engine.root.read(kept).decode()

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Everything else that ``runs`` tells: experiment, user, host, source, git commit, environment and more."""
        return {k: v for k, v in self._row.items() if k not in _MAPS}

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
        return f"<{type(self).__name__} {self.id}{f' {self.name!r}' if self.name else ''} {self.status}>"
