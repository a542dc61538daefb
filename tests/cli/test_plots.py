"""Laws of the commands that draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_a_plot_is_written_as_its_name_ends_and_json_says_where(place: Any, tmp_path: Path, answer: Cli) -> None:
    told = answer("--lake", place.lake, "plot", "metrics", "--key", "rmse", "-o", tmp_path / "x.png")
    assert told == {"output": str(tmp_path / "x.png"), "bytes": (tmp_path / "x.png").stat().st_size}
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ("metrics", "--filter", "params.alpha = '0'", "--x", "relative", "--smoothing", "0.5", "--log-y"),
        ("scatter", "params.alpha", "metrics.rmse", "--color", "params.kind", "--log-y"),
        ("parallel", "--param", "alpha", "--metric", "rmse", "--color", "start_time"),
    ],
)
def test_each_plot_is_drawn(place: Any, tmp_path: Path, arguments: tuple[str, ...], call: Cli) -> None:
    done = call("plot", "--lake", place.lake, *arguments, "--output", "x.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x.svg written (")
    assert (tmp_path / "x.svg").read_text().startswith("<svg")


def test_runs_are_named_by_the_beginning_of_their_ids(place: Any, tmp_path: Path, call: Cli) -> None:
    done = call("--lake", place.lake, "plot", "metrics", place.run_ids[0][:20], "-o", tmp_path / "x.svg")
    assert done.returncode == 0, done.stderr
    assert "run 0" in (tmp_path / "x.svg").read_text()


def test_a_contour_of_runs_on_one_line_says_what_to_do(place: Any, tmp_path: Path, call: Cli) -> None:
    done = call("--lake", place.lake, "plot", "contour", "params.alpha", "params.alpha", "metrics.rmse", "-o", "x.html")
    assert done.returncode == 1
    assert "use lake.plot.scatter" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("plot",), 2),
        (("plot", "metrics"), 2),
        (("plot", "metrics", "0", "--filter", "x", "-o", "x.png"), 2),
        (("plot", "metrics", "-o", "x.gif"), 1),
        (("plot", "metrics", "--smoothing", "1", "-o", "x.png"), 2),
    ],
)
def test_what_is_typed_wrongly_draws_nothing(
    place: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, call: Cli
) -> None:
    done = call("--lake", place.lake, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
