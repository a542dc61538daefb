"""The results as a page of the documentation."""

from pathlib import Path

from benchmarks.measure import Figure, Report, describe

_HEAD = """# Benchmarks

Made by `make bench`; do not edit. {machine}; {versions}. Medians, with the 10th and 90th percentile where several were
taken; everything in one run, beside MLflow's own client on SQLite where it does the same.

![Milliseconds by the number of runs, both in decades: lakelineage, and MLflow as shipped and after ANALYZE](growth.svg)

MLflow never runs `ANALYZE` itself; both states are shown. Lakes of many runs are written through journal and
committer, many runs at a time; MLflow's tables are filled by SQLite. The growth from a decade of runs to the next is a
factor: 10 would be linear.

| what | measured | beside | goal |
|---|---|---|---|
"""


def write(report: Report, path: Path) -> None:
    """Write the page.

    Args:
        report: of a full run.
        path: Markdown file.
    """
    machine, versions = describe()
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    path.write_text(_HEAD.format(machine=machine, versions=told) + "".join(map(_line, report.figures)))


def _line(figure: Figure) -> str:
    spread = f" ({figure.spread[0]:.3g} to {figure.spread[1]:.3g})" if figure.spread else ""
    beside = "" if figure.ratio is None else f"{figure.ratio:.2f} × {figure.against}"
    goal = "" if figure.met is None else f"{figure.goal}: {'met' if figure.met else '**missed**'}"
    return f"| {figure.name} | {figure.value:,.4g} {figure.unit}{spread} | {beside} | {goal} |\n"
