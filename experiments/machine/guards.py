"""What can befall a long run from outside: signals, a full disk, exhausted memory."""

import contextlib
import errno
import os
import pathlib
import re
import signal
from collections.abc import Iterator

import jax

from data_pipelines.command_line import first_line
from experiments.config import TrainConfig
from experiments.machine import fitting

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects the signals that mean "save and end" in the list it yields; a second of a kind has its ordinary effect.

    They are SIGINT and SIGTERM; SIGHUP, which a closed terminal sends; and SIGUSR1, with which SLURM announces the end
    of a job's time (`--signal=USR1@120`). One of the last two that is ignored already, as `nohup` has it, stays so.
    With several processes SIGTERM is left to JAX, which makes them agree on a step to stop at; the others become one.
    """
    received, several = [], jax.process_count() > 1

    def handler(number, frame):
        received.append(number)
        signal.signal(number, before[number])
        if several:
            signal.raise_signal(signal.SIGTERM)

    caught = {signal.SIGINT, signal.SIGTERM}
    for name in ("SIGHUP", "SIGUSR1"):  # not every system has them
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            caught.add(number)
    if several:
        caught.discard(signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in sorted(caught)}
    try:
        yield received
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def why_not_written(error: Exception) -> tuple[bool, str]:
    """Whether a disk was full, and what the system said, of an error in writing.

    TensorStore, which writes the arrays of checkpoints, has the system's words and its number in a text of its own.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL, first_line(error)
    found = re.search(r"([^:\[]+?) \[os_error_code='(\d+)'", str(error))
    if found:
        return int(found[2]) in FULL, found[1].strip()
    return False, first_line(error)[:200]


@contextlib.contextmanager
def explain_full_disk(folder: str | pathlib.Path) -> Iterator[None]:
    """Names the folder when its disk runs full: the system's own message does not."""
    try:
        yield
    except OSError as error:
        elsewhere = isinstance(error.filename, str) and not pathlib.Path(
            error.filename
        ).resolve().is_relative_to(pathlib.Path(folder).resolve())
        if error.errno not in FULL or elsewhere:
            raise
        raise OSError(
            f"the disk of {folder} is full: make room and give the same command again; checkpoints are whole or absent"
        ) from error


@contextlib.contextmanager
def explain_device() -> Iterator[None]:
    """One line for a device that is not there, or whose memory does not suffice."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second where the plugin for it is not installed
        platforms = os.environ.get("JAX_PLATFORMS", "")
        raise OSError(f"JAX finds no device, JAX_PLATFORMS is {platforms!r}: {first_line(error)}") from error
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MemoryError(f"the device has too little memory for this ({first_line(error)})") from error


@contextlib.contextmanager
def explain_exhausted_memory(config: TrainConfig) -> Iterator[None]:
    """Names the setting that would fit when a device runs out of memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MemoryError(
            fitting.explain_exhaustion(config, str(error), fitting.device_limit(), jax.device_count())
        ) from error
