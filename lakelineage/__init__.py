"""lakelineage: the memory of a machine-learning team on its own lakehouse.

Begin with :func:`open`::

    import lakelineage as ll

    lake = ll.open("lake")
    with lake.start_run(experiment="diabetes", name="enet") as run:
        train = run.use("data/diabetes").to_pandas()
        run.log_metric("rmse", 63.2)
"""

from typing import TYPE_CHECKING, Any

from lakelineage import errors

if TYPE_CHECKING:
    from lakelineage.capture.automatic import autolog
    from lakelineage.capture.read import read_delta
    from lakelineage.lake import Lake
    from lakelineage.lake import open_lake as open  # noqa: A004 - the public name is ll.open
    from lakelineage.run import PastRun, Run, active_run
    from lakelineage.snapshots import Snapshot
    from lakelineage.tracking.pages import next_page_token

__version__ = "0.1.0"

#: Where the public names live; each loads when it is first asked for (PEP 562), so that the import stays fast.
_HOMES = {
    "Lake": ("lakelineage.lake", "Lake"),
    "PastRun": ("lakelineage.run", "PastRun"),
    "Run": ("lakelineage.run", "Run"),
    "Snapshot": ("lakelineage.snapshots", "Snapshot"),
    "active_run": ("lakelineage.run", "active_run"),
    "autolog": ("lakelineage.capture.automatic", "autolog"),
    "next_page_token": ("lakelineage.tracking.pages", "next_page_token"),
    "open": ("lakelineage.lake", "open_lake"),
    "read_delta": ("lakelineage.capture.read", "read_delta"),
}

__all__ = [
    "Lake",
    "PastRun",
    "Run",
    "Snapshot",
    "active_run",
    "autolog",
    "errors",
    "next_page_token",
    "open",
    "read_delta",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lakelineage' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext lakelineage`` does: the magics ``%lake`` and ``%lakesql``, and Arrow tables as HTML."""
    from lakelineage.notebook import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What ``%unload_ext lakelineage`` does."""
    from lakelineage.notebook import unload

    unload(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
