"""Logged models into an MLflow store, without their files."""

from typing import Any

from mlflow.entities import LoggedModel, LoggedModelStatus

from lakelineage.mlflow_plugin.transfer.counts import contains
from lakelineage.mlflow_plugin.transfer.pair import MODEL_TAG, Pair

_ENDED = (LoggedModelStatus.READY, LoggedModelStatus.FAILED)


def take_over(pair: Pair) -> None:
    """Make the logged models that the target lacks, and set what has changed in those it has."""
    there = _there(pair)
    pair.models.update({mine: each.model_id for mine, each in there.items()})
    told = pair.source.logged_models(pair.given)
    if not pair.tally.dry_run:
        for each in told:
            found = there.get(each.model_id) or _made(pair, each)
            tags = {k: v for k, v in each.tags.items() if k != MODEL_TAG and found.tags.get(k) != v}
            if tags:
                pair.client.set_logged_model_tags(found.model_id, tags)
            if each.status in _ENDED and found.status != each.status:
                pair.client.finalize_logged_model(found.model_id, each.status)
    says = {each.model_id: _state(each) for each in told}
    before = {mine: _state(each) for mine, each in there.items()}
    after = before if pair.tally.dry_run else {mine: _state(each) for mine, each in _there(pair).items()}
    pair.tally.compare("logged models", says, before, after, contains)


def _there(pair: Pair) -> dict[str, LoggedModel]:
    """Id in the lake → logged model of the target."""
    found = pair.target.logged_models(list(pair.experiments.values()))
    return {each.tags[MODEL_TAG]: each for each in found if MODEL_TAG in each.tags}


def _made(pair: Pair, told: LoggedModel) -> LoggedModel:
    made = pair.client.create_logged_model(
        pair.experiments[told.experiment_id],
        told.name,
        pair.runs.get(told.source_run_id or ""),
        {**told.tags, MODEL_TAG: told.model_id},
        dict(told.params),
        told.model_type,
    )
    pair.models[told.model_id] = made.model_id
    return made


def _state(model: LoggedModel) -> dict[str, Any]:
    tags = {f"tag {key}": value for key, value in model.tags.items() if key != MODEL_TAG}
    params = {f"param {key}": value for key, value in model.params.items()}
    return {"name": model.name, "type": model.model_type or None, "status": str(model.status), **params, **tags}
