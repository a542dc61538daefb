"""Searching the registry: MLflow's grammar, read by MLflow, meant as SQL over ``registered_models`` and versions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils, SearchUtils

_TAG_SIGNS = ("=", "!=", "LIKE", "ILIKE")
_LIST_SIGNS = ("IN", "NOT IN")
#: Attribute of a version, as MLflow's grammar calls it → column.
_VERSION_COLUMNS = {"name": "name", "version_number": "version", "run_id": "run_id", "source_path": "shown_source"}
_VERSION_ORDER = {
    "name": "name",
    "version_number": "version",
    "creation_timestamp": "created",
    "last_updated_timestamp": "updated",
}
Filter = dict[str, Any]


@dataclass
class Question:
    """Conditions and order, with the values of the question marks.

    Attributes:
        where: joined by AND.
        values: of the conditions.
        order: terms.
    """

    where: list[str] = field(default_factory=lambda: ["true"])
    values: list[Any] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def sql(self, rows: str, limit: int, offset: int) -> str:
        """A page of the rows."""
        where, order = " AND ".join(self.where), ", ".join(self.order)
        return f"SELECT * FROM ({rows}) WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}"

    def compare(self, column: str, sign: str, value: Any) -> None:
        """Add a comparison."""
        if sign in _LIST_SIGNS:
            self.where.append(f"{column} {sign} ({', '.join('?' * len(value)) or 'NULL'})")
            self.values += list(value)
        else:
            self.where.append(f"lower({column}) LIKE lower(?)" if sign == "ILIKE" else f"{column} {sign} ?")
            self.values.append(value)


def models_question(filter_string: str | None, order_by: Sequence[str] | None) -> Question:
    """What a search of registered models means, over the columns of ``entities.MODELS``.

    Raises:
        MlflowException: MLflow's grammar refuses it, as MLflow's SQL store does.
    """
    filters = SearchModelUtils.parse_search_filter(filter_string)
    question = Question(order=_models_order(order_by))
    _filter(question, filters, _model_attribute)
    if not _asks_for_prompts(filters):
        question.where.append(f"coalesce(tags['{IS_PROMPT_TAG_KEY}'], '') <> 'true'")
    return question


def versions_question(filter_string: str | None, order_by: Sequence[str] | None) -> Question:
    """What a search of versions means, over the columns of ``entities.VERSIONS`` and ``shown_source``.

    Raises:
        MlflowException: as of :func:`models_question`.
    """
    filters = SearchModelVersionUtils.parse_search_filter(filter_string)
    default = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]
    question = Question(order=_versions_order(order_by or default))
    _filter(question, filters, _version_attribute)
    if not _asks_for_prompts(filters):
        prompts = f"SELECT registered_model_id FROM model_versions WHERE tags['{IS_PROMPT_TAG_KEY}'] = 'true'"
        question.where.append(f"registered_model_id NOT IN ({prompts})")
    return question


def _filter(question: Question, filters: Sequence[Filter], attribute: Callable[[Question, Filter], None]) -> None:
    prompts = _asks_for_prompts(filters)
    for each in filters:
        if each["type"] == "attribute":
            attribute(question, each)
        elif each["type"] == "tag":
            if each["comparator"] not in _TAG_SIGNS:
                raise MlflowException.invalid_parameter_value(f"Invalid comparator for tag: {each['comparator']}")
            if prompts or each["key"] != IS_PROMPT_TAG_KEY:
                key = each["key"].replace("'", "''")
                question.compare(f"tags['{key}']", each["comparator"], each["value"])
        else:
            raise MlflowException(f"Invalid token type: {each['type']}", error_code=INVALID_PARAMETER_VALUE)


def _model_attribute(question: Question, comparison: Filter) -> None:
    key, sign = comparison["key"], comparison["comparator"]
    if key != "name":
        raise MlflowException(f"Invalid attribute name: {key}", error_code=INVALID_PARAMETER_VALUE)
    if sign not in (*_TAG_SIGNS, *_LIST_SIGNS):
        raise MlflowException(f"Invalid comparator for attribute: {sign}", error_code=INVALID_PARAMETER_VALUE)
    question.compare("name", sign, comparison["value"])


def _version_attribute(question: Question, comparison: Filter) -> None:
    key, sign, value = comparison["key"], comparison["comparator"], comparison["value"]
    if key not in SearchModelVersionUtils.VALID_SEARCH_ATTRIBUTE_KEYS:
        raise MlflowException(f"Invalid attribute name: {key}", error_code=INVALID_PARAMETER_VALUE)
    if key in SearchModelVersionUtils.NUMERIC_ATTRIBUTES:
        if sign not in SearchModelVersionUtils.VALID_NUMERIC_ATTRIBUTE_COMPARATORS:
            raise MlflowException(f"Invalid comparator for attribute {key}: {sign}", error_code=INVALID_PARAMETER_VALUE)
        value = _whole(key, value)
    elif sign not in SearchModelVersionUtils.VALID_STRING_ATTRIBUTE_COMPARATORS or (
        sign in _LIST_SIGNS and key not in ("run_id", "name")
    ):
        raise MlflowException(f"Invalid comparator for attribute: {sign}", error_code=INVALID_PARAMETER_VALUE)
    question.compare(_VERSION_COLUMNS[key], sign, value)


def _whole(key: str, value: Any) -> int:
    refusal = f"Invalid value for numeric attribute '{key}': {value!r}"
    if isinstance(value, float):
        raise MlflowException.invalid_parameter_value(refusal)
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise MlflowException.invalid_parameter_value(refusal) from error


def _asks_for_prompts(filters: Sequence[Filter]) -> bool:
    """Whether the first condition on the tag of prompts wants prompts; only models are found otherwise."""
    for each in filters:
        if each["type"] == "tag" and each["key"] == IS_PROMPT_TAG_KEY:
            wanted = {"=": "true", "!=": "false"}.get(each["comparator"])
            return bool(wanted == each["value"].lower())
    return False


def _models_order(order_by: Sequence[str] | None) -> list[str]:
    terms: dict[str, str] = {}
    for clause in order_by or ():
        key, ascending = SearchUtils.parse_order_by_for_search_registered_models(clause)
        if key == "name":
            column = "name"
        elif key in SearchUtils.VALID_TIMESTAMP_ORDER_BY_KEYS:
            column = "updated"
        else:
            raise MlflowException(
                f"Invalid order by key '{key}' specified.Valid keys are "
                f"'{SearchUtils.RECOMMENDED_ORDER_BY_KEYS_REGISTERED_MODELS}'",
                error_code=INVALID_PARAMETER_VALUE,
            )
        _add(terms, column, ascending, order_by)
    return [*terms.values(), *([] if "name" in terms else ["name ASC"])]


def _versions_order(order_by: Sequence[str]) -> list[str]:
    terms: dict[str, str] = {}
    for clause in order_by:
        _, key, ascending = SearchModelVersionUtils.parse_order_by_for_search_model_versions(clause)
        if key not in _VERSION_ORDER:
            raise MlflowException(
                f"Invalid order by key '{key}' specified. Valid keys are "
                f"{SearchModelVersionUtils.VALID_ORDER_BY_ATTRIBUTE_KEYS}",
                error_code=INVALID_PARAMETER_VALUE,
            )
        _add(terms, _VERSION_ORDER[key], ascending, order_by)
    ties = {"name": "name ASC", "version": "version DESC"}
    return [*terms.values(), *(term for column, term in ties.items() if column not in terms)]


def _add(terms: dict[str, str], column: str, ascending: bool, order_by: Sequence[str] | None) -> None:
    if column in terms:
        raise MlflowException(f"`order_by` contains duplicate fields: {order_by}")
    terms[column] = f"{column} {'ASC' if ascending else 'DESC'}"
