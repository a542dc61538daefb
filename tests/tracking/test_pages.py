"""Pages of a search, and the forms of its answer."""

import base64
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage
from lakelineage.errors import InvalidFilter, InvalidInput, MissingExtra

NUMBERS = [math.nan, -math.inf, math.inf, -0.0, 0.0, 0.1 + 0.2, 5e-324, 1e300, None, None, 1.0, 1.0]
WORDS = ["", "a", "ä", "Z", "\U0001f600", "\uffff", None, None, "a"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lakelineage.Lake]:
    """Thirty runs with every value that is hard to order, with many ties."""
    lake = lakelineage.open(tmp_path_factory.mktemp("pages") / "lake", durability="process")
    for i in range(30):
        run = lake.start_run(f"experiment {i % 3}", f"run{i:02}")
        metrics = {"m": NUMBERS[i % len(NUMBERS)], "n": NUMBERS[(i * 5) % len(NUMBERS)]}
        run.log_metrics({key: value for key, value in metrics.items() if value is not None})
        word = WORDS[(i * 2) % len(WORDS)]
        if word is not None:
            run.log_param("p", word)
            run.set_tag("t", word[::-1])
        if i % 2:
            run.end()
        if i == 15:
            lake.maintain()
    yield lake
    lake.close()


_terms = st.sampled_from(
    [
        *(
            "metrics.m",
            "metrics.n",
            "params.p",
            "tags.t",
            "start_time",
            "end_time",
            "status",
            "experiment",
            "git_dirty",
        ),
        *("updated_at", "name"),
    ]
)
_orders = st.lists(st.builds(lambda t, d: f"{t}{d}", _terms, st.sampled_from(["", " DESC"])), max_size=3)


def walked(lake: lakelineage.Lake, limit: int, **options: Any) -> list[str]:
    found: list[str] = []
    token = None
    while True:
        page = lake.search_runs(limit=limit, page_token=token, **options)
        found += page.column("run_id").to_pylist()
        token = lakelineage.next_page_token(page)
        if token is None:
            return found
        assert page.num_rows == limit


@given(_orders, st.integers(1, 12))
@settings(max_examples=50)
def test_pages_put_together_are_the_whole_in_its_order(many: lakelineage.Lake, order_by: list[str], limit: int) -> None:
    whole = many.search_runs(order_by=order_by).column("run_id").to_pylist()
    assert walked(many, limit, order_by=order_by) == whole


@given(_orders)
@settings(max_examples=50)
def test_nulls_come_last_nan_after_numbers_and_ties_go_to_the_newest(
    many: lakelineage.Lake, order_by: list[str]
) -> None:
    names = {r["experiment_id"]: r["name"] for r in many.sql("select * from experiments").to_pylist()}
    rows = many.sql("select * from runs").to_pylist(maps_as_pydicts="strict")

    def value(row: dict[str, Any], name: str) -> Any:
        kind, _, key = name.partition(".")
        if key:
            return row[kind].get(key)
        return names[row["experiment_id"]] if name == "experiment" else row[name]

    rows.sort(key=lambda row: row["run_id"])
    rows.sort(key=lambda row: row["start_time"], reverse=True)
    for term in reversed(order_by):
        name, _, direction = term.partition(" ")
        rows.sort(key=lambda row: _place(value(row, name), bool(direction)), reverse=bool(direction))
    assert many.search_runs(order_by=order_by).column("run_id").to_pylist() == [row["run_id"] for row in rows]


def _place(value: Any, descending: bool) -> tuple[Any, ...]:
    """A key that sorts nulls last and NaN before them, also when the list is sorted in reverse."""
    rank = 2 if value is None else 1 if isinstance(value, float) and math.isnan(value) else 0
    return (-rank if descending else rank, value if rank == 0 else 0)


WRITER = """
import sys, lakelineage
lake = lakelineage.open(sys.argv[1], durability="process")
changing = [lake.resume_run(i) for i in sys.argv[2].split(",")]
print("ready", flush=True)
for i in range(10_000):
    with lake.start_run("walk", f"new {i}") as run:
        run.log_metric("m", i % 7)
    changing[i % len(changing)].log_metric("m", i % 11, step=i)
    if i % 50 == 49:
        lake.flush()
"""


@pytest.mark.parametrize("order_by", [[], ["metrics.m"], ["params.p DESC", "metrics.m"]])
def test_a_walk_gives_each_run_that_was_there_and_did_not_change_once_while_others_write(
    order_by: list[str], lake_path: Any, start: Callable[..., Any]
) -> None:
    lake = lakelineage.open(lake_path, durability="process")
    ids = []
    for i in range(60):
        with lake.start_run("walk", str(i)) as run:
            run.log_metric("m", i % 7)
            run.log_param("p", i % 4)
        ids.append(run.id)
    lake.flush()
    changing, still = ids[::6], [run_id for i, run_id in enumerate(ids) if i % 6]
    process = start(WRITER, lake_path, ",".join(changing))
    try:
        assert process.stdout.readline().strip() == "ready"
        pages = 0
        for page in lake.search_pages("params.p LIKE '%'", order_by=order_by, page_size=10):
            pages += 1
            for run_id in page.column("run_id").to_pylist():
                if run_id in still:
                    still.remove(run_id)
                else:
                    assert run_id not in ids or run_id in changing, "a run came twice"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        lake.close()
    assert still == []
    assert pages >= 6


