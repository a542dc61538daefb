"""Models in the MLflow Models directory format: loading them, and predicting."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakelineage.errors import ArtifactNotFound, InvalidInput, LakeDamaged, MissingExtra
from lakelineage.inference.mlflow_library import module, quiet
from lakelineage.inference.trust import require

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from mlflow.pyfunc import PyFuncModel


class LoadedModel:
    """A model in memory, ready to predict.

    Args:
        model: as mlflow loaded it.
        keep: whatever must live as long as the model does (a temporary folder with its files).
    """

    def __init__(self, model: "PyFuncModel", keep: object = None) -> None:
        self._model = model
        self._keep = keep

    @property
    def pyfunc(self) -> "PyFuncModel":
        """The model as mlflow's own object."""
        return self._model

    @property
    def inputs(self) -> tuple[str, ...] | None:
        """Columns that the signature names; None if it names none, or there is no signature."""
        schema = self._signature()
        return tuple(schema.input_names()) if schema is not None and schema.has_input_names() else None

    @property
    def has_outputs(self) -> bool:
        """Whether the signature says what the model gives."""
        return self._model.metadata.get_output_schema() is not None  # type: ignore[no-untyped-call]

    def _signature(self) -> Any:
        return self._model.metadata.get_input_schema()  # type: ignore[no-untyped-call]

    def problems(self, schema: "pa.Schema") -> list[str]:
        """Why a table of this schema cannot be scored: missing columns, and types that do not fit. Empty if it can.

        Types are judged by mlflow's own rules, column by column, so that predicting agrees.
        """
        signature = self._signature()
        if signature is None or not signature.has_input_names() or signature.is_tensor_spec():
            return []
        found = []
        for column in signature.inputs:
            if column.name in schema.names:
                found += self._type_problem(column, schema.field(column.name).type)
            elif column.required:
                found.append(f"column {column.name!r} ({_spoken(column.type)}) is missing")
        return found

    def _type_problem(self, column: Any, kind: "pa.DataType") -> list[str]:
        schema_class = module("mlflow.types").Schema
        try:
            module("mlflow.models").validate_schema(_probe(column.name, kind), schema_class([column]))
        except module("mlflow.exceptions").MlflowException:
            return [f"column {column.name!r} is {kind} where the model wants {_spoken(column.type)}"]
        return []

    def predict(self, data: "pd.DataFrame") -> Any:
        """Predictions for the rows of a frame.

        Raises:
            InvalidInput: the frame does not fit the signature.
        """
        try:
            return self._model.predict(data)
        except module("mlflow.exceptions").MlflowException as error:
            raise InvalidInput(f"the data does not fit the model's signature: {error}") from error

    def __call__(self, data: "pd.DataFrame") -> Any:
        """The same as ``predict``."""
        return self.predict(data)


def _spoken(kind: Any) -> str:
    """A type of a signature as people write it: ``double``; others than plain ones by mlflow's own words."""
    return str(getattr(kind, "name", kind))


def _probe(name: str, kind: "pa.DataType") -> "pd.DataFrame":
    """A frame with one column of a type, with a number in it if it can: mlflow lets 0, 1 and nothing pass anywhere."""
    import pyarrow as pa

    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    column = pa.array([2]).cast(kind) if numeric else pa.array([], kind)
    return pa.table({name: column}).to_pandas()


def load(folder: Path, name: str, trusted: frozenset[str], keep: object = None) -> LoadedModel:
    """Load an MLflow Models directory, if loading it runs nothing but what is trusted.

    Args:
        folder: its files.
        name: what the caller calls it.
        trusted: words, see :mod:`lakelineage.inference.trust`.
        keep: whatever must live as long as the model does.

    Raises:
        NotTrusted: it would run something else.
        LakeDamaged: there is no such model in the folder.
        MissingExtra: mlflow, or a package that the model needs, is not installed.
    """
    pyfunc = module("mlflow.pyfunc")
    require(folder, name, trusted)
    try:
        with quiet():
            return LoadedModel(pyfunc.load_model(str(folder)), keep)
    except module("mlflow.exceptions").MlflowException as error:
        raise LakeDamaged(f"{folder} holds no MLflow model that can be loaded: {error}") from error
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the model needs the module {error.name!r}; install it (its requirements.txt lists what it was made "
            "with), or put the code that defines it on PYTHONPATH"
        ) from error


def example(folder: Path) -> Any:
    """The input example that a model was logged with, as a frame or array; None if there was none."""
    return module("mlflow.models").Model.load(str(folder)).load_input_example(str(folder))


def fetch(uri: str, target: Path) -> Path:
    """A local folder with the files of a model that is at a URI, a local path or anything that mlflow reads.

    Args:
        uri: where it is.
        target: folder that what is not local is downloaded to.

    Raises:
        ArtifactNotFound: there is nothing, or it cannot be read.
        MissingExtra: mlflow is not installed.
    """
    place = Path(uri.removeprefix("file://"))
    if place.is_dir():
        return place
    if "://" not in uri and ":/" not in uri:
        raise ArtifactNotFound(f"there is no folder {uri}; the model was registered from there, and not copied")
    artifacts = module("mlflow.artifacts")
    try:
        return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))
    except (module("mlflow.exceptions").MlflowException, OSError) as error:
        raise ArtifactNotFound(f"the model at {uri} cannot be fetched: {error}") from error


def predictions(result: Any, rows: int) -> Mapping[str, Any]:
    """What a model returned, as columns.

    They are called ``prediction`` if there is one, ``prediction_<name>`` for a frame or dict of several, and
    ``prediction_0``, ``prediction_1``, … for a two-dimensional array.

    Raises:
        InvalidInput: it is not one prediction (or row of them) for each row.
    """
    import numpy as np

    if hasattr(result, "columns") and hasattr(result, "__getitem__"):
        named = {str(name): result[name] for name in result.columns}
    elif isinstance(result, Mapping):
        named = {str(name): values for name, values in result.items()}
    else:
        table = result if hasattr(result, "shape") else np.asarray(result)
        many = len(table.shape) == 2
        named = {str(i): table[:, i] for i in range(table.shape[1])} if many else {"0": table}
    lengths = {len(values) if np.ndim(values) else 1 for values in named.values()}
    if lengths != {rows}:
        raise InvalidInput(f"the model returned {sorted(lengths)} predictions for {rows} rows; it must return one each")
    if len(named) == 1:
        return {"prediction": next(iter(named.values()))}
    return {f"prediction_{name}": values for name, values in named.items()}
