"""Registered models, their versions and aliases."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, ModelNotFound, SnapshotNotFound
from lakelineage.model import validate
from lakelineage.model.clock import wall_clock
from lakelineage.registry import direct, sources, write
from lakelineage.registry.checks import Checks
from lakelineage.registry.governed import Governed, known_name, said
from lakelineage.registry.names import ModelUri, alias_name, model_name, parse_uri
from lakelineage.registry.states import State
from lakelineage.registry.values import (
    ACTIVE_STAGES,
    MODEL_COLUMNS,
    VERSION_COLUMNS,
    ModelVersion,
    RegisteredModel,
    checked_stage,
    models_of,
    new_version,
    versions_of,
)

if TYPE_CHECKING:
    from lakelineage.snapshots import Snapshot


class Models(Governed):
    """The registry of a lake. Names and version numbers are taken one writer at a time, whoever else is writing.

    Args:
        engine: the open lake.
    """

    def register(
        self,
        name: str,
        source: Any,
        *,
        path: str = "model",
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> ModelVersion:
        """Give a model the next version number of a registered model, which is made if it is new.

        Args:
            name: registered model.
            source: a run, its id (with ``path``), a logged model, ``runs:/<run id>/<path>``, ``models:/m-<id>``; or a
                folder or URI outside the lake, which is remembered and not copied.
            path: where in the run's artifacts the model is, if ``source`` does not tell.
            description: of this version, for people.
            tags: of this version.
            run_id: run that made it, of what is outside the lake.

        Raises:
            InvalidInput: a name, tag or URI that cannot be.
            RunNotFound: no run has this id.
            ArtifactNotFound: the run logged nothing at this path.
            ModelNotFound: there is no logged model of this id.
        """
        name = model_name(name)
        found = sources.given(self._engine, source, path, run_id)
        values: dict[str, Any] = asdict(found) | {
            "description": None if description is None else validate.text(description, "description"),
            "tags": [*_tags(tags).items()],
        }
        outside = not found.source.startswith("artifact:")
        made = write.add_version(
            self._engine, name, values, wall_clock(), create=True, tell_run=outside, comment=description
        )
        return new_version(made)

    def create(
        self, name: str, *, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> RegisteredModel:
        """Make a registered model that has no version yet; ``register`` makes one by itself.

        Args:
            name: no ``/``, ``:`` or ``@``.
            description: for people.
            tags: tag → value.

        Raises:
            InvalidInput: a name or tag that cannot be.
            AlreadyExists: a model has this name.
        """
        told = None if description is None else validate.text(description, "description")
        write.create_model(self._engine, model_name(name), told, _tags(tags), wall_clock())
        return self.model(name)

    def model(self, name: str) -> RegisteredModel:
        """A registered model, by name.

        Raises:
            ModelNotFound: there is none.
        """
        sql = f"select {MODEL_COLUMNS} from registered_models where name = ? and lifecycle_stage = 'active'"
        found = models_of(self._engine.query(sql, (known_name(name),)))
        if not found:
            raise ModelNotFound(
                f"no model is registered as {name!r}; `lakelineage models` (in Python lake.models.list()) lists them"
            )
        return found[0]

    def rename(self, name: str, new_name: str, *, comment: str | None = None) -> RegisteredModel:
        """Give a model another name. Its versions, aliases and lineage stay; the old name is free.

        Raises:
            ModelNotFound: no model has the name.
            AlreadyExists: another model has the new name.
            InvalidInput: a name that cannot be.
        """
        write.rename_model(self._engine, known_name(name), model_name(new_name), wall_clock(), said(comment))
        return self.model(new_name)

    def delete(self, name: str, *, comment: str | None = None) -> None:
        """Delete a model with its versions and aliases. Files and history stay; the name is free.

        Raises:
            ModelNotFound: no model has the name.
        """
        write.delete_model(self._engine, known_name(name), wall_clock(), said(comment))

    def delete_version(self, name: str, version: int, *, comment: str | None = None) -> None:
        """Delete a version, and the aliases that name it. Files and history stay; its number is not given again.

        Raises:
            ModelNotFound: there is no such version.
        """
        write.delete_version(self._engine, known_name(name), validate.step(version), wall_clock(), said(comment))

    def describe(
        self, name: str, description: str | None, version: int | None = None, *, comment: str | None = None
    ) -> None:
        """Say what a model, or one of its versions, is; None takes the description off.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        told = None if description is None else validate.text(description, "description")
        changes = {"description": told, "last_updated_at": wall_clock()}
        self._change(name, version, lambda state: None if state["description"] == told else changes, comment)

    def set_tags(
        self, name: str, tags: Mapping[str, str], version: int | None = None, *, comment: str | None = None
    ) -> None:
        """Set tags of a model, or of one of its versions; the others stay.

        Raises:
            ModelNotFound: there is no such model or version.
            InvalidInput: a tag that cannot be.
        """
        self._change(name, version, with_tags(_tags(tags)), comment)

    def delete_tag(self, name: str, key: str, version: int | None = None, *, comment: str | None = None) -> None:
        """Take a tag off a model, or off one of its versions. No error if it has none of this name.

        Raises:
            ModelNotFound: there is no such model or version.
        """
        self._change(name, version, without_tag(key), comment)

    def _change(self, name: str, version: int | None, change: write.Change, comment: str | None) -> None:
        if version is None:
            write.change_model(self._engine, known_name(name), change, said(comment))
        else:
            write.change_version(self._engine, known_name(name), validate.step(version), change, said(comment))

    def set_stage(
        self, name: str, version: int, stage: str, *, archive_existing: bool = False, comment: str | None = None
    ) -> ModelVersion:
        """Move a version to a stage.

        Args:
            name: registered model.
            version: number.
            stage: None, Staging, Production or Archived.
            archive_existing: move the other versions of this stage to Archived, in the same commit; for Staging and
                Production only.
            comment: why; kept in the activity log.

        Raises:
            ModelNotFound: there is no such version.
            ApprovalNeeded: by the rules of the model, a version comes into this stage by request only.
            ChecksNotPassed: the version lacks checks that the rules want.
            InvalidInput: no such stage, or one whose versions are not archived.
        """
        chosen = checked_stage(stage)
        if archive_existing and chosen not in ACTIVE_STAGES:
            raise InvalidInput(f"archive_existing goes with {' or '.join(ACTIVE_STAGES)}, not with {chosen}")
        number = validate.step(version)
        direct.set_stage(self._engine, known_name(name), number, chosen, archive_existing, wall_clock(), said(comment))
        return self.get(name, number)

    def get(self, name: str, version: int | str) -> ModelVersion:
        """A version, by number or by alias.

        Raises:
            ModelNotFound: there is no such model, version or alias.
        """
        if isinstance(version, int) and not isinstance(version, bool):
            return self._one(name, "v.version = ?", version, f"version {version}")
        return self._one(name, "list_contains(v.aliases, ?)", alias_name(version), f"alias {version!r}")

    def _one(self, name: str, condition: str, value: Any, what: str) -> ModelVersion:
        found = self._select(f"v.name = ? and {condition}", (known_name(name), value))
        if not found:
            there = ", ".join(str(each.version) for each in self.versions(name)) or "none yet"
            raise ModelNotFound(f"model {name!r} has no {what}; its versions are {there}")
        return found[0]

    def _select(self, condition: str, parameters: tuple[Any, ...]) -> list[ModelVersion]:
        where = f"v.lifecycle_stage = 'active' and {condition}"
        sql = f"select {VERSION_COLUMNS} from model_versions v where {where} order by v.name, v.version"
        return versions_of(self._engine.query(sql, parameters))

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model, oldest first; none of one that was made without.

        Raises:
            ModelNotFound: no model has this name.
        """
        found = self._select("v.name = ?", (known_name(name),))
        if not found:
            self.model(name)
        return found

    def inputs(self, name: str, version: int | str) -> "Mapping[str, Snapshot]":
        """The data that the run of a version used: name → pinned snapshot, in the order of use.

        Args:
            name: registered model.
            version: number or alias.

        Raises:
            ModelNotFound: there is no such version.
        """
        from lakelineage.snapshots import inputs_of

        found = self.get(name, version)
        made_by = found.run_id or (sources.maker(self._engine, found.files) if found.files else None)
        return inputs_of(self._engine, made_by or "")

    def list(self) -> list[ModelVersion]:
        """The newest version of each registered model, by name."""
        newest: dict[str, ModelVersion] = {each.name: each for each in self._select("true", ())}
        return [*newest.values()]

    def registered(self) -> "list_[RegisteredModel]":
        """All registered models, by name, also those that have no version."""
        sql = f"select {MODEL_COLUMNS} from registered_models where lifecycle_stage = 'active' order by name"
        return models_of(self._engine.query(sql))

    def set_alias(self, name: str, alias: str, version: int, *, comment: str | None = None) -> ModelVersion:
        """Let an alias name a version; if it named another, it moves.

        Raises:
            InvalidInput: an alias that cannot be.
            ModelNotFound: there is no such version.
            ApprovalNeeded: by the rules of the model, this alias is set by request only.
            ChecksNotPassed: the version lacks checks that the rules want.
        """
        number = validate.step(version)
        direct.set_alias(self._engine, known_name(name), alias_name(alias), number, said(comment))
        return self.get(name, number)

    def delete_alias(self, name: str, alias: str, *, comment: str | None = None) -> None:
        """Take an alias off.

        Raises:
            ModelNotFound: the model has no such alias.
        """
        if not direct.delete_alias(self._engine, known_name(name), alias_name(alias), said(comment)):
            raise ModelNotFound(f"model {name!r} has no alias {alias!r}")

    def resolve(self, uri: str) -> ModelVersion:
        """The version that ``models:/name/3``, ``…/latest``, ``…/Production`` or ``models:/name@alias`` names.

        Raises:
            InvalidInput: no such URI.
            ModelNotFound: it names nothing.
        """
        parsed = parse_uri(validate.text(uri, "model URI"))
        if not isinstance(parsed, ModelUri):
            raise InvalidInput(f"{uri!r} names no registered model; write models:/NAME/3 or models:/NAME@alias")
        if parsed.alias is None and parsed.version is None:
            known = [v for v in self.versions(parsed.name) if parsed.stage in (None, v.stage)]
            if not known:
                raise ModelNotFound(f"no version of {parsed.name!r} is in the stage {parsed.stage}")
            return known[-1]
        return self.get(parsed.name, parsed.alias if parsed.version is None else parsed.version)  # type: ignore[arg-type]

    def find(
        self,
        trained_on: Any = None,
        version: int | str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        alias: str | None = None,
        limit: int | None = None,
        stage: str | None = None,
        validated: bool | None = None,
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
            stage: only versions in it: "None", "Staging", "Production" or "Archived".
            validated: True: only versions that have passed all checks of their model as these are now (of a model
                without: all that their tags ``check.…`` tell of, at least one); False: only the others.

        Raises:
            InvalidInput, InvalidFilter: something above cannot be understood.
            SnapshotNotFound: the lake never saw that table.
        """
        from lakelineage.registry import find

        chosen = (trained_on, version, where, order_by, alias, stage, limit if validated is None else None)
        found = versions_of(self._engine.query(*find.compile_find(VERSION_COLUMNS, *chosen)))
        if not found and trained_on is not None and not self._engine.query(*find.compile_known(trained_on)).num_rows:
            raise SnapshotNotFound(
                f"no run ever used, and nobody pinned, {trained_on!r}; `lakelineage snapshot` lists what was. "
                "A relative path is taken from the working directory"
            )
        return found if validated is None else self._validated(found, validated)[: find.checked_limit(limit)]

    def _validated(self, versions: "list_[ModelVersion]", wanted: bool) -> "list_[ModelVersion]":
        own = {each: Checks(self._engine, each) for each in {version.registered_model_id for version in versions}}
        return [v for v in versions if own[v.registered_model_id].validated(v.version, v.tags) is wanted]


#: ``list`` inside the class is the method.
list_ = list


def with_tags(tags: Mapping[str, str]) -> write.Change:
    """A change that sets tags, and leaves the others."""

    def change(state: State) -> dict[str, Any] | None:
        before = dict(state["tags"] or ())
        after = before | dict(tags)
        return None if after == before else {"tags": [*after.items()]}

    return change


def without_tag(key: str) -> write.Change:
    """A change that takes a tag off."""

    def change(state: State) -> dict[str, Any] | None:
        left = [(name, value) for name, value in state["tags"] or () if name != key]
        return None if len(left) == len(state["tags"] or ()) else {"tags": left}

    return change


def _tags(tags: Mapping[str, str] | None) -> dict[str, str]:
    return {validate.key(k, "tag"): validate.text(v, f"value of tag {k!r}") for k, v in (tags or {}).items()}
