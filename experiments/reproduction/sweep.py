"""All runs of a target, one after the other; one that fails does not stop the others."""

from collections.abc import Sequence
from typing import Any

import jax

from experiments.config import TrainConfig
from experiments.reproduction import running
from experiments.reproduction.budgets import Entry
from experiments.reproduction.targets import Target
from experiments.runs import datasets
from experiments.runs.logs import say

FAILURES = (ValueError, OSError, MemoryError, FloatingPointError, jax.errors.JaxRuntimeError)


def check_data(entries: Sequence[Entry]) -> None:
    """Finds or simulates the data of the first run: without, all would fail in the same way."""
    config = entries[0].stages[0].config
    if isinstance(config, TrainConfig):
        datasets.prepare(config)


def measure_all(
    entries: Sequence[Entry], target: Target
) -> tuple[dict[tuple[str, int], dict[str, Any]], dict[tuple[str, int], str]]:
    """The records of all runs by row and seed, and what went wrong with the others."""
    records, failed = {}, {}
    for number, entry in enumerate(entries, 1):
        say(f"{number} of {len(entries)}: {entry.row}, seed {entry.seed}: {entry.stages[-1].folder}")
        try:
            records[entry.row, entry.seed] = running.measure(entry, target.has_pictures)
        except FAILURES as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            failed[entry.row, entry.seed] = f"{entry.row}, seed {entry.seed}: {line}"
            say(f"failed: {line}")
        jax.clear_caches()  # the next model shares no compiled code with this one
    return records, failed
