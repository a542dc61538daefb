"""Walks over the lineage of a real lake, against a breadth-first search in plain Python."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakelineage.engine import Engine
from lakelineage.errors import ArtifactNotFound, InvalidInput, ModelNotFound, NotFound, RunNotFound
from lakelineage.lineage import Lineage
from lakelineage.model import nodes
from lakelineage.model.changes import Rows
from lakelineage.tables import ALIASES_HISTORY, ARTIFACTS, LINEAGE, MODEL_VERSIONS_HISTORY, RUNS_HISTORY, SNAPSHOTS

Edge = tuple[str, str, str]
TABLE, OUTPUT = "0f1e2d3c", "9a8b7c6d"
RUN, OTHER_RUN = "0" * 31 + "1", "0" * 31 + "2"
SOURCE = "/data/diabetes"


def log_edges(engine: Engine, *edges: Edge) -> None:
    rows = tuple(LINEAGE.row(source=s, target=t, relation=r, run_id=RUN) for s, t, r in edges)
    engine.append((Rows(LINEAGE.name, rows),))


def log_snapshot(engine: Engine, table_id: str, uri: str, version: int, origin: str | None = None) -> None:
    row = SNAPSHOTS.row(
        snapshot_id=f"{table_id}-{version}",
        table_uri=uri,
        table_id=table_id,
        version=version,
        schema="{}",
        num_files=1,
        bytes=1,
        origin=origin,
    )
    engine.append((Rows(SNAPSHOTS.name, (row,)),))


def log_run(engine: Engine, run_id: str, name: str) -> None:
    row = RUNS_HISTORY.row(
        run_id=run_id, experiment_id="e", name=name, status="FINISHED", lifecycle_stage="active", start_time=0
    )
    engine.append((Rows(RUNS_HISTORY.name, (row,)),))


def register(engine: Engine, name: str, version: int, *aliases: str) -> None:
    row = MODEL_VERSIONS_HISTORY.row(
        name=name,
        version=version,
        run_id=RUN,
        source=f"artifact:{RUN}/model",
        stage="None",
        lifecycle_stage="active",
        created_at=0,
    )
    engine.exclusive(MODEL_VERSIONS_HISTORY, lambda rows: (row,))
    for alias in aliases:
        named = ALIASES_HISTORY.row(name=name, alias=alias, version=version)
        engine.exclusive(ALIASES_HISTORY, lambda rows, named=named: (named,))


@pytest.fixture
def story(engine: Engine) -> Engine:
    """Two versions of a table, two runs, a registered model, a scored output."""
    log_snapshot(engine, TABLE, SOURCE, 2, origin="/data/diabetes.csv")
    log_snapshot(engine, TABLE, SOURCE, 3)
    log_snapshot(engine, OUTPUT, "/data/predictions", 0)
    log_run(engine, RUN, "enet")
    log_run(engine, OTHER_RUN, "forest")
    row = ARTIFACTS.row(run_id=RUN, path="model/MLmodel", size=1, sha256="0")
    engine.append((Rows(ARTIFACTS.name, (row,)),))
    register(engine, "diabetes", 1, "champion")
    register(engine, "diabetes", 2)
    log_edges(
        engine,
        (f"dataset:{TABLE}@2", f"run:{RUN}", "used"),
        (f"dataset:{TABLE}@3", f"run:{OTHER_RUN}", "used"),
        (f"run:{RUN}", f"artifact:{RUN}/model", "generated"),
        (f"artifact:{RUN}/model", "model:diabetes@1", "derived_from"),
        ("model:diabetes@1", f"dataset:{OUTPUT}@0", "derived_from"),
        (f"dataset:{TABLE}@3", f"dataset:{OUTPUT}@0", "derived_from"),
    )
    return engine


def reached(frame: Any) -> dict[str, int]:
    return dict(zip(frame.column("node").to_pylist(), frame.column("depth").to_pylist(), strict=True))


# Graphs of nodes that share edges, cycles, loops and doubled edges.
names = st.integers(0, 11).map(lambda i: str(nodes.run(f"n{i}")))
graphs = st.lists(st.tuples(names, names, st.sampled_from(["used", "generated", "derived_from"])), max_size=30)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Engine]]:
    """Fresh lakes, one after another."""
    opened: list[Engine] = []

    def fresh() -> Iterator[Engine]:
        base: Path = tmp_path_factory.mktemp("graphs")
        for i in itertools.count():
            if opened:
                opened.pop().close()
            opened.append(Engine(base / str(i), durability="process"))
            yield opened[0]

    yield fresh()
    for engine in opened:
        engine.close()


def search(edges: list[Edge], start: str, depth: float = float("inf")) -> dict[str, int]:
    """Breadth-first, in plain Python: node → least depth, without the start."""
    found, layer, level = {start: 0}, {start}, 0
    while layer and level < depth:
        level += 1
        layer = {t for s, t, _ in edges if s in layer} - found.keys()
        found |= dict.fromkeys(layer, level)
    del found[start]
    return found


@settings(max_examples=40)
@given(edges=graphs, start=names, goal=names, depth=st.integers(0, 4))
def test_walks_agree_with_a_plain_breadth_first_search(
    engines: Iterator[Engine], edges: list[Edge], start: str, goal: str, depth: int
) -> None:
    engine = next(engines)
    # Every node is known by an edge of its own that leads nowhere new.
    log_edges(engine, (start, start, "used"), (goal, goal, "used"), *edges)
    lineage = Lineage(engine, start)
    backward = [(t, s, r) for s, t, r in edges]
    assert reached(lineage.downstream()) == search(edges, start)
    assert reached(lineage.upstream()) == search(backward, start)
    assert reached(lineage.downstream(depth)) == search(edges, start, depth)
    for row in lineage.downstream().to_pylist():
        assert (row["via"], row["node"], row["relation"]) in edges
        assert search(edges, start).get(row["via"], 0) == row["depth"] - 1
    assert_path(lineage, edges, start, goal)
    for direction, flow in (("downstream", edges), ("upstream", backward)):
        assert_tree(lineage.tree(direction), flow, start)


def assert_path(lineage: Lineage, edges: list[Edge], start: str, goal: str) -> None:
    steps = lineage.path(goal).to_pylist()
    down = search(edges, start).get(goal)
    up = search([(t, s, r) for s, t, r in edges], start).get(goal)
    lengths = [] if start == goal else [length for length in (down, up) if length is not None]
    assert len(steps) == min(lengths, default=0)
    assert [row["step"] for row in steps] == list(range(1, len(steps) + 1))
    if not steps:
        return
    near, far = ("source", "target") if down == len(steps) else ("target", "source")
    assert (steps[0][near], steps[-1][far]) == (start, goal)
    assert all(a[far] == b[near] for a, b in itertools.pairwise(steps))
    assert all((row["source"], row["target"], row["relation"]) in edges for row in steps)


def assert_tree(tree: Any, flow: list[Edge], start: str) -> None:
    lines = [item for _, item in tree.lines()]
    full = [item.node for item in lines if not item.seen]
    assert sorted(full) == sorted({start, *search(flow, start)})
    drawn = {(item.node, child.node) for item in lines for child in item.children}
    # The two edges with which the test makes its nodes known may be drawn too.
    wanted = {(s, t) for s, t, _ in flow if s in full}
    assert wanted <= drawn <= wanted | {(node, node) for node in full}
    assert len(str(tree).splitlines()) == len(lines)


def test_from_a_source_version_forward_to_all_it_touched(story: Engine) -> None:
    impact = Lineage(story, f"dataset:{SOURCE}@2").impact()
    assert impact.counts == {"run": 1, "artifact": 1, "model": 1, "dataset": 1}
    assert pl.from_arrow(impact.frame).select("depth", "kind", "label", "relation").rows() == [
        (1, "run", "enet", "used"),
        (2, "artifact", "enet/model", "generated"),
        (3, "model", "diabetes@1", "derived_from"),
        (4, "dataset", "/data/predictions@0", "derived_from"),
    ]
    assert str(impact) == f"dataset:{TABLE}@2 touched 1 run, 1 artifact, 1 model, 1 dataset"


def test_versions_of_a_table_are_kept_apart(story: Engine) -> None:
    assert f"run:{RUN}" not in reached(Lineage(story, f"dataset:{TABLE}@3").downstream())
    assert f"run:{OTHER_RUN}" not in reached(Lineage(story, f"dataset:{TABLE}@2").downstream())


def test_without_a_version_all_versions_are_meant(story: Engine) -> None:
    lineage = Lineage(story, SOURCE)
    assert lineage.starts == (f"dataset:{TABLE}@2", f"dataset:{TABLE}@3")
    assert {f"run:{RUN}", f"run:{OTHER_RUN}"} <= reached(lineage.downstream(1)).keys()
    assert Lineage(story, "model:diabetes").starts == ("model:diabetes@1", "model:diabetes@2")


@pytest.mark.parametrize(
    "text",
    [
        f"dataset:{TABLE}@2",
        f"dataset:{SOURCE}@2",
        f"{SOURCE}@2",
        f"{SOURCE}/@2",
        f"file://{SOURCE}@2",
        "/data/../data/diabetes@2",
        "/data/diabetes.csv@2",
    ],
)
def test_a_table_may_be_named_by_id_place_or_origin(story: Engine, text: str) -> None:
    assert Lineage(story, text).node == f"dataset:{TABLE}@2"


def test_a_relative_path_is_taken_from_the_working_directory(
    story: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_snapshot(story, "feed", str(tmp_path / "data" / "my table"), 0)
    monkeypatch.chdir(tmp_path)
    for text in ("data/my table", "dataset:data/my table", "dataset:data/my table@0"):
        assert Lineage(story, text).starts == ("dataset:feed@0",)


def test_a_uri_with_an_at_sign_is_no_version(story: Engine) -> None:
    log_snapshot(story, "mail", "s3://team@bucket/mail", 4)
    assert Lineage(story, "s3://team@bucket/mail").starts == ("dataset:mail@4",)
    assert Lineage(story, "dataset:s3://team@bucket/mail@4").starts == ("dataset:mail@4",)


def test_a_table_made_again_at_the_same_place_is_not_mistaken_for_the_old_one(story: Engine) -> None:
    log_snapshot(story, "newtable", SOURCE, 2)
    with pytest.raises(InvalidInput, match=f"dataset:{TABLE}@2, dataset:newtable@2"):
        Lineage(story, f"{SOURCE}@2")
    assert Lineage(story, f"{SOURCE}@3").node == f"dataset:{TABLE}@3"
    assert Lineage(story, "dataset:newtable@2").downstream().num_rows == 0


def test_an_alias_is_the_version_it_names(story: Engine) -> None:
    lineage = Lineage(story, "model:diabetes@champion")
    assert lineage.node == "model:diabetes@1"
    assert f"dataset:{TABLE}@2" in reached(lineage.upstream())


def test_names_with_signs_of_the_node_grammar_are_found(story: Engine) -> None:
    register(story, "a b@c/ü", 1, "champion")
    log_edges(story, (f"run:{RUN}", str(nodes.model("a b@c/ü", 1)), "generated"))
    assert reached(Lineage(story, nodes.model("a b@c/ü")).upstream()).keys() >= {f"run:{RUN}"}
    assert Lineage(story, nodes.Node("model", "a b@c/ü", "champion")).node == str(nodes.model("a b@c/ü", 1))


def test_what_is_known_but_touched_nothing_has_an_empty_lineage(story: Engine) -> None:
    log_run(story, "0" * 31 + "3", "idle")
    for text in ("run:" + "0" * 31 + "3", "model:diabetes@2", f"artifact:{RUN}/model/MLmodel"):
        lineage = Lineage(story, text)
        assert lineage.upstream().num_rows == lineage.downstream().num_rows == 0
        assert lineage.upstream().schema.names == ["depth", "node", "kind", "label", "relation", "via"]
        assert str(lineage.impact()) == f"{text} touched nothing"


@pytest.mark.parametrize(
    ("text", "error", "remedy"),
    [
        ("run:0000", RunNotFound, f"did you mean .*run:{RUN} \\(enet\\)"),
        ("run:enet", RunNotFound, f"did you mean run:{RUN} \\(enet\\)"),
        ("model:diabets", ModelNotFound, "did you mean diabetes"),
        ("model:diabetes@7", ModelNotFound, "there is version 1 \\(champion\\), version 2|version 2, version 1"),
        ("model:diabetes@winner", ModelNotFound, "no alias 'winner'; there is .*champion"),
        ("/data/diabetis", NotFound, f"did you mean {SOURCE}"),
        ("diabetes", NotFound, f"did you mean {SOURCE}"),
        ("s3://elsewhere/predictoins/", NotFound, "did you mean /data/predictions"),
        (f"{SOURCE}@9", NotFound, "versions known: 2, 3"),
        (f"artifact:{RUN}/modle/MLmodel", ArtifactNotFound, "did you mean model/MLmodel"),
        (f"column:{TABLE}#age", NotFound, "ask for its table"),
    ],
)
def test_an_unknown_node_is_an_error_that_names_what_comes_near(
    story: Engine, text: str, error: type[NotFound], remedy: str
) -> None:
    with pytest.raises(error, match=remedy):
        Lineage(story, text)


@pytest.mark.parametrize("text", ["", "  ", "run:", None, 7, "dataset:abc@latest"])
def test_what_is_no_node_is_refused(story: Engine, text: Any) -> None:
    with pytest.raises(InvalidInput):
        Lineage(story, text)


def test_depth_and_direction_are_checked(story: Engine) -> None:
    lineage = Lineage(story, f"run:{RUN}")
    for depth in (-1, True, 1.5, "2"):
        with pytest.raises(InvalidInput, match="depth"):
            lineage.upstream(depth)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="'upstream' or 'downstream'"):
        lineage.tree("sideways")  # type: ignore[arg-type]
    assert lineage.upstream(0).num_rows == 0


def test_the_path_from_a_prediction_back_to_the_input_version(story: Engine) -> None:
    path = Lineage(story, f"dataset:{OUTPUT}@0").path(f"{SOURCE}@2").to_pylist()
    assert [(row["source_label"], row["relation"], row["target_label"]) for row in path] == [
        ("diabetes@1", "derived_from", "/data/predictions@0"),
        ("enet/model", "derived_from", "diabetes@1"),
        ("enet", "generated", "enet/model"),
        ("/data/diabetes@2", "used", "enet"),
    ]
    assert Lineage(story, f"dataset:{OUTPUT}@0").path(SOURCE).num_rows == 1  # version 3 was scored: it is nearer


def test_a_tree_is_drawn_with_a_shared_node_in_full_once(engine: Engine) -> None:
    log_edges(
        engine,
        ("run:a", "model:m@1", "generated"),
        ("run:b", "model:m@1", "generated"),
        ("dataset:d@0", "run:a", "used"),
        ("dataset:d@0", "run:b", "used"),
        ("dataset:d@0", "run:b", "derived_from"),
        ("run:z", "dataset:d@0", "generated"),
    )
    assert str(Lineage(engine, "model:m@1").tree()) == "\n".join(
        [
            "model m@1",
            "├── generated run a",
            "│   └── used dataset d@0",
            "│       └── generated run z",
            "└── generated run b",
            "    └── derived_from, used dataset d@0 (shown elsewhere)",
        ]
    )
    assert str(Lineage(engine, "model:m").tree(depth=1)) == "\n".join(
        [
            "model m",
            "└── model m@1",
            "    ├── generated run a",
            "    └── generated run b",
        ]
    )


def test_a_long_chain_is_walked_and_drawn_to_its_end(engine: Engine) -> None:
    length = 1_500  # beyond Python's limit of recursion
    log_edges(engine, *((f"run:{i:04}", f"run:{i + 1:04}", "generated") for i in range(length)))
    lineage = Lineage(engine, "run:0000")
    assert reached(lineage.downstream())[f"run:{length:04}"] == length
    assert len(str(lineage.tree("downstream")).splitlines()) == length + 1
    assert lineage.path(f"run:{length:04}").num_rows == length


def test_answers_stay_the_same_when_rows_move_from_the_journal_into_tables(story: Engine) -> None:
    lineage = Lineage(story, SOURCE)
    before = lineage.downstream(), str(lineage.tree("downstream"))
    story.flush()
    assert (lineage.downstream(), str(lineage.tree("downstream"))) == before
