"""Writing many videos with several processes, such that an interrupted run can simply be started again."""

import contextlib
import json
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from data_pipelines.json_files import read_json
from data_pipelines.parallel import WORKERS, end_with_parent, single_threaded
from data_pipelines.whole_files import whole_file

CARD = "simulator.json"
SECONDS_BETWEEN_LINES = 10


class Writer(Protocol):
    """What writes the videos of a data set, each from its index alone. Crosses process borders."""

    root: Path

    def is_finished(self, index: int) -> bool:
        """Whether all files of the video are there."""

    def write(self, index: int) -> object:
        """Writes a video in a worker process; what it returns goes to `record`."""

    def record(self, index: int, result: object) -> int:
        """Notes a written video in the main process; returns its bytes."""


class Summary(NamedTuple):
    written: int
    skipped: int
    size: int  # bytes written
    seconds: float


def generate(writer: Writer, card: dict, indices: Sequence[int], jobs: int) -> Summary:
    """Writes the videos that are not there yet, `jobs` at a time; their bytes do not depend on `jobs`.

    Raises:
        ValueError: nothing to write, or the folder holds data described by another card.
        OSError: the folder cannot be written, or a worker process died.
    """
    if len(indices) < 1 or jobs < 1:
        raise ValueError(f"num_videos and jobs must be at least 1: {len(indices)}, {jobs}")
    _keep_card(writer.root / CARD, card)
    missing = [index for index in indices if not writer.is_finished(index)]
    start, size = time.monotonic(), 0
    with _progress(len(missing)) as advance, _results(writer, missing, jobs) as results:
        for index, result in results:
            size += writer.record(index, result)
            advance()
    return Summary(len(missing), len(indices) - len(missing), size, time.monotonic() - start)


def _keep_card(path: Path, card: dict) -> None:
    """Writes the card, or compares it with the one that is there."""
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_text(json.dumps(card, indent=2) + "\n")
        return
    try:
        present = read_json(path)
    except ValueError:
        present = None
    if not isinstance(present, dict):
        raise ValueError(f"{path} is not a card of this simulator: choose another --output")
    different = sorted(key for key in card if present.get(key) != card[key])
    if different:
        raise ValueError(
            f"{path.parent} holds data made otherwise (its {CARD} differs in {', '.join(different)}): "
            "choose another --output, or repeat the command that began it"
        )


@contextlib.contextmanager
def _results(writer: Writer, indices: list[int], jobs: int) -> Iterator[Iterator[tuple[int, object]]]:
    """Runs `writer.write` in worker processes; they end with the block, however it ends."""
    workers = {}
    with single_threaded(), _without_interrupts():
        for part in (indices[job::jobs] for job in range(min(jobs, len(indices)))):
            receiver, sender = WORKERS.Pipe(duplex=False)
            process = WORKERS.Process(target=_work, args=(writer, part, sender))
            process.start()
            sender.close()
            workers[receiver] = process
    try:
        yield _receive(workers)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()


def _receive(workers: dict) -> Iterator[tuple[int, object]]:
    """Results in the order in which they come.

    Raises:
        Exception: what a worker met.
    """
    open_receivers = list(workers)
    while open_receivers:
        for receiver in multiprocessing.connection.wait(open_receivers):
            try:
                index, result = receiver.recv()
            except (EOFError, OSError) as end:  # the latter in the middle of a message
                open_receivers.remove(receiver)
                workers[receiver].join()
                code = workers[receiver].exitcode
                if code or isinstance(end, OSError):
                    raise ChildProcessError(
                        f"a simulator process ended with exit code {code}: repeat the command to go on"
                    ) from None
                continue
            if isinstance(result, Exception):
                raise result
            yield index, result


def _work(writer: Writer, indices: list[int], sender) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.unraisablehook = end_where_exit_is_ignored
    end_with_parent()
    for index in indices:
        try:
            result = writer.write(index)
        except (ValueError, OSError) as error:
            result = error
        sender.send((index, result))


def end_where_exit_is_ignored(unraisable) -> None:
    """A hook of `sys`: a signal that comes while Numba's compiler calls back must end the process all the same."""
    if isinstance(unraisable.exc_value, SystemExit):
        os._exit(unraisable.exc_value.code)
    sys.__unraisablehook__(unraisable)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, which a terminal sends to all: the main process ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _progress(total: int) -> Iterator:
    """Gives a function to call after every video: a bar on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, unit="video", file=sys.stderr) as bar:
            yield bar.update
        return
    start = last = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = done / (now - start)
            print(
                f"{done}/{total} videos, {rate:.2f} a second, {(total - done) / rate:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    yield advance
