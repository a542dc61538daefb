"""Charts as files."""

import io
import os
from pathlib import Path
from typing import Any

from lakelineage.errors import InvalidInput, MissingExtra, StorageFailed

#: Endings of the files that charts are written to.
ENDINGS = (".html", ".png", ".svg")
#: Dots per inch at which one pixel of the chart is one dot.
_PPI = 72


def save(figure: Any, path: "str | os.PathLike[str]", scale: float = 2.0) -> Path:
    """Write a chart to a file, whole or not at all. See :meth:`lakelineage.plot.Plots.save`."""
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in ENDINGS:
        raise InvalidInput(f"{str(path)!r} ends with none of {', '.join(ENDINGS)}; the ending says what is written")
    if not hasattr(figure, "to_html") or not hasattr(figure, "to_dict"):
        raise InvalidInput(f"{type(figure).__name__} is no chart of lake.plot")
    if not isinstance(scale, (int, float)) or not 0 < scale <= 20:
        raise InvalidInput(f"scale={scale!r}: write a number over 0, at most 20")
    data = _rendered(figure, kind, scale)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(target)
    except OSError as error:
        raise StorageFailed(f"cannot write {target}: {error.strerror or error}; choose another place") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _rendered(figure: Any, kind: str, scale: float) -> bytes:
    try:
        if kind == ".html":
            return str(figure.to_html(inline=True)).encode()
        if kind == ".svg":
            text = io.StringIO()
            figure.save(text, format="svg")
            return text.getvalue().encode()
        image = io.BytesIO()
        figure.save(image, format="png", ppi=_PPI * scale)
        return image.getvalue()
    except ImportError as error:
        raise MissingExtra('files of charts need vl-convert: pip install "lakelineage[plot]"') from error
