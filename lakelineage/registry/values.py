"""What readers of the registry get: models and versions, as they were when they were read."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput
from lakelineage.model import nodes
from lakelineage.model.nodes import Node

if TYPE_CHECKING:
    import pyarrow as pa

#: Stage of a version that nobody has moved yet; the name is MLflow's.
NO_STAGE = "None"
#: All stages; the names are MLflow's.
STAGES = (NO_STAGE, "Staging", "Production", "Archived")
#: Stage of a version that is out of use.
ARCHIVED = "Archived"
#: Stages in which older versions may be archived when another comes in.
ACTIVE_STAGES = ("Staging", "Production")


def is_stage(text: object) -> bool:
    """Whether a stage has this name, in any case of letters."""
    return isinstance(text, str) and text.lower() in map(str.lower, STAGES)


def checked_stage(stage: object) -> str:
    """A stage by its name, in any case of letters.

    Raises:
        InvalidInput: there is none of this name.
    """
    if is_stage(stage):
        return next(known for known in STAGES if known.lower() == str(stage).lower())
    raise InvalidInput(f"stage {stage!r} is unknown; choose one of {', '.join(STAGES)}")


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model, as it was when it was read.

    Attributes:
        name: registered model.
        version: 1, 2, 3, …
        run_id: run that made it; None if that is not known.
        source: node id of its files, ``artifact:<run or logged model>/<path>``; or their URI, if they are elsewhere.
        aliases: aliases that name it, sorted.
        stage: None, Staging, Production or Archived.
        description: for people.
        tags: tag → value.
        created_at: when it was registered, UTC.
        user_id: who registered it.
        registered_model_id: id of the registered model, which stays when it is renamed.
        model_id: logged model that it is a version of.
        storage_location: path in the lake, or URI, of its files, where ``source`` does not say it.
    """

    name: str
    version: int
    run_id: str | None
    source: str
    aliases: tuple[str, ...]
    stage: str
    description: str | None
    tags: Mapping[str, str]
    created_at: datetime
    user_id: str | None
    registered_model_id: str
    model_id: str | None = None
    storage_location: str | None = None

    @property
    def uri(self) -> str:
        """``models:/<name>/<version>``."""
        return f"models:/{self.name}/{self.version}"

    @property
    def node(self) -> str:
        """Node id in the lineage graph."""
        return str(nodes.model(self.registered_model_id, self.version))

    @property
    def files(self) -> Node | None:
        """Node of its files; None if they are not in the lake."""
        return nodes.parse(self.source) if self.source.startswith("artifact:") else None

    @property
    def path(self) -> str:
        """Path of its files inside the artifacts of the run or logged model."""
        return (self.files.part or "") if self.files else ""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model, as it was when it was read.

    Attributes:
        name: as it is called now.
        registered_model_id: id, which stays when it is renamed.
        description: for people.
        tags: tag → value.
        aliases: alias → version.
        created_at: when it was made, UTC.
        user_id: who made it.
    """

    name: str
    registered_model_id: str
    description: str | None
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    created_at: datetime
    user_id: str | None

    @property
    def node(self) -> str:
        """Node id in the lineage graph: all its versions."""
        return str(nodes.model(self.registered_model_id))


VERSION_COLUMNS = (
    "v.name, v.version, v.run_id, v.source, v.aliases, v.stage, v.description, v.tags, v.created_at, v.user_id, "
    "v.registered_model_id, v.model_id, v.storage_location"
)
MODEL_COLUMNS = "name, registered_model_id, description, tags, aliases, created_at, user_id"


def versions_of(rows: "pa.Table") -> list[ModelVersion]:
    """Rows of ``model_versions`` (``VERSION_COLUMNS``) as values."""
    return [
        ModelVersion(**(row | {"aliases": tuple(row["aliases"] or ()), "tags": dict(row["tags"] or ())}))
        for row in rows.to_pylist()
    ]


def new_version(state: Mapping[str, Any]) -> ModelVersion:
    """A version that has just been registered, of its state, whose times are µs since 1970 UTC."""
    created = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=state["created_at"])
    names = [each.name for each in fields(ModelVersion)]
    told = {name: state[name] for name in names if name in state}
    return ModelVersion(**(told | {"tags": dict(state["tags"]), "created_at": created, "aliases": ()}))


def models_of(rows: "pa.Table") -> list[RegisteredModel]:
    """Rows of ``registered_models`` (``MODEL_COLUMNS``) as values."""
    return [
        RegisteredModel(
            **(
                row
                | {
                    "tags": dict(row["tags"] or ()),
                    "aliases": {alias: int(version) for alias, version in row["aliases"] or ()},
                }
            )
        )
        for row in rows.to_pylist()
    ]
