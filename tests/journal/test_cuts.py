"""Segments are measured one after the other while others log: what is seen as ended must be complete all the same."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lakelineage.engine import Engine
from lakelineage.journal.committer import Committer
from lakelineage.journal.writer import Journal
from lakelineage.model.changes import Rows
from lakelineage.query.journal_view import JournalView
from lakelineage.tables import METRICS, RUNS_HISTORY

RUN = "0" * 32
ENDED = RUNS_HISTORY.row(run_id=RUN, experiment_id="0", status="FINISHED", lifecycle_stage="active", start_time=0)
METRIC = METRICS.row(run_id=RUN, key="m", step=0, timestamp=0, value=1.0)


class Watched(list[Path]):
    """Folders that something happens to while they are gone through."""

    def __init__(self, folders: list[Path], then: Callable[[], None]) -> None:
        super().__init__(folders)
        self._then = then

    def __iter__(self) -> Iterator[Path]:
        for folder in super().__iter__():
            self._then()
            yield folder
        self._then()


class Moment:
    """A child logs to the first folder, and then its parent ends the run in the second, at the n-th glance."""

    def __init__(self, base: Path, at: int) -> None:
        self.folders = [base / "a", base / "b"]
        self._child, self._parent = (Journal(f, "process", lambda size: None) for f in self.folders)
        for journal in (self._child, self._parent):  # so that both lanes have a segment from the beginning
            journal.append((Rows(METRICS.name, ((RUN, "earlier", 0, 0, 0.0, None, None, None),)),))
        self._left = at

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._child.append((Rows(METRICS.name, (METRIC,)),))
            self._parent.append((Rows(RUNS_HISTORY.name, (ENDED,)),))


@pytest.mark.parametrize("at", range(1, 8))
def test_a_reader_that_sees_a_run_ended_sees_all_that_was_logged_before(at: int, tmp_path: Path) -> None:
    moment = Moment(tmp_path, at)
    view = JournalView(lambda: Watched(moment.folders, moment))
    seen = []
    for _ in range(3):
        view.poll()
        ended = view.rows(RUNS_HISTORY, {}).num_rows
        seen.append(ended)
        assert not ended or "m" in view.rows(METRICS, {}).column("key").to_pylist()
    assert seen[-1] == 1


@pytest.mark.parametrize("at", range(1, 8))
def test_the_committer_never_commits_an_end_before_what_was_logged_before(at: int, engine: Engine) -> None:
    moment = Moment(engine.host_folder.parent, at)
    committer = Committer(engine.store)
    for _ in range(3):
        committer._drain(Watched(moment.folders, moment))
        ended = sum(f.num_rows for f in engine.store.snapshot(RUNS_HISTORY).files)
        metrics = sum(f.num_rows for f in engine.store.snapshot(METRICS).files)
        assert not ended or metrics == 3
    assert sum(f.num_rows for f in engine.store.snapshot(RUNS_HISTORY).files) == 1
