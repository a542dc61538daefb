"""What runs can do besides logging: fail with a reason, have children, be tracked, deleted, noted, found."""

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.errors import Conflict, InvalidInput, RunFinished, RunNotFound

# Failing -------------------------------------------------------------------------------------------------------------


def deep(message: str) -> None:
    raise ValueError(message)


def test_a_run_that_an_exception_leaves_is_failed_with_its_traceback(lake: ll.Lake) -> None:
    with pytest.raises(ValueError, match="too bad"), lake.start_run() as run:
        deep("too bad")
    seen = lake.run(run.id)
    assert (seen.status, seen.tags["lakelineage.error"]) == ("FAILED", "ValueError: too bad")
    assert seen.error is not None
    assert seen.error.startswith("Traceback (most recent call last):")
    assert "in deep" in seen.error
    assert seen.error.endswith("ValueError: too bad\n")
    assert seen.artifacts.column("path").to_pylist() == ["error/traceback.txt"]
    assert lake.search_runs("tags.`lakelineage.error` LIKE 'ValueError%'").num_rows == 1


def deeper() -> None:
    try:
        deep("inner")
    except ValueError as error:
        raise RuntimeError("outer") from error


def test_the_cause_is_in_the_traceback(lake: ll.Lake) -> None:
    with pytest.raises(RuntimeError), lake.start_run() as run:
        deeper()
    told = lake.run(run.id).error or ""
    assert told.index("ValueError: inner") < told.index("RuntimeError: outer")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), SystemExit("no"), asyncio.CancelledError()])
def test_an_interrupt_and_an_exit_with_a_code_are_failures_too(lake: ll.Lake, error: BaseException) -> None:
    with pytest.raises(type(error)), lake.start_run() as run:
        raise error
    assert lake.run(run.id).status == "FAILED"
    assert type(error).__name__ in (lake.run(run.id).error or "")


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit(None), GeneratorExit()])
def test_an_exit_without_a_code_is_no_failure(lake: ll.Lake, error: BaseException) -> None:
    with pytest.raises(type(error)), lake.start_run() as run:
        raise error
    assert (lake.run(run.id).status, lake.run(run.id).error) == ("FINISHED", None)


@given(st.text(st.characters(exclude_categories=()), max_size=2_000))
def test_any_message_is_kept_and_the_tag_is_cut(tmp_path_factory: pytest.TempPathFactory, message: str) -> None:
    lake = _shared(tmp_path_factory)
    with pytest.raises(ValueError), lake.start_run() as run:
        deep(message)
    seen = lake.run(run.id)
    assert len(seen.tags["lakelineage.error"]) <= 500
    assert seen.tags["lakelineage.error"].startswith("ValueError")
    assert seen.error is not None
    if message.isascii() and message.isprintable():
        assert message in seen.error


_lakes: list[ll.Lake] = []


def _shared(factory: pytest.TempPathFactory) -> ll.Lake:
    if not _lakes:
        _lakes.append(ll.open(factory.mktemp("shared") / "lake", durability="process"))
    return _lakes[0]


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> Iterator[None]:
    yield
    while _lakes:
        _lakes.pop().close()


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot even be told")


def test_an_exception_that_cannot_be_told_is_kept_as_far_as_it_can(lake: ll.Lake) -> None:
    with pytest.raises(Unspeakable), lake.start_run() as run:
        raise Unspeakable
    assert lake.run(run.id).status == "FAILED"
    assert "Unspeakable" in (lake.run(run.id).error or "")


