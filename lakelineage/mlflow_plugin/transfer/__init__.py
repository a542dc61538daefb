"""Moving from MLflow's own stores into a lake, and back."""

from lakelineage.mlflow_plugin.transfer.counts import Count, Transferred
from lakelineage.mlflow_plugin.transfer.export import export_mlflow
from lakelineage.mlflow_plugin.transfer.import_ import import_mlflow

__all__ = ["Count", "Transferred", "export_mlflow", "import_mlflow"]
