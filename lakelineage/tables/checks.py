"""Append-only tables of what a version of a model has to pass, and of what was found."""

from lakelineage.tables.approvals import COMMENT, MODEL, NAME, USER
from lakelineage.tables.declare import Column, Table

_CHECK = Column("check_name", "string", "the check, by its name", nullable=False)

MODEL_CHECKS_HISTORY = Table(
    "model_checks_history",
    "a state of a check that versions of a registered model have to pass",
    (
        MODEL,
        NAME,
        _CHECK,
        Column("definition", "string", "what is checked, as JSON with its `kind`; null: the check was taken off"),
        USER,
        COMMENT,
    ),
    key=("registered_model_id", "check_name"),
    unique=True,
)

MODEL_CHECK_RESULTS = Table(
    "model_check_results",
    "a check of a version of a registered model, done once",
    (
        MODEL,
        NAME,
        Column("version", "int64", "version that was checked", nullable=False),
        _CHECK,
        Column("kind", "string", "kind of the check", nullable=False),
        Column("definition", "string", "what was checked, as JSON", nullable=False),
        Column("result", "string", "passed, failed, or error (it could not be found out)", nullable=False),
        Column("value", "double", "what was measured, if it is a number"),
        Column("detail", "string", "what was found, in words", nullable=False),
        Column("snapshot_id", "string", "pinned data that it was checked on"),
        Column("compared_with", "int64", "version that it was compared with"),
        Column("checked_at", "timestamp", "when it began, UTC", nullable=False),
        Column("seconds", "double", "wall-clock time that it took", nullable=False),
        USER,
        COMMENT,
    ),
    key=("registered_model_id", "version", "check_name"),
    unique=True,
)
