"""Two sides of one suite: MLflow's own stores over SQLite, and those of a lake.

A case gets a :class:`Side` and runs once for each. What both sides must say in the same words goes through ``refuses``,
which compares the lake's errors with those of MLflow's store for the same call.
"""

import itertools
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
    from mlflow.entities import ExperimentTag, Metric, Param, RunStatus, RunTag, ViewType
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as SqlRegistry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as SqlTracking

SIDES = ("mlflow", "lake")


@dataclass
class Stores:
    """A tracking store and a registry over one place, and its URI."""

    side: str
    uri: str
    artifacts: str
    tracking: Any
    registry: Any
    standing: str | None = None


@dataclass
class Side:
    """One side as a test uses it: with names of its own, and the ids that it was given in order."""

    stores: Stores
    token: str
    known: dict[str, str] = field(default_factory=dict)
    _counter: Any = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        """``mlflow`` or ``lake``."""
        return self.stores.side

    @property
    def tracking(self) -> Any:
        """The tracking store."""
        return self.stores.tracking

    @property
    def registry(self) -> Any:
        """The model registry."""
        return self.stores.registry

    def unique(self, stem: str = "x") -> str:
        """A name that no other test uses; the n-th one of a test is the same on both sides."""
        return f"{stem}-{self.token}-{next(self._counter)}"

    def keep(self, given: str, kind: str) -> str:
        """Remember an id that a store chose, so that messages can be compared."""
        self.known.setdefault(str(given), f"<{kind} {len(self.known)}>")
        return given

    def experiment(self, name: str | None = None, tags: dict[str, str] | None = None, **more: Any) -> str:
        """A new experiment's id."""
        entities = [ExperimentTag(key, value) for key, value in (tags or {}).items()]
        made = self.tracking.create_experiment(name or self.unique("experiment"), tags=entities, **more)
        return self.keep(made, "experiment")

    def run(self, experiment: str | None = None, **given: Any) -> str:
        """A new run's id. What is given: name, start, user, tags, params, metrics (dicts), status, end, deleted."""
        tags = [RunTag(key, value) for key, value in given.get("tags", {}).items()]
        made = self.tracking.create_run(
            experiment or self.experiment(),
            given.get("user", "ada"),
            given.get("start", 1_000),
            tags,
            given.get("name"),
        )
        run_id = self.keep(made.info.run_id, "run")
        metrics = [Metric(key, value, 1, 0) for key, value in given.get("metrics", {}).items()]
        params = [Param(key, value) for key, value in given.get("params", {}).items()]
        if metrics or params:
            self.tracking.log_batch(run_id, metrics, params, [])
        if given.get("status") or given.get("end") is not None:
            status = RunStatus.from_string(given.get("status", "RUNNING"))
            self.tracking.update_run_info(run_id, status, given.get("end"), None)
        if given.get("deleted"):
            self.tracking.delete_run(run_id)
        return run_id

    def model(self, name: str | None = None, versions: int = 0) -> str:
        """A new registered model's name, with versions."""
        name = name or self.unique("model")
        self.registry.create_registered_model(name)
        for number in range(versions):
            self.registry.create_model_version(name, f"s3://somewhere/{number + 1}", run_id=None)
        return name

    def standing(self) -> str:
        """A registered model with one version that all tests share: for calls that are refused, and change nothing."""
        if self.stores.standing is None:
            self.stores.standing = self.model("standing", versions=1)
        return self.stores.standing

    def found(self, experiments: str | list[str], filter_string: str = "", **more: Any) -> list[str]:
        """Names of the runs that a search finds, in its order."""
        ids = [experiments] if isinstance(experiments, str) else experiments
        view = more.pop("run_view_type", ViewType.ACTIVE_ONLY)
        more.setdefault("max_results", 1_000)
        return [run.info.run_name for run in self.tracking.search_runs(ids, filter_string, view, **more)]

    def masked(self, text: str) -> str:
        """A message with this side's own ids and places replaced by what they stand for."""
        for given, label in sorted(self.known.items(), key=lambda item: -len(item[0])):
            text = re.sub(rf"(?<![\w-]){re.escape(given)}(?![\w])", label, text)
        return text.replace(self.stores.artifacts, "<artifacts>").replace(self.stores.uri, "<uri>")

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """MLflow's clients mean this side while the block runs: its SQL registry asks the default tracking store."""
        patch = pytest.MonkeyPatch()
        patch.setenv("MLFLOW_TRACKING_URI", self.stores.uri)
        patch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
        yield
        patch.undo()


def _sql(folder: Path, template: Path | None) -> Stores:
    database = folder / "mlflow.db"
    if template is not None:
        shutil.copy(template, database)
    uri, artifacts = f"sqlite:///{database}", folder / "artifacts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Stores("mlflow", uri, str(artifacts), SqlTracking(uri, str(artifacts)), SqlRegistry(uri))
    for store in (made.tracking, made.registry):
        store._dispose_engine()
        sqlalchemy.event.listen(store.engine, "connect", _without_waiting)
    return made


