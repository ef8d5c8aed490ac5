"""All runs of some tables, one after the other, a line each; one that fails does not stop the others."""

import contextlib
import io
import pathlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

import jax

from experiments.config import TrainConfig
from experiments.reproduction import costs, running
from experiments.reproduction.budgets import Entry
from experiments.reproduction.targets import TARGETS
from experiments.runs import datasets
from experiments.runs.logs import duration

FAILURES = (ValueError, OSError, MemoryError, FloatingPointError, jax.errors.JaxRuntimeError)
STEP = re.compile(r"train step (\d+/\d+)")
LOG = "log.txt"  # what the runs say, in the budget's folder


class Outcome(NamedTuple):
    """Of a table's runs, by row and seed."""

    records: dict[tuple[str, int], dict[str, Any]]
    failed: dict[tuple[str, int], str]  # what went wrong


def check_data(plans: Mapping[str, Sequence[Entry]]) -> None:
    """Finds or simulates the data that each table begins with: without, all its runs would fail in the same way."""
    for entries in filter(None, plans.values()):
        config = entries[0].stages[0].config
        if isinstance(config, TrainConfig):
            datasets.prepare(config)


def measure_all(plans: Mapping[str, Sequence[Entry]], folder: pathlib.Path) -> Iterator[dict[str, Outcome]]:
    """Trains and scores all runs of some tables, the first seed of all of them first.

    Args:
        plans: by name of the table; runs that several need are trained once.
        folder: of the budget, for what the runs say.

    Yields:
        By name of the table, what there is: after each table, for each seed; once where there is nothing to do.
    """
    found = {name: Outcome({}, {}) for name in plans}
    every = [entry for entries in plans.values() for entry in entries]
    number = 0
    if not every:
        yield found
    for seed in sorted({entry.seed for entry in every}):
        for name, entries in plans.items():
            for entry in (entry for entry in entries if entry.seed == seed):
                number += 1
                head = f"{number} of {len(every)}: {name}, {entry.label}{_left(every)}"
                try:
                    with shown_as_line(head, folder / LOG):
                        record = running.measure(entry, TARGETS[name].has_pictures)
                    found[name].records[entry.row, seed] = record
                except FAILURES as error:
                    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                    found[name].failed[entry.row, seed] = f"{entry.label}: {line}"
                    print(f"failed: {line}", file=sys.stderr, flush=True)
                jax.clear_caches()  # the next model shares no compiled code with this one
            yield found


def _left(entries: Sequence[Entry]) -> str:
    seconds = costs.seconds_left(entries)
    return "" if seconds is None else f", about {duration(seconds)} of training left for the whole"


@contextlib.contextmanager
def shown_as_line(head: str, log: pathlib.Path) -> Iterator[None]:
    """One line on stderr for what happens meanwhile, and how long it took; what is said there is added to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    began, terminal = time.monotonic(), sys.stderr
    with open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
        print(f"\n{head}", file=file, flush=True)
        print(head, end="", file=terminal, flush=True)
        taken = "stopped"
        try:
            with contextlib.redirect_stderr(_Line(head, terminal, file)):
                yield
            taken = duration(time.monotonic() - began)
        finally:
            print(f": {taken}", file=terminal, flush=True)


class _Line(io.TextIOBase):
    """Adds what is written to a file; where a person watches, the last step that it tells stands behind the head."""

    def __init__(self, head: str, terminal: TextIO, file: TextIO):
        self._head, self._terminal, self._file = head, terminal, file

    def write(self, text: str) -> int:
        self._file.write(text)
        steps = STEP.findall(text)
        if steps and self._terminal.isatty():
            print(f"\r{self._head}, step {steps[-1]}", end="", file=self._terminal, flush=True)
        return len(text)

    def flush(self) -> None:
        self._file.flush()
