"""The same random operations on both sides give the same answers: values, error codes, messages."""

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mlflow.entities import ExperimentTag, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

#: More of everything, for evenings: HYPOTHESIS_PROFILE=explore.
TIMES = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 1
VALUES = [0.0, 1.0, -1.0, 2.5, math.nan, 1e300, -1e-9]


def answer(side: Any, operation: Callable[[Any], Any]) -> Any:
    """What an operation gives or refuses, with this side's own ids replaced."""
    try:
        return plain(side, operation(side))
    except MlflowException as error:
        words = "" if "sqlite3" in error.message or "already exists" in error.message else side.masked(error.message)
        return "MlflowException", error.error_code, words
    except (TypeError, ValueError, AttributeError) as error:
        return type(error).__name__


def plain(side: Any, value: Any) -> Any:
    """A value of MLflow's as text that may be compared, without what depends on the clock."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    if isinstance(value, str):
        return side.masked(value)
    if isinstance(value, dict):
        return {plain(side, key): plain(side, one) for key, one in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [plain(side, one) for one in value]
    if hasattr(value, "_properties"):
        clock = ("creation_time", "creation_timestamp", "last_update_time", "last_updated_timestamp", "workspace")
        return {key: plain(side, one) for key, one in value if key not in clock}
    return value


class Both(RuleBasedStateMachine):
    """Applies each operation to both sides and compares."""

    pair: tuple[Any, Any]

    def both(self, operation: Callable[[Any], Any]) -> Any:
        """The common answer."""
        expected, found = (answer(side, operation) for side in self.pair)
        assert found == expected
        return expected


def ids(side: Any, kind: str) -> list[str]:
    return [given for given, label in side.known.items() if label.startswith(f"<{kind} ")]


KEYS = st.sampled_from(["a", "b", "c/d"])
TEXTS = st.sampled_from(["", "1", "2", "ä b"])
NUMBERS = st.integers(0, 9)
CLAUSES = st.sampled_from(
    [
        "metrics.a > 0",
        "metrics.a != 1",
        "metrics.`c/d` <= 2.5",
        "metrics.b = 0",
        "params.a = '1'",
        "params.b != '1'",
        "params.`c/d` LIKE '%b'",
        "tags.a = '2'",
        "tags.b ILIKE 'Ä%' AND tags.b != ''",
        "tags.a IS NULL",
        "params.a IS NOT NULL",
        "status = 'FINISHED'",
        "end_time > 3",
        "start_time <= 5",
        "run_name LIKE 'n%1'",
        "run_name != 'n-1'",
        "metrics.a = 'x'",
        "nothing = 1",
        "user_id = 'ada'",
    ]
)
ORDERS = st.sampled_from(
    ["metrics.a", "metrics.b DESC", "params.a", "tags.a DESC", "end_time", "status DESC", "run_name", "x"]
)
VIEWS = st.sampled_from([ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL])


class Tracking(Both):
    """Experiments, runs and what is logged to them."""

    @initialize()
    def begin(self) -> None:
        """One experiment to begin with."""
        self.started = 0
        for side in self.pair:
            side.known.clear()
        self.new_experiment()

    @rule()
    def new_experiment(self) -> None:
        """A new experiment."""
        for side in self.pair:
            side.experiment()

    @precondition(lambda self: self.started < 6)
    @rule(number=NUMBERS, tags=st.dictionaries(KEYS, TEXTS, max_size=2))
    def new_run(self, number: int, tags: dict[str, str]) -> None:
        """A new run; no two start at the same time, since such are ordered by their ids."""
        self.started += 1
        given = {"name": f"n-{self.started}", "start": self.started, "tags": tags}

        def make(side: Any) -> None:
            experiments = ids(side, "experiment")
            side.run(experiments[number % len(experiments)], **given)

        self.both(make)

    def _on_run(self, number: int, operation: Callable[[Any, str], Any]) -> None:
        def act(side: Any) -> Any:
            runs = [*ids(side, "run"), "0" * 32]
            return operation(side, runs[number % len(runs)])

        self.both(act)

    @rule(number=NUMBERS, what=st.sampled_from(["delete_run", "restore_run", "_hard_delete_run", "get_run"]))
    def life(self, number: int, what: str) -> None:
        """A run is deleted, brought back, or purged (seldom)."""
        if what != "_hard_delete_run" or number < 2:
            self._on_run(number, lambda side, run: getattr(side.tracking, what)(run))

    @rule(number=NUMBERS, what=st.sampled_from(["delete_experiment", "restore_experiment", "get_experiment"]))
    def life_of_experiment(self, number: int, what: str) -> None:
        """An experiment is deleted or brought back."""

        def act(side: Any) -> Any:
            experiments = [*ids(side, "experiment"), "987654"]
            return getattr(side.tracking, what)(experiments[number % len(experiments)])

        self.both(act)

    @rule(number=NUMBERS, key=KEYS, value=TEXTS)
    def tag_experiment(self, number: int, key: str, value: str) -> None:
        """An experiment is tagged, or, with an empty value, loses a tag."""

        def act(side: Any) -> Any:
            experiments = ids(side, "experiment")
            experiment = experiments[number % len(experiments)]
            if value:
                return side.tracking.set_experiment_tag(experiment, ExperimentTag(key, value))
            return side.tracking.delete_experiment_tag(experiment, key)

        self.both(act)

    @rule(number=NUMBERS, status=st.sampled_from([None, *RunStatus.all_status()]), end=st.none() | NUMBERS, name=TEXTS)
    def update(self, number: int, status: int | None, end: int | None, name: str) -> None:
        """A run ends, runs again, gets a name."""
        self._on_run(number, lambda side, run: side.tracking.update_run_info(run, status, end, name))

    @rule(number=NUMBERS, key=KEYS, step=st.integers(-2, 3), time=st.integers(-1, 3))
    def metric(self, number: int, key: str, step: int, time: int) -> None:
        """A point; its value follows from where it is, since of a tie the sides may show another."""
        point = Metric(key, VALUES[(step * 5 + time) % len(VALUES)], time, step)
        self._on_run(number, lambda side, run: side.tracking.log_metric(run, point))

    @rule(number=NUMBERS, key=KEYS, value=TEXTS)
    def param(self, number: int, key: str, value: str) -> None:
        """A param."""
        self._on_run(number, lambda side, run: side.tracking.log_param(run, Param(key, value)))

    @rule(number=NUMBERS, key=KEYS, value=TEXTS, delete=st.booleans())
    def tag(self, number: int, key: str, value: str, delete: bool) -> None:
        """A tag, set or deleted."""
        if delete:
            self._on_run(number, lambda side, run: side.tracking.delete_tag(run, key))
        else:
            self._on_run(number, lambda side, run: side.tracking.set_tag(run, RunTag(key, value)))

    @rule(
        number=NUMBERS,
        params=st.lists(st.tuples(KEYS, TEXTS), max_size=3),
        tags=st.lists(st.tuples(KEYS, TEXTS), max_size=3),
        steps=st.lists(st.integers(0, 3), max_size=3),
    )
    def batch(self, number: int, params: list[Any], tags: list[Any], steps: list[int]) -> None:
        """A batch of everything."""
        metrics = [Metric("b", VALUES[step], 5, step) for step in steps]
        made = [Param(*one) for one in params], [RunTag(*one) for one in tags]
        self._on_run(number, lambda side, run: side.tracking.log_batch(run, metrics, *made))

    @rule(clauses=st.lists(CLAUSES, max_size=3), order=st.lists(ORDERS, max_size=2), size=st.integers(1, 4), view=VIEWS)
    def search(self, clauses: list[str], order: list[str], size: int, view: int) -> None:
        """A search, page by page."""

        def pages(side: Any) -> list[str]:
            found, token = [], None
            while True:
                page = side.tracking.search_runs(
                    ids(side, "experiment"), " and ".join(clauses), view, size, order, token
                )
                found += [run.info.run_id for run in page]
                token = page.token
                if not token:
                    return found

        self.both(pages)

    @rule(number=NUMBERS, key=KEYS)
    def history(self, number: int, key: str) -> None:
        """A history, whole and sampled; NaN may stand elsewhere among points of one time and step."""
        self._on_run(number, lambda side, run: side.tracking.get_metric_history(run, key))
        self._on_run(number, lambda side, run: side.tracking.get_max_step_for_metric(run, key))

    @invariant()
    def all_runs_are_equal(self) -> None:
        """Every run, with all it has."""
        self.both(lambda side: [answer(side, lambda s, run=run: s.tracking.get_run(run)) for run in ids(side, "run")])

    def teardown(self) -> None:
        """Every experiment."""
        self.both(
            lambda side: [
                answer(side, lambda s, one=one: s.tracking.get_experiment(one)) for one in ids(side, "experiment")
            ]
        )


NAMES = st.sampled_from(["x", "y", "z w"])
VERSIONS = st.integers(0, 4)


class Registry(Both):
    """Registered models and their versions."""

    def name(self, side: Any, stem: str) -> str:
        """A name of this example's own."""
        return f"{stem}-{side.token}-{self.example}"

    @initialize()
    def begin(self) -> None:
        """Other names for each example."""
        self.example = self.pair[0].unique("example")

    def _on(self, stem: str, method: str, *arguments: Any) -> None:
        self.both(lambda side: getattr(side.registry, method)(self.name(side, stem), *arguments))

    @rule(stem=NAMES, tags=st.dictionaries(KEYS, TEXTS, max_size=2))
    def create(self, stem: str, tags: dict[str, str]) -> None:
        """A model."""
        self._on(stem, "create_registered_model", [RegisteredModelTag(*tag) for tag in tags.items()], "about")

    @rule(stem=NAMES)
    def delete(self, stem: str) -> None:
        """A model with all it has."""
        self._on(stem, "delete_registered_model")

    @rule(stem=NAMES, other=NAMES)
    def rename(self, stem: str, other: str) -> None:
        """A model under another name."""
        if stem != other:
            self.both(lambda side: side.registry.rename_registered_model(self.name(side, stem), self.name(side, other)))

    @rule(stem=NAMES, tags=st.dictionaries(KEYS, TEXTS, max_size=2), run=st.sampled_from([None, "r1", "r2"]))
    def version(self, stem: str, tags: dict[str, str], run: str | None) -> None:
        """A version."""
        self._on(stem, "create_model_version", "s3://x", run, [ModelVersionTag(*tag) for tag in tags.items()])

    @rule(stem=NAMES, number=VERSIONS, what=st.sampled_from(["delete_model_version", "get_model_version"]))
    def drop(self, stem: str, number: int, what: str) -> None:
        """A version is deleted, or only looked at."""
        self._on(stem, what, number)

    @rule(
        stem=NAMES,
        number=VERSIONS,
        stage=st.sampled_from(["None", "staging", "Production", "Archived"]),
        archive=st.booleans(),
    )
    def stage(self, stem: str, number: int, stage: str, archive: bool) -> None:
        """A version moves to a stage."""
        self._on(stem, "transition_model_version_stage", number, stage, archive)

    @rule(stem=NAMES, number=VERSIONS, alias=st.sampled_from(["best", "old"]), delete=st.booleans())
    def alias(self, stem: str, number: int, alias: str, delete: bool) -> None:
        """An alias is set or deleted."""
        if delete:
            self._on(stem, "delete_registered_model_alias", alias)
        else:
            self._on(stem, "set_registered_model_alias", alias, number)
        self._on(stem, "get_model_version_by_alias", alias)

    @rule(stem=NAMES, number=VERSIONS, key=KEYS, value=TEXTS)
    def tag(self, stem: str, number: int, key: str, value: str) -> None:
        """Tags of models and versions."""
        self._on(stem, "set_registered_model_tag", RegisteredModelTag(key, value))
        self._on(stem, "set_model_version_tag", number, ModelVersionTag(key, value))

    @rule(stem=NAMES, number=VERSIONS, key=KEYS)
    def untag(self, stem: str, number: int, key: str) -> None:
        """Tags are deleted."""
        self._on(stem, "delete_registered_model_tag", key)
        self._on(stem, "delete_model_version_tag", number, key)

    @invariant()
    def all_models_are_equal(self) -> None:
        """Every model and version, with all they have; the order of latest versions is open."""

        def everything(side: Any) -> Any:
            ours = f"name LIKE '%-{side.token}-{self.example}'"
            models = plain(side, side.registry.search_registered_models(ours))
            for model in models:
                model["latest_versions"].sort(key=lambda one: one["version"])
            order = ["name", "version_number"]
            return models, plain(side, side.registry.search_model_versions(ours, order_by=order))

        self.both(everything)


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "lives"), [(Tracking, 8), (Registry, 4)], ids=["tracking", "registry"])
def test_the_same_operations_give_the_same_answers(pair: tuple[Any, Any], machine: type[Both], lives: int) -> None:
    machine.pair = pair
    checks = settings(max_examples=lives * TIMES, stateful_step_count=20, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=checks)


