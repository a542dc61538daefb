"""Laws of values in SQL: they are bound, and what is quoted stays."""

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakelineage.errors import InvalidInput
from lakelineage.notebook.parameters import bound


def test_both_forms_become_parameters() -> None:
    sql, values = bound("select $a, { b }, $a", {"a": 1, "b": "x", "c": 2})
    assert (sql, values) == ("select $a, $b, $a", {"a": 1, "b": "x"})


@pytest.mark.parametrize(
    "sql",
    [
        "select '$a {a} it''s'",
        'select 1 as "{a} $a"',
        "select 1 -- $a {a}",
        "select /* $a \n {a} */ 1",
        "select $$ {a} $a $$",
        "select $t$ {a} $$ $a $t$",
        "select {'a': 1}",
        "select {a: 1}",
    ],
)
def test_what_is_quoted_or_a_struct_stays(sql: str) -> None:
    assert bound(sql, {}) == (sql, {})


@given(st.text())
def test_a_value_never_becomes_part_of_the_sql(value: str) -> None:
    assert bound("select {v}", {"v": value}) == ("select $v", {"v": value})


def test_numpy_scalars_times_and_lists_are_values() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    given_ = {"a": np.float64(0.5), "b": [np.int64(1), 2], "c": now, "d": None}
    assert bound("$a $b $c $d", given_)[1] == {"a": 0.5, "b": [1, 2], "c": now, "d": None}


def test_what_is_missing_or_no_value_is_named() -> None:
    with pytest.raises(InvalidInput, match="no variable 'lost'"):
        bound("select $lost", {})
    with pytest.raises(InvalidInput, match="variable 'a' holds a dict"):
        bound("select $a", {"a": {}})
    with pytest.raises(InvalidInput, match="ndarray"):
        bound("select $a", {"a": np.zeros(3)})