def test_a_traceback_that_cannot_be_kept_hides_nothing(
    lake: ll.Lake, lake_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (lake_path / "artifacts").write_text("where the folder should be")
    with pytest.raises(ValueError, match="mine"), lake.start_run() as run:
        deep("mine")
    assert lake.run(run.id).status == "FAILED"
    assert [r.levelno for r in caplog.records if run.id in r.getMessage()] == [logging.WARNING]
    assert lake.run(run.id).error == "ValueError: mine"  # what the tag tells


def test_an_end_that_cannot_be_written_hides_nothing(lake: ll.Lake, caplog: pytest.LogCaptureFixture) -> None:
    run = lake.start_run()
    run.end = deep  # type: ignore[assignment]
    with pytest.raises(ValueError, match="mine"), run:
        deep("mine")
    assert "could not be ended as FAILED" in caplog.text
    del run.end  # what the end of the process finds is an ordinary run
    run.end()


def test_a_program_that_an_exception_ends_leaves_its_traceback(lake_path: Path) -> None:
    code = "import sys, lakelineage as ll\nrun = ll.open(sys.argv[1]).start_run()\nprint(run.id, flush=True)\n1 / 0"
    done = subprocess.run([sys.executable, "-c", code, str(lake_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("Traceback")) == (1, 1)
    with ll.open(lake_path) as lake:
        seen = lake.run(done.stdout.strip())
        assert (seen.status, seen.tags["lakelineage.error"]) == ("FAILED", "ZeroDivisionError: division by zero")
        assert "ZeroDivisionError" in (seen.error or "")


def test_a_failed_run_that_goes_on_and_ends_well_tells_of_no_error(lake: ll.Lake) -> None:
    with pytest.raises(ValueError), lake.start_run() as run:
        deep("once")
    with lake.resume_run(run.id):
        assert lake.run(run.id).error is None
    seen = lake.run(run.id)
    assert (seen.status, seen.error, dict(seen.tags)) == ("FINISHED", None, {})


# Children and the current run ----------------------------------------------------------------------------------------


def test_children_are_in_the_experiment_of_their_parent_and_end_by_themselves(lake: ll.Lake) -> None:
    with lake.start_run("e", name="parent") as run:
        with run.start_child("one", tags={"fold": 1}) as child:
            child.log_metric("m", 1)
        other = run.start_child("two")
    assert (child.parent_id, child.experiment_id, run.parent_id) == (run.id, run.experiment_id, None)
    children = lake.run(run.id).children
    assert children.column("name").to_pylist() == ["one", "two"]
    assert children.column("status").to_pylist() == ["FINISHED", "RUNNING"]
    assert lake.run(child.id).parent_id == run.id
    assert lake.lineage(f"run:{child.id}").upstream().num_rows == 1
    other.end()
    with pytest.raises(RunFinished):
        run.start_child("late")


def test_a_parent_may_be_named_by_the_beginning_of_its_id(lake: ll.Lake) -> None:
    run = lake.start_run()
    assert lake.start_run(parent=run.id[:20]).parent_id == run.id
    with pytest.raises(RunNotFound):
        lake.start_run(parent="ffffffff")


def test_the_active_run_is_the_innermost_of_the_blocks_around(lake: ll.Lake) -> None:
    assert ll.active_run() is None
    loose = lake.start_run()
    assert ll.active_run() is None, "a run without a block is nobody's"
    with lake.start_run() as outer:
        assert ll.active_run() is outer
        with outer.start_child() as inner:
            assert ll.active_run() is inner
            inner.end()
            assert ll.active_run() is outer
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(ll.active_run()))
        thread.start()
        thread.join()
        assert seen == [None]
        assert contextvars.copy_context().run(ll.active_run) is outer
    assert ll.active_run() is None
    loose.end()


def test_coroutines_have_a_current_run_each(lake: ll.Lake) -> None:
    async def work(name: str) -> bool:
        with lake.start_run(name=name) as run:
            await asyncio.sleep(0.01)
            return ll.active_run() is run

    async def both() -> list[bool]:
        return await asyncio.gather(work("a"), work("b"))

    assert asyncio.run(both()) == [True, True]


# Tracked functions ---------------------------------------------------------------------------------------------------


def test_each_call_of_a_tracked_function_is_a_run_with_its_arguments(lake: ll.Lake) -> None:
    @lake.track(experiment="tuning", tags={"team": "x"})
    def train(alpha: float, /, l1: float = 0.5, *rest: int, kind: str = "net", **more: object) -> float:
        """Train."""
        assert ll.active_run() is not None
        return alpha + l1

    assert train.__name__ == "train"
    assert train.__doc__ == "Train."
    assert train(0.25, 0.5, 1, 2, kind="tree", depth=[3]) == 0.75
    assert train(0.5) == 1.0
    second, first = lake.search_runs(experiments="tuning").to_pylist()
    assert [first["name"], first["status"], dict(first["tags"])] == ["train", "FINISHED", {"team": "x"}]
    assert dict(first["params"]) == {"alpha": "0.25", "l1": "0.5", "rest": "(1, 2)", "kind": "tree", "depth": "[3]"}
    assert dict(second["params"]) == {"alpha": "0.5", "l1": "0.5", "kind": "net"}


def test_a_parameter_named_run_receives_the_run_unless_the_caller_passes_one(lake: ll.Lake) -> None:
    @lake.track
    def train(alpha: int, run: ll.Run | None = None) -> ll.Run | None:
        return run

    given_run = train(1)
    assert isinstance(given_run, ll.Run)
    assert lake.run(given_run.id).params == {"alpha": "1"}
    mine = lake.start_run()
    assert train(2, mine) is train(3, run=mine) is mine


def test_a_tracked_call_that_fails_is_a_failed_run_and_the_exception_is_the_callers(lake: ll.Lake) -> None:
    tracked = lake.track(name="other name")(deep)
    with pytest.raises(ValueError, match="bad"):
        tracked("bad")
    (row,) = lake.search_runs().to_pylist()
    assert (row["name"], row["status"], dict(row["params"])) == ("other name", "FAILED", {"message": "bad"})
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        tracked()  # type: ignore[call-arg]


def test_a_tracked_call_inside_a_run_is_its_child(lake: ll.Lake) -> None:
    @lake.track
    def inner() -> str:
        return ll.active_run().id  # type: ignore[union-attr]

    @lake.track
    def outer(run: ll.Run) -> tuple[str, str]:
        return run.id, inner()

    parent, child = outer()  # type: ignore[call-arg]
    assert lake.run(child).parent_id == parent
    assert lake.run(inner()).parent_id is None


def test_methods_and_coroutines_are_tracked_and_generators_refused(lake: ll.Lake) -> None:
    class Trainer:
        @lake.track
        def fit(self, depth: int) -> int:
            return depth

        @lake.track
        async def fit_later(self, depth: int) -> str:
            await asyncio.sleep(depth * 0)
            return ll.active_run().id  # type: ignore[union-attr]

    assert Trainer().fit(3) == 3
    assert lake.run(asyncio.run(Trainer().fit_later(4))).params == {"depth": "4"}

    def steps() -> Iterator[int]:
        yield 1

    async def later() -> Any:
        yield 1

    for generator in (steps, later):
        with pytest.raises(InvalidInput, match="is a generator"):
            lake.track(generator)
    assert lake.search_runs().column("name").to_pylist() == ["fit_later", "fit"]


def test_an_argument_that_cannot_be_kept_is_named_with_the_remedy_and_starts_nothing(lake: ll.Lake) -> None:
    def train(alpha: int, data: object) -> int:
        return alpha

    with pytest.raises(InvalidInput, match=r"argument 'data' has 20000 characters.*log_args=\['alpha'\]"):
        lake.track(train)(1, "x" * 20_000)
    assert lake.search_runs().num_rows == 0
    assert lake.track(log_args=["alpha"])(train)(1, "x" * 20_000) == 1
    assert lake.track(log_args=False)(train)(2, "x" * 20_000) == 2
    assert [dict(p) for p in lake.search_runs().column("params").to_pylist()] == [{}, {"alpha": "1"}]
    with pytest.raises(InvalidInput, match=r"no argument 'beta'.*alpha, data"):
        lake.track(log_args=["beta"])(train)


# Deleting, notes, prefixes -------------------------------------------------------------------------------------------


def test_a_deleted_run_is_hidden_from_searches_and_comes_back_as_it_was(lake: ll.Lake) -> None:
    with lake.start_run("e", tags={"t": 1}) as run:
        run.log_params({"p": 1})
        run.log_metric("m", 1)
        child = run.start_child("child")
    child.end()
    before = lake.sql("SELECT * EXCLUDE (updated_at) FROM runs WHERE run_id = ?", [run.id]).to_pylist()
    for _ in range(2):
        lake.delete_run(run.id)
    assert lake.search_runs().column("run_id").to_pylist() == [child.id]
    assert lake.run(run.id).is_deleted
    assert lake.run(run.id).attributes["lifecycle_stage"] == "deleted"
    assert lake.run(run.id).children.num_rows == 1
    for refused in (lake.resume_run, lambda i: lake.run(i).set_tag("a", 1), lambda i: lake.run(i).delete_tag("a")):
        with pytest.raises(Conflict, match=f"restore_run\\('{run.id}'\\)"):
            refused(run.id)
    for _ in range(2):
        lake.restore_run(run.id)
    after = lake.sql("SELECT * EXCLUDE (updated_at) FROM runs WHERE run_id = ?", [run.id]).to_pylist()
    assert after == before
    states = lake.sql("SELECT count(*) AS n FROM runs_history WHERE run_id = ?", [run.id]).to_pylist()
    assert states == [{"n": 4}], "started, ended, deleted, restored; nothing twice"
    for act in (lake.delete_run, lake.restore_run):
        with pytest.raises(RunNotFound):
            act("f" * 32)


def test_a_run_deleted_while_this_process_logs_it_stays_deleted_when_it_ends(lake: ll.Lake) -> None:
    run = lake.start_run()
    lake.delete_run(run.id)
    run.log_metric("m", 1)
    run.end()
    assert (lake.run(run.id).is_deleted, lake.run(run.id).status) == (True, "FINISHED")


def test_a_deleted_child_is_not_among_the_children(lake: ll.Lake) -> None:
    run = lake.start_run()
    children = [run.start_child(name) for name in ("a", "b")]
    lake.delete_run(children[0].id)
    assert lake.run(run.id).children.column("name").to_pylist() == ["b"]


def test_a_note_is_what_mlflow_shows(lake: ll.Lake) -> None:
    with lake.start_run() as run:
        assert lake.run(run.id).note is None
        run.set_note("first")
    assert lake.run(run.id).tags == {"mlflow.note.content": "first"}
    seen = lake.run(run.id)
    seen.set_note("second")
    assert (seen.note, lake.run(run.id).note, lake.run(run.id).status) == ("second", "second", "FINISHED")
    with pytest.raises(InvalidInput, match="note"):
        run.set_note(3)  # type: ignore[arg-type]


def test_tags_of_an_ended_run_are_changed_without_resuming_it(lake: ll.Lake) -> None:
    with lake.start_run(tags={"a": 1, "b": 2}) as run:
        pass
    seen = lake.run(run.id)
    seen.set_tags({"a": 3, "c": 4})
    seen.delete_tag("b")
    assert seen.tags == lake.run(run.id).tags == {"a": "3", "c": "4"}
    assert lake.run(run.id).status == "FINISHED"


def test_a_run_is_found_by_any_unique_beginning_of_its_id(lake: ll.Lake) -> None:
    runs = [lake.start_run(name=f"r{i}") for i in range(2)]
    same = [a == b for a, b in zip(runs[0].id, runs[1].id, strict=True)]
    shared = runs[0].id[: same.index(False)]
    for run in runs:
        beginning = run.id[: len(shared) + 1]
        assert lake.run(beginning.upper()).id == lake.run_id(beginning) == lake.resume_run(beginning).id == run.id
    with pytest.raises(InvalidInput, match=r"several runs.*r1.*r0"):
        lake.run(shared)
    with pytest.raises(RunNotFound, match="ffff"):
        lake.run("ffff")
    for wrong in ("", "fff", "xyz1", "f" * 33, None):
        with pytest.raises(InvalidInput, match="run id"):
            lake.run(wrong)  # type: ignore[arg-type]
    lake.delete_run(runs[0].id[: len(shared) + 1])
    assert lake.run(runs[0].id).is_deleted


def test_a_run_that_has_ended_is_not_reopened_where_that_is_not_wanted(lake: ll.Lake) -> None:
    run = lake.start_run()
    lake.resume_run(run.id, reopen=False).log_metric("m", 1)
    run.end()
    with pytest.raises(RunFinished, match="resume_run"):
        lake.resume_run(run.id, reopen=False)
    assert lake.run(run.id).status == "FINISHED"


def test_a_detached_run_outlives_its_program(lake_path: Path) -> None:
    code = "import sys, lakelineage as ll; print(ll.open(sys.argv[1]).start_run().detach())"
    said = subprocess.run([sys.executable, "-c", code, str(lake_path)], capture_output=True, text=True, check=True)
    with ll.open(lake_path) as lake:
        assert lake.run(said.stdout.strip()).status == "RUNNING"


def test_several_metrics_may_name_a_model_and_a_dataset(lake: ll.Lake) -> None:
    with lake.start_run() as run:
        run.log_metrics({"a": 1, "b": 2}, 3, model_id="m", dataset="validation")
        run.log_metrics({"a": 4})
    rows = lake.sql("SELECT key, step, model_id, dataset FROM metrics ORDER BY key, step").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", 0, None, None),
        ("a", 3, "m", "validation"),
        ("b", 3, "m", "validation"),
    ]
    with pytest.raises(InvalidInput, match="dataset"):
        lake.start_run().log_metrics({"a": 1}, dataset="")
