"""What the parts of the tracking store share."""

from functools import cached_property
from typing import TYPE_CHECKING

from lakelineage.mlflow_plugin import lakes, uris

if TYPE_CHECKING:
    from lakelineage.engine import Engine
    from lakelineage.lake import Lake


class StorePart:
    """A part of the tracking store.

    Attributes:
        store_uri: of the lake, as MLflow writes it.
        artifact_root: where artifacts of new experiments go, as it was given; None: into the lake.
    """

    store_uri: str
    artifact_root: str | None

    @cached_property
    def lake(self) -> "Lake":
        """The open lake."""
        return lakes.opened(self.store_uri)

    @property
    def engine(self) -> "Engine":
        """What its verbs build on."""
        return self.lake.engine

    @property
    def artifact_root_uri(self) -> str:
        """Where artifacts of new experiments go. MLflow asks for it by this name."""
        return self.artifact_root or self.lake_artifacts

    @cached_property
    def lake_artifacts(self) -> str:
        """URI of the artifacts that are in the lake: those of a run or logged model are in a folder named by its id."""
        return f"{uris.plain(self.store_uri)}/artifacts"
