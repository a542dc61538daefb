"""The demo from beginning to end."""

import shlex
import shutil
import sys
import time
from pathlib import Path

import lakelineage as ll
from lakelineage.demo import folder, scenes
from lakelineage.demo.teller import Teller
from lakelineage.demo.training import require_sklearn


def run_demo(chosen: Path | None = None, *, fresh: bool = False) -> Path:
    """Play the demo.

    Args:
        chosen: folder of the lake; see :func:`lakelineage.demo.folder.prepare`.
        fresh: remove an earlier demo in the folder first.

    Returns:
        The folder.

    Raises:
        AlreadyExists: the folder is taken.
        MissingExtra: scikit-learn or mlflow is not installed.
        LakelineageError: a number differs from the published one, or from that before the source was changed.
    """
    require_sklearn()
    began = time.monotonic()
    place = folder.prepare(chosen, fresh=fresh)
    teller = Teller()
    teller.title("lakelineage: one memory for your models, on your own lakehouse", "Real data, real tables, no server.")
    with ll.open(place) as lake:
        story = scenes.Story(lake, place, teller)
        for scene in scenes.ALL:
            scene(story)
        best = story.best_run
    took = f"{time.monotonic() - began:.0f} s"
    told = f"That took {took}. Everything is in {place}: open Delta tables, yours to read or remove."
    teller.close(told, _next_commands(place, best))
    return place


def _next_commands(place: Path, run_id: str) -> list[str]:
    base = [*_program(), "--lake", str(place)]
    commands = (
        ["runs", "--order-by", "metrics.rmse"],
        ["reload", run_id, "-o", str(place / "train.parquet")],
        ["lineage", f"{place / 'data' / 'diabetes'}@0", "--downstream"],
    )
    return [shlex.join([*base, *command]) for command in commands]


def _program() -> list[str]:
    """How to start this very lakelineage from the user's shell."""
    own = Path(sys.executable).parent / "lakelineage"
    found = shutil.which("lakelineage")
    if found is not None and Path(found).absolute() == own:
        return ["lakelineage"]
    return [str(own)] if own.is_file() else [sys.executable, "-m", "lakelineage"]
