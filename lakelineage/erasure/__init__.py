"""The right to be forgotten: which pins, archives and managed versions hold rows, and removing them."""

from lakelineage.erasure.forget import forget
from lakelineage.erasure.plan import Holding, Plan

__all__ = ["Holding", "Plan", "forget"]
