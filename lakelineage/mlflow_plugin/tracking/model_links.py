"""Models that runs used and made."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mlflow.entities import LoggedModelInput, LoggedModelOutput

from lakelineage.model.changes import Change
from lakelineage.tables import RUN_MODELS
from lakelineage.tracking import logged_models

if TYPE_CHECKING:
    from lakelineage.engine import Reads

#: Run id → models that it used, models that it made.
Links = dict[str, tuple[list[LoggedModelInput], list[LoggedModelOutput]]]


def links_of(engine: "Reads", run_ids: Sequence[str]) -> Links:
    """Models that runs used and made, in the order in which that was said. Next to no work in a lake without any."""
    links: Links = {run_id: ([], []) for run_id in run_ids}
    if not links or not engine.has_rows(RUN_MODELS):
        return links
    rows = engine.query(
        f"SELECT run_id, model_id, direction, step FROM run_models WHERE run_id IN ({', '.join('?' * len(links))}) "
        "ORDER BY ingested_at, writer, seq",
        list(links),
    )
    for run_id, model_id, direction, step in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        used, made = links[run_id]
        if direction == "input":
            used.append(LoggedModelInput(model_id))
        else:
            made.append(LoggedModelOutput(model_id, step))
    return links


def model_inputs_change(engine: "Reads", run_id: str, models: Iterable[LoggedModelInput] | None) -> Change:
    """The rows to append when a run is said to use models, edges included; none for what was said before."""
    return logged_models.uses(engine, run_id, [model.model_id for model in models or ()])


def model_outputs_change(engine: "Reads", run_id: str, models: Iterable[LoggedModelOutput] | None) -> Change:
    """The rows to append when a run is said to have made models. See :func:`model_inputs_change`."""
    steps: dict[str, int] = {}
    for model in models or ():
        steps.setdefault(model.model_id, model.step)
    return logged_models.makes(engine, run_id, steps)
