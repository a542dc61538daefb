"""Reading a Delta table, and recording it as an input of the active run."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from lakelineage.capture import record
from lakelineage.errors import InvalidInput
from lakelineage.snapshots import unpinned
from lakelineage.store import source as tables
from lakelineage.store import watch

Format = Literal["polars", "pandas", "arrow"]


def read_delta(
    source: str,
    version: int | None = None,
    as_of: datetime | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    name: str | None = None,
    context: str = "training",
    storage_options: Mapping[str, str] | None = None,
    output_format: Format = "polars",
) -> Any:
    """Read a version of a Delta table. Inside a run, of lakelineage or of MLflow, it becomes an input of it.

    The version is pinned, once for each run, as ``run.use`` does it (or ``mlflow.log_input``, wherever MLflow tracks).
    Outside of any run nothing is recorded. Deletion vectors and column mapping are honoured.

    Args:
        source: path or URI of the table.
        version: Delta version; default the newest.
        as_of: point in time instead of a version (ISO 8601 or datetime; naive means UTC).
        columns: columns to read; default all.
        where: rows to read, as a SQL condition; default all.
        name: of the input; default ``<table>@v<version>``.
        context: what it is used for: training, validation, test, …
        storage_options: of an object store, as deltalake takes them; default those of the environment.
        output_format: ``polars``, ``pandas`` or ``arrow``.

    Returns:
        A Polars or pandas frame, or an Arrow table.

    Raises:
        TableNotFound, VersionNotFound: there is no such table or version.
        InvalidInput: a column, condition or format that there is not.
        LakelineageError, MlflowException: it cannot be recorded.
    """
    if output_format not in ("polars", "pandas", "arrow"):
        raise InvalidInput(f"output_format {output_format!r} is unknown; choose 'polars', 'pandas' or 'arrow'")
    options = None if storage_options is None else dict(storage_options)
    head = tables.identify(source, options, version=version, as_of=as_of)
    read = record.read_of(watch.at_version(head.uri, head.version, options))
    run_id = record.mlflow_run()
    if run_id is not None:
        record.log(read, context, run_id, name)
    found: Any = record.use(read, context, name) or unpinned.find(head.uri, options, head.version)
    return getattr(found, f"to_{output_format}")(columns, where)
