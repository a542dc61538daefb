"""A lake as it is read, now or as of a moment."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from lakelineage.engine import Past, Reads
from lakelineage.run import PastRun, Run
from lakelineage.tracking import ids, search
from lakelineage.tracking.experiments import ExperimentList

if TYPE_CHECKING:
    import pyarrow as pa

    from lakelineage.lineage import Lineage, TableImpact
    from lakelineage.plot import Plots
    from lakelineage.snapshots import Snapshot
    from lakelineage.snapshots.diff import Diff
    from lakelineage.snapshots.pin_list import PinList
    from lakelineage.tracking.compare import Comparison
    from lakelineage.tracking.frames import OutputFormat


class LakeView:
    """What can be asked of a lake.

    Args:
        reads: the open lake, as it is or as it was.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    @property
    def uri(self) -> str:
        """Folder or URI of the lake."""
        return self._reads.root.uri

    @property
    def id(self) -> str:
        """Id of the lake, wherever it is moved."""
        return self._reads.settings.lake_id

    def run(self, run_id: str) -> PastRun:
        """A run as it is now, by its id or a unique beginning of it; one that was deleted too.

        Raises:
            RunNotFound: there is no such run.
        """
        return PastRun(self._reads, run_id)

    def run_id(self, beginning: str) -> str:
        """The id of the one run that begins so (at least 4 digits).

        Raises:
            RunNotFound: none does.
            InvalidInput: several do.
        """
        return ids.full_id(self._reads, beginning)

    def search_runs(
        self,
        filter: str = "",  # noqa: A002 - the word that users of search know
        *,
        experiments: Sequence[str] | str = (),
        order_by: Sequence[str] = (),
        limit: int | None = None,
        page_token: str | None = None,
        view: "search.View" = "active",
        output_format: "OutputFormat" = "arrow",
    ) -> Any:
        """Runs that satisfy a filter, such as ``metrics.rmse < 70 and params.alpha = '0.01'``.

        Args:
            filter: conditions on ``metrics.``, ``params.``, ``tags.``, ``datasets.`` and attributes, joined by AND, OR,
                NOT and parentheses; see :mod:`lakelineage.tracking.filter`. Empty means all.
            experiments: name of an experiment, or names; none means all.
            order_by: such as ``["metrics.rmse", "start_time DESC"]``. Nulls come last and NaN after all numbers, in
                either direction; ties go to the next term, then to the newest start, then to the smaller run id.
                Default: the newest first.
            limit: greatest number of runs.
            page_token: begin after the page that gave it (:func:`lakelineage.next_page_token`), with the same filter,
                experiments, order and view. It stays valid while runs are added: a walk over all pages gives each run
                that was there before and has not changed exactly once.
            view: ``active``, ``deleted`` (the run, or its experiment) or ``all``.
            output_format: ``arrow``: rows of the table ``runs``; ``polars`` or ``pandas``: frames with columns
                ``metrics.<key>``, ``params.<key>`` and ``tags.<key>`` in place of its maps.

        Returns:
            The runs; an Arrow table of a limited search carries the token of the next page.

        Raises:
            InvalidFilter: filter or order cannot be understood; the message shows where.
            InvalidInput: a limit, view, format or page token that cannot be.
            ExperimentNotFound: no experiment has one of the names.
            MissingExtra: pandas is asked for and not installed.
        """
        return search.search_runs(
            self._reads,
            filter,
            experiments=experiments,
            order_by=order_by,
            limit=limit,
            page_token=page_token,
            view=view,
            output_format=output_format,
        )

    def search_pages(
        self,
        filter: str = "",  # noqa: A002 - the word that users of search know
        *,
        experiments: Sequence[str] | str = (),
        order_by: Sequence[str] = (),
        page_size: int = 1000,
        view: "search.View" = "active",
    ) -> "Iterator[pa.Table]":
        """The runs of :meth:`search_runs` page by page, in bounded memory; none if there are none.

        Args and errors are as in :meth:`search_runs`; each Arrow table has ``page_size`` rows, the last may have fewer.
        """
        return search.search_pages(
            self._reads, filter, experiments=experiments, order_by=order_by, page_size=page_size, view=view
        )

    def compare(self, *runs: Run | PastRun | str | Sequence[Run | PastRun | str], all: bool = False) -> "Comparison":  # noqa: A002 - says what is shown
        """What differs between runs: params, metrics, inputs (data versions), code and environment.

        Args:
            runs: two or more runs, or their ids; or a list of them.
            all: list what is the same, too.

        Raises:
            RunNotFound: there is no such run.
            InvalidInput: fewer than two runs, or one twice.
        """
        from lakelineage.tracking.compare import compare

        several: Any = runs[0] if len(runs) == 1 and isinstance(runs[0], (list, tuple)) else runs
        return compare(self._reads, [run if isinstance(run, str) else run.id for run in several], everything=all)

    def metric_history(
        self, runs: "Run | PastRun | str | Sequence[Run | PastRun | str]", key: str, max_points: int | None = None
    ) -> "pa.Table":
        """The values of a metric over the steps of one run or of several.

        Args:
            runs: run, id, or several.
            key: name of the metric.
            max_points: greatest number of points of each run, for plots: the first and the last, and the least and
                the greatest of equal ranges of steps; see :mod:`lakelineage.tracking.history`. Default all.

        Returns:
            run_id, step, timestamp, value; runs as given, each by step, timestamp and the order of the lake.

        Raises:
            RunNotFound: there is no such run.
            InvalidInput: no run is named, the key cannot be one, or ``max_points`` is not positive.
        """
        from lakelineage.tracking.history import metric_history

        several = [runs] if isinstance(runs, (Run, PastRun, str)) else list(runs)
        return metric_history(self._reads, [r if isinstance(r, str) else r.id for r in several], key, max_points)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> "pa.Table":
        """Answer SQL (DuckDB's dialect) over all tables of the lake, fresh to the last row of this host.

        Args:
            query: one statement.
            params: values for ``?`` or ``$name``.

        Raises:
            InvalidQuery: the statement is wrong.
        """
        return self._reads.query(query, params)

    def load_snapshot(self, snapshot_id: str) -> "Snapshot":
        """A snapshot that was pinned before, by its id or a unique beginning of it.

        Raises:
            SnapshotNotFound: there is none.
            InvalidInput: several ids begin so.
        """
        from lakelineage.snapshots import records

        return records.loaded(self._reads, snapshot_id)

    @property
    def snapshots(self) -> "pa.Table":
        """All pinned snapshots."""
        from lakelineage import snapshots

        return snapshots.list_snapshots(self._reads)

    @property
    def pins(self) -> "PinList":
        """What is pinned: until when, by whom, and whether it can be read back today."""
        from lakelineage.snapshots.pin_list import PinList

        return PinList(self._reads)

    def diff(
        self,
        a: "Snapshot | str",
        b: "Snapshot | str",
        *,
        key: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        memory_limit: str | None = None,
    ) -> "Diff":
        """What differs between two snapshots: schema, and rows added, removed and changed, before and after.

        Files that both have are not read; where the table's log has change data between the two, and that is less, only
        the change data is. Snapshots of different tables are compared whole, their columns by name. What does not fit
        in memory goes to a temporary folder (``TMPDIR``).

        Null equals null, NaN equals NaN, 0.0 equals -0.0; maps are equal if their entries are, in order. A column that
        one side lacks counts as null there. Types that changed are compared in one that holds both, else as texts.

        Args:
            a: before: a snapshot, or its id, or a unique beginning of that.
            b: after, likewise. ``lake.run(…).inputs["train"]`` is what a run saw.
            key: column or columns that identify a row. Without one, a row that changed is removed and added, and a row
                that is there more often than before is added.
            columns: what to compare, and the key; default what both pins chose. Each must be in one of the two.
            where: rows to compare of both, as a SQL condition; default those that each pin chose.
            memory_limit: of the work, such as ``"2GB"``; default a quarter of the memory that there is.

        Raises:
            InvalidInput: no such column; the key has types that cannot be compared exactly, or several of the rows that
                differ share it on one side; or a table feature cannot be read faithfully.
            SnapshotNotFound: no snapshot has this id.
            SnapshotLost: files that must be read are gone.
            StorageFull: memory and the temporary folder do not do.
        """
        from lakelineage.snapshots.diff import diff

        return diff(self._reads, a, b, key=key, columns=columns, where=where, memory_limit=memory_limit)

    def lineage(self, node: str) -> "Lineage":
        """Questions about what a node descends from and what descends from it.

        Args:
            node: ``dataset:<path or id>[@version]``, ``run:<id>``, ``model:<name>[@version]`` or
                ``artifact:<run or logged model>[/<path>]``.

        Raises:
            NotFound: the lake knows no such node.
        """
        from lakelineage.lineage import Lineage

        return Lineage(self._reads, node)

    def impact(
        self, source: Any, version: int | str | None = None, *, stage: str | None = None, alias: str | None = None
    ) -> "TableImpact":
        """What descends from some versions of a table: runs, versions of models, and what these predicted.

        It answers "which production models descend from this table before the fix, and what did they predict?":
        ``lake.impact("data/homes", "< 12", stage="Production")``. Descent counts through other tables, too.

        Args:
            source: path or URI of a table, its id or node, a snapshot or a snapshot id.
            version: a number, or comparisons such as ">= 3 and < 12"; default all versions that the lake knows.
            stage: only versions of models in it, and what they predicted.
            alias: only versions of models that it names, and what they predicted.

        Raises:
            InvalidInput: something above cannot be understood.
            SnapshotNotFound: the lake never saw that table.
        """
        from lakelineage.lineage.impact import table_impact

        return table_impact(self._reads, source, version, stage, alias)

    @property
    def plot(self) -> "Plots":
        """Plots of runs: metric curves, scatter, contour, parallel coordinates (extra ``plot``)."""
        from lakelineage.plot import Plots

        return Plots(self._reads)


class LakeAt(LakeView):
    """A lake as it was at a moment: what was logged after it is not seen. Made by :meth:`lakelineage.Lake.at`.

    Runs, metrics, tags, experiments, models, aliases and lineage are as they were then; files that runs logged are
    read where they are now.

    Attributes:
        moment: that moment, UTC.
        experiments: the experiments that there were, to be listed.
    """

    def __init__(self, past: Past, moment: datetime) -> None:
        super().__init__(past)
        self._past = past
        self.moment = moment
        self.experiments = ExperimentList(past)

    def close(self) -> None:
        """Let go of the memory that reading took. The lake stays open."""
        self._past.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LakeAt {self.moment.isoformat()} {self.uri}>"
