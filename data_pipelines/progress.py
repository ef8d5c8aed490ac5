"""Shows how far a long job is: a bar where a person watches, a line now and then otherwise."""

import datetime
import sys
import time

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts finished items on stderr, with rate and time left.

    Args:
        label: what is being made.
        total: items in all.
        unit: what an item is, in the plural.
        shown: False keeps quiet about progress; notes still appear.
    """

    def __init__(self, label: str, total: int, unit: str, shown: bool = True):
        self._label, self._total, self._unit = label, total, unit
        self._shown, self._done = shown, 0
        self._started = self._last_line = time.monotonic()
        self._bar = None
        if shown and sys.stderr.isatty():
            import tqdm

            self._bar = tqdm.tqdm(
                total=total, desc=label, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True
            )

    def advance(self) -> None:
        """Counts one more item."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._shown and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            rate = self._done / (self._last_line - self._started)
            left = datetime.timedelta(seconds=round((self._total - self._done) / rate))
            line = f"{self._label}: {self._done}/{self._total} {self._unit}, {rate:.2f} a second, {left} left"
            print(line, file=sys.stderr, flush=True)

    def note(self, line: str) -> None:
        """Prints a line beside the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
