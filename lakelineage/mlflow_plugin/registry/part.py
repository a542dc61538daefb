"""What the parts of the model registry share: the lake, and what must be there."""

from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.utils.time import get_current_time_millis
from mlflow.utils.validation import _validate_model_name, _validate_model_version

from lakelineage.mlflow_plugin import lakes
from lakelineage.registry.states import ModelStates, VersionStates
from lakelineage.tables import MODEL_VERSIONS_HISTORY, REGISTERED_MODELS_HISTORY

if TYPE_CHECKING:
    from lakelineage.engine import Engine


class RegistryPart:
    """A part of the model registry.

    Attributes:
        store_uri: of the lake, as MLflow writes it.
        tracking_uri: where logged models are looked up that the lake does not have.
    """

    store_uri: str
    tracking_uri: str | None

    @property
    def engine(self) -> "Engine":
        """What the verbs build on."""
        return lakes.opened(self.store_uri).engine

    def required_model(self, name: str | None) -> str:
        """Id of the registered model of a name.

        Raises:
            MlflowException: a name that cannot be, or no such model.
        """
        _validate_model_name(name)  # type: ignore[arg-type] # it refuses None by its own message
        found = ModelStates(self.engine.rows(REGISTERED_MODELS_HISTORY)).id_of(name)
        if found is None:
            raise MlflowException(f"Registered Model with name={name} not found", RESOURCE_DOES_NOT_EXIST)
        return found

    def required_version(self, name: str | None, version: int | str | None) -> int:
        """The number of a version that is there.

        Raises:
            MlflowException: a name or number that cannot be, or no such version.
        """
        _validate_model_name(name)  # type: ignore[arg-type] # it refuses None by its own message
        number: int = _validate_model_version(version)
        model_id = ModelStates(self.engine.rows(REGISTERED_MODELS_HISTORY)).id_of(name)
        states = None if model_id is None else VersionStates(self.engine.rows(MODEL_VERSIONS_HISTORY), model_id)
        if states is None or states.state(number) is None:
            raise MlflowException(f"Model Version (name={name}, version={number}) not found", RESOURCE_DOES_NOT_EXIST)
        return number


def now() -> int:
    """The time in µs since 1970 UTC, as MLflow tells it: in whole milliseconds."""
    return int(get_current_time_millis()) * 1000
