"""Runs as flat tables: a column for each metric, param and tag, as MLflow's ``search_runs`` gives them."""

from typing import TYPE_CHECKING, Any, Literal, get_args

from lakelineage.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

OutputFormat = Literal["arrow", "polars", "pandas"]
_MAPS = ("metrics", "params", "tags")


def check_format(output_format: str) -> None:
    """Refuse a format that there is not, or whose library is missing, before anything is read.

    Raises:
        InvalidInput: no such format.
        MissingExtra: pandas is not installed.
    """
    if output_format not in get_args(OutputFormat):
        raise InvalidInput(f"output_format {output_format!r} is unknown; choose 'arrow', 'polars' or 'pandas'")
    if output_format == "pandas":
        try:
            import pandas as pd  # noqa: F401
        except ImportError as error:
            raise MissingExtra(
                "pandas is not installed: pip install pandas, or choose output_format='polars'"
            ) from error


def as_format(runs: "pa.Table", output_format: str) -> Any:
    """Rows of ``runs`` as they are (``arrow``), or flattened as a Polars or pandas frame."""
    if output_format == "arrow":
        return runs
    flat = flatten(runs)
    return flat if output_format == "polars" else flat.to_arrow().to_pandas()


def flatten(runs: "pa.Table") -> "pl.DataFrame":
    """Rows of ``runs`` with ``metrics.<key>``, ``params.<key>`` and ``tags.<key>`` in place of the maps, keys sorted.

    What a run lacks is null.
    """
    import polars as pl

    frame = pl.from_arrow(runs)
    assert isinstance(frame, pl.DataFrame)
    return pl.concat([frame.drop(*_MAPS), *(_spread(frame, name) for name in _MAPS)], how="horizontal")


def _spread(frame: "pl.DataFrame", name: str) -> "pl.DataFrame":
    """One map column as a column for each of its keys."""
    import polars as pl

    entries = frame.select(row=pl.int_range(pl.len()), key=pl.col(name).map.keys(), value=pl.col(name).map.values())
    long = entries.filter(pl.col("key").list.len() > 0).explode("key", "value")
    long = long.with_columns(key=pl.lit(f"{name}.") + pl.col("key"))
    wide = long.pivot(on="key", index="row", values="value")
    keys = sorted(key for key in wide.columns if key != "row")
    return entries.select("row").join(wide, on="row", how="left", maintain_order="left").select(keys)