@settings(max_examples=25 * TIMES)
@given(
    points=st.lists(st.tuples(st.integers(-3, 12), st.integers(0, 2)), min_size=1, max_size=40),
    size=st.integers(1, 12),
    ends=st.none() | st.tuples(st.integers(-4, 6), st.integers(3, 14)),
)
def test_samples_of_any_history_are_the_same(
    pair: tuple[Any, Any], points: list[tuple[int, int]], size: int, ends: tuple[int, int] | None
) -> None:
    seen = []
    for side in pair:
        run = side.run()
        metrics = [Metric("m", float((step * 7 + time) % 5), time, step) for step, time in points]
        side.tracking.log_batch(run, metrics, [], [])
        sample = side.tracking.get_metric_history_bulk_interval([run], "m", size, *(ends or (None, None)))
        seen.append([(one.value, one.timestamp, one.step) for one in sample])
    assert seen[0] == seen[1]


PLACES = ["metrics", "params", "tags", "attributes", "dataset", "run_id", "name", "a", "`a b`", "status", "start_time"]
SIGNS = [".", "=", "!=", ">", "LIKE", "ILIKE", "IN", "NOT", "IS", "NULL", "AND", "OR", "(", ")", ","]
WORDS = [*PLACES, *SIGNS, "'x'", '"x"', "1", "-0.5", "''"]


