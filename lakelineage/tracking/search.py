"""Searching runs: MLflow's filters and orders, whole or page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from lakelineage.engine import Reads
from lakelineage.errors import ExperimentNotFound, InvalidInput
from lakelineage.tables import RUN_COLUMNS
from lakelineage.tracking import frames, pages
from lakelineage.tracking.filter import compile_filter
from lakelineage.tracking.order import Order, Piece, compile_order

if TYPE_CHECKING:
    import pyarrow as pa

View = Literal["active", "deleted", "all"]
#: A run goes with its experiment: deleting an experiment hides its runs, as in MLflow.
_OF_EXPERIMENTS = "r.experiment_id IN (SELECT experiment_id FROM experiments WHERE lifecycle_stage"
_GONE = f"(r.lifecycle_stage <> 'active' OR {_OF_EXPERIMENTS} <> 'active'))"
_PURGED = f"(r.lifecycle_stage = 'purged' OR {_OF_EXPERIMENTS} = 'purged'))"
#: View → condition over ``runs`` with the alias ``r``.
VIEWS: dict[str, str] = {
    "active": f"NOT {_GONE}",
    "deleted": f"{_GONE} AND NOT {_PURGED}",
    "all": f"NOT {_PURGED}",
}


@dataclass(frozen=True)
class Search:
    """A question that was checked: it can be asked again for each page.

    Attributes:
        condition: SQL over ``runs`` with the alias ``r``, and its values.
        order: total order.
        asked: digest of the question; page tokens carry it.
        columns: of ``runs`` that are told.
    """

    engine: Reads
    condition: Piece
    order: Order
    asked: bytes
    columns: Sequence[str] = RUN_COLUMNS

    def page(self, limit: int | None, token: str | None) -> "pa.Table":
        """The rows from a token on; with a limit they carry the token of the next page, if there is one."""
        condition, values = self.condition
        if token is not None:
            after, bound = self.order.after(pages.decode(token, self.asked))
            condition, values = f"{condition} AND {after}", [*values, *bound]
        if limit is None:
            return self.engine.select_runs(condition, values, self.order.sql, columns=self.columns)
        # One row more than asked for tells whether there is another page.
        place = [term.told for term in self.order.place]
        rows = self.engine.select_runs(condition, values, self.order.sql, limit + 1, place, self.columns)
        told = [f"told_{i}" for i in range(len(place))]
        page = rows.drop_columns(told).slice(0, limit)
        if rows.num_rows <= limit:
            return page
        last = rows.select(told).slice(limit - 1, 1)
        return pages.with_token(page, pages.encode(self.asked, [column[0].as_py() for column in last.columns]))


def _prepare(
    engine: Reads, filter_: str, experiments: Sequence[str] | str, order_by: Sequence[str], view: str
) -> Search:
    if view not in get_args(View):
        raise InvalidInput(f"view {view!r} is unknown; choose 'active', 'deleted' or 'all'")
    condition, values = compile_filter(filter_)
    order = compile_order(order_by)
    names = _experiment_names(engine, experiments)
    condition = f"{VIEWS[view]} AND {condition}"
    if names:
        marks = ", ".join("?" * len(names))
        condition += f" AND r.experiment_id IN (SELECT experiment_id FROM experiments WHERE name IN ({marks}))"
    asked = pages.question(engine.settings.lake_id, filter_.strip(), sorted(set(names)), list(order_by), view)
    return Search(engine, (condition, [*values, *names]), order, asked)


def _experiment_names(engine: Reads, given: Sequence[str] | str) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        return []
    rows = engine.query(
        "SELECT name FROM experiments WHERE lifecycle_stage = 'active' AND list_contains(?, name)", [names]
    )
    found = rows.column("name").to_pylist()
    for name in names:
        if name not in found:
            raise ExperimentNotFound(
                f"no experiment is named {name!r}; `lake.experiments.list()` shows those there are"
            )
    return names


def _check_positive(number: Any, name: str) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**53:
        raise InvalidInput(f"{name} {number!r} is not a positive number")


def search_runs(
    engine: Reads,
    filter: str = "",  # noqa: A002 - the word that users of search know
    *,
    experiments: Sequence[str] | str = (),
    order_by: Sequence[str] = (),
    limit: int | None = None,
    page_token: str | None = None,
    view: View = "active",
    output_format: frames.OutputFormat = "arrow",
) -> Any:
    """Runs that satisfy a filter. See :meth:`lakelineage.Lake.search_runs`."""
    frames.check_format(output_format)
    if limit is not None:
        _check_positive(limit, "limit")
    search = _prepare(engine, filter, experiments, order_by, view)
    return frames.as_format(search.page(limit, page_token), output_format)


def search_pages(
    engine: Reads,
    filter: str = "",  # noqa: A002 - the word that users of search know
    *,
    experiments: Sequence[str] | str = (),
    order_by: Sequence[str] = (),
    page_size: int = 1000,
    view: View = "active",
) -> "Iterator[pa.Table]":
    """The same, page by page. See :meth:`lakelineage.Lake.search_pages`."""
    _check_positive(page_size, "page_size")
    return _pages(_prepare(engine, filter, experiments, order_by, view), page_size)


def _pages(search: Search, page_size: int) -> "Iterator[pa.Table]":
    token: str | None = None
    while True:
        page = search.page(page_size, token)
        if page.num_rows:
            yield page
        token = pages.next_page_token(page)
        if token is None:
            return
