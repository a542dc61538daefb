"""Searching runs: MLflow's grammar, read by MLflow, meant as SQL over ``runs`` with the alias ``r``."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils import mlflow_tags, validation
from mlflow.utils.search_utils import SearchUtils

from lakelineage.errors import InvalidInput
from lakelineage.mlflow_plugin import collector
from lakelineage.mlflow_plugin.tracking import run_entities
from lakelineage.mlflow_plugin.tracking.experiments import check_max_results
from lakelineage.mlflow_plugin.tracking.metrics import MetricsPart
from lakelineage.tables import RUNS
from lakelineage.tracking import pages
from lakelineage.tracking.experiments import Experiment
from lakelineage.tracking.order import Order, Piece, Term
from lakelineage.tracking.search import VIEWS, Search

if TYPE_CHECKING:
    import pyarrow as pa

_VIEWS = {ViewType.ACTIVE_ONLY: "active", ViewType.DELETED_ONLY: "deleted", ViewType.ALL: "all"}
_TIMES = ("start_time", "end_time")
_NULL_SIGNS = ("IS NULL", "IS NOT NULL")
#: What runs used, in MLflow's words: as MLflow logged it, or (native runs) as it was pinned.
_DATASETS = """
SELECT run_id, name, digest, context FROM datasets
UNION ALL
SELECT i.run_id, i.name, i.snapshot_id, i.context FROM inputs i
WHERE NOT EXISTS (SELECT 1 FROM datasets d WHERE d.run_id = i.run_id AND d.snapshot_id = i.snapshot_id)
"""
#: A tag that MLflow's client gives every run that it begins.
_NAME = f"r.tags['{mlflow_tags.MLFLOW_RUN_NAME}']"
#: Tag → what the columns of a native run say in its place.
_TOLD = {tag: f"r.{column}" for tag, column in run_entities.COLUMNS.items()} | {
    mlflow_tags.MLFLOW_SOURCE_TYPE: "CASE WHEN r.source_type = 'notebook' THEN 'NOTEBOOK' "
    "WHEN r.source_type IS NOT NULL THEN 'LOCAL' END"
}


class SearchPart(MetricsPart):
    """Searching runs."""

    def _search_runs(
        self,
        experiment_ids: Sequence[str | int],
        filter_string: str | None,
        run_view_type: int,
        max_results: int | None,
        order_by: Sequence[str] | None,
        page_token: str | None,
    ) -> tuple[list[Run], str | None]:
        """Runs that satisfy a filter, a page of them, and the token of the next page."""
        check_max_results(max_results, allow_null=True)
        ids = [str(number) for number in validation._parse_experiment_ids(list(experiment_ids))]
        conditions = [_condition(each, self.lake_artifacts) for each in SearchUtils.parse_search_filter(filter_string)]
        terms = _terms(order_by, self.lake_artifacts)
        conditions.append((VIEWS[_VIEWS[run_view_type]], []))
        conditions.append((f"r.experiment_id IN ({', '.join('?' * len(ids)) or 'NULL'})", ids))
        sql = " AND ".join(f"({condition})" for condition, _ in conditions)
        values = [value for _, bound in conditions for value in bound]
        asked = pages.question(self.engine.settings.lake_id, filter_string, sorted(ids), order_by, run_view_type)
        search = Search(self.engine, (sql, values), Order(terms), asked, RUNS.names)
        page, token = _page(search, max_results, page_token)
        with collector.paused():
            rows = run_entities.rows_of(page)
            links, experiments = self.links_of([row["run_id"] for row in rows]), self.lake.experiments.states()
            return [self._found(row, links[row["run_id"]], experiments) for row in rows], token

    def _found(self, row: dict[str, Any], links: tuple[Any, Any, Any], experiments: Mapping[str, Experiment]) -> Run:
        """A run that was found. As in MLflow, a search does not tell the models that it used."""
        datasets, _, made = links
        return run_entities.run(self.info_of(row, experiments), run_entities.run_data(row), datasets, (), made)


def _page(search: Search, max_results: int | None, token: str | bytes | None) -> "tuple[pa.Table, str | None]":
    """A page, and the token of the next.

    A token is one of MLflow's, which counts rows, with the place of the last row of the page besides. The place is what
    goes, where the question is still the same: runs that come meanwhile shift nothing.

    Raises:
        MlflowException: the token is none of MLflow's.
    """
    offset = SearchUtils.parse_start_offset_from_page_token(token)
    place = json.loads(base64.b64decode(token)).get("place") if token else None
    try:
        page = search.page(max_results, place) if offset and place else None
    except InvalidInput:
        page = None
    if page is None:
        page = search.page(None if max_results is None else offset + max_results, None)
        following = pages.next_page_token(page)
        page = page.slice(offset)
    else:
        following = pages.next_page_token(page)
    if following is None:
        return page, None
    told = {"offset": offset + page.num_rows, "place": following}
    return page, base64.b64encode(json.dumps(told).encode()).decode()


def _condition(parsed: dict[str, Any], lake_artifacts: str) -> Piece:
    """A comparison as SQL."""
    kind, sign, value = parsed["type"], parsed["comparator"].upper(), parsed["value"]
    key = SearchUtils.translate_key_alias(parsed["key"])
    if SearchUtils.is_string_attribute(kind, key, sign):
        return _compared(_attribute(key, lake_artifacts), sign, value)
    if SearchUtils.is_numeric_attribute(kind, key, sign):
        return _compared(f"epoch_us(r.{key}) // 1000", sign, float(value))
    if SearchUtils.is_metric(kind, sign):
        # NaN is unequal to everything, and nothing else. DuckDB has it above all numbers.
        column = f"r.metrics[{_text(key)}]"
        compared, bound = _compared(column, sign, float(value))
        return (f"{compared} AND NOT isnan({column})", bound) if sign in (">", ">=") else (compared, bound)
    if SearchUtils.is_param(kind, sign):
        return _mapped(f"r.params[{_text(key)}]", sign, value)
    if SearchUtils.is_tag(kind, sign):
        return _mapped(_tag(key), sign, value)
    if SearchUtils.is_dataset(kind, sign):
        compared, bound = _compared(key, sign, value)
        return f"r.run_id IN (SELECT run_id FROM ({_DATASETS}) WHERE {compared})", bound
    raise MlflowException(f"Invalid search expression type '{kind}'", error_code=INVALID_PARAMETER_VALUE)


def _mapped(column: str, sign: str, value: Any) -> Piece:
    return (f"{column} {sign}", []) if sign in _NULL_SIGNS else _compared(column, sign, value)


def _compared(column: str, sign: str, value: Any) -> Piece:
    if sign in ("IN", "NOT IN"):
        values = list(value)
        return f"{column} {sign} ({', '.join('?' * len(values))})", values
    return f"{column} {sign} ?", [value]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _attribute(key: str, lake_artifacts: str) -> str:
    if key == "run_name":
        return _tag(mlflow_tags.MLFLOW_RUN_NAME)
    if key == "artifact_uri":
        return f"coalesce(r.artifact_uri, {_text(lake_artifacts)} || '/' || r.run_id)"
    return f"r.{key}"


def _tag(key: str) -> str:
    """A tag that was set, or what a column says in its place: see :func:`run_entities.all_tags`."""
    tag = f"r.tags[{_text(key)}]"
    if key == mlflow_tags.MLFLOW_RUN_NAME:
        tag = f"nullif({tag}, {_text(run_entities.NO_NAME)})"
    told = _TOLD.get(key)
    if told is None:
        return tag
    return f"coalesce({tag}, CASE WHEN {_NAME} IS NULL THEN {told} END)"


def _terms(order_by: Sequence[str] | None, lake_artifacts: str) -> tuple[Term, ...]:
    terms, seen = [], set()
    for text in order_by or ():
        kind, key, ascending = SearchUtils.parse_order_by_for_search_runs(text)
        key = SearchUtils.translate_key_alias(key)
        if (kind, key) in seen:
            raise MlflowException(f"`order_by` contains duplicate fields: {order_by}")
        seen.add((kind, key))
        terms.append(_term(kind, key, not ascending, lake_artifacts))
    return tuple(terms)


def _term(kind: str, key: str, descending: bool, lake_artifacts: str) -> Term:
    if SearchUtils.is_string_attribute(kind, key, "="):
        return Term(_attribute(key, lake_artifacts), "text", descending)
    if SearchUtils.is_numeric_attribute(kind, key, "="):
        return Term(f"r.{key}", "time", descending)
    if SearchUtils.is_metric(kind, "="):
        return Term(f"r.metrics[{_text(key)}]", "number", descending)
    if SearchUtils.is_tag(kind, "="):
        return Term(_tag(key), "text", descending)
    if SearchUtils.is_param(kind, "="):
        return Term(f"r.params[{_text(key)}]", "text", descending)
    raise MlflowException(f"Invalid identifier type '{kind}'", error_code=INVALID_PARAMETER_VALUE)
