"""The two sides of an export, and what is what on them."""

from dataclasses import dataclass, field

from mlflow import MlflowClient

from lakelineage.mlflow_plugin.transfer.counts import Tally
from lakelineage.mlflow_plugin.transfer.source import Source

#: Tags of a run or logged model in the target: the id that it has in the lake.
RUN_TAG, MODEL_TAG = "lakelineage.run_id", "lakelineage.model_id"


@dataclass(slots=True)
class Pair:
    """What is given, and to where.

    Attributes:
        source: the lake.
        target: the other store.
        tally: counts.
        experiments: id in the lake → id in the target.
        lacking: ids in the lake of experiments that a dry run did not make.
        deleted: ids in the lake of experiments that are deleted, with their runs; in the target, that comes last.
        runs: id in the lake → id in the target.
        models: the same, of logged models.
    """

    source: Source
    target: Source
    tally: Tally
    experiments: dict[str, str] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> MlflowClient:
        """Of the target."""
        return self.target.client

    @property
    def given(self) -> list[str]:
        """Ids in the lake of all experiments that are given."""
        return [*self.experiments, *self.lacking]

    @property
    def limitless(self) -> bool:
        """Whether the target keeps infinities as the greatest doubles."""
        return self.target.kind in ("sql", "http")
