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


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_job_killed_anywhere_and_started_again_gives_the_same_table(
    engine, linear, source, output, nursery, monkeypatch, case
):
    edit, more, size, merged = CASES[case]
    monkeypatch.setattr(upsert, "MERGED", merged)
    score(engine, linear, source, output, incremental=True, **more)
    engine.flush()
    killed, step = True, 0
    while killed:
        step += 1
        before, version = scores(output), DeltaTable(output).version()
        edit(source, step)
        job = (JOB, engine.root.uri, {}, linear, source, output, more, size, merged)
        killed, _ = nursery.run(*job, fault=f"any:{step}")
        wanted = pytest.approx(expected(source))
        landed = DeltaTable(output).version() > version
        assert scores(output) == (wanted if landed else pytest.approx(before))
        again = score(engine, linear, source, output, incremental=True, **more)
        assert (again.kind == "nothing") == landed
        assert DeltaTable(output).version() == again.output_version == version + 1
        assert scores(output) == wanted
        told = edges(engine, output, version + 1)
        assert len(told) == len(set(told)) == 2
    assert step > 10


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, "id"])
def test_the_first_job_killed_anywhere_and_started_again_gives_the_same_table(
    engine, linear, source, tmp_path, nursery, key
):
    engine.flush()
    killed, step = True, 0
    while killed:
        step += 1
        output, more = str(tmp_path / f"out{step}"), {"key": key}
        job = (JOB, engine.root.uri, {}, linear, source, output, more, 30, upsert.MERGED)
        killed, _ = nursery.run(*job, fault=f"any:{step}")
        landed = DeltaTable.is_deltatable(output)
        again = score(engine, linear, source, output, incremental=True, **more)
        assert again.kind == ("nothing" if landed else "full")
        assert again.output_version == 0
        assert scores(output) == pytest.approx(expected(source))
        told = edges(engine, output, 0)
        assert len(told) == len(set(told)) == 2
    assert step > 10
