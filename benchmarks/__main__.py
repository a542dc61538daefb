"""``python -m benchmarks [--size small|full]``: measure, print, and keep the results beside this file."""

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks import (
    diff_costs,
    flat_costs,
    growth,
    logging_costs,
    mlflow_costs,
    page,
    pinning_costs,
    reading_costs,
    scoring_costs,
    search_costs,
)
from benchmarks.measure import Report

#: small proves that everything runs; full is what claims are made from.
SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "times": 200,
        "runs": 40,
        "points": 100_000,
        "flat_points": 12_000,
        "flushes": 120,
        "decades": [1_000, 3_000],
        "many": 3_000,
        "peer": [1_000],
        "long": 1_000_000,
        "files": [1_000],
        "rows": 400_000,
        "pinned": 200_000,
        "scored": 200_000,
    },
    "full": {
        "times": 2_000,
        "runs": 400,
        "points": 1_000_000,
        "flat_points": 1_000_000,
        "flushes": 10_000,
        "decades": [1_000, 10_000, 100_000, 1_000_000],
        "many": 100_000,
        "peer": [1_000, 10_000, 100_000],
        "long": 10_000_000,
        "files": [10_000, 100_000],
        "rows": 10_000_000,
        "pinned": 10_000_000,
        "scored": 5_000_000,
    },
}


def main() -> None:
    """Run all benchmarks of a size."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--folder", type=Path, help="where lakes are made (default: a temporary folder)")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    report = Report(arguments.size)
    warnings.filterwarnings("ignore", module="mlflow")  # the peer's notices are not part of the results
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        logging_costs.imports(report)
        mlflow_costs.imports(report)
        for number, act in enumerate(
            (
                lambda folder: logging_costs.one_metric(report, folder, size["times"]),
                lambda folder: logging_costs.run_of_ten(report, folder, size["runs"]),
                lambda folder: logging_costs.bulk(report, folder, size["points"]),
                lambda folder: logging_costs.seen_by_others(report, folder),
                lambda folder: flat_costs.many_small_flushes(report, folder, size["flat_points"], size["flushes"]),
                lambda folder: pinning_costs.many_files(report, folder, size["files"], times=3),
                lambda folder: diff_costs.one_of_twenty_files(report, folder, size["rows"], times=7),
                lambda folder: mlflow_costs.logging(report, folder, size["times"]),
                lambda folder: mlflow_costs.histories(report, folder),
                lambda folder: searching(report, folder, size),
                lambda folder: reading_costs.reading(report, folder, size["pinned"], times=9),
                lambda folder: scoring_costs.scoring(report, folder, size["scored"], times=3),
            )
        ):
            folder = Path(name, str(number))
            folder.mkdir()
            act(folder)
    results, docs = Path(__file__).parent / "results", Path(__file__).parents[1] / "docs"
    report.write(results / f"{arguments.size}.json")
    if arguments.size == "full":
        growth.draw(report, docs / "growth.svg")
        page.write(report, docs / "benchmarks.md")
    else:
        growth.draw(report, results / f"{arguments.size}-growth.svg")


def searching(report: Report, folder: Path, size: dict[str, Any]) -> None:
    """All about search, on the same lakes."""
    search_costs.by_size(report, folder, size["decades"], times=20)
    search_costs.logging_beside_many(report, folder, size["many"], times=5)
    search_costs.histories(report, folder, size["long"])
    search_costs.mlflow_by_size(report, folder, size["peer"])
    mlflow_costs.by_size(report, folder, size["peer"])
    mlflow_costs.first_page(report, folder, size["many"])
    growth.grows_slower(report)


if __name__ == "__main__":
    main()
