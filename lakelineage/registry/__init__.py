"""Registered models: names, versions, aliases, and the record of every act on them."""

from lakelineage.registry.activity import Chain
from lakelineage.registry.models import Models
from lakelineage.registry.requests import Request
from lakelineage.registry.rules import Rules
from lakelineage.registry.upkeep import Retired
from lakelineage.registry.values import ModelVersion, RegisteredModel

__all__ = ["Chain", "ModelVersion", "Models", "RegisteredModel", "Request", "Retired", "Rules"]
