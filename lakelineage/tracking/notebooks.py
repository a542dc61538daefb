"""The notebook that a run is logged from. IPython is never imported here: where it matters, it is loaded already."""

import functools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Bytes of a notebook that are kept: outputs and images make them long.
LONGEST_NOTEBOOK = 10 << 20
#: Seconds that a Jupyter server may take to tell which notebook a kernel belongs to.
_SERVER_TIMEOUT = 0.5


def shell() -> Any:
    """IPython's shell in this process; None if it does not run in IPython."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def in_kernel() -> bool:
    """Whether this process is a Jupyter kernel."""
    return hasattr(shell(), "kernel")


@functools.cache
def path() -> Path | None:
    """The notebook of this kernel, as it was called when this was first asked; None if nothing tells.

    VS Code says it in the user's namespace, Jupyter Server 2 in a variable of the environment; others are asked.
    """
    for candidate in _candidates():
        if candidate.suffix == ".ipynb" and candidate.is_file():
            return candidate.absolute()
    return None


def _candidates() -> Iterator[Path]:
    told = shell().user_ns.get("__vsc_ipynb_file__")
    if isinstance(told, str):
        yield Path(told)
    session = os.environ.get("JPY_SESSION_NAME")
    if session:
        # Its folders may be those of the server; the kernel itself works in the notebook's folder.
        yield from (Path(session), Path(Path(session).name))
    kernel = _kernel_id()
    if kernel is not None:
        yield from _told_by_servers(kernel)


def _kernel_id() -> str | None:
    """What Jupyter calls this kernel: its connection file is named ``kernel-<id>.json``."""
    config = shell().kernel.config
    file = config.get("IPKernelApp", {}).get("connection_file", "")
    name = Path(file).name
    return name[len("kernel-") : -len(".json")] if name.startswith("kernel-") and name.endswith(".json") else None


def _told_by_servers(kernel: str) -> Iterator[Path]:
    """Ask the Jupyter servers of this user which notebook the kernel belongs to."""
    from jupyter_core.paths import jupyter_runtime_dir

    files = [f for kind in ("jpserver-*.json", "nbserver-*.json") for f in Path(jupyter_runtime_dir()).glob(kind)]
    for file in sorted(files, key=_changed, reverse=True):
        try:
            server = json.loads(file.read_bytes())
            sessions = _sessions(server)
            found = [s for s in sessions if s["kernel"]["id"] == kernel]
            root = server.get("root_dir") or server["notebook_dir"]
            yield from (Path(root, s.get("path") or s["notebook"]["path"]) for s in found)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # a server that has ended, or wants a password


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _sessions(server: dict[str, Any]) -> list[Any]:
    import urllib.request

    url = str(server["url"])
    if not url.startswith(("http://", "https://")):
        return []
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url.rstrip("/") + "/api/sessions", headers={"Authorization": f"token {server.get('token', '')}"}
    )
    # The server is on this machine: a proxy of the environment is not meant for it.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=_SERVER_TIMEOUT) as answer:
        found = json.loads(answer.read())
    return found if isinstance(found, list) else []


def executed() -> str:
    """The cells that this kernel has executed so far, as a program in percent format."""
    # IPython's magics and shell lines are in it as the calls that they became, so that it is valid Python.
    cells = shell().user_ns.get("In", [])
    return "".join(f"# %% [{number}]\n{cell.rstrip()}\n\n" for number, cell in enumerate(cells) if cell.strip())


def as_percent(content: bytes) -> str:
    """The cells of a notebook file as a program in percent format; Markdown as comments.

    Raises:
        ValueError: the content is no notebook.
    """
    notebook = json.loads(content)
    try:
        return "\n".join(_percent(cell) for cell in notebook["cells"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no notebook of format 4: {error}") from error


def _percent(cell: dict[str, Any]) -> str:
    lines = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    if cell["cell_type"] == "code":
        return f"# %%\n{lines}\n"
    commented = "\n".join(f"# {line}".rstrip() for line in lines.splitlines())
    return f"# %% [{cell['cell_type']}]\n{commented}\n"
