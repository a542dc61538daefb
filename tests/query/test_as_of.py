"""The lake as it was, through the public face."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import lakelineage as ll
from lakelineage.errors import InvalidInput, RunNotFound


def now() -> datetime:
    return datetime.now(UTC)


def test_every_way_of_reading_sees_the_lake_as_it_was(lake: ll.Lake) -> None:
    with lake.start_run("/team/churn", name="first", tags={"team": "x"}) as run:
        run.log_param("alpha", 1)
        run.log_metric("loss", 3.0, step=0)
        run.log_text("kept", "note.txt")
    before = now()
    lake.resume_run(run.id).log_metric("loss", 1.0, step=1)
    lake.resume_run(run.id).set_tag("team", "y")
    other = lake.start_run("/team/later", name="second")
    lake.experiments.rename("/team/churn", "/team/leaving")
    lake.maintain()
    with lake.at(before) as past:
        assert past.moment == before
        assert past.search_runs("metrics.loss = 3 and tags.team = 'x'").column("run_id").to_pylist() == [run.id]
        assert past.search_runs(experiments="/team/churn").num_rows == 1
        assert [page.num_rows for page in past.search_pages(page_size=1)] == [1]
        assert past.sql("select name from experiments").column("name").to_pylist() == ["/team/churn"]
        assert past.experiments.list("/team").num_rows == 1
        assert past.experiments.folders("/").to_pylist() == [{"folder": "/team", "experiments": 1}]
        then = past.run(run.id[:12])
        assert (dict(then.metrics), dict(then.tags), then.status) == ({"loss": 3.0}, {"team": "x"}, "FINISHED")
        assert past.metric_history(run.id, "loss").column("value").to_pylist() == [3.0]
        assert then.history("loss").num_rows == 1
        assert then.artifact("note.txt").read_text() == "kept"
        with pytest.raises(RunNotFound):
            past.run(other.id)
        with pytest.raises(InvalidInput, match="as it was"):
            then.set_tag("team", "z")
    assert dict(lake.run(run.id).metrics) == {"loss": 1.0}
    assert lake.run(run.id).tags["team"] == "y"


def test_lineage_registry_and_inputs_are_those_of_then(lake: ll.Lake, tmp_path: Path) -> None:
    import polars as pl

    pl.DataFrame({"x": [1, 2]}).write_delta(tmp_path / "data")
    with lake.start_run() as run:
        run.use(tmp_path / "data", name="data")
    before = now()
    with lake.start_run() as later:
        later.use(tmp_path / "data", name="data")
    past = lake.at(before)
    assert past.run(run.id).inputs["data"].to_polars().height == 2
    assert past.lineage(str(tmp_path / "data")).downstream().num_rows == 1
    assert lake.lineage(str(tmp_path / "data")).downstream().num_rows == 2
    assert past.snapshots.column("runs").to_pylist() == [1]


@pytest.mark.parametrize("wrong", ["tomorrow", "2026-13-01", 3, None])
def test_a_moment_that_is_none_is_refused(lake: ll.Lake, wrong: object) -> None:
    with pytest.raises(InvalidInput, match="as_of"):
        lake.at(wrong)


def test_a_moment_may_have_a_zone_and_must_not_be_in_the_future(lake: ll.Lake) -> None:
    moment = datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert lake.at(moment).moment == lake.at("2026-11-01T12:00:00+02:00").moment == lake.at("2026-11-01T10:00").moment
    assert lake.at("2026-11-01").moment == datetime(2026, 11, 1, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="future"):
        lake.at(now() + timedelta(minutes=1))
