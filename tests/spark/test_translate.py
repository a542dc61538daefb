"""What DuckDB's SQL becomes for Spark, and what is refused rather than asked otherwise."""

import pytest

from lakelineage.errors import InvalidQuery
from lakelineage.spark import translate


@pytest.mark.parametrize(
    ("sql", "meant"),
    [
        ("select a from t order by a", "SELECT a FROM t ORDER BY a NULLS LAST"),
        ("select isnan(a) from t", "SELECT IF(a IS NULL, NULL, ISNAN(a)) FROM t"),
        ("select isinf(a) from t", "SELECT (ABS(a) = CAST('Infinity' AS DOUBLE)) FROM t"),
        ("select max_by(a, row(b, c)) from t", "SELECT MAX_BY(a, STRUCT(b, c)) FROM t"),
        ("select epoch_us(a) from t", "SELECT UNIX_MICROS(a) FROM t"),
        ("select a::bigint from t limit 3", "SELECT CAST(a AS BIGINT) FROM t LIMIT 3"),
    ],
)
def test_what_means_something_else_in_spark_is_said_otherwise(sql: str, meant: str) -> None:
    assert translate(sql) == meant


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select list(a order by b) from t", "no list"),
        ("with recursive r as (select 1 as n union select n + 1 from r) select n from r", "UNION ALL"),
        ("select epoch(a) from t", "epoch_us"),
        ("select 1; select 2", "2 statements"),
        ("", "0 statements"),
        ("select from where", "cannot be translated"),
    ],
)
def test_what_spark_cannot_say_is_refused(sql: str, told: str) -> None:
    with pytest.raises(InvalidQuery, match=told):
        translate(sql)
