"""Library versions with known faults, the format of the lake, the host's clock."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from lakelineage.maintenance.doctor.finding import Finding, Place, Severity, of_seconds
from lakelineage.model.clock import wall_clock
from lakelineage.settings import FORMAT

#: Duplicate every row when two compactions meet (1.6.6), or were withdrawn by their makers.
_FAULTY_DELTALAKE = {(1, 6, 4), (1, 6, 5), (1, 6, 6)}
#: Seconds that the clock may be behind what was logged: readings of the hybrid clock run a little ahead under load.
_SKEW = 5.0


def installed(name: str) -> tuple[int, ...] | None:
    """Numbers of the version of a distribution; None if it is not installed."""
    try:
        text = version(name)
    except PackageNotFoundError:
        return None
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def libraries(place: Place | None = None, deep: bool = False) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Whether installed versions have faults that are known to matter here."""
    found = list(_faults())
    yield from found
    if not found:
        told = ", ".join(f"{n} {version(n)}" for n in ("deltalake", "duckdb", "pyarrow", "polars"))
        yield Finding("libraries", Severity.OK, f"no version with a known fault: {told}")


def _faults() -> Iterator[Finding]:
    delta, duck = installed("deltalake"), installed("duckdb")
    arrow, mlflow = installed("pyarrow"), installed("mlflow")
    if delta in _FAULTY_DELTALAKE or (delta or (1, 6, 3)) < (1, 6, 3):
        yield Finding(
            "libraries",
            Severity.ERROR,
            f"deltalake {version('deltalake')} has known faults: two compactions at once may duplicate every row",
            "pip install 'deltalake>=1.6.3,!=1.6.4,!=1.6.5,!=1.6.6', then `lakelineage doctor --deep`",
        )
    if duck is not None and duck[0] != 2:
        yield Finding(
            "libraries",
            Severity.WARNING,
            f"duckdb {version('duckdb')} is not of the line that lakelineage is tested with",
            "pip install 'duckdb>=2.0,<3'",
        )
    if mlflow is not None and mlflow[0] < 3:
        why = "; pip went back to it because of pyarrow 26" if (arrow or (0,))[0] >= 26 else ""
        yield Finding(
            "libraries",
            Severity.WARNING,
            f"mlflow {version('mlflow')} cannot keep or load models here{why}",
            "pip install 'mlflow>=3.17,<4' 'pyarrow>=25,<26'",
        )


def lake_format(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Whether the lake has the format of this version."""
    if place.settings.format < FORMAT:
        yield Finding(
            "lake.json",
            Severity.NOTE,
            f"format {place.settings.format}; this lakelineage writes {FORMAT}",
            "nothing: whoever opens the lake next upgrades it. Upgrade lakelineage everywhere first",
        )
    else:
        yield Finding("lake.json", Severity.OK, f"format {place.settings.format}")


def clock(place: Place, deep: bool) -> Iterator[Finding]:  # noqa: ARG001 - checks are alike
    """Whether this host's clock is behind what was logged."""
    newest = max((_newest(place, table) for table in ("runs_history", "tags_history", "activity")), default=0)
    behind = (newest - wall_clock()) / 1e6
    if behind > _SKEW:
        yield Finding(
            "clock",
            Severity.WARNING,
            f"the newest row of the lake is dated {of_seconds(behind)} ahead of this host's clock: this clock is "
            "behind, or another host's was ahead. The order of rows is right all the same; their times are not",
            "set the clocks of all hosts by NTP",
        )
    else:
        yield Finding("clock", Severity.OK, "not behind what was logged")


def _newest(place: Place, table: str) -> int:
    """Greatest ``ingested_at``, µs; 0 if there are no rows."""
    (row,) = place.rows(f"SELECT coalesce(epoch_us(max(ingested_at)), 0) AS newest FROM {table}")
    return int(row["newest"])
