"""All that MLflow's client tells of a store, as plain values to be compared."""

import math
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def everything(uri: str, *, artifacts: bool = True) -> dict[str, Any]:
    """Experiments by name; runs, models and versions by what identifies them. Places of artifacts are left out."""
    client = MlflowClient(uri, uri)
    experiments = client.search_experiments(ViewType.ALL)
    ids = [each.experiment_id for each in experiments]
    runs = client.search_runs(ids, "", ViewType.ALL, 50_000)
    names = {each.experiment_id: each.name for each in experiments}
    return {
        "experiments": {
            e.experiment_id: (e.name, e.lifecycle_stage, dict(e.tags), e.creation_time) for e in experiments
        },
        "runs": {run.info.run_id: told(client, client.get_run(run.info.run_id), names) for run in runs},
        "models": {m.model_id: _model(m) for m in client.search_logged_models(ids)},
        "registry": _registry(client),
        "artifacts": {run.info.run_id: files(run.info.artifact_uri, uri) for run in runs} if artifacts else {},
    }


def told(client: MlflowClient, run: Run, names: dict[str, str]) -> dict[str, Any]:
    """One run, with all its histories."""
    info, data = run.info, run.data
    return {
        "info": (names[info.experiment_id], info.status, info.start_time, info.end_time, info.lifecycle_stage),
        "name": info.run_name,
        "params": dict(data.params),
        "tags": {key: value for key, value in data.tags.items() if key != "mlflow.user"},
        "latest": {key: number(value) for key, value in data.metrics.items()},
        "histories": {
            key: sorted((m.step, m.timestamp, number(m.value)) for m in client.get_metric_history(info.run_id, key))
            for key in data.metrics
        },
        "datasets": sorted(
            (d.dataset.name, d.dataset.digest, d.dataset.source_type, d.dataset.source, d.dataset.schema or "",
             d.dataset.profile or "", sorted((t.key, t.value) for t in d.tags))
            for d in run.inputs.dataset_inputs
        ),
        "used": sorted(m.model_id for m in run.inputs.model_inputs),
        "made": sorted((m.model_id, m.step) for m in run.outputs.model_outputs),
    }  # fmt: skip


def number(value: float) -> str:
    """A value of a metric, NaN equal to itself, and infinity as the SQL store keeps it."""
    greatest = 1.7976931348623157e308
    return "nan" if math.isnan(value) else repr(max(-greatest, min(greatest, value)))


def _model(model: Any) -> tuple[Any, ...]:
    metrics = sorted(
        (m.key, m.step, m.timestamp, number(m.value), m.run_id, m.dataset_name or "", m.dataset_digest or "")
        for m in model.metrics or ()
    )
    times = model.creation_timestamp, model.last_updated_timestamp
    return model.name, str(model.status), *times, model.source_run_id, dict(model.params), dict(model.tags), metrics


def _registry(client: MlflowClient) -> dict[str, Any]:
    models = client.search_registered_models()
    versions = client.search_model_versions()
    return {
        "models": {
            m.name: (
                m.description or "",
                dict(m.tags),
                {alias: int(version) for alias, version in m.aliases.items()},
                m.creation_timestamp,
                m.last_updated_timestamp,
            )
            for m in models
        },
        "versions": {
            (v.name, int(v.version)): (
                v.run_id or "",
                v.current_stage,
                v.description or "",
                dict(v.tags),
                v.creation_timestamp,
                v.last_updated_timestamp,
            )
            for v in versions
        },
    }


def files(artifact_uri: str, tracking_uri: str) -> dict[str, bytes]:
    """Path → content of all artifacts at a place."""
    repository = get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    found: dict[str, bytes] = {}

    def walk(folder: str | None) -> None:
        for each in repository.list_artifacts(folder):
            if each.is_dir:
                walk(each.path)
            else:
                with open(repository.download_artifacts(each.path), "rb") as content:
                    found[each.path] = content.read()

    walk(None)
    return found
