"""MLflow on a lake: its stores, artifact repository and dataset source, as MLflow finds them by their entry points.

The room holds no rules of its own. It checks what MLflow checks, calls the verbs of the lake, and turns what they give
into MLflow's entities. How what MLflow knows is kept is told in docs/decisions/017-mlflow-on-the-lake.md.
"""
