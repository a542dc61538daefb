"""Registered models, their versions and aliases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakelineage.errors import (
    AlreadyExists,
    ArtifactNotFound,
    InvalidInput,
    ModelNotFound,
    RunNotFound,
    SnapshotNotFound,
)
from lakelineage.model import nodes, validate
from lakelineage.model.changes import Rows
from lakelineage.model.clock import wall_clock
from lakelineage.model.values import Lifecycle, Relation
from lakelineage.registry import activity
from lakelineage.registry.names import ModelUri, RunUri, alias_name, model_name, parse_uri
from lakelineage.tables import ALIASES_HISTORY, LINEAGE, MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY
from lakelineage.tracking.capture import current_user
from lakelineage.tracking.ids import completed

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.engine import Engine

#: Stage of a version that nobody has moved yet; the name is MLflow's.
NO_STAGE = "None"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model, as it was when it was read.

    Attributes:
        name: registered model.
        version: 1, 2, 3, …
        run_id: run that made it.
        source: node id of its files, ``artifact:<run>/<path>``.
        aliases: aliases that name it, sorted.
        stage: None, Staging, Production or Archived.
        description: for people.
        tags: tag → value.
        created_at: when it was registered, UTC.
        user_id: who registered it.
    """

    name: str
    version: int
    run_id: str
    source: str
    aliases: tuple[str, ...]
    stage: str
    description: str | None
    tags: Mapping[str, str]
    created_at: datetime
    user_id: str | None

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"

    @property
    def node(self) -> str:
        """Node id in the lineage graph."""
        return str(nodes.model(self.name, self.version))

    @property
    def path(self) -> str:
        """Path of its files inside the run's artifacts."""
        return nodes.parse(self.source).part or ""


_COLUMNS = "v.name, v.version, v.run_id, v.source, v.aliases, v.stage, v.description, v.tags, v.created_at, v.user_id"
_ACTIVE = "v.lifecycle_stage = 'active'"


