"""Dictionaries, figures, images and tables as the bytes of a file, whose extension says of which kind."""

import io
import json
import sys
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lakelineage.errors import InvalidInput, MissingExtra
from lakelineage.model import validate
from lakelineage.model.clock import wall_clock
from lakelineage.model.ids import new_id

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_FIGURES = {
    "matplotlib": (".png", ".svg", ".pdf", ".jpg", ".jpeg"),
    "plotly": (".html", ".json", ".png", ".svg", ".pdf", ".jpg", ".jpeg"),
}
#: Not .bmp and .gif, which drop transparency and colours without a word.
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def _extension(artifact_file: str, known: tuple[str, ...], what: str) -> str:
    found = PurePosixPath(validate.artifact_path(artifact_file)).suffix.lower()
    if found not in known:
        raise InvalidInput(f"{artifact_file!r} has the extension {found!r}; {what} is kept as {', '.join(known)}")
    return found


#: Line breaks of YAML that its texts must not hold as they are.
_BREAKS = "\x85\u2028\u2029"


def dictionary(value: Any, artifact_file: str) -> bytes:
    """A dictionary or list as JSON or YAML.

    Raises:
        InvalidInput: another extension, or a value that has no JSON.
        MissingExtra: YAML without PyYAML.
    """
    extension = _extension(artifact_file, (".json", ".yaml", ".yml"), "a dictionary")
    if not isinstance(value, (Mapping, list, tuple)):
        raise InvalidInput(f"a dictionary or list is wanted, not {type(value).__name__}; use log_text for text")
    try:
        text = json.dumps(dict(value) if isinstance(value, Mapping) else value, indent=2, ensure_ascii=False)
        if extension == ".json":
            return text.encode()
        # By way of JSON: YAML then holds the same values, and no objects of Python.
        return _yaml(json.loads(text), plain=not any(mark in text for mark in _BREAKS))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the dictionary cannot be kept as {extension}: {error}; make its values plain") from error


def _yaml(value: Any, plain: bool) -> bytes:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra('keeping YAML needs PyYAML: pip install "lakelineage[artifacts]", or use .json') from error
    return bytes(yaml.safe_dump(value, sort_keys=False, allow_unicode=plain, encoding="utf-8"))


def figure(value: Any, artifact_file: str, save_kwargs: Mapping[str, Any] | None) -> bytes:
    """A figure of Matplotlib or Plotly, in the format of the extension.

    Raises:
        InvalidInput: no such figure, an extension that its library cannot write, or options that it does not take.
        MissingExtra: Plotly lacks what it needs to write images.
    """
    library = _library(value)
    if library is None:
        raise InvalidInput(f"{type(value).__name__} is no figure; pass a Matplotlib Figure or a Plotly figure")
    extension = _extension(artifact_file, _FIGURES[library], f"a figure of {library}")
    save = _matplotlib if library == "matplotlib" else _plotly
    try:
        return save(value, extension[1:], dict(save_kwargs or {}))
    except MissingExtra:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidInput(f"{library} cannot write the figure as {extension}: {error}") from error


