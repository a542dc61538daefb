"""Registered models: names, versions, aliases, and the record of every act on them."""

from lakelineage.registry.models import Models, ModelVersion

__all__ = ["ModelVersion", "Models"]
