"""Published rows come from memory, from the cache of the host or from their Parquet files: always the same rows."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage as ll
from lakelineage.model.ids import new_id
from lakelineage.query.duckdb import published
from lakelineage.tables import RUNS

ORDER = "r.metrics['loss'], r.run_id"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as large: it is copied to the cache of the host."""
    monkeypatch.setattr(published, "_SMALL", 1)


def fill(lake: ll.Lake, count: int = 20) -> list[str]:
    ids = []
    for i in range(count):
        with lake.start_run("first" if i % 2 else "second", name=f"run {i}", tags={"n": i}) as run:
            run.log_param("alpha", i)
            run.log_metric("loss", (i * 7) % count)
            ids.append(run.id)
    return ids


def copies(lake: ll.Lake) -> list[Path]:
    cache = Path(lake._engine.reader._published._cache._folder)
    return sorted(cache.glob("*.duckdb"))


def plain(rows: pa.Table) -> list[str]:
    return sorted(map(repr, rows.to_pylist()))


def from_facts(lake: ll.Lake) -> list[str]:
    """What the facts alone say: the published table is not asked."""
    from lakelineage.query.duckdb.views import runs_sql

    return plain(lake.sql(runs_sql()).select(RUNS.schema.names))


def test_publishing_leaves_a_copy_for_the_next_readers(lake: ll.Lake, lake_path: Path, large: None) -> None:
    fill(lake)
    lake.maintain()
    assert len(copies(lake)) == 1
    with ll.open(lake_path) as again:
        assert plain(again.sql("from runs")) == from_facts(again)
        assert all(part.attached for part in again._engine.reader._parts)


def test_who_asks_twice_gets_a_copy_made(lake: ll.Lake, large: None) -> None:
    fill(lake)
    lake.maintain()
    for path in copies(lake):
        path.unlink()
    first = lake.sql("from runs")
    assert copies(lake) == []
    assert plain(lake.sql("from runs")) == plain(first) == from_facts(lake)
    assert len(copies(lake)) == 1


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_copy_is_made_anew(lake: ll.Lake, lake_path: Path, large: None, damage: bytes | None) -> None:
    fill(lake)
    lake.maintain()
    [path] = copies(lake)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    with ll.open(lake_path) as again:
        for _ in range(3):
            assert plain(again.sql("from runs")) == from_facts(again)
        assert all(part.attached for part in again._engine.reader._parts)


