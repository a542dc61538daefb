"""Append-only tables: their rows are never changed, so any number of writers append without conflict."""

from lakelineage.tables.declare import Column, Table


def _c(name: str, doc: str) -> Column:
    return Column(name, "string", doc)


def _r(name: str, doc: str) -> Column:
    return Column(name, "string", doc, nullable=False)


_RUN = _r("run_id", "run: UUIDv7 as 32 hex digits")
_MODEL = _r("model_id", "logged model: m- and 32 hex digits")
_REGISTERED = _c("registered_model_id", "the model, whatever it is named; null: its name is its id")

METRICS = Table(
    "metrics",
    "a logged value",
    (
        _RUN,
        _r("key", "name of the metric"),
        Column("step", "int64", "step; may be negative and may repeat", nullable=False),
        Column("timestamp", "timestamp", "when it was measured, UTC", nullable=False),
        Column("value", "double", "NaN and infinities are values like any other", nullable=False),
        _c("model_id", "logged model that it measures"),
        _c("dataset", "name of the input that it was measured on"),
        _c("dataset_digest", "digest of that input, where a name alone does not tell"),
    ),
    key=("run_id", "key", "step", "timestamp"),
)

PARAMS = Table(
    "params",
    "a param; where two hosts set one twice, the first in the order of the lake holds",
    (_RUN, _r("key", "name of the param"), _r("value", "as text")),
    key=("run_id", "key"),
)

INPUTS = Table(
    "inputs",
    "the use of a snapshot by a run",
    (
        _RUN,
        _r("snapshot_id", "what was used"),
        _r("name", "name that the run gave it"),
        _r("context", "training, validation, test, …"),
        Column("columns", "strings", "columns chosen; null means all"),
        _c("predicate", "rows chosen, as a SQL condition; null means all"),
    ),
    key=("run_id", "name"),
)

DATASETS = Table(
    "datasets",
    "a dataset as MLflow describes it, logged as an input of a run",
    (
        _RUN,
        _r("name", "name of the dataset"),
        _r("digest", "MLflow's digest of it"),
        _r("source_type", "kind of its source: local, http, delta_table, …"),
        _r("source", "where it comes from, as MLflow's JSON"),
        _c("schema", "MLflow's schema, as JSON"),
        _c("profile", "MLflow's profile (numbers of rows, …), as JSON"),
        _c("context", "training, validation, test, …"),
        Column("tags", "text_map", "tags of this use of it"),
        _c("snapshot_id", "what was pinned of it; null: its source is nothing that can be pinned"),
    ),
    key=("run_id", "name", "digest"),
)

SNAPSHOTS = Table(
    "snapshots",
    "a distinct pinned version of a table",
    (
        _r("snapshot_id", "hash of table id, schema and file list"),
        _r("table_uri", "where the table was when it was pinned"),
        _r("table_id", "id in the table's own metadata: tells a table from another made at the same place"),
        Column("version", "int64", "Delta version", nullable=False),
        Column("committed_at", "timestamp", "when that version was committed, UTC"),
        _r("schema", "Delta schema of that version, as JSON"),
        Column("partition_columns", "strings", "partition columns, in order"),
        Column("num_files", "int64", "files", nullable=False),
        Column("num_rows", "int64", "rows, where the log tells"),
        Column("bytes", "int64", "bytes of all files", nullable=False),
        _c("origin", "file or folder that was converted to a managed table, if the input was no Delta table"),
        _c("kind", "table, or folder: its rows are a manifest of files; null means table"),
        Column("reader_features", "strings", "what the table's protocol asks of readers"),
        _c("column_mapping", "how the table's files name columns: name or id; null: as the schema does"),
    ),
    key=("snapshot_id",),
)

SNAPSHOT_FILES = Table(
    "snapshot_files",
    "a file of a snapshot",
    (
        _r("snapshot_id", "snapshot"),
        _r(
            "path",
            "path as in the table's log: relative to the table unless absolute; of a file of a folder, folder: and its "
            "path below the folder",
        ),
        Column("size", "int64", "bytes", nullable=False),
        Column("partition_values", "text_map", "partition column → value as text; null for null"),
        _c("deletion_vector", "descriptor of the file's deletion vector, as JSON"),
        Column("num_rows", "int64", "rows, where the log tells"),
        _c("archived_as", "path of the kept copy under archive/, if there is one"),
        Column("modified", "timestamp", "when the file was last changed, as its store told at the pin, UTC"),
        _c("etag", "version that its object store gave the file, at the pin"),
        _c("sha256", "hex digest of the content, once that was read"),
        _c("vector_archived_as", "path of the kept copy of the file that holds its deletion vector"),
    ),
    key=("snapshot_id", "path"),
)

