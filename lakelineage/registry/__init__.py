"""Registered models: names, versions, aliases, and the record of every act on them."""

from lakelineage.registry.models import Models
from lakelineage.registry.values import ModelVersion, RegisteredModel

__all__ = ["ModelVersion", "Models", "RegisteredModel"]
