"""Files that appear under their name only when they are complete."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it to `path` when the block ends well.

    Makes the folder. Removes what a killed process of this machine left of the same file. Processes that write the
    same file at once, on one machine or several, do not disturb each other: the last one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        if _is_abandoned(leftover):
            leftover.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _machine() -> str:
    return socket.gethostname().replace(".", "_")


def _is_abandoned(partial: Path) -> bool:
    """Whether the process that wrote a temporary file ran on this machine and is gone."""
    machine, _, process = partial.name.removesuffix(".partial").rpartition(".")[2].rpartition("-")
    if machine != _machine() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's
    return False
