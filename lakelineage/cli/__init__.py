"""The command line: the verbs of a lake, for people at a terminal and for scripts.

It holds no rules of its own: each command calls verbs of :class:`lakelineage.Lake` and prints what they return.

Exit codes: 0 done, 1 an error of lakelineage (one line ``error: …`` on stderr), 2 the command was typed wrongly,
130 interrupted, 141 the reader of a pipe went away. With ``--json`` an error is ``{"error": {"code", "message"}}``, on
stderr too.
"""

from lakelineage.cli.app import main

__all__ = ["main"]
