"""MLflow's own source of Delta tables, loaded without Spark where no Spark session is in use."""

from typing import Any

from mlflow.data import dataset_source_registry
from mlflow.data.delta_dataset_source import DeltaDatasetSource

from lakelineage.mlflow_plugin.dataset_source import DeltaSource
from lakelineage.query.spark import session

#: What MLflow knows its own source by.
SOURCE_TYPE = "delta_table"


class PinnedDeltaDatasetSource(DeltaDatasetSource):
    """What ``mlflow.data.load_delta`` and ``from_spark`` log: the same, but loading needs no Spark."""

    def load(self, **kwargs: Any) -> Any:
        """The rows: a Spark data frame where a session is in use, as in MLflow; else as :class:`DeltaSource` has them.

        Args:
            **kwargs: without Spark, those of :meth:`DeltaSource.load`.
        """
        if session.active() is not None or self.path is None:
            return super().load(**kwargs)
        return DeltaSource(self.path, self.delta_table_version).load(**kwargs)


def register() -> None:
    """Have MLflow make such sources of what was logged: the one that is registered last is taken."""
    known: list[Any] = dataset_source_registry.get_registered_sources()  # of classes, whatever its annotation says
    if PinnedDeltaDatasetSource not in known:
        ours: Any = PinnedDeltaDatasetSource
        dataset_source_registry.register_dataset_source(ours)
