"""Names of registered models and aliases, and URIs that name a model. MLflow's rules, so that both sides agree.

Source: ``mlflow/utils/validation.py`` (3.17), ``_validate_model_name`` and ``_validate_model_alias_name``.
"""

import re
from dataclasses import dataclass

from lakelineage.errors import InvalidInput
from lakelineage.model import validate
from lakelineage.registry.values import checked_stage, is_stage

_ALIAS = re.compile(r"[\w\-]+", re.ASCII)
_RESERVED_ALIAS = re.compile(r"latest|v?\d+", re.IGNORECASE)
_LONGEST_ALIAS = 255


def model_name(value: object) -> str:
    """A registered model's name: no ``/``, ``:`` or ``@``, which URIs and node ids use.

    Raises:
        InvalidInput: empty, too long, or with one of these characters.
    """
    name = validate.key(value, "model name")
    if any(mark in name for mark in "/:@") or name in (".", ".."):
        raise InvalidInput(f"model name {name!r} has one of / : @ or is a folder step; use letters, digits, - or _")
    return name


def alias_name(value: object) -> str:
    """An alias: letters, digits, ``_`` and ``-``; neither "latest" nor a version number.

    Raises:
        InvalidInput: anything else.
    """
    alias = validate.text(value, "alias", _LONGEST_ALIAS)
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(f"alias {alias!r} is empty or has other characters than letters, digits, - and _")
    if _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidInput(f"alias {alias!r} reads like a version; choose a word such as 'champion'")
    return alias


def _looked_up(name: str) -> str:
    """A name that is looked up: MLflow takes some that we do not give."""
    if "/" in name or ":" in name or not name:
        raise InvalidInput(f"model name {name!r} is empty or has one of / and :, which no registered model has")
    return name


@dataclass(frozen=True, slots=True)
class ModelUri:
    """``models:/name/3``, ``models:/name/latest``, ``models:/name/Production`` or ``models:/name@alias``, read.

    Attributes:
        name: registered model.
        version: number; None for an alias, a stage or the newest.
        alias: alias; None for all else.
        stage: the newest version in it is meant; None for all else.
    """

    name: str
    version: int | None
    alias: str | None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class RunUri:
    """``runs:/<run id>/<path>``, read."""

    run_id: str
    path: str


def parse_uri(text: str) -> ModelUri | RunUri:
    """Read a URI that names a model.

    Raises:
        InvalidInput: it is neither of the forms above.
    """
    scheme, _, rest = text.partition(":/")
    rest = rest.strip("/")
    if scheme == "runs" and "/" in rest:
        run_id, _, path = rest.partition("/")
        return RunUri(run_id, validate.artifact_path(path))
    if scheme == "models" and rest:
        return _model_uri(text, rest)
    raise InvalidInput(f"{text!r} names no model; write models:/NAME/3, models:/NAME@alias or runs:/RUN_ID/PATH")


def _model_uri(text: str, rest: str) -> ModelUri:
    # A name that MLflow gave may hold an @.
    name, slash, version = rest.rpartition("/")
    if slash and version.isascii() and version.isdigit():
        return ModelUri(_looked_up(name), int(version), None)
    if slash and version.lower() == "latest":
        return ModelUri(_looked_up(name), None, None)
    if slash and is_stage(version):
        return ModelUri(_looked_up(name), None, None, checked_stage(version))
    name, at, alias = rest.rpartition("@")
    if at:
        return ModelUri(_looked_up(name), None, alias_name(alias))
    name = rest.partition("/")[0]
    raise InvalidInput(
        f"{text!r} names no version; write models:/{name}/3, models:/{name}/latest, models:/{name}/Production or "
        f"models:/{name}@alias"
    )
