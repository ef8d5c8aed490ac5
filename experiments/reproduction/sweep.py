"""All runs of some tables, several at a time, a line each; one that fails does not stop the others."""

import contextlib
import functools
import io
import itertools
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import jax

from data_pipelines import parallel
from experiments.config import TrainConfig
from experiments.machine import fitting, preparation
from experiments.reproduction import costs, running
from experiments.reproduction.budgets import Entry
from experiments.reproduction.targets import TARGETS
from experiments.runs import datasets
from experiments.runs.logs import duration

FAILURES = (ValueError, OSError, MemoryError, FloatingPointError, jax.errors.JaxRuntimeError)
STEP = re.compile(r"train step (\d+/\d+)")
LOG = "log.txt"  # what the runs say, in the budget's folder
BYTES_OF_A_RUN = 3 * 2**30  # at most, of the small budgets (measured: 2.4 GB, of ODDN-l)


class Outcome(NamedTuple):
    """Of a table's runs, by row and seed."""

    records: dict[tuple[str, int], dict[str, Any]]
    failed: dict[tuple[str, int], str]  # what went wrong


class Numbered(NamedTuple):
    """A run, and the table that wants it."""

    number: int
    table: str
    entry: Entry

    def head(self, total: int) -> str:
        return f"{self.number} of {total}: {self.table}, {self.entry.label}"


def default_jobs() -> int:
    """As many runs at a time as this machine has processors, and memory for."""
    return max(1, min(parallel.default_jobs(), fitting.available_memory() // BYTES_OF_A_RUN))


def check_data(plans: Mapping[str, Sequence[Entry]]) -> None:
    """Finds or simulates the data that each table begins with: without, all its runs would fail in the same way."""
    for entries in filter(None, plans.values()):
        config = entries[0].stages[0].config
        if isinstance(config, TrainConfig):
            datasets.prepare(config)


def measure_all(
    plans: Mapping[str, Sequence[Entry]], folder: pathlib.Path, jobs: int
) -> Iterator[tuple[dict[str, Outcome], set[str]]]:
    """Trains and scores all runs of some tables, the first seed of all of them first.

    Args:
        plans: by name of the table; runs that several need are trained once.
        folder: of the budget, for what the runs say.
        jobs: runs at a time, each in a process of its own with one thread, so that their bits hang on no number of
            processors; 0: one after the other in this process.

    Yields:
        What there is by name of the table, and which tables have something new: after each model; at first nothing.
    """
    found = {name: Outcome({}, {}) for name in plans}
    yield found, set()
    groups = by_model(plans)
    total, every = sum(map(len, groups)), [entry for entries in plans.values() for entry in entries]
    tasks = (functools.partial(measure_group, group, total, folder, every, jobs) for group in groups)
    done = parallel.ordered_map(tasks, jobs, apart=True) if jobs else (task() for task in tasks)
    with contextlib.closing(done), _ended_by_signals() if jobs else contextlib.nullcontext():
        # In this order `done` comes to its end, and its processes to theirs.
        for outcomes, group in zip(done, groups):
            for run, (seconds, record, line) in zip(group, outcomes):
                key = run.entry.row, run.entry.seed
                if line is None:
                    found[run.table].records[key] = record
                else:
                    found[run.table].failed[key] = f"{run.entry.label}: {line}"
                if jobs:
                    said = f"{run.head(total)}: {duration(seconds)}{_left(every, jobs)}"
                    print(said if line is None else f"{said}; failed: {line}", file=sys.stderr, flush=True)
            yield found, {run.table for run in group}


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ends this process as Ctrl-C does at a signal that asks it to stop, so that its runs save before they end."""

    def end(number, frame):
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    before = {
        number: signal.signal(number, end) for number in numbers if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def by_model(plans: Mapping[str, Sequence[Entry]]) -> list[list[Numbered]]:
    """All runs, those together that begin with the same training: no other process may be at work there meanwhile."""
    groups: dict[pathlib.Path, list[tuple[str, Entry]]] = {}
    for seed in sorted({entry.seed for entries in plans.values() for entry in entries}):
        for name, entries in plans.items():
            for entry in (entry for entry in entries if entry.seed == seed):
                groups.setdefault(entry.stages[0].folder, []).append((name, entry))
    numbers = itertools.count(1)
    return [[Numbered(next(numbers), *run) for run in group] for group in groups.values()]


def measure_group(
    runs: Sequence[Numbered], total: int, folder: pathlib.Path, every: Sequence[Entry], jobs: int
) -> list[tuple[float, dict[str, Any] | None, str | None]]:
    """Trains and scores some runs: of each the seconds, and its record or what went wrong.

    Args:
        total: runs of all groups.
        folder: of the budget.
        every: the entries of all groups.
        jobs: as of `measure_all`; with processes nothing is said on stderr.
    """
    if jobs:
        preparation.prepare()
    outcomes = []
    for run in runs:
        began, record, line = time.monotonic(), None, None
        head = f"{run.head(total)}{_left(every, max(1, jobs))}"
        try:
            with shown_as_line(head, folder / LOG, None if jobs else sys.stderr):
                record = running.measure(run.entry, TARGETS[run.table].has_pictures)
        except FAILURES as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not jobs:
                print(f"failed: {line}", file=sys.stderr, flush=True)
        outcomes.append((time.monotonic() - began, record, line))
        jax.clear_caches()  # the next model shares no compiled code with this one
    return outcomes


def _left(entries: Sequence[Entry], jobs: int) -> str:
    seconds = costs.seconds_left(entries)
    return "" if seconds is None else f", about {duration(seconds / jobs)} of training left for the whole"


@contextlib.contextmanager
def shown_as_line(head: str, log: pathlib.Path, terminal: TextIO | None) -> Iterator[None]:
    """One line for what happens meanwhile, and how long it took; what is said there is added to a file.

    Args:
        terminal: where the line goes. None: nowhere, and others write to the file too: a line there tells whose it is.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
        print(f"\n{head}", file=file, flush=True)
        if terminal is not None:
            print(head, end="", file=terminal, flush=True)
        taken = "stopped"
        try:
            with contextlib.closing(_Line(head, terminal, file)) as line, contextlib.redirect_stderr(line):
                yield
            taken = duration(time.monotonic() - began)
        finally:
            if terminal is not None:
                print(f": {taken}", file=terminal, flush=True)


class _Line(io.TextIOBase):
    """Adds what is written to a file; where a person watches, the last step that it tells stands behind the head."""

    def __init__(self, head: str, terminal: TextIO | None, file: TextIO):
        self._head, self._terminal, self._file = head, terminal, file
        self._whose, self._begun = "" if terminal is not None else f"{head.partition(':')[0]}: ", ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        self._file.write("".join(f"{self._whose}{line}\n" for line in lines))
        steps = STEP.findall(text)
        if steps and self._terminal is not None and self._terminal.isatty():
            print(f"\r{self._head}, step {steps[-1]}", end="", file=self._terminal, flush=True)
        return len(text)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        if self._begun:
            self.write("\n")
        super().close()
