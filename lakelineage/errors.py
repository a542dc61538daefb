"""Every error lakelineage raises, grouped by what a caller would do about it.

    LakelineageError
    ├── InvalidInput            change the call (also a ValueError)
    │   ├── InvalidPath         a path that leaves its folder, or is empty
    │   ├── InvalidFilter       a search filter or order that cannot be parsed
    │   └── InvalidQuery        SQL that the engine refuses
    ├── NotFound                name something that exists (also a LookupError)
    │   ├── ExperimentNotFound, RunNotFound, ModelNotFound, SnapshotNotFound, ArtifactNotFound
    │   ├── TableNotFound       the URI is no Delta table
    │   ├── VersionNotFound     the table has no such version, or its log no longer tells
    │   └── RequestNotFound     no request to move a model version has this number
    ├── Conflict                the state of the lake forbids it; look at it and decide
    │   ├── ParamConflict       a param has another value already
    │   ├── RunFinished         the run has ended; resume it first
    │   ├── AlreadyExists       the name is taken
    │   ├── ApprovalNeeded      rules of the model want a request; make one
    │   ├── NotAllowed          rules want somebody else to do it
    │   ├── ChecksNotPassed     rules want checks that the version has not passed; run them
    │   ├── RequestClosed       the request was decided, or what it is about has moved; look, and ask again
    │   ├── NotProtectable      properties of the table would not keep the pin; archive it instead
    │   └── ConcurrentWrite     others kept winning the race; try again
    ├── LakeError               the lake or the machine needs attention
    │   ├── LakeTooNew          written by a newer lakelineage; upgrade
    │   ├── LakeDamaged         what is stored is not what was written
    │   ├── SnapshotLost        pinned files are gone; the message lists them
    │   │   └── SnapshotErased  rows of it were forgotten on purpose; the message names what is left
    │   ├── StorageFull         no space left; nothing of the call was kept
    │   ├── StorageFailed       the store refused or cannot be reached
    │   ├── UnsuitableStorage   the place cannot keep the promise asked of it
    │   └── ForkedProcess       this needs a process that was spawned, not forked
    ├── NotTrusted              loading a model would run code that nobody allowed; look at it, then say trust=
    └── MissingExtra            an optional dependency is not installed (also an ImportError)

Each class has a stable ``code`` that programs may branch on (the command line prints it with ``--json``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


class LakelineageError(Exception):
    """Base of all errors of this package."""

    code: ClassVar[str] = "lakelineage_error"


class InvalidInput(LakelineageError, ValueError):
    """The call is wrong; nothing was changed."""

    code = "invalid_input"


class InvalidPath(InvalidInput):
    """A path is empty, absolute where it may not be, or leaves its folder."""

    code = "invalid_path"


class InvalidFilter(InvalidInput):
    """A search filter or order cannot be understood."""

    code = "invalid_filter"


class InvalidQuery(InvalidInput):
    """The SQL engine refused the query."""

    code = "invalid_query"


class NotFound(LakelineageError, LookupError):
    """What the call names does not exist."""

    code = "not_found"

    def __str__(self) -> str:
        return Exception.__str__(self)


class ExperimentNotFound(NotFound):
    """No experiment has this name or id."""

    code = "experiment_not_found"


class RunNotFound(NotFound):
    """No run has this id."""

    code = "run_not_found"


class ModelNotFound(NotFound):
    """No registered model, version or alias has this name."""

    code = "model_not_found"


class SnapshotNotFound(NotFound):
    """No pinned snapshot has this id or name."""

    code = "snapshot_not_found"


class ArtifactNotFound(NotFound):
    """The run has no artifact at this path."""

    code = "artifact_not_found"


class TableNotFound(NotFound):
    """The URI is no Delta table."""

    code = "table_not_found"


class VersionNotFound(NotFound):
    """The table has no such version, or its log no longer tells of it."""

    code = "version_not_found"


class RequestNotFound(NotFound):
    """No request to move a version of a model has this number."""

    code = "request_not_found"


class Conflict(LakelineageError):
    """The state of the lake forbids the call; nothing was changed."""

    code = "conflict"


class ParamConflict(Conflict):
    """The param already has another value.

    Attributes:
        conflicts: key → the value that it has, and the one that was given.
    """

    code = "param_conflict"

    def __init__(self, message: str, conflicts: Mapping[str, tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.conflicts = dict(conflicts or {})


class RunFinished(Conflict):
    """The run has ended."""

    code = "run_finished"


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "already_exists"


class ApprovalNeeded(Conflict):
    """Rules of the registered model allow the move by request only."""

    code = "approval_needed"


class NotAllowed(Conflict):
    """Rules of the registered model want somebody else to do it."""

    code = "not_allowed"


class ChecksNotPassed(Conflict):
    """Rules of the registered model want checks that the version has not passed."""

    code = "checks_not_passed"


class RequestClosed(Conflict):
    """The request is not open any more: somebody decided it, or what it is about has moved since."""

    code = "request_closed"


class NotProtectable(Conflict):
    """No properties of the table would keep what is pinned, or they cannot be changed; archive the snapshot instead."""

    code = "not_protectable"


class ConcurrentWrite(Conflict):
    """Other writers won every attempt; trying again is safe."""

    code = "concurrent_write"


class LakeError(LakelineageError):
    """The lake or the machine under it needs attention."""

    code = "lake_error"


class LakeTooNew(LakeError):
    """The lake has a newer format than this version of lakelineage reads."""

    code = "lake_too_new"


class LakeDamaged(LakeError):
    """What is stored is not what was written."""

    code = "lake_damaged"


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a file of a pinned snapshot, as far as its table's log still tells.

    Attributes:
        path: the file, as stored.
        reason: one line for people.
        operation: what removed it from the table (DELETE, MERGE, …); None if that is not told.
        version: the version that this made.
        at: when, µs since 1970 UTC.
        by: user or engine.
        deleted_in: version of the first vacuum that may have deleted the file from storage; None if none is told.
        deleted_at: when that was, µs since 1970 UTC.
        deleted_by: user or engine.
    """

    path: str
    reason: str
    operation: str | None = None
    version: int | None = None
    at: int | None = None
    by: str | None = None
    deleted_in: int | None = None
    deleted_at: int | None = None
    deleted_by: str | None = None


