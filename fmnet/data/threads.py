"""The same work on many files, a few at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], n_jobs: int
) -> Iterator[Result]:
    """Yield the results in the order of the items, `n_jobs` of which are worked on at a time.

    Threads, not processes: unpacking, hashing and resampling let others run meanwhile, and nothing
    has to be started or sent about. What has not begun when the caller stops is not done.

    Parameters
    ----------
    work : callable
        Of one item; what it returns should be small, for results may wait for their turn.
    items : iterable
        What is worked on.
    n_jobs : int
        1 works in the calling thread.
    """
    if n_jobs == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(n_jobs) as pool:
        yield from pool.map(work, items)
