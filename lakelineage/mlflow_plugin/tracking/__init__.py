"""MLflow's tracking store over a lake: one file per kind of thing."""