class SnapshotLost(LakeError):
    """Files of a pinned snapshot can no longer be read.

    Attributes:
        missing: the files that are gone or were altered, as stored paths.
        removals: what became of them, as far as the table's log still tells.
    """

    code = "snapshot_lost"

    def __init__(self, message: str, missing: tuple[str, ...] = (), removals: tuple[Removal, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing
        self.removals = removals


class SnapshotErased(SnapshotLost):
    """Rows of a pinned snapshot were forgotten on purpose, so it cannot be read back as it was.

    Attributes:
        successor: id of the snapshot of what is left; None if all of it was dropped.
        num_rows: rows that were forgotten.
    """

    code = "snapshot_erased"

    def __init__(self, message: str, successor: str | None, num_rows: int) -> None:
        super().__init__(message)
        self.successor = successor
        self.num_rows = num_rows


class StorageFull(LakeError):
    """The disk is full; nothing of the call was kept."""

    code = "storage_full"


class StorageFailed(LakeError):
    """The store refused the request or cannot be reached."""

    code = "storage_failed"


class UnsuitableStorage(LakeError):
    """The place cannot keep the promise asked of it (a network file system under a journal, say)."""

    code = "unsuitable_storage"


class ForkedProcess(LakeError):
    """The call needs the Delta engine, which a process forked after its first use cannot run."""

    code = "forked_process"


class NotTrusted(LakelineageError):
    """Loading the model would run code that was not allowed; nothing of it was loaded.

    Attributes:
        needs: what ``trust`` would have to name besides, to load it.
    """

    code = "not_trusted"

    def __init__(self, message: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.needs = needs


class MissingExtra(LakelineageError, ImportError):
    """An optional dependency is not installed."""

    code = "missing_extra"
