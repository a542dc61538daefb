"""Where the demo plays: a folder of its own, which is the lake, with the tables of its story under ``data/``."""

import shutil
from importlib import resources
from pathlib import Path

from lakelineage.errors import AlreadyExists, NotFound

#: Where the demo plays if nothing is said; the first of these names that is free.
DEFAULT = "lakelineage-demo"
#: Marks a folder as the demo's own: it alone may be removed by ``--fresh``.
MARK = "lakelineage-demo.txt"


def prepare(chosen: Path | None, *, fresh: bool) -> Path:
    """Make the folder of the demo.

    Args:
        chosen: by default ``lakelineage-demo`` in the working directory, or with a number if that is taken.
        fresh: remove an earlier demo in the folder first.

    Returns:
        The folder: new, but for the mark.

    Raises:
        AlreadyExists: something else is there, or an earlier demo and not ``fresh``. Nothing was changed.
    """
    folder = Path(DEFAULT) if chosen is None else chosen
    if chosen is None and not fresh:
        folder = _free(folder)
    if fresh and (folder / MARK).is_file():
        shutil.rmtree(folder)
    if _is_taken(folder):
        raise AlreadyExists(_refusal(folder))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("Made by `lakelineage demo`; `lakelineage demo --fresh` removes it and starts again.\n")
    return folder


def _free(folder: Path) -> Path:
    number = 1
    found = folder
    while _is_taken(found):
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found


def _is_taken(folder: Path) -> bool:
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


def _refusal(folder: Path) -> str:
    if (folder / MARK).is_file():
        return f"{folder} holds an earlier demo; --fresh removes it and starts again, --lake DIR takes another folder"
    return f"{folder} is not empty, and not the demo's own; it stays as it is: choose a new folder with --lake DIR"


def sample(name: str) -> Path:
    """A file of ``sample_data/``: from the installed package, or else from the repository.

    Raises:
        NotFound: neither has it.
    """
    package = Path(str(resources.files("lakelineage")))
    places = (package / "sample_data" / name, package.parent / "sample_data" / name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise NotFound(f"sample data {name} is in neither {places[0]} nor {places[1]}; install lakelineage again")
    return found
