"""Append-only tables of what a version of a model has to pass, and of what was found."""

from lakelineage.tables.declare import Column, Table

_MODEL = Column("registered_model_id", "string", "the model, whatever it is named", nullable=False)
_NAME = Column("name", "string", "name that the model had then", nullable=False)
_CHECK = Column("check_name", "string", "the check, by its name", nullable=False)
_USER = Column("user_id", "string", "who did this")
_COMMENT = Column("comment", "string", "why")

MODEL_CHECKS_HISTORY = Table(
    "model_checks_history",
    "a state of a check that versions of a registered model have to pass",
    (
        _MODEL,
        _NAME,
        _CHECK,
        Column("definition", "string", "what is checked, as JSON with its `kind`; null: the check was taken off"),
        _USER,
        _COMMENT,
    ),
    key=("registered_model_id", "check_name"),
    unique=True,
)

MODEL_CHECK_RESULTS = Table(
    "model_check_results",
    "a check of a version of a registered model, done once",
    (
        _MODEL,
        _NAME,
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
        _USER,
        _COMMENT,
    ),
    key=("registered_model_id", "version", "check_name"),
    unique=True,
)
