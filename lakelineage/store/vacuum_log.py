"""Telling a table's own log of a vacuum: a commit that changes no data, such as engines make for theirs."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from lakelineage.store import forks
from lakelineage.store.log_history import VACUUM_KEY
from lakelineage.store.source import Options, _plain

_log = logging.getLogger(__name__)


def tell(uri: str, options: Options, facts: Mapping[str, Any], user: str) -> int | None:
    """Commit that a vacuum took place; it gets in nobody's way, and the table's files are the same before and after.

    Args:
        uri: of the table, absolute.
        options: storage options.
        facts: what it did, for ``commitInfo``.
        user: who.

    Returns:
        The version committed; None where the engine cannot write this table (which is logged).
    """
    forks.guard()
    from deltalake import CommitProperties, DeltaTable
    from deltalake.exceptions import DeltaError

    told = CommitProperties(custom_metadata={VACUUM_KEY: json.dumps(facts), "userName": user})
    try:
        table = DeltaTable(uri, storage_options=_plain(options), without_files=True)
        table.create_write_transaction([], "append", table.schema(), commit_properties=told)
        return table.version()
    except (DeltaError, OSError) as error:
        _log.warning("the log of %s does not tell of the vacuum: %s", uri, error)
        return None
