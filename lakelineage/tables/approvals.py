"""Append-only tables of who may let a version of a model come into use, who asked, and who agreed."""

from lakelineage.tables.declare import Column, Table

MODEL = Column("registered_model_id", "string", "the model, whatever it is named", nullable=False)
NAME = Column("name", "string", "name that the model had then", nullable=False)
USER = Column("user_id", "string", "who made this state")
COMMENT = Column("comment", "string", "why")

MODEL_RULES_HISTORY = Table(
    "model_rules_history",
    "a state of the rules of a registered model; a model without any may be changed by everybody",
    (
        MODEL,
        NAME,
        Column("stages", "strings", "stages that a version comes into by these rules only"),
        Column("aliases", "strings", "aliases that name a version by these rules only"),
        Column("approvers", "strings", "who may approve; none means everybody"),
        Column("approvals", "int64", "how many different people must approve", nullable=False),
        Column("requester_may_approve", "bool", "whether who asks may approve too", nullable=False),
        Column("checks", "strings", "named checks that the version must have passed"),
        Column("direct", "bool", "whether a version may come in without a request", nullable=False),
        USER,
        COMMENT,
    ),
    key=("registered_model_id",),
    unique=True,
)

MODEL_REQUESTS_HISTORY = Table(
    "model_requests_history",
    "a state of a request that a version of a model comes into a stage, or is named by an alias",
    (
        Column("request_id", "int64", "1, 2, 3, … of the lake", nullable=False),
        MODEL,
        NAME,
        Column("version", "int64", "version that shall move", nullable=False),
        Column("stage", "string", "stage that it shall come into; null: an alias is asked for"),
        Column("alias", "string", "alias that shall name it; null: a stage is asked for"),
        Column("archive_existing", "bool", "whether the other versions of the stage go to Archived", nullable=False),
        Column("from_state", "string", "stage of the version, or version that the alias named, when it was asked"),
        Column(
            "moves",
            "int64",
            "stages that the version had had, or versions that the alias had named, when it was asked: more of them "
            "now mean that it has moved since",
            nullable=False,
        ),
        Column(
            "status",
            "string",
            "open, approved (the move is about to be made), applied, rejected, cancelled or outdated",
            nullable=False,
        ),
        Column("approved_by", "strings", "who has approved, in order"),
        Column("requested_by", "string", "who asked"),
        Column("requested_at", "timestamp", "when it was asked, UTC", nullable=False),
        USER,
        COMMENT,
    ),
    key=("request_id",),
    unique=True,
)
