"""A scoring job is killed at each step and started again: the table is that of a job that was not killed."""

import pytest
from deltalake import DeltaTable, write_deltalake

from lakelineage.inference import upsert
from lakelineage.inference.scoring import score
from tests.inference.scored import doubling, expected, people, scores

JOB = """
from lakelineage.engine import Engine
from lakelineage.inference import scoring, upsert

uri, options, model, source, output, more, size, upsert.MERGED = args
engine = Engine(uri, options, durability="process")
done = scoring.score(engine, model, source, output, incremental=True, batch_size=size, **more)
engine.close()
answer = done.kind
"""


@pytest.fixture
def linear(engine, make_run):
    return doubling(engine, make_run(trained_on=None))


def edges(engine, output, version):
    """How often the lake tells of each thing that a version of an output came of."""
    node = f"dataset:{DeltaTable(output).metadata().id}@{version}"
    return sorted(engine.query("select source from lineage where target = ?", (node,))["source"].to_pylist())


def append(source, step):
    write_deltalake(source, people(range(1_000 * step, 1_000 * step + 5)), mode="append")


def change(source, step):
    append(source, step)
    DeltaTable(source).update({"bmi": f"{step}.5"}, predicate=f"id % 20 = {step % 20}")
    DeltaTable(source).delete(f"id = {step}")


#: What is done to the input, options, rows a batch, and the most rows that are merged.
CASES = {
    "appends without a key": (append, {}, 2, upsert.MERGED),
    "appends with a key": (append, {"key": "id"}, 2, upsert.MERGED),
    "changes without a key": (change, {}, 30, upsert.MERGED),
    "changes, merged": (change, {"key": "id"}, 5, upsert.MERGED),
    "changes, written anew": (change, {"key": "id"}, 5, 0),
}


def killed_at(nursery, job, steps, number):
    """Run a job that is killed when it reaches one of some steps for the n-th time; whether it was."""
    return nursery.run(*job, fault=f"{steps}:{number}")[0]


def check(engine, model, source, output, more, version):
    """A job that starts where another was killed leaves the table as it should be, and the lake knows of it once."""
    landed = DeltaTable.is_deltatable(output) and DeltaTable(output).version() == version
    again = score(engine, model, source, output, incremental=True, **more)
    assert (again.kind == "nothing") == landed
    assert DeltaTable(output).version() == again.output_version == version
    assert scores(output) == pytest.approx(expected(source))
    told = edges(engine, output, version)
    assert len(told) == len(set(told)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_job_killed_anywhere_and_started_again_gives_the_same_table(
    engine, linear, source, output, nursery, monkeypatch, case
):
    """At each step of scoring, and at each 5th of all steps."""
    edit, more, size, merged = CASES[case]
    monkeypatch.setattr(upsert, "MERGED", merged)
    score(engine, linear, source, output, incremental=True, **more)
    engine.flush()
    job = (JOB, engine.root.uri, {}, linear, source, output, more, size, merged)
    step = 0
    for steps, stride, fewest in (("score.*", 1, 5), ("*", 5, 10)):
        number, killed = 1, True
        while killed:
            step += 1
            before, version = scores(output), DeltaTable(output).version()
            edit(source, step)
            killed = killed_at(nursery, job, steps, number)
            if DeltaTable(output).version() == version:
                assert scores(output) == before
            check(engine, linear, source, output, more, version + 1)
            number += stride
        assert number > fewest


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "id"])
def test_the_first_job_killed_anywhere_and_started_again_gives_the_same_table(
    engine, linear, source, tmp_path, nursery, key
):
    engine.flush()
    more = {"key": key}
    for steps, stride, fewest in (("score.*", 1, 5), ("*", 5, 10)):
        number, killed = 1, True
        while killed:
            output = str(tmp_path / f"out-{stride}-{number}")
            job = (JOB, engine.root.uri, {}, linear, source, output, more, 40, upsert.MERGED)
            killed = killed_at(nursery, job, steps, number)
            check(engine, linear, source, output, more, 0)
            number += stride
        assert number > fewest
