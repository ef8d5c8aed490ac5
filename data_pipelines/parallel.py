"""Worker processes, and how they run independent tasks whose results are handed out in order."""

import collections
import concurrent.futures
import contextlib
import math
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.reduction
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Tasks in flight for each process. With 2, the others wait for a slow one: over CLEVRER's scenes, a third of whose time
# is a search of chance length, 8 processes then do 0.87 of what they could, and with 4 0.998.
WINDOW = 4
PATIENCE = 10.0  # seconds that a process gets to end by itself
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # the last: XLA's


_starting = threading.Lock()


class _Worker(multiprocessing.context.SpawnProcess):
    """A spawned process that does not run the calling script again.

    Python's own runs the main module once more in each worker, for functions that are defined there. Ours never are: a
    script without `if __name__ == "__main__"` would start itself over and over, and a program that trains would load
    JAX in every worker.
    """

    def start(self) -> None:
        with _starting:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _WorkerContext(multiprocessing.context.SpawnContext):
    Process = _Worker


WORKERS = _WorkerContext()  # used like `multiprocessing.get_context("spawn")`


def default_jobs() -> int:
    """The processors that this process may use: by its affinity, and by the limits of its control groups.

    A share of a processor counts as one, so that all of the limit is used.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_limit())))


def cgroup_limit(membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """The processors that the control groups of this process may use together; infinite without a limit.

    Containers are limited in this way, where the system still names all processors of the machine.

    Args:
        membership: the groups of a process, one a line, as Linux lists them.
        root: where the groups are mounted, of version 1 or 2.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount, read = root, _limit_of_version_2
        elif "cpu" in controllers.split(","):
            mount, read = root / "cpu", _limit_of_version_1
        else:
            continue
        # A limit of an outer group holds inside; within a container the path may be that of the host.
        folder = mount / group.lstrip("/")
        limits += [read(part) for part in (folder, *folder.parents) if part.is_relative_to(mount)]
    return min(limits)


def _limit_of_version_2(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _limit_of_version_1(group: Path) -> float:
    try:
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def ordered_map(tasks: Iterable[Callable[[], T]], jobs: int, apart: bool = False) -> Iterator[T]:
    """Calls every task and yields the results in the order of the tasks.

    At most `WINDOW` results a process wait to be taken, so that memory stays bounded. A task that raises ends the
    iteration with its exception. With one job the tasks run in this process unless they are to be apart; processes use
    one thread each.

    Each process has a pipe of its own, and a thread here that waits for it: in a `ProcessPoolExecutor` all share one
    pipe, and a process that is killed while it sends a result leaves it locked, so that the others wait for ever.

    Args:
        tasks: callables without arguments; with several jobs they are pickled.
        jobs: processes, at least 1. They never import the calling script. They end with the iteration, and are killed
            where it ends early.
        apart: one job is a process, too.

    Raises:
        ChildProcessError: a process was killed.
    """
    if jobs == 1 and not apart:
        for task in tasks:
            yield task()
        return
    workers: dict[multiprocessing.connection.Connection, _Worker] = {}
    idle: queue.SimpleQueue[multiprocessing.connection.Connection] = queue.SimpleQueue()
    threads = concurrent.futures.ThreadPoolExecutor(jobs)
    waiting: collections.deque[concurrent.futures.Future[T]] = collections.deque()
    try:
        for task in tasks:
            if len(workers) < jobs:
                connection, process = _start_worker()
                workers[connection] = process
                idle.put(connection)
            waiting.append(threads.submit(_run_in_worker, task, idle))
            if len(waiting) == WINDOW * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        for connection in workers:
            connection.close()  # they end by themselves
        for process in workers.values():
            process.join(PATIENCE)
    except _WorkerIsGone:
        raise ChildProcessError(
            "a worker process was killed, for want of memory perhaps: "
            + (
                f"give the same command again, with fewer than {jobs} processes if that was it"
                if jobs > 1
                else "make room and give the same command again"
            )
        ) from None
    finally:
        for process in workers.values():
            process.terminate()
        threads.shutdown(cancel_futures=True)
        for connection, process in workers.items():
            process.join()
            connection.close()


class _WorkerIsGone(Exception):
    """A worker ended before it had sent a result."""


def _run_in_worker(task: Callable[[], T], idle: queue.SimpleQueue) -> T:
    connection = idle.get()
    try:
        connection.send(task)
        result, error = connection.recv()
    except (EOFError, OSError):  # the latter in the middle of a message
        raise _WorkerIsGone from None
    finally:
        idle.put(connection)
    if error is not None:
        raise error
    return result


def _start_worker() -> tuple[multiprocessing.connection.Connection, _Worker]:
    ours, theirs = WORKERS.Pipe()
    process = WORKERS.Process(target=_work, args=(theirs,))
    with single_threaded():
        process.start()
    theirs.close()  # so that its end is seen
    return ours, process


def _work(connection: multiprocessing.connection.Connection) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    end_with_parent()
    while True:
        try:
            task = connection.recv()
        except EOFError:  # the parent is gone
            return
        try:
            connection.send((task(), None))
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            connection.send((None, _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """The error, or its words in one that survives the way, of the kind that decides the exit code."""
    pickler = multiprocessing.reduction.ForkingPickler  # as `send` has it
    try:
        pickler.loads(pickler.dumps(error))
        return error
    except Exception:
        kinds = (ValueError, OSError, MemoryError, FloatingPointError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        told = kind(f"{type(error).__name__}: {error}" if kind is RuntimeError else str(error))
        told.__notes__ = error.__notes__
        return told


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Processes started inside use one thread each: there is one per core, and sums keep their order."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def end_with_parent() -> None:
    """Ends this worker when its parent is gone: what is left behind would write on beside the next command's."""
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
