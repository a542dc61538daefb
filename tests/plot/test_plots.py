"""Laws of plots, on real lakes; what is drawn is looked at in the charts' own data."""

import math
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import html5lib
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakelineage.errors import InvalidFilter, InvalidInput, RunNotFound
from lakelineage.plot import charts, curves
from lakelineage.plot.choose import _labels

if TYPE_CHECKING:
    from lakelineage import Lake


def data(chart: Any) -> list[list[dict[str, Any]]]:
    """Rows of each layer of a chart."""
    found: list[list[dict[str, Any]]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            values = node.get("data", {}).get("values") if isinstance(node.get("data"), dict) else None
            if values is not None:
                found.append(values)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(chart.to_dict())
    return found


def subtitles(chart: Any) -> list[str]:
    title = chart.to_dict()["title"]
    return title["subtitle"] if isinstance(title, dict) else []


@pytest.fixture
def runs(lake: "Lake") -> list[str]:
    """Six runs: one without the param ``opt``, one whose rmse is NaN."""
    ids = []
    for i in range(6):
        with lake.start_run(name=f"run {i}", experiment="e") as run:
            run.log_params({"lr": 10.0**-i, "depth": i * i, "kind": "ab"[i % 2], **({"opt": "adam"} if i else {})})
            run.log_metric_table({"step": list(range(20)), "loss": [1 / (1 + s + i) for s in range(20)]})
            run.log_metric("rmse", float("nan") if i == 5 else float(i % 3))
        ids.append(run.id)
    return ids


def test_a_curve_has_a_point_for_each_value(lake: "Lake", runs: list[str]) -> None:
    (rows,) = data(lake.plot.metrics(runs[:2], "loss"))
    assert [(r["run"], r["x"]) for r in rows] == [(f"run {i}", float(s)) for i in range(2) for s in range(20)]
    assert [r["y"] for r in rows[:3]] == [1.0, 0.5, 1 / 3]


def test_runs_come_as_ids_objects_tables_filters_or_all(lake: "Lake", runs: list[str]) -> None:
    def shown(given: Any) -> set[str]:
        return {row["run"] for rows in data(lake.plot.metrics(given, "loss")) for row in rows}

    every = {f"run {i}" for i in range(6)}
    assert shown(None) == shown(runs) == shown("params.kind IN ('a', 'b')") == every
    assert shown(runs[0][:31]) == {"run 0"}
    assert shown(runs[0]) == shown(lake.run(runs[0])) == shown([lake.run(runs[0])]) == {"run 0"}
    table = lake.search_runs("params.kind = 'a'")
    import polars as pl

    assert shown(table) == shown(pl.from_arrow(table)) == shown(table.to_pandas()) == {"run 0", "run 2", "run 4"}


def test_a_run_that_is_going_on_can_be_plotted(lake: "Lake") -> None:
    run = lake.start_run(name="live")
    run.log_metric("m", 1.0)
    assert data(lake.plot.metrics(run))[0][0]["y"] == 1.0
    run.end()


def test_runs_of_one_name_stay_apart(lake: "Lake") -> None:
    for _ in range(2):
        with lake.start_run(name="twin") as run:
            run.log_metric("m", 1.0)
    assert len({row["run"] for row in data(lake.plot.metrics(keys="m"))[0]}) == 2


@given(st.lists(st.tuples(st.text("0123456789abcdef", min_size=32, max_size=32), st.text(max_size=3) | st.none())))
def test_no_two_runs_have_one_label(runs: list[tuple[str, str | None]]) -> None:
    distinct = list(dict(runs).items())
    labels = _labels(distinct)
    assert len(set(labels)) == len(distinct)


def test_without_keys_every_metric_has_a_picture_but_those_of_the_system(lake: "Lake", runs: list[str]) -> None:
    lake.resume_run(runs[0]).log_metric("system/cpu", 1.0)
    pictures = lake.plot.metrics(runs).to_dict()["concat"]
    assert [picture["title"] for picture in pictures] == ["loss", "rmse"]


def test_time_is_ms_and_relative_is_seconds_since_the_start(lake: "Lake") -> None:
    with lake.start_run(name="r") as run:
        start = lake.run(run.id).start_time.timestamp()
        run.log_metric("m", 1.0, timestamp=int(start * 1000) + 5_000)
    (relative,) = data(lake.plot.metrics(run, "m", x="relative"))
    (time,) = data(lake.plot.metrics(run, "m", x="time"))
    assert relative[0]["x"] == pytest.approx(5, abs=0.01)
    assert time[0]["x"] == pytest.approx(start * 1000 + 5_000, abs=2)


def test_what_is_not_finite_is_marked_and_not_drawn(lake: "Lake") -> None:
    with lake.start_run(name="r") as run:
        for step, value in enumerate((1.0, float("nan"), 2.0, float("inf"), float("-inf"))):
            run.log_metric("m", value, step=step)
    line, odd = data(lake.plot.metrics(run, "m"))
    assert [(r["x"], r["y"]) for r in line] == [(0.0, 1.0), (2.0, 2.0)]
    assert [(r["x"], r["value"]) for r in odd] == [(1.0, "nan"), (3.0, "inf"), (4.0, "-inf")]


def test_a_run_whose_values_are_all_nan_is_drawn_as_marks(lake: "Lake", tmp_path: Path) -> None:
    with lake.start_run() as run:
        run.log_metric("m", float("nan"))
    chart = lake.plot.metrics(run, "m")
    assert [len(rows) for rows in data(chart)] == [0, 1]
    assert lake.plot.save(chart, tmp_path / "x.png").stat().st_size > 0


def test_a_long_curve_keeps_its_ends_and_extremes(lake: "Lake") -> None:
    values = [math.sin(i / 50) for i in range(5_000)]
    values[1_234], values[4_321] = 99.0, -99.0
    with lake.start_run() as run:
        run.log_metric_table({"step": list(range(5_000)), "m": values})
    (rows,) = data(lake.plot.metrics(run, "m", max_points=200))
    points = [(row["x"], row["y"]) for row in rows]
    assert len(points) <= 200
    assert points == sorted(points)
    assert points[0] == (0.0, values[0])
    assert points[-1] == (4_999.0, values[-1])
    assert {(1_234.0, 99.0), (4_321.0, -99.0)} <= set(points)


_VALUES = st.one_of(st.floats(-1e300, 1e300), st.sampled_from([math.nan, math.inf, -math.inf, 0.0]))


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(-50, 50), _VALUES), min_size=1, max_size=60), st.integers(4, 20))
def test_sampling_shows_points_that_are_there(lake: "Lake", rows: list[tuple[int, float]], most: int) -> None:
    with lake.start_run() as run:
        run.log_metric_table({"step": [s for s, _ in rows], "m": [v for _, v in rows]})
    from lakelineage.plot.choose import choose

    (curve,) = curves.read(lake._engine, choose(lake._engine, run.id), ["m"], "step", most)
    real = {(float(s), v) for s, v in rows if math.isfinite(v)}
    assert set(curve.points) <= real
    assert curve.count == len(rows)
    assert len(curve.points) <= max(most, len(rows) if len(rows) <= most else 0)
    if real:
        assert {y for _, y in curve.points} >= {min(v for _, v in real), max(v for _, v in real)}
    assert bool(curve.odd) == any(not math.isfinite(v) for _, v in rows)