def _without_waiting(connection: Any, _: Any) -> None:
    """What the suite asks is not whether SQLite survives a power cut."""
    connection.execute("PRAGMA synchronous = OFF")


def _lake(folder: Path) -> Stores:
    from lakelineage.mlflow_plugin.entry_points import registry_store, tracking_store

    uri, artifacts = f"lakelineage://{folder / 'lake'}", folder / "artifacts"
    tracking = tracking_store(uri, str(artifacts))
    return Stores("lake", uri, str(artifacts), tracking, registry_store(uri, tracking_uri=uri))


def _close(stores: Stores) -> None:
    if stores.side == "mlflow":
        stores.tracking._dispose_engine()
        stores.registry._dispose_engine()
        return
    from lakelineage.mlflow_plugin import lakes

    lakes.opened(stores.uri).close()


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stores]]:
    """``opened(side)``: stores that the whole session shares; ``opened(side, anew=True)``: new, empty ones."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    template = tmp_path_factory.mktemp("template")
    shared: dict[str, Stores] = {}
    everything: list[Stores] = []

    def stores(side: str, *, anew: bool = False) -> Stores:
        if side in shared and not anew:
            return shared[side]
        folder = tmp_path_factory.mktemp(side)
        if side == "mlflow" and not (template / "mlflow.db").exists():
            _close(_sql(template, None))
        made = _sql(folder, template / "mlflow.db") if side == "mlflow" else _lake(folder)
        everything.append(made)
        if not anew:
            shared[side] = made
        return made

    yield stores
    for made in everything:
        _close(made)
    patch.undo()


@pytest.fixture(scope="session", params=SIDES)
def which(request: pytest.FixtureRequest) -> str:
    """The side that a case is for."""
    return str(request.param)


@pytest.fixture
def side(which: str, opened: Callable[..., Stores]) -> Iterator[Side]:
    """The side's shared stores; cases keep to experiments and models of their own."""
    made = Side(opened(which), uuid4().hex[:8])
    with made.as_default():
        yield made


@pytest.fixture
def alone(which: str, opened: Callable[..., Stores]) -> Iterator[Side]:
    """New, empty stores, for cases that look at everything there is."""
    made = Side(opened(which, anew=True), uuid4().hex[:8])
    with made.as_default():
        yield made


@pytest.fixture
def pair(opened: Callable[..., Stores]) -> tuple[Side, Side]:
    """Both sides at once, MLflow's first."""
    token = uuid4().hex[:8]
    return Side(opened("mlflow"), token), Side(opened("lake"), token)


@pytest.fixture(scope="module")
def stage(which: str, opened: Callable[..., Stores]) -> Side:
    """The side's shared stores, for what a module's cases only read."""
    return Side(opened(which), uuid4().hex[:8])


def _refusal(side: Side, call: Callable[[Side], Any]) -> tuple[str, str, list[str]]:
    """Class, code, and the message of an error: as it is, and masked. Ids may be numbers that it tells anyway."""
    with side.as_default(), pytest.raises((MlflowException, TypeError, ValueError, AttributeError)) as raised:
        call(side)
    error = raised.value
    message = str(getattr(error, "message", error))
    return type(error).__name__, getattr(error, "error_code", ""), [message, side.masked(message)]


@pytest.fixture
def refuses(which: str, opened: Callable[..., Stores]) -> Callable[..., str]:
    """``refuses(call, code, says)``: the call is refused so; by the lake with MLflow's own message.

    The call gets a side and makes what it needs there. ``until``: only what stands before this text is compared, where
    MLflow goes on with what its database said. Returns the message.
    """

    def check(call: Callable[[Side], Any], code: str, says: str = "", until: str | None = None) -> str:
        token = uuid4().hex[:8]
        kind, found, messages = _refusal(Side(opened(which), token), call)
        assert (kind, found) == (("MlflowException", code) if code.isupper() else (code, "")), messages
        assert says in messages[1]
        if which == "lake":
            expected = _refusal(Side(opened("mlflow"), token), call)
            assert (kind, found) == expected[:2]
            if until is None:
                assert any(ours == theirs for ours, theirs in zip(messages, expected[2], strict=True))
            else:
                assert messages[1].startswith(expected[2][1].split(until)[0])
        return messages[1]

    return check


@pytest.fixture
def pages() -> Callable[..., list[Any]]:
    """``pages(search)``: everything that ``search(page_token=…)`` gives, page by page; the last has no token."""

    def walk(search: Callable[..., Any], size: int) -> list[Any]:
        page = search(page_token=None)
        found = list(page)
        while page.token:
            assert len(page) == size
            page = search(page_token=page.token)
            found.extend(page)
        return found

    return walk
