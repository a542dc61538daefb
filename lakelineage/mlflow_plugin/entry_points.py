"""What MLflow finds by the entry points of the package.

MLflow imports this module whenever it is imported itself: nothing heavy is imported here before it is asked for. The
methods that the stores lack are added by :mod:`lakelineage.mlflow_plugin.unsupported`, which a type checker cannot see.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakelineage.mlflow_plugin.artifact_repository import LakeArtifactRepository
    from lakelineage.mlflow_plugin.registry.store import RegistryStore
    from lakelineage.mlflow_plugin.tracking.store import TrackingStore


def tracking_store(store_uri: str, artifact_uri: str | None = None, **_: Any) -> "TrackingStore":
    """The tracking store of a lake.

    Args:
        store_uri: ``lakelineage:///absolute/path`` or ``lakelineage+s3://bucket/path``.
        artifact_uri: where artifacts go; default into the lake.

    Raises:
        MlflowException: the URI names no place of a lake.
    """
    from lakelineage.mlflow_plugin.tracking.store import TrackingStore

    return TrackingStore(store_uri, artifact_uri)  # type: ignore[abstract]


def registry_store(store_uri: str, tracking_uri: str | None = None, **_: Any) -> "RegistryStore":
    """The model registry of a lake.

    Args:
        store_uri: as of :func:`tracking_store`.
        tracking_uri: where logged models are looked up.
    """
    from lakelineage.mlflow_plugin.registry.store import RegistryStore

    return RegistryStore(store_uri, tracking_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> "LakeArtifactRepository":
    """The artifacts of a run or logged model that are in a lake.

    Args:
        artifact_uri: ``<URI of a lake>/artifacts/<run or logged model>[/<path>]``, or the lake.
        tracking_uri: not needed.
        registry_uri: not needed.
    """
    from lakelineage.mlflow_plugin.artifact_repository import LakeArtifactRepository

    return LakeArtifactRepository(artifact_uri, tracking_uri, registry_uri)
