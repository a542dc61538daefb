"""Hybrid logical clock: wall-clock microseconds that never run backwards.

Source: Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014). The logical part is folded into the
microseconds: a reading is the greater of the wall clock and one more than any reading seen before.
"""

import threading
import time
from collections.abc import Callable


def wall_clock() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class HybridClock:
    """Gives strictly increasing microseconds within a process, and after every reading it was told of.

    Args:
        load: the greatest reading known outside this process (other processes of the host), or 0.
        store: tells the outside of a new reading.
        wall: the wall clock, in microseconds.
    """

    def __init__(
        self,
        load: Callable[[], int] = lambda: 0,
        store: Callable[[int], None] = lambda _: None,
        wall: Callable[[], int] = wall_clock,
    ) -> None:
        self._load = load
        self._store = store
        self._wall = wall
        self._last = 0
        self._stored = 0
        self._foreign = 0
        self._lock = threading.Lock()

    def now(self) -> int:
        """A reading later than every earlier one, in microseconds."""
        with self._lock:
            self._last = max(self._wall(), self._last + 1, self._seen() + 1)
            self._store(self._last)
            self._stored = self._last
            return self._last

    def foreign(self) -> int:
        """The reading that the outside made last, as far as is known; 0 if none.

        It changes whenever another process of the host takes a place in the order. Two that do so in the very same
        microsecond may miss each other.
        """
        with self._lock:
            self._seen()
            return self._foreign

    def _seen(self) -> int:
        """What the outside tells. What we did not store ourselves, somebody else did."""
        reading = self._load()
        if reading != self._stored:
            self._foreign = reading
        return reading

    def witness(self, reading: int) -> None:
        """Take note of a reading made elsewhere: all later ones of ours come after it."""
        with self._lock:
            self._last = max(self._last, reading)