def _library(value: Any) -> str | None:
    """Which library a figure is of. A figure's library is loaded already, so none is imported here."""
    for library, module, name in (
        ("matplotlib", "matplotlib.figure", "Figure"),
        ("plotly", "plotly.basedatatypes", "BaseFigure"),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            return library
    return None


def _matplotlib(value: Any, kind: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    value.savefig(out, **{"format": kind, **options})
    return out.getvalue()


def _plotly(value: Any, kind: str, options: dict[str, Any]) -> bytes:
    if kind == "html":
        return str(value.to_html(**options)).encode()
    if kind == "json":
        return str(value.to_json(**options)).encode()
    from importlib.util import find_spec

    if find_spec("kaleido") is None:
        raise MissingExtra(
            f"Plotly writes .{kind} by kaleido, which is not installed: pip install kaleido, or use .html"
        )
    return bytes(value.to_image(format=kind, **options))


def image_path(artifact_file: str | None, key: str | None, step: int | None) -> str:
    """Where an image goes: to a path, or as one of a series.

    A series' files are named as MLflow names them (``mlflow.log_image``), so that its pages find them.

    Raises:
        InvalidInput: both or none of path and key, or a step without a key.
    """
    if (artifact_file is None) == (key is None):
        raise InvalidInput("an image goes to a path or belongs to a key: pass one of artifact_file and key")
    if artifact_file is not None:
        if step is not None:
            raise InvalidInput("a step belongs to a series of images: pass key instead of artifact_file")
        return artifact_file
    name = validate.key(key, "image key").replace("/", "#")
    return f"images/{name}%step%{validate.step(step or 0)}%timestamp%{wall_clock() // 1000}%{new_id()}.png"


def image(value: Any, artifact_file: str) -> bytes:
    """An array or PIL image, in the format of the extension.

    Raises:
        InvalidInput: no image, or an extension or colours that cannot be.
        MissingExtra: Pillow is not installed.
    """
    extension = _extension(artifact_file, _IMAGES, "an image")
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra('keeping images needs Pillow: pip install "lakelineage[artifacts]"') from error
    picture = value if isinstance(value, Image.Image) else Image.fromarray(_pixels(value))
    out = io.BytesIO()
    try:
        picture.save(out, format=Image.registered_extensions()[extension])
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the image (mode {picture.mode}) cannot be written as {extension}: {error}") from error
    return out.getvalue()


def _pixels(value: Any) -> "np.ndarray[Any, Any]":
    """An array as 8-bit pixels: height × width, or × 3 or 4 channels."""
    import numpy as np

    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise InvalidInput(
            f"{type(value).__name__} of shape {array.shape} is no image; pass height × width, or × 1, 3 or 4 channels"
        )
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    longest = {"i": 255, "u": 255, "f": 1}.get(array.dtype.kind)
    if longest is None:
        raise InvalidInput(f"an image of {array.dtype} cannot be kept; pass booleans, integers or floats")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= longest):  # NaN too fails this
        raise InvalidInput(
            f"pixels from {low} to {high}; integers are from 0 to 255 and floats from 0 to 1, without NaN: scale them"
        )
    return np.round(array.astype(np.float64) * 255).astype(np.uint8) if longest == 1 else array.astype(np.uint8)


def table(data: Any, artifact_file: str) -> bytes:
    """A table as Parquet, CSV or JSON.

    Raises:
        InvalidInput: no table, another extension, or types that it cannot hold.
    """
    import pyarrow as pa

    extension = _extension(artifact_file, (".parquet", ".csv", ".json"), "a table")
    rows = as_arrow(data)
    try:
        if extension == ".json":
            return _split_json(rows)
        out = io.BytesIO()
        if extension == ".parquet":
            from pyarrow import parquet

            parquet.write_table(rows, out)
        else:
            from pyarrow import csv

            csv.write_csv(rows.cast(pa.schema([(field.name, _plain(field.type)) for field in rows.schema])), out)
        return out.getvalue()
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(
            f"the table cannot be kept as {extension}: {error}; .parquet holds the most types"
        ) from error


def _plain(kind: "pa.DataType") -> "pa.DataType":
    """The type without what Arrow's CSV writer does not know: Polars' texts, and categories."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if kind == pa.string_view() else kind


def as_arrow(data: Any) -> "pa.Table":
    """Arrow, Polars or pandas table, dict of columns or list of dicts, as Arrow.

    Raises:
        InvalidInput: it is none of these.
    """
    import pyarrow as pa

    try:
        if isinstance(data, Mapping):
            return pa.table(dict(data))
        if isinstance(data, (list, tuple)):
            return pa.Table.from_pylist(list(data))
        if type(data).__module__.startswith("pandas"):
            return pa.Table.from_pandas(data)
        return pa.table(data)
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InvalidInput(
            f"{type(data).__name__} is no table ({error}); pass Arrow, Polars, pandas, a dict of columns or a list of "
            "dicts"
        ) from error


def _split_json(rows: "pa.Table") -> bytes:
    """Columns and rows, as pandas' ``to_json(orient="split")`` and MLflow's ``log_table`` have them."""
    columns = [column.to_pylist(maps_as_pydicts="strict") for column in rows.columns]
    content = {"columns": rows.column_names, "data": list(zip(*columns, strict=True))}
    return json.dumps(content, ensure_ascii=False, default=_as_json).encode()


def _as_json(value: Any) -> str:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"JSON has no {type(value).__name__}")


def read_table(data: bytes, path: str) -> "pa.Table":
    """Arrow of what :func:`table` wrote, or of other Parquet, CSV or JSON (columns and rows, or an array of objects).

    Raises:
        InvalidInput: it is no table.
    """
    import pyarrow as pa

    extension = _extension(path, (".parquet", ".csv", ".json"), "a table")
    try:
        if extension == ".parquet":
            from pyarrow import parquet

            return parquet.read_table(pa.BufferReader(data))
        if extension == ".csv":
            from pyarrow import csv

            return csv.read_csv(pa.BufferReader(data))
        content = json.loads(data)
        if isinstance(content, list):
            return pa.Table.from_pylist(content)
        columns = zip(*content["data"], strict=True) if content["data"] else [()] * len(content["columns"])
        return pa.table(list(map(list, columns)), names=content["columns"])
    except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"artifact {path!r} is no table: {error}") from error
