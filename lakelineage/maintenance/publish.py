"""Publishing the current tables as Delta tables, for Spark, Polars, Trino or BI tools.

What is published notes, as application transactions, what it holds: ``runs`` the greatest number of every writer in
each of its sources, the small tables the versions of their sources. It may lag; it is never wrong, and can be rebuilt.
"""

from typing import TYPE_CHECKING

from lakelineage.engine import Engine
from lakelineage.query.duckdb.views import SOURCES
from lakelineage.store import faults
from lakelineage.tables import BY_NAME, CURRENT, RUNS, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lakelineage.query.duckdb.reader import Unpublished


class Publisher:
    """Publishes the current tables of one lake.

    Args:
        engine: the open lake.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def publish(self) -> int:
        """Bring all published tables up to what the facts hold.

        Returns:
            How many runs were published anew.

        Raises:
            ConcurrentWrite: another process published at the same time.
        """
        faults.reach("publish.before")
        published = self._publish_runs()
        for table in CURRENT:
            if table is not RUNS:
                self._publish_small(table)
        faults.reach("publish.after")
        return published

    def _publish_runs(self) -> int:
        """Some runs at a time, so that a table made anew takes bounded memory. What is held is noted with the last.

        It is noted as it was at the first look: facts that came meanwhile may be held or not.
        """
        store = self._engine.store
        slices = self._unpublished()
        fresh = next(slices)
        watermarks, published = fresh.watermarks, int(fresh.rows.num_rows)
        for following in slices:
            store.upsert(RUNS, fresh.rows, {})
            fresh = following
            published += int(fresh.rows.num_rows)
        if fresh.rows.num_rows:  # a merge of no rows would make no commit, and note nothing
            store.upsert(RUNS, fresh.rows, watermarks)
        return published

    def _unpublished(self) -> "Iterator[Unpublished]":
        """At least one slice, and no empty one behind it."""
        fresh = self._engine.reader.unpublished_runs()
        yield fresh
        while fresh.more_after is not None:
            fresh = self._engine.reader.unpublished_runs(fresh.more_after)
            if fresh.rows.num_rows:
                yield fresh

    def _publish_small(self, table: Table) -> None:
        store = self._engine.store
        versions = {source: store.snapshot(BY_NAME[source]).version for source in SOURCES[table.name]}
        if store.snapshot(table, versions).covered == {s: v for s, v in versions.items() if v >= 0}:
            return
        rows = self._engine.reader.derived(table)
        if rows.num_rows:
            store.replace(table, rows, {s: v for s, v in versions.items() if v >= 0})