def test_search_pages_gives_full_pages_none_for_nothing_and_refuses_at_the_call(many: lakelineage.Lake) -> None:
    assert [page.num_rows for page in many.search_pages(page_size=12)] == [12, 12, 6]
    assert [page.num_rows for page in many.search_pages(page_size=30)] == [30]
    assert list(many.search_pages("name = 'nobody'")) == []
    with pytest.raises(InvalidFilter):
        many.search_pages("nope = 1")
    with pytest.raises(InvalidInput, match="page_size 0"):
        many.search_pages(page_size=0)


def test_a_token_of_another_question_is_refused(many: lakelineage.Lake, lake: lakelineage.Lake) -> None:
    token = lakelineage.next_page_token(many.search_runs("status = 'RUNNING'", order_by=["metrics.m"], limit=2))
    assert token is not None
    same: dict[str, Any] = {"filter": "status = 'RUNNING'", "order_by": ["metrics.m"]}
    assert many.search_runs(**same, limit=5, page_token=token).num_rows == 5
    others: list[dict[str, Any]] = [{"filter": ""}, {"order_by": []}, {"experiments": "experiment 1"}, {"view": "all"}]
    for other in others:
        with pytest.raises(InvalidInput, match="another search"):
            many.search_runs(**{**same, **other}, limit=5, page_token=token)
    with pytest.raises(InvalidInput, match="another search"):
        lake.search_runs(**same, page_token=token)


@given(st.data())
@settings(max_examples=60)
def test_a_damaged_or_forged_token_is_invalid_input(many: lakelineage.Lake, data: st.DataObject) -> None:
    token = lakelineage.next_page_token(many.search_runs(order_by=["metrics.m"], limit=7))
    assert token is not None
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("Aa0-_=+/ é\n"))
    forged = data.draw(st.sampled_from([token[:place] + other + token[place + 1 :], token[:place], token + "A", ""]))
    if forged != token:
        with pytest.raises(InvalidInput, match="page token"):
            many.search_runs(order_by=["metrics.m"], page_token=forged)


@pytest.mark.parametrize("place", [[], [1.0], ["x", 0, "y"], [1.0, None, "y"], [1.0, 2**62, "y"], [1.0, 0, None], {}])
def test_a_token_with_values_that_no_run_has_is_invalid_input(many: lakelineage.Lake, place: Any) -> None:
    from lakelineage.tracking import pages

    asked = pages.question(many.id, "", [], ["metrics.m"], "active")
    body = base64.urlsafe_b64decode(pages.encode(asked, place) + "===")
    assert body
    with pytest.raises(InvalidInput, match="page token"):
        many.search_runs(order_by=["metrics.m"], page_token=pages.encode(asked, place))


@pytest.mark.parametrize("token", [3, b"x", True])
def test_a_token_is_a_text(many: lakelineage.Lake, token: Any) -> None:
    with pytest.raises(InvalidInput, match="page token"):
        many.search_runs(page_token=token)


def test_frames_have_a_column_for_each_metric_param_and_tag(many: lakelineage.Lake) -> None:
    rows = many.search_runs("name LIKE 'run0%'", order_by=["name"])
    frame = many.search_runs("name LIKE 'run0%'", order_by=["name"], output_format="polars")
    assert frame["run_id"].to_list() == rows.column("run_id").to_pylist()
    assert [name for name in frame.columns if "." in name] == ["metrics.m", "metrics.n", "params.p", "tags.t"]
    for kind, key in (("metrics", "m"), ("params", "p"), ("tags", "t")):
        wanted = [dict(entries).get(key) for entries in rows.column(kind).to_pylist()]
        assert list(map(repr, frame[f"{kind}.{key}"].to_list())) == list(map(repr, wanted))
    pandas = many.search_runs("name LIKE 'run0%'", order_by=["name"], output_format="pandas")
    assert list(pandas.columns) == frame.columns
    assert pandas["params.p"].dropna().tolist() == frame["params.p"].drop_nulls().to_list()


def test_frames_of_no_run_and_of_runs_without_anything_are_frames_too(lake: lakelineage.Lake) -> None:
    assert lake.search_runs(output_format="polars").height == 0
    lake.start_run(name="bare")
    assert lake.search_runs(output_format="polars")["name"].to_list() == ["bare"]
    assert lake.search_runs(output_format="pandas").shape[0] == 1


def test_a_format_that_there_is_not_is_refused(lake: lakelineage.Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="choose 'arrow', 'polars' or 'pandas'"):
        lake.search_runs(output_format="list")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pip install pandas"):
        lake.search_runs(output_format="pandas")
    with pytest.raises(InvalidInput, match="carries no page token"):
        lakelineage.next_page_token(lake.search_runs(output_format="polars"))
