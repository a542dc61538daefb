"""Polars as an engine over data files."""
