"""Pictures of runs, as Altair charts: metric curves, and params and metrics of many runs against each other."""

from lakelineage.plot.plots import Plots

__all__ = ["Plots"]
