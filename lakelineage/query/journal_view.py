"""The journaled rows that a reader needs besides a Delta snapshot. Knows no engine."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lakelineage.journal.committer import measure
from lakelineage.journal.lanes import Segment
from lakelineage.journal.segment import MAGIC, Piece, by_table, to_arrow
from lakelineage.tables import RUNS_HISTORY, Table

if TYPE_CHECKING:
    import pyarrow as pa


def _seq(piece: Piece) -> int:
    return piece.part.seq


class JournalView:
    """Follows the segments of all hosts whose journals are here, and reads only what is new.

    Args:
        folders: tells the folders of hosts.
    """

    def __init__(self, folders: Callable[[], list[Path]]) -> None:
        self._folders = folders
        self._ends: dict[Segment, int] = {}
        self._pieces: dict[str, dict[Segment, list[Piece]]] = {}
        self._held_states: list[tuple[Segment, int, Piece]] = []
        self._changes: dict[str, int] = {}

    def poll(self) -> None:
        """Read what was journaled since the last poll.

        States of runs are taken up to an earlier moment than facts, so that a run seen as ended has all its facts.
        """
        closings = measure(self._folders())
        facts = measure(self._folders())
        for gone in self._ends.keys() - facts.keys():
            self._forget(gone)
        for segment, stop in facts.items():
            self._read(segment, stop)
        self._admit_states(closings)

    def _forget(self, segment: Segment) -> None:
        """A segment that is gone was committed: the snapshots taken after this poll hold its rows."""
        del self._ends[segment]
        for name, by_segment in self._pieces.items():
            if by_segment.pop(segment, None):
                self._note_change(name)
        self._held_states = [held for held in self._held_states if held[0] != segment]

    def _read(self, segment: Segment, stop: int) -> None:
        start = self._ends.setdefault(segment, len(MAGIC))
        if stop <= start:
            return
        for record in segment.records(start, stop):
            self._ends[segment] = record.end
            for name, pieces in by_table(iter([(segment.writer, record)])).items():
                if name == RUNS_HISTORY.name:
                    self._held_states.extend((segment, record.end, piece) for piece in pieces)
                else:
                    self._pieces.setdefault(name, {}).setdefault(segment, []).extend(pieces)
                    self._note_change(name)

    def _admit_states(self, closings: Mapping[Segment, int]) -> None:
        later = []
        states = self._pieces.setdefault(RUNS_HISTORY.name, {})
        for segment, end, piece in self._held_states:
            if end <= closings.get(segment, 0):
                states.setdefault(segment, []).append(piece)
                self._note_change(RUNS_HISTORY.name)
            else:
                later.append((segment, end, piece))
        self._held_states = later

    def _note_change(self, name: str) -> None:
        self._changes[name] = self._changes.get(name, 0) + 1

    def changes(self, table: Table) -> int:
        """A number that grows whenever a poll finds other rows of a table."""
        return self._changes.get(table.name, 0)

    def writers(self, table: Table) -> set[str]:
        """Writers that have rows of a table in the journal."""
        return {segment.writer for segment in self._pieces.get(table.name, {})}

    def rows(self, table: Table, covered: Mapping[str, int]) -> "pa.Table":
        """Rows of a table that a snapshot does not cover, with its stored schema.

        Args:
            table: which.
            covered: greatest number of each writer that the snapshot holds; what it covers is forgotten.
        """
        fresh: list[Piece] = []
        by_segment = self._pieces.get(table.name, {})
        for segment, pieces in by_segment.items():
            del pieces[: bisect_right(pieces, covered.get(segment.writer, 0), key=_seq)]
            fresh += pieces
        return to_arrow(table, fresh)
