"""Loads a model and predicts with it: the program of a process that holds nothing else.

``python -m lakelineage.inference.fresh FOLDER ROWS ANSWER WORD …``: the folder of a model, an Arrow file of rows (if
there is none, the model's own input example), the file in which the answer comes to be, and what the model may run when
it is loaded.
"""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lakelineage.errors import InvalidInput
from lakelineage.inference import mlflow_models

if TYPE_CHECKING:
    import pandas as pd


def main(folder: Path, rows: Path, answer: Path, trusted: frozenset[str]) -> None:
    """Load, predict, and write what came of it.

    Raises:
        NotTrusted: the model would run something else than what is trusted.
        InvalidInput: the model cannot be loaded or does not fit the rows, or there are none.
        Exception: whatever the model raises.
    """
    started = time.monotonic()
    model = mlflow_models.load(folder, str(folder), trusted)
    frame = _frame(rows, model) if rows.exists() else mlflow_models.example(folder)
    if frame is None or not len(frame):
        raise InvalidInput("there are no rows to predict for: give data, or log the model with input_example=")
    made = mlflow_models.predictions(model.predict(frame), len(frame))
    seconds = time.monotonic() - started
    told = f"{len(frame):,} rows in {seconds:.1f} s, of {', '.join(made)}, by Python {sys.version.split()[0]}"
    answer.write_text(json.dumps({"detail": told, "value": seconds}))


def _frame(path: Path, model: mlflow_models.LoadedModel) -> "pd.DataFrame":
    import pyarrow as pa

    table = pa.ipc.open_file(path.read_bytes()).read_all()
    problems = model.problems(table.schema)
    if problems:
        raise InvalidInput(f"the data does not fit the model: {'; '.join(problems)}")
    return table.select([n for n in table.schema.names if n in (model.inputs or table.schema.names)]).to_pandas()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), frozenset(sys.argv[4:]))
