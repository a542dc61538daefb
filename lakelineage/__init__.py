"""lakelineage: the memory of a machine-learning team on its own lakehouse.

    import lakelineage as ll

    lake = ll.open("lake")
    with lake.start_run(experiment="diabetes", name="enet") as run:
        train = run.use("data/diabetes").to_pandas()
        run.log_metric("rmse", 63.2)
"""

from lakelineage import errors
from lakelineage.lake import Lake
from lakelineage.lake import open_lake as open  # noqa: A004 - the public name is ll.open
from lakelineage.run import PastRun, Run

__version__ = "0.1.0"

__all__ = ["Lake", "PastRun", "Run", "errors", "open"]
