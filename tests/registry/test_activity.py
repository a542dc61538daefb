import pytest

from lakelineage.errors import ModelNotFound
from lakelineage.registry import activity
from lakelineage.registry.activity import Act
from lakelineage.tables import ACTIVITY, ALIASES_HISTORY, MODEL_VERSIONS_HISTORY


def acts(engine):
    return engine.query("select * from activity order by ingested_at, writer, seq").to_pylist()


@pytest.fixture
def told(engine, models, make_run, monkeypatch):
    """A registry with five acts."""
    monkeypatch.setenv("LAKELINEAGE_USER", "tester")
    run = make_run()
    models.register("m", run, description="first")
    models.register("m", run)
    models.set_alias("m", "champion", 1)
    models.set_alias("m", "champion", 2, comment="better")
    models.delete_alias("m", "champion")
    return engine


def test_every_act_is_recorded_once_with_who_what_from_and_to(told):
    assert [
        (a["actor"], a["action"], a["object"], a["from_state"], a["to_state"], a["comment"]) for a in acts(told)
    ] == [
        ("tester", "register", "model:m@1", None, "1", "first"),
        ("tester", "register", "model:m@2", None, "2", None),
        ("tester", "set_alias", "model:m", "champion", "champion -> 1", None),
        ("tester", "set_alias", "model:m", "champion -> 1", "champion -> 2", "better"),
        ("tester", "delete_alias", "model:m", "champion -> 2", "champion", None),
    ]
    assert activity.check(told).broken == ()


def test_what_changes_nothing_is_no_act(told, models):
    models.set_alias("m", "champion", 1)
    before = acts(told)
    models.set_alias("m", "champion", 1)
    with pytest.raises(ModelNotFound):
        models.delete_alias("m", "challenger")
    assert acts(told) == before


def _tampered(rows, change):
    """The chain as someone with write access to the files would leave it."""
    import pyarrow as pa

    altered = change(rows.to_pylist())
    return pa.Table.from_pylist(altered, schema=rows.schema)


def _edit(rows):
    rows[2]["actor"] = "somebody else"
    return rows


def _drop(rows):
    del rows[1]
    return rows


def _insert(rows):
    forged = Act("mallory", "set_alias", "model:m", None, "champion -> 9")
    rows.insert(3, rows[2] | {"object": "model:m", "to_state": "champion -> 9", "hash": forged.hash(rows[2]["hash"])})
    return rows


def _swap(rows):
    contents = [{k: v for k, v in r.items() if k in ACTIVITY.names} for r in rows]
    rows[0], rows[1] = rows[0] | contents[1], rows[1] | contents[0]
    return rows


@pytest.mark.parametrize("change", [_edit, _drop, _insert, _swap])
def test_a_row_altered_removed_inserted_or_moved_shows(told, change):
    from deltalake import write_deltalake

    uri = told.root.child("tables", "activity")
    rows = told.query("select * from activity order by ingested_at, writer, seq")
    write_deltalake(uri, _tampered(rows.cast(ACTIVITY.schema), change), mode="overwrite")
    assert activity.check(told).broken != ()


def test_the_chain_goes_on_across_processes_of_writing(told, models, make_run):
    models.register("other", make_run())
    chain = acts(told)
    assert [row["previous_hash"] for row in chain] == [None, *(row["hash"] for row in chain[:-1])]


def test_an_act_whose_recorder_died_is_recorded_by_the_next_with_the_actor_that_is_known(
    engine, models, make_run, monkeypatch
):
    run = make_run()
    version = {"name": "lost", "version": 1, "run_id": run, "source": f"artifact:{run}/model", "stage": "None"}
    row = MODEL_VERSIONS_HISTORY.row(**version, lifecycle_stage="active", created_at=1, user_id="ghost", tags=[])
    engine.exclusive(MODEL_VERSIONS_HISTORY, lambda rows: [row])
    alias = ALIASES_HISTORY.row(name="lost", alias="champion", version=1)
    engine.exclusive(ALIASES_HISTORY, lambda rows: [alias])
    models.register("m", run)
    assert [a["object"] for a in acts(engine)] == ["model:m@1"]  # the others may still be about to record theirs
    monkeypatch.setattr(activity, "GRACE", 0)
    models.register("m", run)
    assert [(a["actor"], a["object"], a["to_state"]) for a in acts(engine)][1:3] == [
        ("ghost", "model:lost@1", "1"),
        ("unknown", "model:lost", "champion -> 1"),
    ]
    assert all("after the fact" in a["comment"] for a in acts(engine)[1:3])
    edges = engine.query("select target from lineage where starts_with(target, 'model:lost')").to_pylist()
    assert edges == [{"target": "model:lost@1"}]
    assert activity.check(engine).broken == ()
    models.register("m", run)
    assert len(acts(engine)) == 5  # nothing is recorded twice