class Models:
    """The registry of a lake. Names and version numbers are taken one writer at a time, whoever else is writing.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def register(
        self,
        name: str,
        source: Any,
        *,
        path: str = "model",
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ModelVersion:
        """Give a logged model the next version number of a registered model, which is made if it is new.

        Args:
            name: registered model.
            source: a run or its id (with ``path``), a logged model, or ``runs:/<run id>/<path>``.
            path: where in the run's artifacts the model is, if ``source`` does not tell.
            description: of this version, for people.
            tags: of this version.

        Raises:
            InvalidInput: a name, tag or URI that cannot be.
            RunNotFound: no run has this id.
            ArtifactNotFound: the run logged nothing at this path.
        """
        name = model_name(name)
        place = _place(source, path)
        place = replace(place, run_id=completed(self._engine, place.run_id))
        self._require_artifact(place)
        self._ensure(name)
        actor = current_user()
        values: dict[str, Any] = {
            "run_id": place.run_id,
            "source": str(nodes.artifact(place.run_id, place.path)),
            "stage": NO_STAGE,
            "description": None if description is None else validate.text(description, "description"),
            "lifecycle_stage": Lifecycle.ACTIVE.value,
            "created_at": wall_clock(),
            "user_id": actor,
            "tags": _tags(tags),
        }
        version = self._take_version(name, values)
        self._add_edges(name, version)
        activity.record(self._engine, activity.registered(actor, name, version, description))
        return self.get(name, version)

    def _require_artifact(self, place: RunUri) -> None:
        found = self._engine.query(
            "select exists(select 1 from runs where run_id = ?) as run, "
            "exists(select 1 from artifacts where run_id = ? and (path = ? or starts_with(path, ?))) as file",
            (place.run_id, place.run_id, place.path, f"{place.path}/"),
        ).to_pylist()[0]
        if not found["run"]:
            raise RunNotFound(f"no run has the id {place.run_id!r}; lake.search_runs() lists the runs there are")
        if not found["file"]:
            raise ArtifactNotFound(
                f"run {place.run_id} logged nothing at {place.path!r}; log it with run.log_model(model, {place.path!r})"
            )

    def _ensure(self, name: str) -> None:
        row = REGISTERED_MODELS_HISTORY.row(
            name=name,
            lifecycle_stage=Lifecycle.ACTIVE.value,
            created_at=wall_clock(),
            user_id=current_user(),
            tags=[],
        )
        self._engine.exclusive(REGISTERED_MODELS_HISTORY, lambda rows: [] if _has(rows, name) else [row])

    def _take_version(self, name: str, values: dict[str, Any]) -> int:
        taken: list[int] = []

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            versions = [row["version"] for row in _of(rows, name)]
            taken[:] = [max(versions, default=0) + 1]
            return [MODEL_VERSIONS_HISTORY.row(name=name, version=taken[0], **values)]

        self._engine.exclusive(MODEL_VERSIONS_HISTORY, decide)
        return taken[0]

    def _add_edges(self, name: str, version: int) -> None:
        """Tell the graph of this version, and of those whose registering process died before it could."""
        known = self._engine.query(
            "select distinct name, version, source, run_id from model_versions_history "
            "where (name = ? and version = ?) or epoch_us(ingested_at) < ?",
            (name, version, wall_clock() - activity.GRACE),
        ).to_pylist()
        there = self._engine.query(
            "select distinct source, target from lineage where starts_with(target, 'model:')", ()
        ).to_pylist()
        edges = {(edge["source"], edge["target"]) for edge in there}
        rows = [
            LINEAGE.row(source=v["source"], target=target, relation=Relation.DERIVED_FROM.value, run_id=v["run_id"])
            for v in known
            if (v["source"], target := str(nodes.model(v["name"], v["version"]))) not in edges
        ]
        if rows:
            self._engine.append((Rows(LINEAGE.name, tuple(rows)),))

    def get(self, name: str, version: int | str) -> ModelVersion:
        """A version, by number or by alias.

        Raises:
            ModelNotFound: there is no such model, version or alias.
        """
        if isinstance(version, int) and not isinstance(version, bool):
            return self._one(name, "v.version = ?", version, f"version {version}")
        return self._one(name, "list_contains(v.aliases, ?)", alias_name(version), f"alias {version!r}")

    def _one(self, name: str, condition: str, value: Any, what: str) -> ModelVersion:
        found = self._select(f"v.name = ? and {condition}", (model_name(name), value))
        if not found:
            there = [str(each.version) for each in self.versions(name)]
            raise ModelNotFound(f"model {name!r} has no {what}; its versions are {', '.join(there)}")
        return found[0]

    def _select(self, condition: str, parameters: tuple[Any, ...]) -> list[ModelVersion]:
        sql = f"select {_COLUMNS} from model_versions v where {_ACTIVE} and {condition} order by v.name, v.version"
        return versions_of(self._engine.query(sql, parameters))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, oldest first.

        Raises:
            ModelNotFound: no model has this name.
        """
        found = self._select("v.name = ?", (model_name(name),))
        if not found:
            raise ModelNotFound(
                f"no model is registered as {name!r}; `lakelineage models` (in Python lake.models.list()) lists them"
            )
        return found

    def list(self) -> list[ModelVersion]:
        """The newest version of each registered model, by name."""
        newest: dict[str, ModelVersion] = {each.name: each for each in self._select("true", ())}
        return [*newest.values()]

    def set_alias(self, name: str, alias: str, version: int, *, comment: str | None = None) -> ModelVersion:
        """Let an alias name a version; if it named another, it moves.

        Raises:
            InvalidInput: an alias that cannot be.
            ModelNotFound: there is no such version.
        """
        chosen = self.get(name, validate.step(version))
        self._move_alias(name, alias_name(alias), chosen.version, comment)
        return self.get(name, version)

    def delete_alias(self, name: str, alias: str, *, comment: str | None = None) -> None:
        """Take an alias off.

        Raises:
            ModelNotFound: the model has no such alias.
        """
        self._move_alias(model_name(name), alias_name(alias), None, comment)

    def _move_alias(self, name: str, alias: str, version: int | None, comment: str | None) -> None:
        if comment is not None:
            validate.text(comment, "comment")
        before: list[int | None] = []

        def decide(rows: "pa.Table") -> list[tuple[Any, ...]]:
            before[:] = [_aliased(rows, name, alias)]
            if before[0] is None and version is None:
                raise ModelNotFound(f"model {name!r} has no alias {alias!r}")
            if before[0] == version:
                return []
            return [ALIASES_HISTORY.row(name=name, alias=alias, version=version, user_id=current_user())]

        self._engine.exclusive(ALIASES_HISTORY, decide)
        if before[0] != version:
            act = activity.alias_moved(current_user(), name, alias, before[0], version, comment)
            activity.record(self._engine, act)

    def resolve(self, uri: str) -> ModelVersion:
        """The version that ``models:/name/3``, ``models:/name/latest`` or ``models:/name@alias`` names.

        Raises:
            InvalidInput: no such URI.
            ModelNotFound: it names nothing.
        """
        parsed = parse_uri(validate.text(uri, "model URI"))
        if not isinstance(parsed, ModelUri):
            raise InvalidInput(f"{uri!r} names no registered model; write models:/NAME/3 or models:/NAME@alias")
        if parsed.alias is None and parsed.version is None:
            return self.versions(parsed.name)[-1]
        return self.get(parsed.name, parsed.alias if parsed.version is None else parsed.version)  # type: ignore[arg-type]

    def find(
        self,
        trained_on: Any = None,
        version: int | str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        alias: str | None = None,
        limit: int | None = None,
    ) -> "list_[ModelVersion]":
        """Versions chosen by what they were trained on and by how their runs went.

        Args:
            trained_on: path or URI of a table, its id, its node, a snapshot or a snapshot id.
            version: of that table: a number, or a comparison such as ">= 12" or ">= 3 and < 12".
            where: a filter on the run, in the language of ``search_runs``: "metrics.rmse < 60".
            order_by: "metrics.rmse", "params.alpha desc", "attributes.start_time", "version", "name" or "created_at".
                Versions without a value, or with NaN, come last; ties go by name and version.
            alias: only the versions that it names.
            limit: at most so many.

        Raises:
            InvalidInput, InvalidFilter: something above cannot be understood.
            SnapshotNotFound: the lake never saw that table.
        """
        from lakelineage.registry import find

        sql, parameters = find.compile_find(_COLUMNS, trained_on, version, where, order_by, alias, limit)
        found = versions_of(self._engine.query(sql, parameters))
        if not found and trained_on is not None and not self._engine.query(*find.compile_known(trained_on)).num_rows:
            raise SnapshotNotFound(
                f"no run ever used, and nobody pinned, {trained_on!r}; `lakelineage snapshot` lists what was. "
                "A relative path is taken from the working directory"
            )
        return found


