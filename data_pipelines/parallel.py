"""Runs independent tasks in several processes and hands the results out in order."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def default_jobs() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(tasks: Iterable[Callable[[], T]], jobs: int) -> Iterator[T]:
    """Calls every task and yields the results in the order of the tasks.

    At most two results a process wait to be taken, so that memory stays bounded. A task that raises ends the iteration
    with its exception. With one job the tasks run in this process.

    Args:
        tasks: callables without arguments; with several jobs they are pickled.
        jobs: processes, at least 1. They are spawned: the calling script needs its `if __name__ == "__main__"`.
    """
    if jobs == 1:
        for task in tasks:
            yield task()
        return
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker)
    waiting: collections.deque[concurrent.futures.Future[T]] = collections.deque()
    try:
        for task in tasks:
            waiting.append(executor.submit(task))
            if len(waiting) == 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    # Ctrl-C reaches the whole process group; the parent decides. A parent that is killed leaves no worker behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
