"""What an MLflow store tells, read through MLflow's client, a page at a time."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE, MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.tracking._tracking_service.utils import _get_store
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import get_uri_scheme

from lakelineage.errors import ExperimentNotFound, InvalidInput, StorageFailed
from lakelineage.mlflow_plugin import uris
from lakelineage.store.root import Root

#: Runs that are asked for, and taken over, at a time.
PAGE = 1_000
_MODELS_PAGE = 100
#: Experiments that one question names.
_EXPERIMENTS = 200


class Source:
    """An MLflow store that is read.

    Args:
        uri: tracking URI.
        registry_uri: of its model registry; default the tracking URI.

    Attributes:
        client: MLflow's client of it.
        kind: ``sql``, ``file``, ``http`` or ``lake``.
    """

    def __init__(self, uri: str, registry_uri: str | None = None) -> None:
        self.uri = uri
        self.kind = kind_of(uri)
        self.client = MlflowClient(tracking_uri=uri, registry_uri=registry_uri or uri)

    @property
    def store(self) -> Any:
        """MLflow's store behind the client, for what the client does not pass on."""
        return _get_store(self.uri)

    def experiments(self, names: Sequence[str] | None = None) -> list[Experiment]:
        """Experiments by id, deleted ones too.

        Args:
            names: only those.

        Raises:
            ExperimentNotFound: there is none of a name.
        """
        found = sorted(
            _pages(lambda token: self.client.search_experiments(ViewType.ALL, PAGE, page_token=token)),
            key=lambda each: int(each.experiment_id),
        )
        if names is None:
            return found
        missing = set(names) - {each.name for each in found}
        if missing:
            raise ExperimentNotFound(
                f"the source has no experiment named {', '.join(map(repr, sorted(missing)))}; it has "
                f"{', '.join(repr(each.name) for each in found[:20])}"
            )
        return [each for each in found if each.name in names]

    def runs(self, experiment_ids: Sequence[str]) -> Iterator[list[Run]]:
        """Runs, deleted ones too, oldest first, so that what is begun meanwhile comes last."""
        for ids in _portions(experiment_ids, _EXPERIMENTS):
            token: str | None = None
            while True:
                page = self.client.search_runs(ids, "", ViewType.ALL, PAGE, ["attributes.start_time ASC"], token)
                if page:
                    yield list(page)
                token = page.token
                if not token:
                    break

    def logged_models(self, experiment_ids: Sequence[str]) -> list[LoggedModel]:
        """Logged models with their metrics. MLflow does not tell of deleted ones."""
        found: list[LoggedModel] = []
        for ids in _portions(experiment_ids, _EXPERIMENTS):
            found += _pages(
                lambda token, ids=ids: self.client.search_logged_models(ids, max_results=_MODELS_PAGE, page_token=token)
            )
        return found

    def registered_models(self) -> list[RegisteredModel]:
        """Registered models with their aliases and tags, by name; prompts are none."""
        return list(_pages(lambda token: self.client.search_registered_models(max_results=PAGE, page_token=token)))

    def versions(self) -> list[ModelVersion]:
        """Versions of all registered models, by name and number."""
        found = _pages(lambda token: self.client.search_model_versions(max_results=PAGE, page_token=token))
        return sorted(found, key=lambda each: (each.name, int(each.version)))


def _portions(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _pages(ask: Any) -> Iterator[Any]:
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def kind_of(uri: str) -> str:
    """What kind of store a tracking URI names, which must be there: MLflow would make an empty one.

    Raises:
        InvalidInput: nothing is there, or MLflow knows no such store.
    """
    if uris.is_lake(uri):
        if not Root(uris.place(uri)).exists("lake.json"):
            raise InvalidInput(f"there is no lake at {uri!r}")
        return "lake"
    scheme = get_uri_scheme(uri)
    if scheme in ("http", "https"):
        return "http"
    if scheme in DATABASE_ENGINES:
        _require_database(uri, scheme)
        return "sql"
    if scheme in ("", "file"):
        folder = Path(local_file_uri_to_path(uri))
        if not folder.is_dir():
            raise InvalidInput(f"there is no folder {str(folder)!r}; name the folder of a file store, such as ./mlruns")
        return "file"
    raise InvalidInput(
        f"{uri!r} is no tracking URI that can be read; write sqlite:///mlflow.db, http://server:5000, ./mlruns, or "
        "the URI of another database"
    )


def _require_database(uri: str, scheme: str) -> None:
    if scheme != "sqlite":
        return
    from sqlalchemy.engine import make_url

    file = make_url(uri).database
    if not file or not Path(file).is_file():
        raise InvalidInput(f"there is no database {file!r}; of an absolute path, write sqlite:////path/mlflow.db")


#: The file store is allowed, which MLflow has retired for new work; and files come without a bar for each.
_SETTINGS = {MLFLOW_ALLOW_FILE_STORE.name: "true", MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.name: "false"}


@contextmanager
def talking(what: str) -> Iterator[None]:
    """MLflow as it has to be set for this, and its errors as ours.

    Args:
        what: is done, for messages.

    Raises:
        StorageFailed: MLflow could not do it.
    """
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    try:
        yield
    except MlflowException as error:
        raise StorageFailed(
            f"{what}: {error}; what was taken over is kept, and the same call goes on where this one ended"
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
