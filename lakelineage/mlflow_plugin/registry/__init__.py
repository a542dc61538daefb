"""MLflow's model registry over a lake."""