def test_steps_at_the_ends_of_64_bits_and_the_greatest_doubles_are_drawn(lake: "Lake", tmp_path: Path) -> None:
    with lake.start_run() as run:
        for step, value in ((-(2**63), 1.7e308), (0, -1.7e308), (2**63 - 1, 1.7e308), (5, 1.7e308), (6, 1.7e308)):
            run.log_metric("m", value, step=step)
    for most in (4, 100):
        chart = lake.plot.metrics(run, "m", max_points=most, smoothing=0.5)
        assert lake.plot.save(chart, tmp_path / "x.svg").exists()


def test_smoothing_is_an_average_without_the_bias_of_its_start() -> None:
    curve = curves.Curve("r", "m", 3, trend=[(0, 1.0), (1, 1.0), (2, 4.0)])
    assert curve.smoothed(0.5) == [(0, 1.0), (1, 1.0), (2, pytest.approx(19 / 7))]
    assert curve.smoothed(0.0) == curve.trend


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"smoothing": 1}, "smoothing=1"),
        ({"smoothing": "x"}, "smoothing='x'"),
        ({"max_points": 3}, "max_points=3"),
        ({"x": "epoch"}, "x='epoch'"),
        ({"keys": "lost"}, "'lost'; they have loss, rmse"),
        ({"keys": []}, "keys is empty"),
    ],
)
def test_what_metrics_cannot_do_is_said(lake: "Lake", runs: list[str], options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        lake.plot.metrics(runs, **options)


def test_no_run_is_a_clear_error(lake: "Lake", runs: list[str]) -> None:
    with pytest.raises(InvalidInput, match="no run to plot: none satisfies"):
        lake.plot.metrics("params.kind = 'zebra'")
    with pytest.raises(InvalidInput, match="empty"):
        lake.plot.metrics([])
    with pytest.raises(InvalidInput, match="needs the column run_id"):
        lake.plot.metrics(pa.table({"a": [1]}))
    with pytest.raises(InvalidInput, match="not both"):
        lake.plot.scatter("params.lr", "metrics.rmse", runs=runs, filter="params.kind = 'a'")
    with pytest.raises(RunNotFound):
        lake.plot.metrics("0" * 32)
    with pytest.raises(InvalidFilter):
        lake.plot.metrics("no filter at all")


def test_an_empty_lake_says_that_there_is_no_run(lake: "Lake") -> None:
    with pytest.raises(InvalidInput, match="none is in the lake"):
        lake.plot.metrics()


def test_scatter_has_a_point_for_each_run_that_has_both(lake: "Lake", runs: list[str]) -> None:
    chart = lake.plot.scatter("params.lr", "metrics.rmse", color="params.kind", log_x=True)
    (rows,) = data(chart)
    assert {(r["run"], r["x"], r["y"], r["colour"]) for r in rows} == {
        (f"run {i}", 10.0**-i, float(i % 3), "ab"[i % 2]) for i in range(5)
    }
    assert subtitles(chart) == ["left out: 1 whose metrics.rmse is not finite"]


def test_params_that_are_no_numbers_and_times_are_axes_too(lake: "Lake", runs: list[str]) -> None:
    encoding = lake.plot.scatter("start_time", "params.kind", color="experiment").to_dict()["encoding"]
    assert [encoding[name]["type"] for name in ("x", "y", "color")] == ["temporal", "nominal", "nominal"]


def test_missing_params_are_counted(lake: "Lake", runs: list[str]) -> None:
    assert subtitles(lake.plot.scatter("params.opt", "duration")) == ["1 of 6 runs have no params.opt"]


def test_a_logarithmic_axis_leaves_out_what_is_not_positive(lake: "Lake", runs: list[str]) -> None:
    chart = lake.plot.scatter("params.depth", "duration", log_x=True)
    assert subtitles(chart) == ["left out: 1 whose params.depth is not positive"]
    with pytest.raises(InvalidInput, match=r"log_x: params.kind has values that are no numbers"):
        lake.plot.scatter("params.kind", "duration", log_x=True)


@pytest.mark.parametrize("name", ["alpha", "params.", "", 7, "attributes.secret"])
def test_a_name_that_means_nothing_is_named(lake: "Lake", runs: list[str], name: Any) -> None:
    with pytest.raises(InvalidInput, match="names nothing to plot"):
        lake.plot.scatter(name, "metrics.rmse")


def test_a_contour_is_drawn_among_the_runs_and_passes_through_them(lake: "Lake") -> None:
    for x in range(5):
        for y in range(5):
            with lake.start_run() as run:
                run.log_params({"x": x, "y": y})
                run.log_metric("z", float(x + 10 * y))
    cells, lines, dots = data(lake.plot.contour("params.x", "params.y", "metrics.z"))
    assert len(dots) == 25
    assert lines
    for cell in cells:  # the surface is a plane, which triangles follow exactly
        middle = (cell["x"] + 2 / 50, cell["y"] + 2 / 50)
        assert cell["z"] == pytest.approx(middle[0] + 10 * middle[1], abs=1e-6)


def test_a_contour_needs_numbers_that_span_a_surface(lake: "Lake", runs: list[str]) -> None:
    with pytest.raises(InvalidInput, match="must be a number"):
        lake.plot.contour("params.kind", "params.lr", "metrics.rmse")
    with pytest.raises(InvalidInput, match="not on one line"):
        lake.plot.contour("params.lr", "params.lr", "metrics.rmse")
    with pytest.raises(InvalidInput, match="not on one line"):
        lake.plot.contour("params.lr", "params.depth", "metrics.rmse", runs=runs[0])
    with pytest.raises(InvalidInput, match="no run has a value"):
        lake.plot.contour("params.lost", "params.depth", "metrics.rmse")


def test_a_constant_height_is_a_flat_contour(lake: "Lake", tmp_path: Path) -> None:
    for x, y in ((0, 0), (1, 0), (0, 1)):
        with lake.start_run() as run:
            run.log_params({"x": x, "y": y})
            run.log_metric("z", 7.0)
    chart = lake.plot.contour("params.x", "params.y", "metrics.z")
    assert {cell["z"] for cell in data(chart)[0]} == {7.0}
    lake.plot.save(chart, tmp_path / "flat.svg")


def test_parallel_coordinates_have_an_axis_for_what_differs(lake: "Lake", runs: list[str]) -> None:
    chart = lake.plot.parallel_coordinates()
    lines, heads, ticks = _parallel(chart)
    assert [head["name"] for head in heads] == [
        "params.depth", "params.kind", "params.lr", "params.opt", "metrics.loss", "metrics.rmse",
    ]  # fmt: skip
    places = [line["place"] for line in lines if line["place"] is not None]
    assert min(places) == 0.0
    assert max(places) == 1.0
    assert {tick["text"] for tick in ticks if tick["axis"] == 1} == {"a", "b"}


def _parallel(chart: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    lines = next(rows for rows in data(chart) if rows and "colour" in rows[0])
    heads = next(rows for rows in data(chart) if rows and "name" in rows[0])
    ticks = next(rows for rows in data(chart) if rows and "text" in rows[0])
    return lines, heads, ticks


def test_constant_columns_and_a_single_run_are_drawn_in_the_middle(lake: "Lake", runs: list[str]) -> None:
    lines, heads, _ = _parallel(lake.plot.parallel_coordinates(runs[1], params=["lr", "opt"], metrics=["rmse"]))
    assert [head["name"] for head in heads] == ["params.lr", "params.opt", "metrics.rmse"]
    assert [line["place"] for line in lines] == [0.5, 0.5, 0.5]


def test_a_logarithmic_axis_of_parallel_coordinates_is_even_in_powers(lake: "Lake", runs: list[str]) -> None:
    lines, *_ = _parallel(lake.plot.parallel_coordinates(params=["lr"], metrics=["rmse"], log=["params.lr"]))
    assert sorted(line["place"] for line in lines if line["axis"] == 0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    with pytest.raises(InvalidInput, match="which is no axis"):
        lake.plot.parallel_coordinates(params=["lr"], log=["params.depth"])


def test_of_very_many_runs_some_lines_are_drawn_and_that_is_said(lake: "Lake") -> None:
    for i in range(1_001):
        run = lake.start_run()
        run.log_params({"a": i})
        run.end()
    chart = lake.plot.parallel_coordinates()
    assert len(_parallel(chart)[0]) == 501
    assert any("every 2" in note for note in subtitles(chart))


def test_files_are_html_png_and_svg_as_the_name_ends(lake: "Lake", runs: list[str], tmp_path: Path) -> None:
    chart = lake.plot.scatter("params.lr", "metrics.rmse")
    png = lake.plot.save(chart, tmp_path / "new" / "x.PNG", scale=1).read_bytes()
    assert png.startswith(b"\x89PNG")
    width, _ = struct.unpack(">II", png[16:24])
    twice, _ = struct.unpack(">II", lake.plot.save(chart, tmp_path / "y.png").read_bytes()[16:24])
    assert abs(twice - 2 * width) <= 2
    assert lake.plot.save(chart, tmp_path / "x.svg").read_text().startswith("<svg")
    page = lake.plot.save(chart, tmp_path / "x.html").read_text()
    elements = html5lib.parse(page, namespaceHTMLElements=False).iter()
    assert not [e.tag for e in elements if {"src", "href"} & set(e.attrib)]  # it works offline
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lake", "new", "x.html", "x.svg", "y.png"]


def test_what_cannot_be_saved_is_said(lake: "Lake", runs: list[str], tmp_path: Path) -> None:
    chart = lake.plot.scatter("params.lr", "metrics.rmse")
    for figure, name, scale in ((chart, "x.gif", 1), (chart, "x", 1), ("chart", "x.png", 1), (chart, "x.png", 0)):
        with pytest.raises(InvalidInput):
            lake.plot.save(figure, tmp_path / name, scale=scale)
    assert list(tmp_path.glob("x*")) == []


_BAD = "</script><script>alert(1)</script><!-- <ScRiPt"


def test_no_name_ends_the_script_of_a_page(lake: "Lake", tmp_path: Path) -> None:
    for i in range(3):
        with lake.start_run(name=_BAD + str(i), experiment=_BAD) as run:
            run.log_params({_BAD: f"{_BAD}{i}", "y": i})
            run.log_metric(_BAD, i)
    charts_ = [
        lake.plot.metrics(),
        lake.plot.scatter(f"params.{_BAD}", f"metrics.{_BAD}", color="experiment"),
        lake.plot.parallel_coordinates(),
    ]
    for chart in charts_:
        page = lake.plot.save(chart, tmp_path / "x.html").read_text()
        for told in (page, chart.to_html()):
            scripts = html5lib.parse(told, namespaceHTMLElements=False).iter("script")
            assert not any((script.text or "").strip().startswith("alert(1)") for script in scripts)
            assert "<script>alert(1)" not in told


@given(st.text(st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from("<!/script")))
def test_a_safe_text_ends_no_script_and_reads_as_before(text: str) -> None:
    told = charts.safe(text)
    assert not re.search(r"</|<!|<script", told, re.IGNORECASE)
    assert told.replace("\u2060", "") == text
