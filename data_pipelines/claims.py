"""A folder belongs to one process at a time: whoever comes second is told who has it, on any file system.

What decides, in this order:

* the system's lock on `in_use.json`, where the disk has locks. The system releases it when its holder is killed.
* the words in that file, which its holder renews every few seconds. They decide where the disk has no locks, or keeps
  them to each host, and where they were written by another host: words that are renewed belong to a living process.
  Processes are told apart by a random token, because containers and hosts share process numbers, names and clocks.
"""

import contextlib
import datetime
import json
import os
import pathlib
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

try:
    import fcntl
except ModuleNotFoundError:  # Windows: the words alone decide
    fcntl = None

FILENAME = "in_use.json"
RENEWAL = 5.0  # seconds between two renewals
SILENCE = (
    45.0  # seconds after which a holder that does not renew counts as gone; disks of a network lag behind
)
SETTLING = 3.0  # seconds in which one of two that come at once prevails where there are no locks

_held: dict[pathlib.Path, "_Claim"] = {}  # by this process, and the paths of their words


class _Claim:
    """A folder that this process holds or wants."""

    def __init__(self, folder: pathlib.Path, filename: str):
        self.folder, self._path = folder, folder / filename
        self._thread_id, self._token, self._beat = threading.get_ident(), secrets.token_hex(8), 0
        self._lock: IO[bytes] | None = None
        self._ended = threading.Event()
        self._since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def check(self) -> None:
        """Raises BlockingIOError when another process has the folder now."""
        words = _read(
            self._path
        )  # none at all where it was removed by hand: the next renewal writes it again
        if words.get("token", self._token) != self._token:
            raise BlockingIOError(
                f"{self.folder} was taken over by {_who(words)}: this process gave no sign of life for {SILENCE:.0f} s "
                f"or {self._path.name} was removed; it ends here and leaves the folder to that one"
            )

    def _try(self, told: bool) -> dict[str, Any] | None:
        """Takes the folder, or returns the words of who has it.

        Args:
            told: it has been said that somebody may have it.
        """
        lock = None
        if fcntl is not None:
            try:
                lock = _lock(self._path)
            except BlockingIOError:
                return _read(self._path)
        words = _read(self._path)
        # Where this machine's locks work, one of its processes that does not hold the lock has ended.
        ended = not words or (lock is not None and words.get("machine") == machine())
        if not ended and self._is_renewed(words, told):
            if lock is not None:
                lock.close()
            return words
        self._lock = lock
        self._renew()
        if lock is None:
            time.sleep(SETTLING)
            words = _read(self._path)
            if words.get("token") != self._token:
                return words
        return None

    def _is_renewed(self, words: dict[str, Any], told: bool) -> bool:
        """Watches words for as long as their holder may be silent."""
        if not told:
            print(
                f"{self.folder} may be in use by {_who(words)}: waiting up to {SILENCE:.0f} s for a sign of life",
                file=sys.stderr,
                flush=True,
            )
        end = time.monotonic() + SILENCE
        while time.monotonic() < end:
            time.sleep(min(1.0, RENEWAL))
            now = _read(self._path)
            if "token" in now and now != words:
                return True
            if not now:
                return False  # it has ended well
        return False

    def _renew(self) -> None:
        self._beat += 1
        words = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self._since,
            "machine": machine(),
            "token": self._token,
            "beat": self._beat,
        }
        # In place, so that the lock stays on this file, and always as long, so that nobody reads half of two. Closed
        # each time, which a network's disk takes as the moment to show it to other hosts.
        with open(self._path, "r+b" if self._path.exists() else "wb") as file:
            file.write(json.dumps(words).encode().ljust(511) + b"\n")

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEWAL):
            # A disk that fails now and then is told of by whoever writes what matters.
            with contextlib.suppress(OSError):
                self.check()
                self._renew()

    def _release(self) -> None:
        with contextlib.suppress(OSError):
            self.check()
            self._path.unlink()
        if self._lock is not None:
            self._lock.close()


def check(folder: str | pathlib.Path) -> None:
    """Makes sure that a folder that this process has claimed is still its own, before it writes anything of value.

    It is not after a stop (a suspended machine, a disk out of reach) so long that another process took it for dead.

    Raises:
        BlockingIOError: another process has it now.
    """
    held = _held.get(pathlib.Path(folder).resolve() / FILENAME)
    if held is not None:
        held.check()


@contextlib.contextmanager
def claim(folder: str | pathlib.Path, wait: bool = False, filename: str = FILENAME) -> Iterator[None]:
    """Holds a folder, which is made where it is missing, for this process while the block runs.

    A thread that holds it already holds it on. A holder that was killed, with its machine or without, is no obstacle;
    where that takes some seconds to find out, it says so on stderr.

    Args:
        wait: for the one that has it, saying so once on stderr; otherwise that is an error.
        filename: where the holder's words stand; with different ones, several hold their parts of a folder.

    Raises:
        BlockingIOError: another process has it; one line says which.
        OSError: the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = folder.resolve() / filename
    held = _held.get(key)
    if held is not None and held._thread_id == threading.get_ident():
        yield
        return
    mine, told = _Claim(folder, filename), False
    while (words := mine._try(told)) is not None:
        if not wait:
            raise BlockingIOError(
                f"{folder} is in use by {_who(words)}: wait for its end, or choose another folder"
                f"{_if_gone(folder / filename, words)}"
            )
        if not told:
            print(
                f"waiting for {_who(words)}, which is at work in {folder}{_if_gone(folder / filename, words)}",
                file=sys.stderr,
                flush=True,
            )
        told = True
        time.sleep(min(1.0, RENEWAL))
    _held[key] = mine
    renewing = threading.Thread(target=mine._keep_renewing, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        del _held[key]
        mine._ended.set()
        renewing.join()
        mine._release()


def _lock(path: pathlib.Path) -> IO[bytes] | None:
    """Locks a file, or returns None where the disk has no locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    for _ in range(10):
        file = open(path, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BlockingIOError:
            file.close()
            raise
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            return None
        file.close()  # whoever held it has just ended and removed it
    return None  # a disk on which a file is never the same twice


def _read(path: pathlib.Path) -> dict[str, Any]:
    """The words of a holder: empty where there are none, without a token where they cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError:
        return {"unreadable": True}
    if not content.strip():
        return {}
    try:
        words = json.loads(content)
    except ValueError:
        words = None
    return words if isinstance(words, dict) and "token" in words else {"unreadable": True}


def _who(words: dict[str, Any]) -> str:
    if not {"pid", "host", "since"} <= words.keys():
        return "another process"
    return f"process {words['pid']} on {words['host']} (since {words['since']})"


def _if_gone(path: pathlib.Path, words: dict[str, Any]) -> str:
    """How to go on where a disk's server keeps the lock of a machine that is gone."""
    if words.get("machine") in (None, machine()):
        return ""
    return f"; if that machine is gone, remove {path}"


def machine() -> str:
    """What tells this machine, until it is started again, from others; its containers share it, as they share locks."""
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
