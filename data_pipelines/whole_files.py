"""Files that appear under their name only when they are complete."""

import contextlib
import glob
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.claims import machine

ABANDONED = 3600.0  # seconds after which an unfinished file is taken for that of a process that is gone


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to, and renames it to `path` when the block ends well.

    Makes the folder. Processes that write the same file at once do not meet, on one machine or several: the last one's
    stays. Removes what a killed process left of the file: at once where that can be known, otherwise after an hour. A
    link stays, and the file that it points to is written; so does a device or a pipe (`/dev/null`), to which the block
    writes itself.
    """
    path = Path(os.path.realpath(path))
    if _is_device(path):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if _is_abandoned(leftover):
            leftover.unlink(missing_ok=True)
    partial = _partial(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def check_output(path: Path, option: str) -> None:
    """Says in one line, before hours of work, that `whole_file` could not write there; makes no folder.

    Raises:
        OSError: the folder is missing or cannot be written to, or a folder has the file's name.
    """
    real = Path(os.path.realpath(path))
    if not os.path.isdir(real.parent):
        raise FileNotFoundError(f"{option}: there is no folder {path.parent}; make it first")
    if os.path.isdir(real):
        raise IsADirectoryError(f"{option}: {path} is a folder, name a file")
    if _is_device(real):
        return
    partial = _partial(real)
    try:
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise type(error)(f"{option}: {path} cannot be written: {error.strerror}") from None


def _is_device(path: Path) -> bool:
    """Or a pipe: what is written to and never replaced."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_where()}-{os.getpid()}-{secrets.token_hex(4)}.partial")


def _where() -> str:
    """What tells the processes that can see each other by number from all others: machine and container."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{machine()} {namespace}".encode()).hexdigest()[:12]


def _is_abandoned(partial: Path) -> bool:
    where, _, process = partial.name.removesuffix(".partial").rpartition(".")[2].partition("-")
    number = process.partition("-")[0]
    if where == _where() and number.isdigit():
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # somebody else's
    try:
        return time.time() - partial.stat().st_mtime > ABANDONED
    except FileNotFoundError:
        return False
