"""Where artifacts are: as the lake stores it, as MLflow writes it, and as an MLflow server shows it to its clients.

The lake stores ``artifacts/<run or logged model>[/<path>]`` of what it has itself, so that it can be moved, and a URI
of what is elsewhere. MLflow's clients get ``<URI of the lake>/artifacts/<id>``; those of a server whose
``--artifacts-destination`` is the lake get ``mlflow-artifacts:/<experiment>/<id>/artifacts``, which they read through
the server.
"""

import os
import re
from dataclasses import dataclass

from mlflow.utils.uri import resolve_uri_if_local

from lakelineage.errors import InvalidInput
from lakelineage.mlflow_plugin import lakes, uris

#: Folder of a lake that has the artifacts of its runs and logged models.
FOLDER = "artifacts"
_PROXY = "mlflow-artifacts:"
#: How ``mlflow server`` tells its workers what it was started with.
_DESTINATION, _ROOT = "_MLFLOW_SERVER_ARTIFACT_DESTINATION", "_MLFLOW_SERVER_ARTIFACT_ROOT"
#: Ids of runs and logged models: nothing that leaves the folder.
_OWNER = re.compile(r"[\w-]+", re.ASCII)
#: Paths below the destination of a server, as MLflow makes them: <experiment>/<run>/artifacts/…, or of a logged model.
_SERVED = re.compile(r"(?:.*?/)??[^/]+/(?:models/(m-[0-9a-f]{32})|([0-9a-f]{32}))/artifacts(?:/(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """A place among the artifacts of a lake.

    Attributes:
        owner: run or logged model.
        path: path in its artifacts; empty for all of them.
    """

    owner: str
    path: str = ""

    @property
    def location(self) -> str:
        """As the lake stores it."""
        return "/".join(filter(None, (FOLDER, self.owner, self.path)))


def of_location(location: str) -> Place | None:
    """The place that the lake stores as a location; None if that is elsewhere."""
    folder, _, rest = location.partition("/")
    owner, _, path = rest.partition("/")
    return Place(owner, path.strip("/")) if folder == FOLDER and _OWNER.fullmatch(owner) else None


def of_served(path: str) -> Place | None:
    """The place that a path below the artifacts destination of a server means; None if it means none."""
    found = _SERVED.fullmatch(path.strip("/"))
    return None if found is None else Place(found[1] or found[2], (found[3] or "").strip("/"))


def split(uri: str) -> tuple[str, Place | None]:
    """The lake, and the place among its artifacts, that a URI means.

    Args:
        uri: ``<URI of a lake>[/artifacts[/<id>[/<path>]]]``. What follows the lake is taken as it is: MLflow appends
            paths without quoting them.

    Returns:
        URI of the lake; and the place, None for all artifacts of the lake.

    Raises:
        InvalidInput: there is no lake.
    """
    whole = uri.rstrip("/")
    for mark in re.finditer(rf"/{FOLDER}(?=/|$)", whole):  # the first: files of a lake may be anything, a lake too
        if lakes.exists(whole[: mark.start()]):
            return whole[: mark.start()], _checked(whole[mark.start() + 1 :], uri)
    if lakes.exists(whole):
        return whole, None
    raise InvalidInput(f"{uri!r} lies in no lake that there is; make it first, by naming it as the tracking URI")


def _checked(location: str, uri: str) -> Place | None:
    place = of_location(location)
    if place is None and location != FOLDER:
        raise InvalidInput(f"{uri!r} names no run or logged model after /{FOLDER}/")
    return place


def location_of(lake_uri: str, uri: str) -> str:
    """What the lake stores for an artifact URI of MLflow's: a path in it, or else the URI as it is."""
    if uris.is_lake(uri):
        lake, place = split(uri)
        return place.location if place is not None and uris.place(lake) == uris.place(lake_uri) else uri
    if uri.startswith(_PROXY) and serves(lake_uri):
        place = of_served(re.sub(r"^mlflow-artifacts:(//[^/]*)?", "", uri))
        return uri if place is None else place.location
    return uri


def artifact_uri_of(lake_uri: str, experiment_id: str, location: str) -> str:
    """The URI that MLflow's clients get for a location.

    Args:
        lake_uri: of the lake, as MLflow writes it.
        experiment_id: experiment of the run or logged model.
        location: as the lake stores it; of a run without ``artifact_uri``: ``artifacts/<run id>``.
    """
    place = of_location(location)
    if place is None:
        return location
    if not serves(lake_uri):
        return f"{uris.plain(lake_uri)}/{location}"
    kind = "models/" if place.owner.startswith("m-") else ""
    served = f"{experiment_id}/{kind}{place.owner}/{FOLDER}"
    return "/".join(filter(None, (os.environ[_ROOT].rstrip("/"), served, place.path)))


def experiment_uri_of(lake_uri: str, experiment_id: str) -> str:
    """The artifact location of an experiment whose artifacts go into the lake, as MLflow's clients get it."""
    if serves(lake_uri):
        return f"{os.environ[_ROOT].rstrip('/')}/{experiment_id}"
    return f"{uris.plain(lake_uri)}/{FOLDER}"


def root_of(lake_uri: str, artifact_uri: str | None) -> str | None:
    """Where artifacts of new experiments go, given what MLflow says; None: into the lake.

    Args:
        lake_uri: of the lake, as MLflow writes it.
        artifact_uri: default artifact root; None: MLflow says nothing.
    """
    if artifact_uri is None or (artifact_uri.startswith(_PROXY) and serves(lake_uri)):
        return None
    if uris.is_lake(artifact_uri) and uris.place(artifact_uri).removesuffix(f"/{FOLDER}") == uris.place(lake_uri):
        return None
    root: str = resolve_uri_if_local(artifact_uri)
    return root


def serves(lake_uri: str) -> bool:
    """Whether this is a process of an MLflow server that hands out the artifacts of the lake itself."""
    destination = os.environ.get(_DESTINATION, "")
    if not (os.environ.get(_ROOT, "").startswith(_PROXY) and uris.is_lake(destination)):
        return False
    return uris.place(destination).removesuffix(f"/{FOLDER}") == uris.place(lake_uri)
