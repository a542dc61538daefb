"""Experiments, runs, params, metrics, tags, artifacts, and the search over them."""
