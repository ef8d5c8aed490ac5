"""What can befall a long run from outside: signals, a full disk, exhausted memory."""

import contextlib
import errno
import pathlib
import signal
from collections.abc import Iterator

import jax

from experiments.config import TrainConfig


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in the list it yields; the second of a kind has its ordinary effect.

    With several processes SIGTERM is left to JAX, which makes them agree on a step to stop at, and SIGINT becomes one.
    """
    received, several = [], jax.process_count() > 1

    def handler(number, frame):
        received.append(number)
        signal.signal(number, before[number])
        if several:
            signal.raise_signal(signal.SIGTERM)

    caught = (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in caught}
    try:
        yield received
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextlib.contextmanager
def explain_full_disk(folder: str | pathlib.Path) -> Iterator[None]:
    """Names the folder when its disk runs full: the system's own message does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"the disk of {folder} is full: make room and give the same command again; checkpoints are whole or absent"
        ) from error


@contextlib.contextmanager
def explain_exhausted_memory(config: TrainConfig) -> Iterator[None]:
    """Names the three knobs when a device runs out of memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        knobs = {"remat": "step", "compute_dtype": "bfloat16"}
        others = [
            f"--config.model.{name}={value}" for name, value in knobs.items() if hasattr(config.model, name)
        ]
        raise MemoryError(
            f"config.batch_size {config.batch_size} does not fit the device: lower --config.batch_size"
            + (f", or set {', or '.join(others)}" if others else "")
        ) from error