#: ``list`` inside the class is the method.
list_ = list


def versions_of(rows: "pa.Table") -> list[ModelVersion]:
    """Rows of ``model_versions`` as values."""
    return [
        ModelVersion(**(row | {"aliases": tuple(row["aliases"] or ()), "tags": dict(row["tags"] or ())}))
        for row in rows.to_pylist()
    ]


def _place(source: Any, path: str) -> RunUri:
    """Where the files of what is to be registered are."""
    uri = source if isinstance(source, str) else getattr(source, "uri", None)
    if isinstance(uri, str) and ":/" in uri:
        parsed = parse_uri(uri)
        if isinstance(parsed, RunUri):
            return parsed
        raise InvalidInput(f"{uri!r} is registered already; register a run, a logged model or runs:/RUN_ID/PATH")
    run_id = source if isinstance(source, str) else getattr(source, "id", None)
    if not isinstance(run_id, str) or not run_id:
        raise InvalidInput(f"{source!r} is no run, run id, logged model or runs:/RUN_ID/PATH")
    return RunUri(run_id, validate.artifact_path(path))


def _tags(tags: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return [(validate.key(k, "tag"), validate.text(v, f"value of tag {k!r}")) for k, v in (tags or {}).items()]


def _of(rows: "pa.Table", name: str) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    found: list[dict[str, Any]] = rows.filter(pc.equal(rows["name"], name)).to_pylist()
    return found


def _has(rows: "pa.Table", name: str) -> bool:
    states = _of(rows, name)
    if states and states[-1]["lifecycle_stage"] != Lifecycle.ACTIVE:
        raise AlreadyExists(f"model {name!r} was deleted; its name is not given again, choose another")
    return bool(states)


def _aliased(rows: "pa.Table", name: str, alias: str) -> int | None:
    """The version that the alias names after the last of these rows."""
    states = [row["version"] for row in _of(rows, name) if row["alias"] == alias]
    return states[-1] if states else None
