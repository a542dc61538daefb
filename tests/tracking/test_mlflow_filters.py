"""The same runs in MLflow's own SQLite store and in a lake: filters and orders that both understand find the same."""

import math
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakelineage

mlflow = pytest.importorskip("mlflow")
pa = pytest.importorskip("pyarrow")

pytestmark = pytest.mark.slow  # MLflow alone takes ten seconds to make its store

KEYS = ["a", "b", "val/loss", "c d", "x.y-z"]
NUMBERS = [-1.5, -0.0, 0.0, 1.0, 2.5, 1e300, math.nan, math.inf, -math.inf]
WORDS = ["x", "X", "xy", "it's", "10", "9", "100%", "a_b", "ü"]
COMPARED = ["=", "!=", "<", "<=", ">", ">="]


@dataclass
class Twins:
    """One content in two stores."""

    lake: lakelineage.Lake
    client: Any
    experiment_id: str
    milliseconds: list[int] = field(repr=False)
    digests: list[str] = field(repr=False)

    def of_lake(self, text: str, order_by: list[str]) -> list[str]:
        return list(self.lake.search_runs(text, experiments="twins", order_by=order_by).column("name").to_pylist())

    def of_mlflow(self, text: str, order_by: list[str]) -> list[str]:
        found = self.client.search_runs([self.experiment_id], text, order_by=order_by, max_results=1000)
        return [run.info.run_name for run in found]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder = tmp_path_factory.mktemp("twins")
    chance = random.Random(7)
    lake = lakelineage.open(folder / "lake", durability="process")
    pins = []
    for i in range(3):
        write_deltalake(str(folder / f"table{i}"), pa.table({"x": [float(i)]}))
        pins.append(lake.snapshot(folder / f"table{i}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow's migrations and models warn of is not ours to mend
        client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiment_id = client.create_experiment("twins")
    made = Twins(lake, client, experiment_id, [], [pin.id for pin in pins])
    for i in range(30):
        _log_both(made, chance, pins, f"run{i:02}")
    yield made
    lake.close()


def milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _log_both(twins: Twins, chance: random.Random, pins: list[Any], name: str) -> None:
    metrics = {key: chance.choice(NUMBERS) for key in KEYS if chance.random() < 0.7}
    params = {key: chance.choice(WORDS) for key in KEYS if chance.random() < 0.7}
    tags = {key: chance.choice(WORDS) for key in KEYS if chance.random() < 0.7}
    used = [(pin, chance.choice(["train", "Train2"]), chance.choice(["training", "test"])) for pin in pins]
    used = [(pin, f"{label}-{i}", context) for i, (pin, label, context) in enumerate(used) if chance.random() < 0.4]
    status = chance.choice(["RUNNING", "FINISHED", "FAILED", "KILLED"])
    run = twins.lake.start_run("twins", name, tags=tags)
    run.log_params(params)
    run.log_metrics(metrics)
    for pin, label, context in used:
        run.use(pin, name=label, context=context)
    if status != "RUNNING":
        run.end(status)
    told = twins.lake.run(run.id)
    started = milliseconds(told.start_time)
    ended = None if told.end_time is None else milliseconds(told.end_time)
    twins.milliseconds.append(started)
    _log_to_mlflow(twins, name, started, ended, status, metrics, params, tags, used)


def _log_to_mlflow(
    twins: Twins,
    name: str,
    started: int,
    ended: int | None,
    status: str,
    metrics: dict[str, float],
    params: dict[str, str],
    tags: dict[str, str],
    used: list[Any],
) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    twin = twins.client.create_run(twins.experiment_id, start_time=started, run_name=name)
    twins.client.log_batch(
        twin.info.run_id,
        [Metric(key, value, started, 0) for key, value in metrics.items()],
        [Param(*item) for item in params.items()],
        [RunTag(*item) for item in tags.items()],
    )
    inputs = [
        DatasetInput(Dataset(label, pin.id, "delta", "{}"), [InputTag("mlflow.data.context", context)])
        for pin, label, context in used
    ]
    twins.client.log_inputs(twin.info.run_id, inputs)
    if status != "RUNNING":
        twins.client.set_terminated(twin.info.run_id, status, ended)


def literal(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"


_words = st.sampled_from(WORDS).map(literal)
_patterns = st.sampled_from(["%", "x%", "%Y", "_", "X_", "1%", "%\\%", "a_b"]).map(literal)
_finite = st.sampled_from(["-1.5", "0", "1", "2.50", "1e300", "-3"])


def _key(prefix: str, key: str, quote: str) -> str:
    bare = key.isidentifier()
    return f"{prefix}.{key}" if bare and quote == "" else f"{prefix}.{quote or '`'}{key}{quote or '`'}"


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["metrics", "params", "tags", "attributes", "times", "datasets"]))
    name = _key(kind, draw(st.sampled_from(KEYS)), draw(st.sampled_from(["", "`", '"'])))
    like = draw(st.sampled_from(["LIKE", "ILIKE", "like"]))
    if kind == "metrics":
        return f"{name} {draw(st.sampled_from(COMPARED))} {draw(_finite)}"
    if kind in ("params", "tags"):
        form = draw(st.sampled_from([f"= {draw(_words)}", f"!= {draw(_words)}", f"{like} {draw(_patterns)}"]))
        return f"{name} {draw(st.sampled_from([form, form, 'IS NULL', 'IS NOT NULL']))}"
    if kind == "attributes":
        name = draw(st.sampled_from(["run_name", "attributes.run_name", "run.status", "attr.`Run name`", "status"]))
        value = draw(st.sampled_from(["'run07'", "'FINISHED'", "'Finished'"]))
        return draw(st.sampled_from([f"{name} = {value}", f"{name} != {value}", f"{name} {like} '%N0%'"]))
    if kind == "times":
        name = draw(st.sampled_from(["start_time", "attributes.created", "end_time"]))
        return f"{name} {draw(st.sampled_from(COMPARED))} @{draw(st.integers(0, 29))}"
    return draw(dataset_comparisons(like))


@st.composite
def dataset_comparisons(draw: st.DrawFn, like: str) -> str:
    prefix = draw(st.sampled_from(["datasets", "dataset"]))
    key, values = draw(
        st.sampled_from(
            [
                ("name", ["train-0", "Train2-1", "nope"]),
                ("context", ["training", "test"]),
                ("digest", ["#0", "#1", "no"]),
            ]
        )
    )
    value = draw(st.sampled_from(values))
    forms = [f"= '{value}'", f"!= '{value}'", f"IN ('{value}', 'z')", f"NOT IN ('{value}', 'z')", f"{like} 'tr%'"]
    return f"{prefix}.{key} {draw(st.sampled_from(forms))}"


def filled(twins: Twins, text: str) -> str:
    """With the times and digests of this store."""
    for i in range(29, -1, -1):
        text = text.replace(f"@{i}", str(twins.milliseconds[i]))
    for i, digest in enumerate(twins.digests):
        text = text.replace(f"#{i}", digest)
    return text


@given(st.lists(comparisons(), min_size=1, max_size=3).map(" AND ".join))
@settings(max_examples=120)
def test_a_filter_that_mlflow_understands_finds_the_runs_that_mlflow_finds(twins: Twins, text: str) -> None:
    text = filled(twins, text)
    assert sorted(twins.of_lake(text, [])) == sorted(twins.of_mlflow(text, [])), text


_orders = st.builds(
    lambda prefix, key, direction: f"{_key(prefix, key, '')}{direction}",
    st.sampled_from(["metrics", "params", "tags"]),
    st.sampled_from(KEYS),
    st.sampled_from(["", " ASC", " DESC"]),
) | st.sampled_from(["status", "status DESC", "start_time", "attributes.end_time DESC"])


@given(st.lists(_orders, min_size=1, max_size=2, unique_by=lambda order: order.split(" ASC")[0].split(" DESC")[0]))
@settings(max_examples=60)
def test_an_order_that_mlflow_understands_is_mlflows_order(twins: Twins, order_by: list[str]) -> None:
    ties = [*order_by, "run_name"]  # start times in ms may tie, and run ids are not the same
    assert twins.of_lake("", ties) == twins.of_mlflow("", ties)


def test_where_mlflow_on_sqlite_differs_it_is_as_the_decision_says(twins: Twins) -> None:
    tags = {"q": "it's", "u": "Ü"}
    experiment_id = twins.client.create_experiment("odd")
    twin = twins.client.create_run(experiment_id, tags=tags)
    twins.client.log_metric(twin.info.run_id, "huge", math.inf)
    twins.lake.start_run("odd", tags=tags).log_metric("huge", math.inf)
    for text, ours, theirs in [
        ("tags.q = 'it''s'", 1, 0),  # MLflow keeps both quotation marks
        ("tags.u ILIKE 'ü'", 1, 0),  # SQLite folds ASCII only
        ("metrics.huge > 1.7976931348623157e308", 1, 0),  # MLflow's SQL store keeps ±inf as ±1.797e308
    ]:
        found = twins.lake.search_runs(text, experiments="odd").num_rows
        assert (found, len(twins.client.search_runs([experiment_id], text))) == (ours, theirs), text