ARTIFACTS = Table(
    "artifacts",
    "a logged file",
    (
        _r("run_id", "run, or logged model (m-…), that it belongs to"),
        _r("path", "path inside the artifacts of that run or logged model"),
        Column("size", "int64", "bytes", nullable=False),
        _r("sha256", "hex digest of the content"),
        Column("deleted", "bool", "whether this row tells that the file was deleted; null: it was logged"),
    ),
    key=("run_id", "path"),
)

LINEAGE = Table(
    "lineage",
    "an edge of the lineage graph, from what came first to what came of it",
    (
        _r("source", "node id"),
        _r("target", "node id"),
        _r("relation", "used, generated or derived_from (W3C PROV)"),
        _c("run_id", "run that made the edge"),
    ),
    key=("source", "target", "relation"),
)

ENVIRONMENTS = Table(
    "environments",
    "a Python environment that runs were made in",
    (
        _r("environment_id", "hash of what follows"),
        _r("python", "version of Python"),
        _r("platform", "operating system and machine"),
        Column("packages", "text_map", "installed distribution → version"),
    ),
    key=("environment_id",),
)

ACTIVITY = Table(
    "activity",
    "an act on anything",
    (
        _r("actor", "who"),
        _r("action", "what was done"),
        _r("object", "node id of what it was done to"),
        _c("from_state", "state before"),
        _c("to_state", "state after"),
        _c("comment", "why"),
        Column("acted_at", "timestamp", "when it was done, UTC; part of what is hashed", nullable=False),
        _c("previous_hash", "hash of the act before; null for the first"),
        _r("hash", "SHA-256 over this act and the hash of the one before"),
    ),
    key=("hash",),
    unique=True,
)

EXPERIMENTS_HISTORY = Table(
    "experiments_history",
    "a state of an experiment",
    (
        _r("experiment_id", "experiment"),
        _r("name", "name, unique among those not deleted"),
        _r("lifecycle_stage", "active, deleted or purged (deleted for good)"),
        Column("created_at", "timestamp", "when it was created, UTC", nullable=False),
        Column("tags", "text_map", "tags"),
        _c("artifact_location", "where MLflow puts artifacts of its runs; null: into the lake"),
        Column("last_updated_at", "timestamp", "when it was last changed, UTC; null: when this state was ingested"),
    ),
    key=("experiment_id",),
    unique=True,
)

RUNS_HISTORY = Table(
    "runs_history",
    "a state of a run",
    (
        _RUN,
        _r("experiment_id", "experiment"),
        _c("name", "name for people"),
        _r("status", "SCHEDULED, RUNNING, FINISHED, FAILED or KILLED"),
        _r("lifecycle_stage", "active, deleted or purged (deleted for good)"),
        Column("start_time", "timestamp", "UTC", nullable=False),
        Column("end_time", "timestamp", "UTC; null while it runs"),
        _c("parent_run_id", "run that this one is part of"),
        _c("user_id", "who started it"),
        _c("host", "machine that it was started on"),
        _c("source", "file that started it"),
        _c("git_commit", "revision of the code"),
        _c("git_branch", "branch of the code"),
        Column("git_dirty", "bool", "whether the code had changes that were not committed"),
        _c("environment_id", "Python and installed packages"),
        _c("source_type", "script, module, notebook or console"),
        _c("source_hash", "SHA-256 of the content of the source file"),
        _c("artifact_uri", "where its artifacts are; null: in the lake"),
    ),
    key=("run_id",),
)

LOGGED_MODELS_HISTORY = Table(
    "logged_models_history",
    "a state of a logged model: files that a run made, not (yet) registered under a name",
    (
        _MODEL,
        _r("experiment_id", "experiment"),
        _r("name", "name for people; need not be unique"),
        _r("status", "PENDING, READY or FAILED"),
        _r("lifecycle_stage", "active, deleted or purged (deleted for good)"),
        Column("created_at", "timestamp", "when it was created, UTC", nullable=False),
        Column("last_updated_at", "timestamp", "when it was last changed, UTC", nullable=False),
        _r("artifact_location", "where its files are: a path in the lake, or a URI elsewhere"),
        _c("source_run_id", "run that made it"),
        _c("model_type", "kind of model: Agent, …; as the logger said"),
        _c("status_message", "why it has this status"),
    ),
    key=("model_id",),
)

LOGGED_MODEL_PARAMS = Table(
    "logged_model_params",
    "a param of a logged model; the first in the order of the lake holds",
    (_MODEL, _r("key", "name of the param"), _r("value", "as text")),
    key=("model_id", "key"),
)

