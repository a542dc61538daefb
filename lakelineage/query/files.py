"""Data files that an engine can read by itself: what it must be told of them, whatever the engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """A column of files of one shape.

    Attributes:
        name: in the table.
        kind: in the table, and in the files if they have it.
        stored: name in the files; None: they do not have it, and each file gives all its rows one value.
        int96: whether the files store it as Spark's old timestamps, which engines take for something else.
    """

    name: str
    kind: "pa.DataType"
    stored: str | None
    int96: bool = False


@dataclass(frozen=True)
class File:
    """A file.

    Attributes:
        place: absolute path on this machine.
        num_rows: of the file, hidden ones too.
        values: column that the file does not have → the value of all its rows.
        hidden: positions, from 0, of rows that the table does not have; ascending.
    """

    place: str
    num_rows: int
    values: Mapping[str, "pa.Scalar"]
    hidden: "NDArray[np.int64] | None" = None


@dataclass(frozen=True)
class Group:
    """Files of one shape, in the order of the table.

    Attributes:
        columns: those that were asked for, in that order.
        files: one at least.
    """

    columns: tuple[Stored, ...]
    files: tuple[File, ...]

    @property
    def has_hidden(self) -> bool:
        """Whether rows of a file are hidden."""
        return any(file.hidden is not None for file in self.files)
