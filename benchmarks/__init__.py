"""Speed, as ratios within one run: beside the disk under the lake, and beside MLflow on SQLite."""
