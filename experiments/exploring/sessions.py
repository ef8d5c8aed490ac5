"""What the server keeps of each open page: a clip, what the model believes of it, and which request is its newest."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator

from experiments.exploring.belief import Belief
from experiments.exploring.clips import Clip

MOST_SESSIONS = 8  # pages at once; one more, and the one that was silent longest is freed
SILENCE = (
    300.0  # seconds without a sign of life, of which a page gives one every 20, in the background every 60
)


class Gone(ValueError):
    """The page's state is not there, or no longer."""


class Superseded(Exception):
    """A newer request of the same kind has come: this one is not answered."""


class Session:
    """The state of one page."""

    def __init__(self, clip: Clip, belief: Belief):
        self.key = secrets.token_urlsafe(16)
        self.clip, self.belief = clip, belief
        self.heard = time.monotonic()
        self._newest: dict[str, int] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def turn(self, kind: str, serial: int) -> Iterator[None]:
        """Lets one request of a kind work at a time, the newest first; the others need no answer any more.

        Raises:
            Superseded: there is a newer one, or one came while this one waited.
        """
        with self._guard:
            self._newest[kind] = max(serial, self._newest.get(kind, serial))
            lock = self._turns.setdefault(kind, threading.Lock())
        with lock:
            if serial < self._newest[kind]:
                raise Superseded
            yield


class Sessions:
    """The sessions of all pages, freed when a page is left or silent."""

    def __init__(self):
        self._held: dict[str, Session] = {}
        self._guard = threading.Lock()

    def add(self, session: Session) -> None:
        """Keeps a session."""
        with self._guard:
            self._free_silent()
            while len(self._held) >= MOST_SESSIONS:
                del self._held[min(self._held, key=lambda key: self._held[key].heard)]
            self._held[session.key] = session

    def find(self, key: object) -> Session:
        """The session of a key; it counts as heard of.

        Raises:
            Gone: there is none.
        """
        with self._guard:
            self._free_silent()
            if not isinstance(key, str) or key not in self._held:
                raise Gone(
                    "the state of this page was freed, because it was silent or others came: reload it"
                )
            session = self._held[key]
            session.heard = time.monotonic()
            return session

    def free(self, key: object) -> None:
        """Forgets a session, if it is there."""
        with self._guard:
            if isinstance(key, str):
                self._held.pop(key, None)

    def __len__(self) -> int:
        with self._guard:
            self._free_silent()
            return len(self._held)

    def _free_silent(self) -> None:
        latest = time.monotonic() - SILENCE
        for key in [key for key, session in self._held.items() if session.heard < latest]:
            del self._held[key]
