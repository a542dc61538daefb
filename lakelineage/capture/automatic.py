"""Recording what deltalake, Polars and DuckDB read of Delta tables while a run is active, without further code."""

import logging
import threading
from typing import Any

from lakelineage.capture.record import Seen, read_of, record
from lakelineage.model import validate
from lakelineage.query.polars import watch as through_polars
from lakelineage.store import watch as through_deltalake
from lakelineage.store.watch import Patches

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_patches = Patches()
#: Of the latest call; what an earlier one put somewhere, and somebody kept, does nothing any more.
_current: Seen | None = None


def autolog(disable: bool = False, *, context: str = "training") -> None:
    """Record the Delta tables that this process reads inside a run as inputs of it, with their exact versions.

    From then on, each version of a table that is read while a run is active (of lakelineage, or of MLflow, wherever
    that is tracked) is pinned as an input of it, once: named ``<table>@v<version>``. Calling it again only changes the
    context. What is seen: ``deltalake.DeltaTable`` (``to_pandas``, ``to_pyarrow_table``, ``to_pyarrow_dataset``,
    ``file_uris``) and ``QueryBuilder``; Polars' ``read_delta`` and ``scan_delta``; and DuckDB where it reads such an
    Arrow dataset, frame, or list of files. A table is read in the thread or task whose run is active.

    A read that cannot be recorded succeeds all the same, and a warning tells why. A lazy scan of Polars that names no
    version reads the version that is the newest when the scan is made. Not seen: ``delta_scan`` of DuckDB's extension,
    change data (``load_cdf``), Parquet files of a table that are named one by one, Spark, and names that were imported
    from Polars before (``from polars import scan_delta``).

    Args:
        disable: stop it: what was put in the place of functions is taken away.
        context: what the data is used for: training, validation, …

    Raises:
        InvalidInput: the context is empty or too long.
    """
    global _current
    checked = validate.key(context, "context")
    seen = Seen()

    def told(table: Any) -> None:
        if _current is not seen:
            return
        try:
            record(read_of(table), checked, seen)
        except Exception as error:  # noqa: BLE001 - the user's read has succeeded, whatever becomes of its record
            _log.warning("a read of %s is not recorded as an input: %s", getattr(table, "table_uri", table), error)

    with _lock:
        _patches.undo()
        _current = None if disable else seen
        if not disable:
            through_deltalake.deltalake(_patches, told)
            through_polars.polars(_patches, told)
