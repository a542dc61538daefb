"""Making the next items of a stream while the last ones are used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], number: int = 2) -> Iterator[T]:
    """The items of a stream, made in another thread, one after the other.

    What the stream raises is raised here, at its turn. If the reader stops early, the item in the making is the last.
    The Delta engine pulls streams in a thread of its own, in which it cannot be called again: streams that read tables
    need the thread that this gives them.

    Args:
        items: made in the thread.
        number: how many may be ready at a time; they are held in memory.
    """
    source = iter(items)
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="lakelineage-ahead")

    def make() -> "Future[T | object]":
        return pool.submit(next, source, end)

    waiting = [make() for _ in range(number)]
    try:
        while (item := waiting.pop(0).result()) is not end:
            waiting.append(make())
            yield item  # type: ignore[misc]  # it is not the end
    finally:
        pool.shutdown(cancel_futures=True)
