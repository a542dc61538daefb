"""Laws of what notebooks show: well-formed, escaped, complete, and nothing from elsewhere."""

import datetime as dt
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import html5lib
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakelineage.display import graph, pages
from lakelineage.display.layout import HEIGHT, WIDTH, layout
from lakelineage.display.progress import reporting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from lakelineage import Lake

BAD = "<script>alert(1)</script>\"'&\x1b<img src=x onerror=alert(1)>"


def parsed(html: str) -> "Element":
    """The tree of a fragment that a strict parser takes, without what could run or load anything."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parseFragment(html)
    for element in tree.iter():
        assert str(element.tag).rpartition("}")[2] not in ("script", "img", "link", "iframe", "object", "a")
        assert not any(name.startswith("on") or name in ("src", "href") for name in element.attrib)
    return tree


def svg(tree: "Element", tag: str) -> "Iterator[Element]":
    return tree.iter(f"{{http://www.w3.org/2000/svg}}{tag}")


def texts(html: str) -> str:
    return " ".join(text for element in parsed(html).iter() if element.tag != "style" for text in element.itertext())


@pytest.fixture
def story(lake: "Lake", tmp_path: Path) -> Any:
    """A run with ugly names, and what it used."""
    pl.DataFrame({BAD: [1, 2, 3]}).write_delta(tmp_path / "data" / "<b>table")
    with lake.start_run(experiment=BAD, name=BAD, tags={BAD: BAD}) as run:
        pin = run.use(tmp_path / "data" / "<b>table", name=BAD)
        run.log_params({BAD: BAD, "alpha": 0.1})
        run.log_metrics({BAD: 1.0, "nan": float("nan")})
        run.log_text("x", "<i>notes.txt")
    return run, pin


def test_all_that_users_named_is_escaped(lake: "Lake", story: Any) -> None:
    run, pin = story
    past = lake.run(run.id)
    shown = [run, past, lake, pin, lake.experiments, lake.lineage(f"run:{run.id}"), lake.lineage(pin.table_uri)]
    for thing in shown:
        html = thing._repr_html_()
        told = texts(html)
        assert "<script>alert(1)</script>" in told or "<b>table" in told, type(thing)
        assert "\x1b" not in html


def test_a_run_shows_all_that_it_logged(lake: "Lake", story: Any) -> None:
    told = texts(lake.run(story[0].id)._repr_html_())
    for part in ("params (2)", "metrics (2)", "tags", "inputs (1)", "artifacts (1)", "FINISHED", "alpha", "nan"):
        assert part in told, part
    assert story[0].id in told


def test_a_comparison_shows_what_differs(lake: "Lake", story: Any) -> None:
    with lake.start_run(name="other") as other:
        other.log_params({"alpha": 0.5})
    told = texts(lake.compare(story[0].id, other.id)._repr_html_())
    for part in ("params (2)", "alpha", "0.1", "0.5", "<script>", "null"):
        assert part in told, part


def test_a_run_that_goes_on_shows_what_is_logged_so_far(lake: "Lake") -> None:
    run = lake.start_run(name="live")
    run.log_metric("loss", 0.125)
    told = texts(run._repr_html_())
    assert "RUNNING" in told
    assert "0.125" in told
    run.end()


def test_an_empty_lake_can_be_shown(lake: "Lake") -> None:
    assert lake.uri in texts(lake._repr_html_())
    assert "experiments" in texts(lake.experiments._repr_html_())


def test_many_params_are_cut_and_that_is_said(lake: "Lake") -> None:
    with lake.start_run() as run:
        run.log_params({f"p{i:03}": i for i in range(80)})
    told = texts(run._repr_html_())
    assert "params (80)" in told
    assert "50 of 80 shown" in told
    assert "p049" in told
    assert "p050" not in told


def test_a_table_shows_its_first_rows_its_types_and_how_many_there_are() -> None:
    rows = pa.table({"n": range(1_234), "t": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)] * 1_234, "x": [None] * 1_234})
    html = pages.table(rows)
    tree = parsed(html)
    assert len(list(tree.iter("tr"))) == 51
    told = texts(html)
    for part in ("1,234 rows, 50 shown", "int64", "timestamp[us, tz=UTC]", "2026-01-02 00:00:00", "null"):
        assert part in told, part


@given(
    st.lists(st.tuples(st.text(), st.lists(st.text() | st.none(), min_size=2, max_size=2)), max_size=4),
)
def test_any_table_is_well_formed(columns: list[tuple[str, list[str | None]]]) -> None:
    rows = pa.Table.from_arrays([pa.array(v, pa.string()) for _, v in columns], names=[n for n, _ in columns])
    parsed(pages.table(rows))


def test_tables_of_every_type_can_be_shown(lake: "Lake", story: Any) -> None:
    for name in lake.sql("show tables").column("name").to_pylist():
        parsed(pages.table(lake.sql(f'select * from "{name}"')))
    far = pa.table({"t": pa.array([2**62], pa.timestamp("s")), "d": pa.array([2**30], pa.date32())})
    parsed(pages.table(far))
    parsed(pages.table(pa.table({"a": [1]}).rename_columns(["a"]).append_column("a", [[2]])))
    assert "50 of 80 columns" in texts(pages.table(pa.table({f"c{i}": [i] for i in range(80)})))


def test_lineage_is_a_picture_from_left_to_right(lake: "Lake", story: Any) -> None:
    run, _pin = story
    tree = parsed(lake.lineage(f"run:{run.id}")._repr_html_())
    places = {g.get("data-kind"): float(next(svg(g, "rect")).get("x", "")) for g in svg(tree, "g")}
    assert places["dataset"] < places["run"] < places["artifact"]
    colours = {next(svg(g, "rect")).get("fill") for g in svg(tree, "g")}
    assert len(colours) == 3


def test_a_node_on_which_nothing_hangs_is_drawn(lake: "Lake") -> None:
    with lake.start_run(name="alone") as run:
        run.log_metric("m", 1.0)
    assert "alone" in texts(lake.lineage(f"run:{run.id}")._repr_html_())


def test_a_large_graph_is_a_tree(lake: "Lake", tmp_path: Path) -> None:
    with lake.start_run(name="many") as run:
        for i in range(graph.MOST_NODES + 1):
            run.log_text("x", f"file{i}.txt")
    html = lake.lineage(f"run:{run.id}")._repr_html_()
    assert "<svg" not in html
    assert "file100.txt" in texts(html)


def test_edges_are_the_graph_around_a_node(lake: "Lake", story: Any) -> None:
    run, _pin = story
    edges = lake.lineage(f"run:{run.id}").edges().to_pylist()
    assert [(e["source"].partition(":")[0], e["target"].partition(":")[0]) for e in edges] == [
        ("dataset", "run"),
        ("run", "artifact"),
    ]


_GRAPHS = st.integers(1, 8).flatmap(
    lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=14, unique=True)
)


@given(_GRAPHS)
def test_edges_point_right_and_nothing_overlaps(pairs: list[tuple[int, int]]) -> None:
    edges = [(str(a), str(b)) for a, b in pairs if a < b]
    made = layout([str(i) for i in range(8)], edges)
    assert made is not None
    for (source, target), way in zip(edges, made.ways, strict=True):
        assert made.corners[source][0] + WIDTH == way[0][0] < way[-1][0] == made.corners[target][0]
        assert [x for x, _ in way] == sorted(x for x, _ in way)
    spots = sorted(made.corners.values())
    for (x1, y1), (x2, y2) in itertools.pairwise(spots):
        assert x1 != x2 or y2 - y1 > HEIGHT
    assert all(0 <= x <= made.width - WIDTH and 0 <= y <= made.height - HEIGHT for x, y in spots)


def test_a_circle_has_no_layers() -> None:
    assert layout(["a", "b"], [("a", "b"), ("b", "a")]) is None


def test_what_a_console_shows_is_one_line_that_names_the_thing(lake: "Lake", story: Any) -> None:
    run, pin = story
    lineage = lake.lineage(f"run:{run.id}")
    for thing in (run, lake.run(run.id), lake, pin, lake.experiments, lineage, lineage.impact(), lake.plot):
        assert repr(thing).count("\n") == 0
        assert len(repr(thing)) < 400
    with lake.start_run() as nameless:
        assert repr(nameless) == f"<Run {nameless.id} RUNNING>"
    assert re.fullmatch(r"<Snapshot '.*' .*@0, 3 rows, archived>", repr(pin))


def test_progress_goes_to_a_function_to_a_bar_or_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []
    with reporting(heard.append, "work", 10, "rows") as tell:
        assert tell is not None
        tell(5)
    assert heard == [5]
    with reporting(True, "work", 10, "rows") as tell:
        assert tell is not None
        tell(4)
        tell(10)
    assert "work: 100%" in capsys.readouterr().err
    for nothing in (None, False):
        with reporting(nothing, "work", 10, "rows") as tell:
            assert tell is None
