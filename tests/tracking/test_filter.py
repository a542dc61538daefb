"""What filters say of inputs, experiments and deleted runs, and what is said of filters that cannot be understood."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage
from lakelineage.errors import InvalidFilter, InvalidInput
from lakelineage.model.changes import Rows
from lakelineage.tables import RUNS_HISTORY
from lakelineage.tracking.filter import compile_filter
from lakelineage.tracking.grammar import DEEPEST, LONGEST

#: A filter of the length that is allowed costs twice as many calls at most.
CALLS_OF_A_REFUSAL = 600_000


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """That no more functions than this, Python's or C's, are called: a measure that no busy machine changes."""
    seen = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
    assert seen <= calls


def names(lake: lakelineage.Lake, text: str, **options: Any) -> list[str]:
    return sorted(lake.search_runs(text, **options).column("name").to_pylist())


@pytest.fixture
def fed(lake: lakelineage.Lake, tmp_path: Path) -> lakelineage.Lake:
    """Runs one (version 0, training), two (version 1, training; version 0, test) and none (no input)."""
    table = tmp_path / "table"
    write_deltalake(str(table), pa.table({"x": [1.0]}))
    write_deltalake(str(table), pa.table({"x": [2.0]}), mode="append")
    lake.start_run("first", "one").use(table, version=0, name="points")
    two = lake.start_run("second", "two")
    two.use(table, version=1, name="points")
    two.use(table, version=0, name="held-out", context="test")
    lake.start_run("second", "none")
    return lake


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("datasets.name = 'points'", ["one", "two"]),
        ("dataset.name != 'points'", ["two"]),
        ("NOT datasets.name = 'held-out'", ["none", "one"]),
        ("datasets.name NOT IN ('points')", ["two"]),
        ("datasets.context = 'test'", ["two"]),
        ("datasets.version >= 1", ["two"]),
        ("datasets.version = 0", ["one", "two"]),
        ("datasets.version IN (1, 7)", ["two"]),
        ("datasets.version < 0.5 and datasets.context ilike 'TRAIN%'", ["one", "two"]),
        ("datasets.table_uri LIKE '%table'", ["one", "two"]),
        ("datasets.name IS NULL", ["none"]),
        ("datasets.name IS NOT NULL", ["one", "two"]),
        ("datasets.version IS NULL", ["none"]),
        ("experiment = 'second'", ["none", "two"]),
        ("attributes.experiment_name != 'second'", ["one"]),
        ("experiment LIKE 's%' AND datasets.name IS NULL", ["none"]),
    ],
)
def test_runs_are_found_by_what_they_used_and_where_they_belong(
    text: str, found: list[str], fed: lakelineage.Lake
) -> None:
    assert names(fed, text) == found


def test_a_digest_is_the_snapshots_id_and_like_takes_a_prefix(fed: lakelineage.Lake) -> None:
    one = fed.run(fed.search_runs("name = 'one'").column("run_id")[0].as_py())
    pin = one.inputs["points"]
    assert names(fed, f"datasets.digest = '{pin.id}'") == ["one", "two"]
    assert names(fed, f"datasets.digest LIKE '{pin.id[:12]}%'") == ["one", "two"]
    assert names(fed, f"datasets.table_id = '{pin.table_id}'") == ["one", "two"]
    assert names(fed, f"attributes.run_id IN ('{one.id}', 'x')") == ["one"]


def test_a_view_shows_what_is_there_what_is_deleted_or_both(fed: lakelineage.Lake) -> None:
    row = dict(zip(RUNS_HISTORY.names, (None,) * 99, strict=False))
    (told,) = fed.sql("select * from runs where name = 'one'").to_pylist()
    row = {name: told[name] for name in row}
    start = int(told["start_time"].timestamp() * 1_000_000)
    row |= {"lifecycle_stage": "deleted", "start_time": start, "end_time": None}
    fed._engine.append((Rows(RUNS_HISTORY.name, (RUNS_HISTORY.row(**row),)),))
    assert names(fed, "") == ["none", "two"]
    assert names(fed, "", view="deleted") == ["one"]
    assert names(fed, "", view="all") == ["none", "one", "two"]
    with pytest.raises(InvalidInput, match="view 'gone'"):
        fed.search_runs(view="gone")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "at", "told"),
    [
        ("metrics.a", "$", "where a comparison"),
        ("metrics.a >", "$", "where a value was expected"),
        ("metrics.a > 'x'", "'x'", "compares with a number"),
        ("metrics.a > '0.5'", "'0.5'", "write 0.5 without quotes"),
        ("params.a > 1", "1", "write '1' in quotes"),
        ("params.a = true", "true", "write 'true' in quotes"),
        ("metrics.a LIKE 'x%'", "LIKE", "is a number"),
        ("metrics.val/loss > 1 && metrics.b < 1", "&&", "write AND"),
        ("metrics.val/loss > 1 || metrics.b < 1", "||", "write OR"),
        ("tags.`a b` == 'x'", "==", "write a single ="),
        ("nope.a = 1", "nope.a", "'nope' is not metrics"),
        ("metrcs.a = 1", "metrcs.a", "did you mean metrics.a?"),
        ("stauts = 'x'", "stauts", "did you mean status?"),
        ("rmse < 1", "rmse", "metrics.rmse"),
        ("datasets.nmae = 'x'", "datasets.nmae", "did you mean name?"),
        ("attributes.artifact_uri = 'x'", "attributes.artifact_uri", "compare run_id"),
        ("1 = metrics.a", "1", "an attribute was expected"),
        ("metrics.a = metrics.b", "metrics.b", "where a value was expected"),
        ("metrics.a = (SELECT 1)", "(", "where a value was expected"),
        ("metrics.a = 1; DROP TABLE runs", ";", "one condition"),
        ("metrics.a = 1 ORDER BY name", "ORDER", "AND, OR or the end"),
        ("metrics.a + 1 = 2", "+", "do not calculate"),
        ("length(params.a) = 2", "(", "where a comparison"),
        ("metrics.a = 1 and", "$", "the end where"),
        ("(metrics.a = 1", "$", "AND, OR or )"),
        ("metrics.a = 1)", ")", "closes nothing"),
        ("params.a = tree", "tree", "text goes in quotes: 'tree'"),
        ("params.a = NULL", "NULL", "write IS NULL"),
        ("params.a IN ()", ")", "where a value was expected"),
        ("params.a IN 'x'", "'x'", "write IN ('a', 'b')"),
        ("params.a BETWEEN 'a' AND 'b'", "BETWEEN", ">= 1 AND"),
        ("params.a = “x”", "“", "write ' on both sides"),
        ("params.a = 'x", "'x", "is not closed"),
        ("params. = 'x'", " = 'x'", "a key was expected"),
        ("start_time > 'yesterday'", "'yesterday'", "ms since 1970"),
        ("git_dirty > true", ">", "= or !="),
        ("tags.日本 = 'x' and tags.b == 'y'", "==", "single ="),
        ("a\0b = 1", "\0", "U+0000"),
        ("params.a NOT = 'x'", "=", "where IN, LIKE or ILIKE"),
        ("params.a IS 'x'", "'x'", "where NOT or NULL"),
        ("params.a IS NOT 'x'", "'x'", "where NULL"),
        ("params.a IN ('x' 'y')", "'y'", "where , or )"),
        ("params.`a b = 'x'", "`", "is not closed"),
        ("params.'a b' = 'x'", "'a b'", "a key was expected"),
        ("metrics.a b > 1", "b >", "quote a key with spaces"),
        ("params.a =~ 'x'", "=~", "no regular expressions"),
        ("(params.a = 'x' ? 1)", "?", "'?' means nothing"),
        ("params.a = 1x", "1x", "this is no number"),
        ("and params.a = 'x'", "and", "an attribute was expected"),
    ],
)
def test_a_malformed_filter_is_shown_with_a_caret_at_the_place_and_what_to_write(text: str, at: str, told: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        compile_filter(text)
    first, line, carets, *_ = str(caught.value).split("\n")
    assert told in str(caught.value)
    assert "lark" not in str(caught.value).lower()
    assert first.startswith("filter: ")
    wide = text[: len(text) if at == "$" else text.index(at)]
    column = 2 + len(wide) + sum(c in "日本" for c in wide)
    assert carets.index("^") == column
    assert line == "  " + text.replace("\0", " ")


def test_a_long_filter_is_shown_around_the_place(lake: lakelineage.Lake) -> None:
    text = " and ".join(["metrics.a > 1"] * 50) + " and metrics.b == 1 and " + " and ".join(["metrics.c > 1"] * 50)
    with pytest.raises(InvalidFilter) as caught:
        lake.search_runs(text)
    _, line, carets, _ = str(caught.value).split("\n")
    assert len(line) < 130
    assert line[carets.index("^") :].startswith("== 1 and")


def test_what_is_no_text_is_no_filter(lake: lakelineage.Lake) -> None:
    for given_ in (3, None, b"x"):
        with pytest.raises(InvalidFilter, match="a filter is a string"):
            lake.search_runs(given_)  # type: ignore[arg-type]


_PIECES = st.sampled_from(
    [
        *("metrics.a", "params.`b`", "status", "datasets.name", "datasets.version", "start_time", "git_dirty", "user"),
        *(
            "=",
            "!=",
            "<",
            ">=",
            "LIKE",
            "IN",
            "NOT",
            "IS",
            "NULL",
            "AND",
            "OR",
            "(",
            ")",
            ",",
            "'x'",
            '"y"',
            "1",
            "-2.5",
        ),
        *("true", "'", "`", "==", "\\", "\0", "é", "\ud800", "1e999", "'2026-01-01'", "tags.a.b", "?", "--", "9" * 400),
    ]
)


@given(st.text(max_size=60) | st.lists(_PIECES, max_size=12).map(" ".join) | st.lists(_PIECES, max_size=9).map("".join))
@settings(max_examples=400)
def test_any_text_compiles_or_is_an_invalid_filter(text: str) -> None:
    with suppress(InvalidFilter), at_most(5_000 + 200 * len(text)):
        sql, values = compile_filter(text)
        assert sql.count("?") >= len(values)


@given(st.lists(_PIECES, min_size=3, max_size=7).map(" ".join))
@settings(max_examples=150)
def test_whatever_compiles_can_be_answered(lake: lakelineage.Lake, text: str) -> None:
    try:
        compile_filter(text)
    except InvalidFilter:
        return
    assert lake.search_runs(text).num_rows == 0


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a = 1" + " and metrics.a = 1 or metrics.a = 1" * 280,
        "(" * DEEPEST + "metrics.a = 1" + ")" * DEEPEST,
        "NOT " * DEEPEST + "metrics.a = 1",
        f"run_id IN ({', '.join(['1'.join(chr(39) * 2)] * 1_900)})",
        "params.a = '" + "x" * (LONGEST - 20) + "'",
    ],
)
def test_a_filter_as_long_and_as_deep_as_may_be_is_answered(text: str, lake: lakelineage.Lake) -> None:
    assert len(text) <= LONGEST
    assert lake.search_runs(text).num_rows == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * (LONGEST + 1), "10,000 are the most"),
        ("(" * (DEEPEST + 1) + "metrics.a = 1" + ")" * (DEEPEST + 1), "inside each other"),
        ("not " * 2_000 + "metrics.a = 1", "inside each other"),
        ("(" * LONGEST, "inside each other"),
        ("(" * 4_000 + "metrics.a = 1" + ")" * 4_000, "inside each other"),
        ("not (" * 1_500 + "metrics.a ? 1", "inside each other"),
        ("params.a = " + "'" * (LONGEST - 11), "is not closed"),
    ],
)
def test_a_filter_that_is_longer_or_deeper_is_refused_at_once(text: str, why: str) -> None:
    with at_most(CALLS_OF_A_REFUSAL), pytest.raises(InvalidFilter, match=why):
        compile_filter(text)


def test_an_order_that_cannot_be_understood_is_shown_with_its_place(lake: lakelineage.Lake) -> None:
    for text, told in [
        ("metrics.a DOWN", "ASC, DESC or the end"),
        ("mertics.a", "did you mean metrics.a"),
        ("datasets.name", "nothing to order by"),
    ]:
        with pytest.raises(InvalidFilter) as caught:
            lake.search_runs(order_by=[text])
        assert told in str(caught.value)
        assert str(caught.value).startswith("order: ")
        assert "^" in str(caught.value)
