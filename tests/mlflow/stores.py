"""MLflow's own stores with something of everything, made through its client."""

import warnings
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
)


def filled(client: MlflowClient, folder: Path) -> dict[str, str]:
    """Put something of everything into a store; ids by what they are of."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)  # MLflow's registry looks logged models up there
    try:
        return _fill(client, folder)
    finally:
        mlflow.set_tracking_uri(before)


def _fill(client: MlflowClient, folder: Path) -> dict[str, str]:
    churn = client.create_experiment("churn", str(folder / "churn"), tags={"team": "a"})
    gone = client.create_experiment("gone", str(folder / "gone"))
    parent = _run(client, churn, folder)
    child = client.create_run(churn, 1_700_000_000_000, {"mlflow.parentRunId": parent}, "child").info.run_id
    client.log_metric(child, "loss", float("nan"))
    client.delete_run(child)
    lost = client.create_run(gone, 5, run_name="lost").info.run_id
    client.log_param(lost, "x", "1")
    client.delete_experiment(gone)
    model = _model(client, churn, parent, folder)
    _register(client, parent, model)
    return {"churn": churn, "gone": gone, "parent": parent, "child": child, "lost": lost, "model": model}


def _run(client: MlflowClient, experiment: str, folder: Path) -> str:
    run = client.create_run(experiment, 1_600_000_000_000, {"mlflow.user": "ada", "note": "ü\n'x'"}, "parent").info
    client.log_batch(
        run.run_id,
        metrics=[Metric("loss", 1 / (step + 1), 1_600_000_000_000 + step, step) for step in range(30)]
        + [Metric("loss", 7.0, 3, -2), Metric("big", float("inf"), 1, 0), Metric("big", float("-inf"), 1, 1)]
        + [Metric("tie", 2.0, 9, 1), Metric("tie", 1.0, 9, 1)],
    )
    client.log_param(run.run_id, "lr", "0.1")
    data = Dataset("train", "d1", "local", '{"uri": "train.csv"}', '{"s": 1}', '{"num_rows": 3}')
    client.log_inputs(run.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
    client.log_text(run.run_id, "hello", "notes/a.txt")
    client.log_text(run.run_id, "", "empty.txt")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 100)
    client.log_artifact(run.run_id, str(folder / "weights.bin"))
    client.set_terminated(run.run_id, "FAILED", 1_600_000_100_000)
    return str(run.run_id)


def _model(client: MlflowClient, experiment: str, run_id: str, folder: Path) -> str:
    made = client.create_logged_model(experiment, "net", run_id, {"stage": "x"}, {"depth": "3"}, "classifier")
    (folder / "net").mkdir()
    (folder / "net" / "MLmodel").write_text("flavors: {}\n")
    client.log_model_artifacts(made.model_id, str(folder / "net"))
    client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 4)])
    client.log_inputs(run_id, models=[LoggedModelInput(made.model_id)])
    client.log_metric(run_id, "acc", 0.5, 77, 3, dataset_name="train", dataset_digest="d1", model_id=made.model_id)
    return str(made.model_id)


def _register(client: MlflowClient, run_id: str, model_id: str) -> None:
    client.create_registered_model("diabetes", {"owner": "ada"}, "of patients")
    uri = client.get_run(run_id).info.artifact_uri
    client.create_model_version("diabetes", f"{uri}/notes", run_id, {"v": "1"}, description="first")
    client.create_model_version("diabetes", f"runs:/{run_id}/notes", run_id)
    client.create_model_version("diabetes", f"models:/{model_id}", model_id=model_id)
    client.delete_model_version("diabetes", "2")
    client.set_registered_model_alias("diabetes", "champion", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MLflow's farewell to stages
        client.transition_model_version_stage("diabetes", "1", "Production")
