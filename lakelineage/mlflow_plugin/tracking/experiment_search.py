"""Searching experiments: MLflow's own grammar, over entities."""

from collections.abc import Sequence
from typing import Any

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.utils.search_utils import SearchExperimentsUtils, SearchUtils
from mlflow.utils.validation import _parse_experiment_id

_SIGNS = ("=", "!=", "LIKE", "ILIKE")
_NUMERIC_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_ID_SIGNS = ("=", "!=", "IN", "NOT IN")
_NULL_SIGNS = ("IS NULL", "IS NOT NULL")
_NEWEST_FIRST = ("creation_time DESC", "experiment_id ASC")


def page(
    experiments: Sequence[Experiment],
    max_results: int,
    filter_string: str | None,
    order_by: Sequence[str] | None,
    page_token: str | None,
) -> PagedList[Experiment]:
    """A page of the experiments that satisfy a filter, in order.

    Raises:
        MlflowException: filter, order or token cannot be understood.
    """
    conditions = [_checked(each) for each in SearchExperimentsUtils.parse_search_filter(filter_string)]
    terms = _terms(order_by)
    offset = SearchUtils.parse_start_offset_from_page_token(page_token)
    found = [e for e in experiments if all(_holds(e, condition) for condition in conditions)]
    for name, ascending in reversed(terms):
        found.sort(key=lambda e, name=name: _value(e, name), reverse=not ascending)  # type: ignore[misc]
    more = len(found) > offset + max_results
    token = SearchExperimentsUtils.create_page_token(offset + max_results) if more else None
    return PagedList(found[offset : offset + max_results], token)


def _checked(condition: dict[str, Any]) -> dict[str, Any]:
    """A condition whose sign fits what it compares, with its value as it is compared."""
    kind, key, sign, value = (condition[name] for name in ("type", "key", "comparator", "value"))
    if kind == "tag":
        if sign not in (*_SIGNS, *_NULL_SIGNS):
            raise MlflowException.invalid_parameter_value(f"Invalid comparator for tag: {sign}")
        return condition
    if key == "experiment_id":
        if sign not in _ID_SIGNS:
            raise MlflowException.invalid_parameter_value(f"Invalid comparator for experiment_id: {sign}")
        ids = tuple(map(_parse_experiment_id, value)) if isinstance(value, tuple) else _parse_experiment_id(value)
        return {**condition, "value": ids}
    if SearchExperimentsUtils.is_string_attribute(kind, key, sign) and sign not in _SIGNS:
        raise MlflowException.invalid_parameter_value(f"Invalid comparator for string attribute: {sign}")
    if SearchExperimentsUtils.is_numeric_attribute(kind, key, sign):
        return {**condition, "value": _integer(key, sign, value)}
    return condition


def _integer(key: str, sign: str, value: Any) -> int:
    if sign not in _NUMERIC_SIGNS:
        raise MlflowException.invalid_parameter_value(f"Invalid comparator for numeric attribute: {sign}")
    refusal = MlflowException.invalid_parameter_value(f"Invalid value for numeric attribute '{key}': '{value}'")
    if isinstance(value, float):
        raise refusal
    try:
        return int(value)
    except (TypeError, ValueError):
        raise refusal from None


def _holds(experiment: Experiment, condition: dict[str, Any]) -> bool:
    key, sign, value = condition["key"], condition["comparator"], condition["value"]
    if condition["type"] == "tag":
        if sign in _NULL_SIGNS:
            return bool((key in experiment.tags) is (sign == "IS NOT NULL"))
        if key not in experiment.tags:
            return False
        return bool(SearchUtils.get_comparison_func(sign)(experiment.tags[key], value))
    return bool(SearchUtils.get_comparison_func(sign)(_value(experiment, key), value))


def _value(experiment: Experiment, name: str) -> Any:
    value = getattr(experiment, name)
    return int(value) if name == "experiment_id" else value


def _terms(order_by: Sequence[str] | None) -> list[tuple[str, bool]]:
    """Names to order by, with whether the least comes first; the id decides ties."""
    terms = []
    for text in order_by or _NEWEST_FIRST:
        kind, name, ascending = SearchExperimentsUtils.parse_order_by_for_search_experiments(text)
        if kind != "attribute":
            raise MlflowException.invalid_parameter_value(f"Invalid order_by entity: {kind}")
        terms.append((name, ascending))
    if not any(name == "experiment_id" for name, _ in terms):
        terms.append(("experiment_id", False))
    return terms