def test_a_host_without_room_for_copies_reads_all_the_same(
    lake: ll.Lake, lake_path: Path, large: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ids = fill(lake)
    lake.maintain()
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache would be")
    monkeypatch.setenv("LAKELINEAGE_CACHE", str(blocked))
    with ll.open(lake_path) as again:
        for _ in range(3):
            assert plain(again.sql("from runs")) == from_facts(again)
            assert again._engine.select_runs("true", [], ORDER, 3).num_rows == 3
            assert again._engine.find_run(ids[0])["run_id"] == ids[0]


def test_copies_of_files_that_are_gone_are_deleted(lake: ll.Lake, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakelineage.query.duckdb import native

    monkeypatch.setattr(native, "_GRACE", -1.0)
    for _ in range(3):
        fill(lake, 3)
        lake.maintain()
        left = Path(lake._engine.reader._published._cache._folder, "making-of-a-process-that-was-killed")
        left.mkdir(exist_ok=True)
        (left / "runs.duckdb").write_text("half")
    lake.maintain()
    assert not left.exists()
    assert len(copies(lake)) == len(lake._engine.store.snapshot(RUNS).files)


def test_rows_are_found_in_order_whatever_holds_them(lake: ll.Lake, large: None) -> None:
    ids = fill(lake)
    lake.maintain()
    lake.resume_run(ids[3]).log_metric("loss", -1.0, step=9)  # in the journal
    fill(lake, 5)
    for limit in (None, 1, 7, 100):
        quick = lake._engine.select_runs("r.lifecycle_stage = 'active'", [], ORDER, limit)
        rows = lake.sql(f"select * from runs r order by {ORDER}" + (f" limit {limit}" if limit else ""))
        assert quick.equals(rows)
    assert lake._engine.select_runs("r.metrics['loss'] < ?", [0.0], ORDER, 5).column("run_id").to_pylist() == [ids[3]]
    assert lake._engine.select_runs("r.name = ?", ["nobody"], ORDER, 5).num_rows == 0


def test_one_run_is_found_wherever_it_is(lake: ll.Lake, large: None) -> None:
    ids = fill(lake)
    lake.maintain()
    lake.resume_run(ids[3]).log_metric("loss", -1.0, step=9)
    late = lake.start_run("late")
    for run_id in [*ids, late.id]:
        [expected] = lake.sql("select * from runs where run_id = ?", [run_id]).to_pylist()
        kept = ("params", "metrics", "tags", "metric_steps", "metric_timestamps")
        maps = {key: dict(expected[key]) for key in kept}
        assert lake._engine.find_run(run_id) == expected | maps
    assert lake._engine.find_run(new_id()) is None
    assert lake._engine.find_run(ids[3])["metrics"] == {"loss": -1.0}


def test_publishing_slice_by_slice_writes_all_and_notes_no_more_than_it_saw(lake: ll.Lake, lake_path: Path) -> None:
    ids = fill(lake, 10)
    lake.flush()
    reader = lake._engine.reader
    first = reader.unpublished_runs(limit=4)
    seen = [first.rows]
    lake.resume_run(ids[0]).log_metric("loss", 77.0, step=5)  # of a slice that is written already
    lake.flush()
    after = first.more_after
    while after is not None:
        piece = reader.unpublished_runs(after, limit=4)
        seen.append(piece.rows)
        after = piece.more_after
    assert sorted(pa.concat_tables(seen).column("run_id").to_pylist()) == sorted(ids)
    for rows in seen:
        lake._engine.store.upsert(RUNS, rows, first.watermarks if rows is seen[-1] else {})
    assert reader.unpublished_runs().rows.column("run_id").to_pylist() == [ids[0]]
    assert plain(lake.sql("from runs")) == from_facts(lake)


@pytest.mark.parametrize("runs", [9, 10, 11])
def test_after_publishing_slice_by_slice_nothing_is_left(
    lake: ll.Lake, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    from lakelineage.query.duckdb import reader

    monkeypatch.setattr(reader, "_SLICE", 5)
    fill(lake, runs)
    lake.maintain()
    assert lake._engine.reader.unpublished_runs().rows.num_rows == 0
    assert sum(file.num_rows for file in lake._engine.store.snapshot(RUNS).files) == runs
    assert plain(lake.sql("from runs")) == from_facts(lake)


def test_a_compacted_file_is_asked_for_its_writers_once_per_host(
    lake: ll.Lake, lake_path: Path, tmp_path: Path, start: "object", done: "object"
) -> None:
    code = """
        import sys, lakelineage as ll
        with ll.open(sys.argv[1]) as lake, lake.start_run("x") as run:
            run.log_param("a", 1)
            sys.stdout.write(run.id)
            sys.stdout.flush()
            sys.stdin.read(1)
    """
    programs = [start(code, lake_path) for _ in range(2)]  # at once, so that each has a lane of its own
    ids = {program.stdout.read(32) for program in programs}
    for program in programs:
        done(program)
    lake.maintain()
    lake.maintain()
    assert {row["run_id"] for row in lake.sql("from runs").to_pylist()} == ids
    notes = list(Path(lake._engine.reader._pending._notes).glob("*.json"))
    assert notes
    assert any(len(json.loads(note.read_text())) == 2 for note in notes)
    for note in notes:
        note.write_text("{")
    with ll.open(lake_path) as again:
        assert {row["run_id"] for row in again.sql("from runs").to_pylist()} == ids


def test_show_tables_lists_what_users_can_ask(lake: ll.Lake) -> None:
    from lakelineage.tables import BY_NAME

    fill(lake, 2)
    lake.maintain()
    lake.search_runs()
    assert lake.sql("show tables").column("name").to_pylist() == sorted(BY_NAME)


ACTS = st.sampled_from(["run", "metric", "param", "tag", "untag", "end", "flush", "maintain", "look"])


@pytest.mark.slow
@given(acts=st.lists(st.tuples(ACTS, st.integers(0, 3)), min_size=5, max_size=25), small=st.sampled_from([1, 2_000]))
@settings(max_examples=12)
def test_the_past_is_answered_as_it_was_answered_then(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int]], small: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "_SMALL", small)
        with ll.open(tmp_path_factory.mktemp("past") / "lake", durability="process") as lake:
            moments = list(play(lake, acts))
            for moment, then in moments:
                past = lake._engine.at(moment)
                assert answers(past) == then
                for row in past.query("select run_id from runs").to_pylist():
                    assert past.find_run(row["run_id"])["run_id"] == row["run_id"]
                past.close()


def play(lake: ll.Lake, acts: list[tuple[str, int]]) -> Iterator[tuple[int, object]]:
    """Do the acts; after each, tell the moment and what the lake answers then."""
    runs: list[ll.Run] = [lake.start_run("zero")]
    for act, n in acts:
        run = runs[n % len(runs)]
        if run.status.ended:
            run = runs[n % len(runs)] = lake.resume_run(run.id)
        if act == "run":
            runs.append(lake.start_run(f"experiment {n}"))
        elif act == "metric":
            run.log_metric(f"m{n % 2}", n, step=n)
        elif act == "param":
            run.log_params({f"p{n}": n})
        elif act == "tag":
            run.set_tag(f"t{n % 2}", n)
        elif act == "untag":
            run.delete_tag(f"t{n % 2}")
        elif act == "end":
            run.end()
        elif act == "flush":
            lake.flush()
        elif act == "maintain":
            lake.maintain()
        yield lake._engine.journal.stamp(0).ingested_at, answers(lake._engine)


def answers(lake: "object") -> object:
    asked = ["from runs", "from metrics", "from experiments", "select run_id, key, value from tags_history"]
    rows = [plain(lake.query(sql)) for sql in asked]
    few = lake.select_runs("r.lifecycle_stage = 'active'", [], "r.start_time DESC, r.run_id", 5)
    return [*rows, few.to_pylist()]
