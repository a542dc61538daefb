"""How the cost of a question grows with the number of runs, as a picture."""

from itertools import pairwise
from math import log10
from pathlib import Path

from benchmarks.measure import Figure, Report

_QUESTIONS = ("filter and order, first 100", "newest 100", "one run")


def draw(report: Report, path: Path) -> None:
    """Milliseconds by runs, both in decades, a line for each store: a line flatter than the diagonal is sub-linear.

    Args:
        report: with figures that tell ``runs``.
        path: SVG file to write.
    """
    import altair as alt

    rows = [
        {"runs": f.runs, "ms": f.value, "question": f.question, "store": f.store}
        for f in report.figures
        if f.runs is not None and f.question in _QUESTIONS
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("runs:Q", scale=alt.Scale(type="log"), title="runs in the store"),
            y=alt.Y("ms:Q", scale=alt.Scale(type="log"), title="ms, median, warm"),
            color=alt.Color("store:N", title=None, legend=alt.Legend(orient="bottom")),
        )
        .properties(width=220, height=220)
        .facet(column=alt.Facet("question:N", sort=list(_QUESTIONS), title=None))
    )
    chart.save(path)


def grows_slower(report: Report) -> None:
    """Add, for each question, the greatest growth from one decade of runs to the next; 10 is linear."""
    for question in _QUESTIONS:
        ours = [f for f in report.figures if f.store == "lakelineage" and f.question == question]
        steps = [(b.value / a.value) ** (1 / log10((b.runs or 1) / (a.runs or 1))) for a, b in pairwise(ours)]
        if steps:
            name = f"{question}: growth from a decade of runs to the next, at most"
            report.add(Figure(name, max(steps), "x", goal="under 10 x", met=max(steps) < 10))
