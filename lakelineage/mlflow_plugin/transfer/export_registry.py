"""Registered models, versions and aliases into an MLflow registry: numbers are kept."""

import warnings
from collections.abc import Sequence
from typing import Any

from mlflow.entities.model_registry import ModelVersion, RegisteredModel

from lakelineage.mlflow_plugin.transfer.counts import contains
from lakelineage.mlflow_plugin.transfer.pair import Pair


def take_over(pair: Pair, *, every: bool) -> None:
    """Make what the target lacks, and set what has changed.

    Args:
        pair: the two sides.
        every: whether to give all models; else those that have a version of a run that is given.
    """
    models, versions = pair.source.registered_models(), pair.source.versions()
    if not every:
        names = {v.name for v in versions if v.run_id in pair.runs or v.model_id in pair.models}
        models = [each for each in models if each.name in names]
        versions = [each for each in versions if each.name in names]
    before = _Registry(pair)
    if not pair.tally.dry_run:
        for model in models:
            _model(pair, model, before)
            _versions(pair, [each for each in versions if each.name == model.name], before)
            for alias, number in model.aliases.items():
                if before.aliases.get((model.name, alias)) != int(number):
                    pair.client.set_registered_model_alias(model.name, alias, str(number))
    after = before if pair.tally.dry_run else _Registry(pair)
    said = _Told(models, versions)
    pair.tally.compare("registered models", said.models, before.models, after.models, contains)
    pair.tally.compare("model versions", said.versions, before.versions, after.versions, contains)
    pair.tally.compare("aliases", said.aliases, before.aliases, after.aliases)


class _Told:
    """A registry in plain values.

    Attributes:
        models: name → description and tags.
        versions: (name, number) → what of it can be set.
        aliases: (name, alias) → number.
    """

    def __init__(self, models: Sequence[RegisteredModel], versions: Sequence[ModelVersion]) -> None:
        self.models = {each.name: _described(each) for each in models}
        self.versions = {
            (each.name, int(each.version)): {**_described(each), "stage": each.current_stage} for each in versions
        }
        self.aliases = {(each.name, alias): int(v) for each in models for alias, v in each.aliases.items()}


class _Registry(_Told):
    """That of the target."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.target.registered_models(), pair.target.versions())


def _described(thing: RegisteredModel | ModelVersion) -> dict[str, Any]:
    return {"description": thing.description or None, **{f"tag {key}": value for key, value in thing.tags.items()}}


def _model(pair: Pair, told: RegisteredModel, there: _Told) -> None:
    if told.name not in there.models:
        pair.client.create_registered_model(told.name, dict(told.tags), told.description or None)
        return
    found = there.models[told.name]
    if told.description and told.description != found["description"]:
        pair.client.update_registered_model(told.name, told.description)
    for key, value in told.tags.items():
        if found.get(f"tag {key}") != value:
            pair.client.set_registered_model_tag(told.name, key, value)


def _versions(pair: Pair, told: Sequence[ModelVersion], there: _Told) -> None:
    """Numbers that the lake does not have (any more) are taken and given up."""
    for each in told:
        number = int(each.version)
        found = there.versions.get((each.name, number))
        if found is None:
            if not _taken_up_to(pair, each, number):
                continue
            found = {"description": each.description or None} | {f"tag {k}": v for k, v in each.tags.items()}
        if each.description and each.description != found["description"]:
            pair.client.update_model_version(each.name, str(number), each.description)
        for key, value in each.tags.items():
            if found.get(f"tag {key}") != value:
                pair.client.set_model_version_tag(each.name, str(number), key, value)
        if each.current_stage not in (None, found.get("stage", "None")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # MLflow's farewell to stages
                pair.client.transition_model_version_stage(each.name, str(number), each.current_stage)


def _taken_up_to(pair: Pair, told: ModelVersion, number: int) -> bool:
    """Make a version with its number. False if the target has given that, or a greater one, before."""
    while True:
        made = pair.client.create_model_version(
            told.name,
            _source(pair, told),
            pair.runs.get(told.run_id or ""),
            dict(told.tags),
            told.run_link or None,
            told.description or None,
            model_id=pair.models.get(told.model_id or ""),
        )
        if int(made.version) == number:
            return True
        pair.client.delete_model_version(told.name, made.version)
        if int(made.version) > number:
            return False


def _source(pair: Pair, told: ModelVersion) -> str:
    """Where the files of a version are in the target; as it is, if they are elsewhere."""
    if told.model_id in pair.models:
        made = pair.client.get_logged_model(pair.models[told.model_id])
        return str(made.artifact_location)
    uri = pair.source.client.get_model_version_download_uri(told.name, told.version)
    if told.run_id in pair.runs:
        mine = pair.source.client.get_run(told.run_id).info.artifact_uri.rstrip("/")
        if uri == mine or uri.startswith(f"{mine}/"):
            theirs = pair.client.get_run(pair.runs[told.run_id]).info.artifact_uri.rstrip("/")
            return f"{theirs}{uri.removeprefix(mine)}"
    return uri
