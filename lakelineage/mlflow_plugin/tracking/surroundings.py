"""What the process that begins a run tells of itself: environment, host, state of the code.

It is told where MLflow's client and the store are one process. In a server the store would tell of the server.
"""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lakelineage.model.changes import Rows
from lakelineage.tracking import start
from lakelineage.tracking.capture import capture

if TYPE_CHECKING:
    from lakelineage.engine import Engine

#: Set in the processes of ``mlflow server``. MLflow's own name for it is in a module that loads the whole server.
_SERVER = "_MLFLOW_SERVER_FILE_STORE"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run was begun.

    Attributes:
        columns: of ``runs_history``.
        rows: the environment, if this process has not told the lake of it.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    rows: tuple[Rows, ...] = ()


def surroundings(engine: "Engine") -> Surroundings:
    """Those of this process; nothing in a server of MLflow's."""
    if os.environ.get(_SERVER):
        return Surroundings()
    captured = capture()
    columns = {
        "host": captured.host,
        "git_commit": captured.git_commit,
        "git_branch": captured.git_branch,
        "git_dirty": captured.git_dirty,
        "environment_id": captured.environment.environment_id,
        "source_type": captured.source_type,
    }
    return Surroundings(columns, tuple(start.environment_rows(engine, captured)))
