"""The IPython extension: ``%load_ext lakelineage``."""

from typing import Any

from lakelineage.display import pages
from lakelineage.notebook.magics import Magics

#: Where the type is looked for when something is shown; named, so that pyarrow need not be loaded for it.
_ARROW_TABLE = ("pyarrow.lib", "Table")
_NAMES = ("lake", "lakesql")


def load(shell: Any) -> None:
    """Add the magics, and show Arrow tables as HTML.

    Args:
        shell: the running IPython.
    """
    from IPython.core.magic import no_var_expand

    magics = Magics(shell)
    # IPython would put values of variables into the text before the magic sees it: SQL by substitution.
    shell.register_magic_function(no_var_expand(magics.lake_function()), "line", "lake")
    shell.register_magic_function(no_var_expand(magics.lakesql_function()), "line_cell", "lakesql")
    _html(shell).for_type_by_name(*_ARROW_TABLE, pages.table)


def unload(shell: Any) -> None:
    """Take away what :func:`load` added."""
    for found in shell.magics_manager.magics.values():
        for name in _NAMES:
            found.pop(name, None)
    formatter = _html(shell)
    formatter.deferred_printers.pop(_ARROW_TABLE, None)
    for kind in [k for k, show in formatter.type_printers.items() if show is pages.table]:
        formatter.pop(kind)


def _html(shell: Any) -> Any:
    return shell.display_formatter.formatters["text/html"]
