"""Experiments: named groups of runs."""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lakelineage.engine import Engine, Reads
from lakelineage.errors import AlreadyExists, Conflict, ExperimentNotFound, InvalidInput
from lakelineage.model import validate
from lakelineage.model.changes import Row
from lakelineage.model.values import Lifecycle, checked_protection
from lakelineage.tables import EXPERIMENTS, EXPERIMENTS_HISTORY
from lakelineage.tracking import experiment_names
from lakelineage.tracking.active import NOTE_TAG, checked_tags
from lakelineage.tracking.metric_table import microseconds

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_NAME = "Default"
#: Tag that names the level at which runs of an experiment pin their inputs.
PROTECTION_TAG = "lakelineage.protection"

#: Experiments by id, in the order in which they were made.
_States = dict[str, "Experiment"]
#: Id of an experiment → where MLflow puts artifacts of its runs; None: into the lake.
ArtifactLocation = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment, as it was when it was read.

    Attributes:
        id: decimal digits.
        name: unique among those not deleted.
        tags: tag → value.
        created_at: when it was created, UTC.
        lifecycle_stage: active, deleted or purged.
        artifact_location: where MLflow puts artifacts of its runs; None: into the lake.
        last_updated_at: when something but its tags was last changed, UTC; None: just now.
    """

    id: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    lifecycle_stage: str = Lifecycle.ACTIVE
    artifact_location: str | None = None
    last_updated_at: datetime | None = None

    @property
    def note(self) -> str | None:
        """Its note; None if there is none."""
        return self.tags.get(NOTE_TAG)

    @property
    def is_active(self) -> bool:
        """Whether it is there."""
        return self.lifecycle_stage == Lifecycle.ACTIVE

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted, and can be restored."""
        return self.lifecycle_stage == Lifecycle.DELETED

    def row(self) -> Row:
        """As a row of ``experiments_history``."""
        return EXPERIMENTS_HISTORY.row(
            experiment_id=self.id,
            name=self.name,
            lifecycle_stage=self.lifecycle_stage,
            created_at=microseconds(self.created_at),
            tags=sorted(self.tags.items()),
            artifact_location=self.artifact_location,
            last_updated_at=microseconds(self.last_updated_at or datetime.now(UTC)),
        )

    def changed(self, before: "Experiment | None") -> "Experiment":
        """This state, with the time of its change: tags alone do not count as one, as in MLflow."""
        if before is None:
            return replace(self, last_updated_at=self.last_updated_at or self.created_at)
        only_tags = replace(before, tags=self.tags) == self
        return self if only_tags else replace(self, last_updated_at=datetime.now(UTC))


class ExperimentList:
    """The experiments of one lake, to be read.

    Args:
        engine: the open lake, as it is or as it was.
    """

    def __init__(self, engine: Reads) -> None:
        self._reads = engine

    def list(self, folder: str | None = None, *, deleted: bool = False) -> "pa.Table":
        """Experiments, by name.

        Args:
            folder: only those that lie in it or in a folder below it, such as ``/team``.
            deleted: those that were deleted, instead of those that were not.

        Returns:
            Rows of the table ``experiments``.
        """
        stage = Lifecycle.DELETED if deleted else Lifecycle.ACTIVE
        sql = f"SELECT * FROM {EXPERIMENTS.name} WHERE lifecycle_stage = ?"
        values: list[Any] = [stage]
        if folder is not None:
            sql += " AND starts_with('/' || ltrim(name, '/'), ?)"
            values.append(f"{experiment_names.folder_path(folder)}/")
        return self._reads.query(f"{sql} ORDER BY name, experiment_id", values)

    def folders(self, parent: str = "/") -> "pa.Table":
        """The folders directly in a folder: ``folder``, and ``experiments`` (how many lie below it), by name."""
        import pyarrow as pa

        names = self._reads.query(f"SELECT name FROM {EXPERIMENTS.name} WHERE lifecycle_stage = 'active'")
        found = experiment_names.subfolders(names.column("name").to_pylist(), experiment_names.folder_path(parent))
        columns = [pa.array(found.keys(), pa.string()), pa.array(found.values(), pa.int64())]
        return pa.table(columns, names=["folder", "experiments"])