LOGGED_MODEL_TAGS_HISTORY = Table(
    "logged_model_tags_history",
    "a tag set on a logged model, or (with a null value) taken off",
    (_MODEL, _r("key", "name of the tag"), _c("value", "as text; null when the tag was deleted")),
    key=("model_id", "key"),
)

RUN_MODELS = Table(
    "run_models",
    "the use of a logged model by a run, or its making",
    (
        _RUN,
        _MODEL,
        _r("direction", "input or output"),
        Column("step", "int64", "step of the run at which it was made; null for inputs"),
    ),
    key=("run_id", "model_id", "direction"),
)

TAGS_HISTORY = Table(
    "tags_history",
    "a tag set on a run, or (with a null value) taken off",
    (_RUN, _r("key", "name of the tag"), _c("value", "as text; null when the tag was deleted")),
    key=("run_id", "key"),
)

PINS_HISTORY = Table(
    "pins_history",
    "a state of a pin",
    (
        _r("snapshot_id", "what is pinned"),
        _r("protection", "reference, protected or archived"),
        _r("status", "pinned or released"),
        _c("run_id", "run that asked for it"),
        Column("until", "timestamp", "the pin ends then, UTC; null: it does not end by itself"),
        _c("rule", "what decides when it ends, as it was given: a duration, or 'while registered'"),
        _c("user_id", "who made this state of it"),
        _c("comment", "why"),
    ),
    key=("snapshot_id", "run_id"),
)

ERASURES = Table(
    "erasures",
    "a snapshot that lost rows because somebody has a right to be forgotten",
    (
        _r("erasure_id", "one act may touch several snapshots"),
        _r("snapshot_id", "what can no longer be read back"),
        _r("action", "rewritten (without the rows) or dropped"),
        Column("num_rows", "int64", "rows that were to be forgotten", nullable=False),
        Column("num_files", "int64", "files that held them", nullable=False),
        _c("successor_id", "snapshot of what is left, if it was rewritten"),
        _r("condition_sha256", "hex digest of the condition; the condition itself may name the person"),
        Column("runs", "strings", "runs that used the snapshot"),
        Column("models", "strings", "node ids of the model versions that descend from it"),
        _c("user_id", "who did it"),
        _c("comment", "why, such as the number of the request"),
    ),
    key=("erasure_id", "snapshot_id"),
)

REGISTERED_MODELS_HISTORY = Table(
    "registered_models_history",
    "a state of a registered model",
    (
        _r("name", "name, unique among those not deleted"),
        _c("description", "for people"),
        _r("lifecycle_stage", "active or deleted"),
        Column("created_at", "timestamp", "when it was registered, UTC", nullable=False),
        _c("user_id", "who made it"),
        Column("tags", "text_map", "tags"),
        _REGISTERED,
        Column("last_updated_at", "timestamp", "when it was last changed, UTC; null: when this state was ingested"),
    ),
    key=("registered_model_id",),
    unique=True,
)

MODEL_VERSIONS_HISTORY = Table(
    "model_versions_history",
    "a state of a version of a registered model",
    (
        _r("name", "registered model"),
        Column("version", "int64", "1, 2, 3, … without gaps", nullable=False),
        _c("run_id", "run that made it"),
        _r("source", "where its files are: artifact:<run or logged model>/<path>, or a URI outside the lake"),
        _r("stage", "None, Staging, Production or Archived"),
        _c("description", "for people"),
        _r("lifecycle_stage", "active or deleted"),
        Column("created_at", "timestamp", "when it was registered, UTC", nullable=False),
        _c("user_id", "who registered it"),
        Column("tags", "text_map", "tags"),
        _REGISTERED,
        Column("last_updated_at", "timestamp", "when it was last changed, UTC; null: when this state was ingested"),
        _c("model_id", "logged model that it is a version of"),
        _c("source_uri", "source as it was given to MLflow; null: source says it"),
        _c("storage_location", "URI of its files, resolved when it was registered; null: source says it"),
        _c("run_link", "link to its run, where that is elsewhere"),
    ),
    key=("registered_model_id", "version"),
    unique=True,
)

ALIASES_HISTORY = Table(
    "aliases_history",
    "an alias set on a version, or (with a null version) taken off",
    (
        _r("name", "registered model"),
        _r("alias", "champion, challenger, …"),
        Column("version", "int64", "version that it names; null when it was deleted"),
        _c("user_id", "who set it or took it off"),
        _REGISTERED,
    ),
    key=("registered_model_id", "alias"),
    unique=True,
)