@settings(max_examples=100 * TIMES)
@given(words=st.lists(st.sampled_from(WORDS), max_size=8), glue=st.sampled_from(["", " "]))
def test_any_text_as_a_filter_is_understood_or_refused_alike(
    pair: tuple[Any, Any], words: list[str], glue: str
) -> None:
    text = glue.join(words)
    for search in (
        lambda side: len(side.tracking.search_runs(["987654321"], text, ViewType.ALL)),
        lambda side: len(side.tracking.search_experiments(filter_string=f"name = 'nobody' AND {text}")),
        lambda side: len(side.registry.search_registered_models(f"name = 'nobody' AND {text}")),
        lambda side: len(side.registry.search_model_versions(f"name = 'nobody' AND {text}")),
        lambda side: len(side.tracking.search_runs(["987654321"], "", ViewType.ALL, order_by=[text])),
    ):
        expected, found = (answer(side, search) for side in pair)
        assert found == expected
    expected, found = (answer(s, lambda s: len(s.tracking.search_logged_models(["987654321"], text))) for s in pair)
    if expected == "ValueError" or (isinstance(expected, tuple) and expected[1] in ("BAD_REQUEST", "INTERNAL_ERROR")):
        assert found[:2] == ("MlflowException", "INVALID_PARAMETER_VALUE")  # a published difference
    else:
        assert found == expected
