"""SELECTs that users write over tables that they are given, and over nothing else."""

import json
from collections.abc import Collection, Iterator
from typing import Any

from lakelineage.errors import InvalidQuery
from lakelineage.query.duckdb.workspace import Workspace

#: Table functions that read nothing.
_HARMLESS = frozenset({"unnest", "range", "generate_series"})


def checked(work: Workspace, sql: str, tables: Collection[str]) -> str:
    """Refuse what is no SELECT, or reads other tables, files or functions that give tables.

    Returns:
        The SELECT without comments and semicolon, so that it can be part of another.

    Raises:
        InvalidQuery: it does.
    """
    [(told,)] = work.connection.execute("SELECT json_serialize_sql($1::VARCHAR)", [sql]).fetchall()
    parsed = json.loads(told)
    if parsed.get("error"):
        raise InvalidQuery(f"the query is no SELECT that can be understood: {parsed.get('error_message')}")
    if len(parsed["statements"]) != 1:
        raise InvalidQuery(f"the query is {len(parsed['statements'])} statements; write one SELECT")
    nodes = list(_nodes(parsed))
    known = {name.lower() for name in tables}
    known |= {str(entry["key"]).lower() for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    for node in nodes:
        name = str(node.get("table_name", ""))
        if node.get("type") == "BASE_TABLE" and (name.lower() not in known or node.get("schema_name")):
            raise InvalidQuery(
                f"the query reads {name!r}, which is not among the tables {sorted(tables)}: only those are pinned. "
                "Give it a name in tables="
            )
        if node.get("type") == "TABLE_FUNCTION":
            function = str((node.get("function") or {}).get("function_name", ""))
            if function.lower() not in _HARMLESS:
                raise InvalidQuery(f"the query calls {function}, and what that reads cannot be pinned; use tables=")
    [(plain,)] = work.connection.execute("SELECT json_deserialize_sql($1::JSON)", [told]).fetchall()
    return str(plain)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _nodes(each)