class Experiments(ExperimentList):
    """The experiments of one lake.

    A name is unique among the experiments that are not deleted: deleting one frees its name. Verbs take a name, or an
    id where no experiment has that name; a deleted experiment is found by its id alone (``restore`` takes its name
    too). Folders and the forms of a name: :mod:`lakelineage.tracking.experiment_names`.

    Resolving a name that is known costs no Delta engine: the names are remembered in the process and, beside the
    journal, for all processes of the host. The remembered names hold as long as the table's newest version is the
    one that they were read from.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._engine = engine
        self._file = engine.host_folder / "experiments.json"
        self._version: int | None = None
        self._ids: dict[str, str] = {}
        self._read: tuple[int, _States] | None = None

    def id_of(self, name: str) -> str:
        """Id of the experiment of this name; it is created if there is none that is not deleted."""
        name = experiment_names.checked(name)
        known = self._remembered(name)
        return known if known is not None else self.ensure(name).id

    def create(self, name: str, tags: Mapping[str, Any] | None = None, *, protection: str | None = None) -> Experiment:
        """Create an experiment.

        Args:
            name: a path with slashes puts it into folders.
            tags: tags to begin with.
            protection: level at which its runs pin their inputs; see :meth:`set_protection`.

        Raises:
            AlreadyExists: the name is taken.
            InvalidInput: the name, a tag or the level cannot be kept.
        """
        given = dict(tags or {})
        if protection is not None:
            given[PROTECTION_TAG] = checked_protection(protection)
        return self.add(experiment_names.checked(name), checked_tags(given))

    def add(
        self,
        name: str,
        tags: Mapping[str, str],
        artifact_location: ArtifactLocation = lambda _: None,
        *,
        deleted_too: bool = False,
    ) -> Experiment:
        """Create an experiment whose name and tags were checked.

        Args:
            name: name.
            tags: tags.
            artifact_location: id of the experiment → where MLflow puts artifacts of its runs.
            deleted_too: the names of deleted experiments are taken, too, as in MLflow.

        Raises:
            AlreadyExists: the name is taken.
        """

        def decide(states: _States) -> Experiment:
            _refuse_taken(states, name, "choose another name", deleted_too)
            experiment_id = _next_id(states, name)
            return Experiment(experiment_id, name, tags, artifact_location=artifact_location(experiment_id))

        return self._change(decide)

    def states(self) -> Mapping[str, Experiment]:
        """All experiments by id, deleted ones too, in the order in which they were made.

        What was read is remembered as long as the table's newest version is the same: one ``stat`` on a local disk.
        """
        version = self._engine.store.newest_version_on_disk(EXPERIMENTS_HISTORY)
        if version is None or self._read is None or self._read[0] != version:
            states = self._states()
            if version is None:
                return states
            self._read = (version, states)
        return self._read[1]

    def change(
        self, experiment_id: str, decide: "Callable[[Experiment | None, Mapping[str, Experiment]], Experiment]"
    ) -> Experiment:
        """Put an experiment into another state.

        Args:
            experiment_id: its id.
            decide: given its state (None: there is none) and all experiments, the state that it is to have; may raise;
                is asked again after a lost race.
        """
        return self._change(lambda states: decide(states.get(experiment_id), states))

    def get(self, experiment: str) -> Experiment:
        """An experiment, by name or id.

        Raises:
            ExperimentNotFound: there is none.
        """
        return _found(dict(self.states()), experiment)

    def rename(self, experiment: str, new_name: str) -> Experiment:
        """Give an experiment another name; its id stays.

        Raises:
            AlreadyExists: the new name is taken.
            ExperimentNotFound: there is none.
            Conflict: it is deleted.
        """
        wanted = experiment_names.checked(new_name)

        def decide(states: _States) -> Experiment:
            found = _alive(states, experiment)
            if found.name != wanted:
                _refuse_taken(states, wanted, "choose another name")
            return replace(found, name=wanted)

        return self._change(decide)

    def delete(self, experiment: str) -> Experiment:
        """Delete an experiment. Its name is free again.

        Its runs stay in the lake and in SQL, and no search shows them; a run that is active goes on. What starts a run
        in an experiment of this name from now on makes a new one. Deleting it again (by its id) is no error.

        Raises:
            ExperimentNotFound: there is none.
        """
        return self._change(lambda states: replace(_found(states, experiment), lifecycle_stage=Lifecycle.DELETED))

    def restore(self, experiment: str, name: str | None = None) -> Experiment:
        """Bring a deleted experiment back, with its runs. Restoring one that is not deleted is no error.

        Args:
            experiment: name or id; an id where several of this name were deleted.
            name: name that it is to have from now on.

        Raises:
            AlreadyExists: another experiment has taken the name meanwhile; give it a new one.
            ExperimentNotFound: there is none.
            InvalidInput: several of this name were deleted.
        """
        wanted = None if name is None else experiment_names.checked(name)

        def decide(states: _States) -> Experiment:
            found = _restorable(states, experiment)
            if not found.is_deleted:
                return found if wanted is None else replace(found, name=wanted)
            back = replace(found, lifecycle_stage=Lifecycle.ACTIVE, name=wanted or found.name)
            _refuse_taken(states, back.name, f"restore({back.id!r}, name=…) brings this one back under another")
            return back

        return self._change(decide)

    def set_tag(self, experiment: str, key: str, value: Any) -> Experiment:
        """Set one tag. See :meth:`set_tags`."""
        return self.set_tags(experiment, {key: value})

    def set_tags(self, experiment: str, tags: Mapping[str, Any]) -> Experiment:
        """Set tags of an experiment, all or none; each replaces the value that it had.

        Raises:
            ExperimentNotFound: there is none.
            Conflict: it is deleted.
        """
        kept = checked_tags(tags)
        return self._retag(experiment, lambda now: {**now, **kept})

    def delete_tag(self, experiment: str, key: str) -> Experiment:
        """Take a tag off; no error if it was not set."""
        gone = validate.key(key, "tag key")
        return self._retag(experiment, lambda now: {k: v for k, v in now.items() if k != gone})

    def set_note(self, experiment: str, text: str) -> Experiment:
        """Set the note of an experiment (Markdown), which MLflow's user interface shows too."""
        return self.set_tags(experiment, {NOTE_TAG: validate.text(text, "note")})

    def set_protection(self, experiment: str, level: str | None) -> Experiment:
        """Set the level at which runs of an experiment pin their inputs, where ``use`` is not told one.

        Args:
            experiment: name or id.
            level: ``reference``, ``protected`` or ``archived``; None: the lake's default again.

        Raises:
            InvalidInput: there is no such level.
            ExperimentNotFound: there is none.
            Conflict: it is deleted.
        """
        if level is None:
            return self.delete_tag(experiment, PROTECTION_TAG)
        return self.set_tags(experiment, {PROTECTION_TAG: checked_protection(level)})

    def _retag(self, experiment: str, tags: "Callable[[Mapping[str, str]], Mapping[str, str]]") -> Experiment:
        def decide(states: _States) -> Experiment:
            found = _alive(states, experiment)
            return replace(found, tags=tags(found.tags))

        return self._change(decide)

    def ensure(self, name: str, artifact_location: ArtifactLocation = lambda _: None) -> Experiment:
        """The experiment of this (checked) name, made if there is none. See :meth:`add`."""

        def decide(states: _States) -> Experiment:
            found = _named(states, name)
            if found is not None:
                return found
            experiment_id = _next_id(states, name)
            return Experiment(experiment_id, name, artifact_location=artifact_location(experiment_id))

        return self._change(decide)

    def _states(self) -> _States:
        sql = f"SELECT * FROM {EXPERIMENTS.name} WHERE lifecycle_stage <> 'purged' ORDER BY created_at, experiment_id"
        return {row["experiment_id"]: _of_row(row) for row in self._engine.query(sql).to_pylist()}

    def _change(self, decide: Callable[[_States], Experiment]) -> Experiment:
        """Put one experiment into the state that ``decide`` wants, given all; nothing is written if it has it."""
        states: _States = {}
        wanted: list[Experiment] = []
        newest = self._engine.store.newest_version_on_disk
        seen = [newest(EXPERIMENTS_HISTORY)]

        def rows(history: "pa.Table") -> Sequence[tuple[Any, ...]] | None:
            states.clear()
            states.update({row["experiment_id"]: _of_row(row) for row in history.to_pylist()})
            wanted[:] = [decide(states)]
            before = states.get(wanted[0].id)
            changed = before != wanted[0]
            if changed:
                wanted[:] = [wanted[0].changed(before)]
                seen[:] = [newest(EXPERIMENTS_HISTORY)]
            states[wanted[0].id] = wanted[0]
            return [wanted[0].row()] if changed else None

        placed = self._engine.exclusive(EXPERIMENTS_HISTORY, rows)
        self._learn(states, seen[0], 0 if placed is None else 1)
        return wanted[0]

    def _learn(self, states: _States, seen: int | None, added: int) -> None:
        """Remember the names, if they are those of the newest version: no other commit came since they were read.

        Args:
            states: all experiments, after the change.
            seen: newest version before the change was decided.
            added: commits of the change.
        """
        version = self._engine.store.newest_version_on_disk(EXPERIMENTS_HISTORY)
        if version is None or seen is None or version != seen + added:
            self._version = None
            return
        self._version = version
        self._ids = {state.name: state.id for state in states.values() if state.is_active}
        temporary = self._file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
        temporary.write_text(json.dumps({"version": version, "ids": self._ids}))
        os.replace(temporary, self._file)

    def __repr__(self) -> str:
        return f"<Experiments of {self._engine.root.uri}: list, get, create>"

    def _repr_html_(self) -> str:
        from lakelineage.display import things

        return things.experiments(self.list(), self._engine)

    def _remembered(self, name: str) -> str | None:
        version = self._engine.store.newest_version_on_disk(EXPERIMENTS_HISTORY)
        if version is None:
            return None
        if version != self._version:
            self._load(version)
        return self._ids.get(name)

    def _load(self, version: int) -> None:
        self._version, self._ids = version, {}
        try:
            kept = json.loads(self._file.read_text())
            if kept["version"] == version:
                self._ids = dict(kept["ids"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # no note, or a broken one: the table is asked


def _of_row(row: Mapping[str, Any]) -> Experiment:
    return Experiment(
        row["experiment_id"],
        row["name"],
        dict(row["tags"] or ()),
        row["created_at"],
        str(row["lifecycle_stage"]),
        row["artifact_location"],
        row["last_updated_at"] or row.get("ingested_at") or row["updated_at"],
    )


def _named(states: _States, name: str) -> Experiment | None:
    return next((state for state in states.values() if state.name == name and state.is_active), None)


def _found(states: _States, name: object) -> Experiment:
    """The experiment of a name, or of an id."""
    found = _named(states, experiment_names.checked(name)) or states.get(str(name))
    if found is None or found.lifecycle_stage == Lifecycle.PURGED:
        raise ExperimentNotFound(f"no experiment is named {name!r}; `lake.experiments.list()` shows those there are")
    return found


def _alive(states: _States, name: object) -> Experiment:
    found = _found(states, name)
    if found.is_deleted:
        raise Conflict(
            f"experiment {found.name!r} (id {found.id}) is deleted; `lake.experiments.restore({found.id!r})` brings it "
            "back"
        )
    return found


def _restorable(states: _States, name: object) -> Experiment:
    """The experiment of an id or a name, deleted ones of this name before the one that has it now."""
    text = experiment_names.checked(name)
    deleted = [state for state in states.values() if state.name == text and state.is_deleted]
    if len(deleted) > 1:
        ids = ", ".join(state.id for state in deleted)
        raise InvalidInput(f"several experiments named {text!r} were deleted; name one by its id: {ids}")
    return deleted[0] if deleted else _found(states, text)


def _refuse_taken(states: _States, name: str, remedy: str, deleted_too: bool = False) -> None:
    taken = _named(states, name)
    if taken is None and deleted_too:
        hidden = (s for s in states.values() if s.name == name and s.lifecycle_stage == Lifecycle.DELETED)
        taken = next(hidden, None)
    if taken is not None:
        raise AlreadyExists(f"an experiment is named {name!r} already (id {taken.id}); {remedy}")


def _next_id(states: _States, name: str) -> str:
    if name == DEFAULT_NAME and "0" not in states:
        return "0"
    return str(max([0, *map(int, states)]) + 1)


__all__ = ["DEFAULT_NAME", "Experiment", "Experiments"]
