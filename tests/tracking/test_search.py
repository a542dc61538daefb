"""Search: the filter language and the orders against an evaluator in plain Python."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage
from lakelineage.errors import InvalidFilter, InvalidInput

NAMES = ["a", "b", "val/loss", "c d", "it's", 'q"q', "select"]
NUMBERS = [-1.5, 0.0, 1.0, 2.0, 1e300, math.nan, math.inf, -math.inf]
WORDS = ["", "x", "X", "xy", "it's", "10", "9", "100%", "ü"]


@dataclass
class Run:
    """A run as the oracle knows it."""

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"


def some_runs() -> list[Run]:
    """Every number and word beside absence, in combinations that are the same each time."""
    runs = []
    for i in range(40):
        run = Run(name=f"run{i:02}", status=("RUNNING", "FINISHED", "FAILED")[i % 3])
        for j, key in enumerate(NAMES):
            if (i + j) % 4:
                run.metrics[key] = NUMBERS[(i * (j + 1)) % len(NUMBERS)]
            if (i + j) % 3:
                run.params[key] = WORDS[(i + j * 2) % len(WORDS)]
            if (i * j) % 5 != 1:
                run.tags[key] = WORDS[(i * 3 + j) % len(WORDS)]
        runs.append(run)
    return runs


RUNS = some_runs()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lakelineage.Lake]:
    """Half of the runs published, some committed only, the rest in the journal."""
    lake = lakelineage.open(tmp_path_factory.mktemp("search") / "lake", durability="process")
    for number, made in enumerate(RUNS):
        run = lake.start_run(name=made.name)
        if made.metrics:
            run.log_metrics(made.metrics)
        run.log_params(made.params)
        run.set_tags(made.tags)
        if made.status != "RUNNING":
            run.end(made.status)
        if number == 20:
            lake.maintain()
        if number == 30:
            lake.flush()
    yield lake
    lake.close()


#: True, False or None (unknown), as in SQL.
Truth = bool | None


@dataclass(frozen=True)
class Condition:
    """A comparison: its text, and the same in Python."""

    kind: str
    key: str
    sign: str
    value: Any

    def text(self) -> str:
        quoted = f"{self.kind}.`{self.key}`" if self.kind != "attributes" else self.key
        if self.sign.startswith("IS"):
            return f"{quoted} {self.sign}"
        if self.sign == "IN":
            return f"{quoted} IN ({', '.join(map(literal, self.value))})"
        return f"{quoted} {self.sign} {literal(self.value)}"

    def holds(self, run: Run) -> Truth:
        found = getattr(run, self.kind).get(self.key) if self.kind != "attributes" else getattr(run, self.key)
        if self.sign.startswith("IS"):
            return (found is None) == (self.sign == "IS NULL")
        if found is None:
            return None
        if self.sign == "IN":
            return found in self.value
        if self.sign in ("LIKE", "ILIKE"):
            return like(found, self.value, self.sign == "ILIKE")
        return {
            "=": found == self.value,
            "!=": found != self.value,
            "<": found < self.value,
            "<=": found <= self.value,
            ">": found > self.value,
            ">=": found >= self.value,
        }[self.sign]


def literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def like(text: str, pattern: str, fold: bool) -> bool:
    if fold:
        text, pattern = text.lower(), pattern.lower()
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[i:], pattern[1:], False) for i in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:], False)


def both(left: Truth, right: Truth) -> Truth:
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


_COMPARED = ["=", "!=", "<", "<=", ">", ">="]
_numbers = st.sampled_from([n for n in NUMBERS if math.isfinite(n)])
_words = st.sampled_from(WORDS)
_patterns = st.sampled_from(["%", "x%", "%y", "_", "X_", "%'%", "1%", "Ü"])


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    kind = draw(st.sampled_from(["metrics", "params", "tags", "attributes"]))
    key = draw(st.sampled_from(NAMES if kind != "attributes" else ["status", "name"]))
    value = (
        _numbers
        if kind == "metrics"
        else st.sampled_from(["FINISHED", "run07", "run2"])
        if kind == "attributes"
        else _words
    )
    form = draw(st.sampled_from(["compare", "compare", "in", "null", "like"]))
    if form == "in":
        return Condition(kind, key, "IN", tuple(draw(st.lists(value, min_size=1, max_size=3))))
    if form == "null":
        return Condition(kind, key, draw(st.sampled_from(["IS NULL", "IS NOT NULL"])), None)
    if form == "like" and kind != "metrics":
        return Condition(kind, key, draw(st.sampled_from(["LIKE", "ILIKE"])), draw(_patterns))
    return Condition(kind, key, draw(st.sampled_from(_COMPARED)), draw(value))


#: (text, truth of each run)
Filter = tuple[str, list[Truth]]


def _leaf(condition: Condition) -> Filter:
    return condition.text(), [condition.holds(run) for run in RUNS]


def _and(pair: tuple[Filter, Filter]) -> Filter:
    (a, x), (b, y) = pair
    return f"({a}) AND ({b})", [both(p, q) for p, q in zip(x, y, strict=True)]


def _or(pair: tuple[Filter, Filter]) -> Filter:
    (a, x), (b, y) = pair
    return f"({a}) or ({b})", [negated(both(negated(p), negated(q))) for p, q in zip(x, y, strict=True)]


def _not(inner: Filter) -> Filter:
    return f"NOT ({inner[0]})", [negated(t) for t in inner[1]]


FILTERS = st.recursive(
    conditions().map(_leaf),
    lambda inner: st.one_of(st.tuples(inner, inner).map(_and), st.tuples(inner, inner).map(_or), inner.map(_not)),
    max_leaves=4,
)


def names(lake: lakelineage.Lake, text: str, **options: Any) -> list[str]:
    return list(lake.search_runs(text, **options).column("name").to_pylist())


@given(FILTERS)
@settings(max_examples=150)
def test_a_filter_finds_exactly_the_runs_that_satisfy_it(searched: lakelineage.Lake, filter: Filter) -> None:  # noqa: A002
    text, truth = filter
    assert sorted(names(searched, text)) == [run.name for run, holds in zip(RUNS, truth, strict=True) if holds]


def test_all_runs_come_newest_first_without_a_filter(searched: lakelineage.Lake) -> None:
    wanted = [run.name for run in reversed(RUNS)]
    assert names(searched, "") == names(searched, "  ") == wanted
    assert names(searched, "", limit=7) == wanted[:7]


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize("direction", ["", " ASC", " desc"])
def test_an_order_by_a_metric_puts_nan_after_numbers_and_nulls_last(
    key: str, direction: str, searched: lakelineage.Lake
) -> None:
    sign = -1 if "desc" in direction else 1
    newest = {run.name: -i for i, run in enumerate(RUNS)}

    def place(run: Run) -> tuple[Any, ...]:
        value = run.metrics.get(key)
        nan = value is not None and math.isnan(value)
        return (value is None, nan, 0 if value is None or nan else sign * value, newest[run.name])

    wanted = [run.name for run in sorted(RUNS, key=place)]
    assert names(searched, "", order_by=[f"metrics.`{key}`{direction}"]) == wanted


def test_an_order_by_several_terms_breaks_ties_by_the_next_and_then_by_the_newest(searched: lakelineage.Lake) -> None:
    newest = {run.name: -i for i, run in enumerate(RUNS)}

    def place(run: Run) -> tuple[Any, ...]:
        param = run.params.get("a")
        return (run.status, param is None, [-ord(c) for c in param or ""] + [1], newest[run.name])

    found = names(searched, "", order_by=["status", "params.a DESC"])
    assert found == [run.name for run in sorted(RUNS, key=place)]


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a = 1",
        "metric.a = 1.0",
        "Metrics.a = 1e0",
        "metrics.`a` = 1",
        'metrics."a" = 1',
        "(((metrics.a = 1)))",
        "metrics.a IN (1)",
        "metrics.a >= 1 AND metrics.a <= 1",
        "not metrics.a != 1 and metrics.a is not null",
    ],
)
def test_one_condition_may_be_written_in_many_ways(text: str, searched: lakelineage.Lake) -> None:
    assert sorted(names(searched, text)) == [run.name for run in RUNS if run.metrics.get("a") == 1.0]


@pytest.mark.parametrize(
    "text",
    [
        "metrics.val/loss > 0",
        "metrics.`val/loss` > 0",
        "attributes.status = 'FINISHED'",
        "run_name LIKE 'run0%'",
        'tags.a = "xy"',
    ],
)
def test_forms_that_users_of_mlflow_know_are_understood(text: str, searched: lakelineage.Lake) -> None:
    assert names(searched, text)


def test_times_are_milliseconds(searched: lakelineage.Lake) -> None:
    rows = searched.sql(
        "SELECT name, status, epoch_us(start_time) // 1000 AS ms FROM runs ORDER BY start_time DESC"
    ).to_pylist()
    middle = rows[20]["ms"]
    assert names(searched, f"start_time >= {middle}") == [r["name"] for r in rows if r["ms"] >= middle]
    assert names(searched, f"attributes.start_time < {middle}") == [r["name"] for r in rows if r["ms"] < middle]
    assert names(searched, "end_time IS NULL") == [r["name"] for r in rows if r["status"] == "RUNNING"]


def test_runs_of_named_experiments_only(lake: lakelineage.Lake) -> None:
    for experiment in ("a", "b", "it's"):
        lake.start_run(experiment, name=experiment)
    assert names(lake, "", experiments=["a", "it's"]) == ["it's", "a"]
    assert names(lake, "name = 'b'", experiments=["a"]) == []
    with pytest.raises(lakelineage.errors.ExperimentNotFound, match="unknown"):
        names(lake, "", experiments=["unknown"])


@pytest.mark.parametrize(
    "order", ["", "metrics.a sideways", "nope", "nope.a", "metrics.a; DROP TABLE x", "a b c", 3, None]
)
def test_a_malformed_order_is_refused(order: Any, lake: lakelineage.Lake) -> None:
    with pytest.raises(InvalidFilter):
        lake.search_runs(order_by=[order])
    with pytest.raises(InvalidFilter, match="list of terms"):
        lake.search_runs(order_by="metrics.a")


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3"])
def test_a_limit_that_is_no_positive_number_is_refused(limit: Any, lake: lakelineage.Lake) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        lake.search_runs(limit=limit)
