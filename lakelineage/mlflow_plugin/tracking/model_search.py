"""Searching logged models: MLflow's grammar, read by MLflow, meant as SQL over ``logged_models m``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils import validation

if TYPE_CHECKING:
    from mlflow.utils.search_logged_model_utils import Comparison

_STATUS = "CASE m.status {} END".format(
    " ".join(f"WHEN '{status.value}' THEN {status.to_int()}" for status in LoggedModelStatus)
)
#: DuckDB has NaN above all numbers; and ``isnan`` goes by the statistics of Parquet files, which leave NaN out.
_NAN = "value::VARCHAR = 'nan'"
#: Attribute, as MLflow's grammar calls it → SQL. DuckDB's ``epoch_ms`` rounds; MLflow, and who divides by 1000, cuts.
_ATTRIBUTES = {
    "model_id": "m.model_id",
    "experiment_id": "m.experiment_id",
    "name": "m.name",
    "artifact_location": "m.artifact_location",
    "creation_timestamp_ms": "epoch_us(m.created_at) // 1000",
    "last_updated_timestamp_ms": "epoch_us(m.last_updated_at) // 1000",
    "status": "m.status",
    "lifecycle_stage": "m.lifecycle_stage",
    "model_type": "m.model_type",
    "source_run_id": "m.source_run_id",
    "status_message": "m.status_message",
}
_ALIASES = {
    "creation_time": "creation_timestamp_ms",
    "creation_timestamp": "creation_timestamp_ms",
    "last_updated_timestamp": "last_updated_timestamp_ms",
}


@dataclass
class Query:
    """SQL over ``logged_models m`` with its values, in the order of its question marks."""

    joins: str = ""
    where: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    join_values: list[Any] = field(default_factory=list)
    where_values: list[Any] = field(default_factory=list)

    def sql(self, columns: str, limit: int, offset: int) -> tuple[str, list[Any]]:
        """The statement, and its values."""
        text = (
            f"SELECT {columns} FROM logged_models m {self.joins} WHERE {' AND '.join(self.where)} "
            f"ORDER BY {', '.join(self.order)} LIMIT {limit} OFFSET {offset}"
        )
        return text, [*self.join_values, *self.where_values]


def compiled(
    experiment_ids: Sequence[str | int],
    filter_string: str | None,
    datasets: Sequence[dict[str, Any]] | None,
    order_by: Sequence[dict[str, Any]] | None,
) -> Query:
    """The question that a search means. Models that are deleted are left out.

    Raises:
        MlflowException: MLflow's grammar refuses it, as MLflow's SQL store does.
    """
    from mlflow.utils.search_logged_model_utils import parse_filter_string

    ids = [str(number) for number in validation._parse_experiment_ids(list(experiment_ids))]
    query = Query()
    query.where += ["m.lifecycle_stage = 'active'", f"m.experiment_id IN ({', '.join('?' * len(ids)) or 'NULL'})"]
    query.where_values += ids
    try:
        comparisons = parse_filter_string(filter_string)
    except ValueError as error:  # of a number; MLflow lets it through
        raise MlflowException.invalid_parameter_value(f"Invalid filter string: {filter_string!r}. {error}") from error
    for comparison in comparisons:
        _compare(query, comparison, datasets)
    if datasets and not any(comparison.entity.type.value == "metrics" for comparison in comparisons):
        condition, values = _measured_on(datasets)
        query.where.append(f"m.model_id IN (SELECT model_id FROM metrics WHERE {condition})")
        query.where_values += values
    _order(query, order_by or ())
    return query


def _compare(query: Query, comparison: "Comparison", datasets: Sequence[dict[str, Any]] | None) -> None:
    kind, key = comparison.entity.type.value, comparison.entity.key
    if kind == "metrics":
        condition, values = _compared("value", comparison)
        condition = f"({condition} OR {_NAN})" if comparison.op == "!=" else f"({condition} AND NOT {_NAN})"
        if datasets:
            more, more_values = _measured_on(datasets)
            condition, values = f"{condition} AND ({more})", [*values, *more_values]
        query.where.append(f"m.model_id IN (SELECT model_id FROM metrics WHERE key = ? AND {condition})")
        query.where_values += [key, *values]
        return
    if kind == "attributes":
        column = _attribute(key, f"Invalid attribute key '{key}' specified")
    else:
        column = f"m.{kind}[{_text(key)}]"
    condition, values = _compared(column, comparison)
    query.where.append(condition)
    query.where_values += values


def _compared(column: str, comparison: "Comparison") -> tuple[str, list[Any]]:
    sign, value = comparison.op, comparison.value
    if sign in ("IN", "NOT IN"):
        values = list(value)  # type: ignore[arg-type]  # a tuple, where the sign is one of these
        return f"{column} {sign} ({', '.join('?' * len(values)) or 'NULL'})", values
    return f"{column} {sign} ?", [value]


def _measured_on(datasets: Sequence[dict[str, Any]]) -> tuple[str, list[Any]]:
    """Rows of ``metrics`` of a logged model that were measured on one of the datasets."""
    conditions, values = [], []
    for dataset in datasets:
        condition = "dataset = ?"
        values.append(dataset["dataset_name"])
        if "dataset_digest" in dataset:
            condition += " AND dataset_digest = ?"
            values.append(dataset["dataset_digest"])
        conditions.append(f"({condition})")
    return f"model_id IS NOT NULL AND ({' OR '.join(conditions)})", values


def _order(query: Query, order_by: Sequence[dict[str, Any]]) -> None:
    seen = set()
    for number, term in enumerate(order_by):
        name, direction = term.get("field_name"), "" if term.get("ascending", True) else " DESC"
        if not isinstance(name, str):
            raise MlflowException("`field_name` in the `order_by` clause must be specified.", INVALID_PARAMETER_VALUE)
        if "." in name:
            _join_latest(query, f"latest_{number}", term)
            query.order.append(f"latest_{number}.value{direction} NULLS LAST")
            continue
        key = _ALIASES.get(name, name)
        column = _attribute(key, f"Invalid order by field name: {name}")
        query.order.append(f"{_STATUS if key == 'status' else column}{direction} NULLS LAST")
        seen.add(key)
    query.order += [] if "creation_timestamp_ms" in seen else [f"{_ATTRIBUTES['creation_timestamp_ms']} DESC"]
    query.order += [] if "model_id" in seen else ["m.model_id"]


def _join_latest(query: Query, name: str, term: dict[str, Any]) -> None:
    """Join the latest value of a metric: of the greatest time, then step, then the least run id."""
    kind, _, key = term["field_name"].partition(".")
    if kind != "metrics":
        raise MlflowException.invalid_parameter_value(
            f"Invalid order by field name: {term['field_name']}. Only metrics are supported."
        )
    conditions, values = ["key = ?", "model_id IS NOT NULL"], [key]
    for column, given in (("dataset", term.get("dataset_name")), ("dataset_digest", term.get("dataset_digest"))):
        if given:
            conditions.append(f"{column} = ?")
            values.append(given)
    latest = (
        f"SELECT model_id, value FROM metrics WHERE {' AND '.join(conditions)} QUALIFY row_number() OVER "
        "(PARTITION BY model_id ORDER BY timestamp DESC, step DESC, run_id) = 1"
    )
    query.joins += f" LEFT JOIN ({latest}) {name} ON {name}.model_id = m.model_id"
    query.join_values += values


def _attribute(key: str, refusal: str) -> str:
    if key not in _ATTRIBUTES:
        raise MlflowException.invalid_parameter_value(refusal)
    return _ATTRIBUTES[key]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
