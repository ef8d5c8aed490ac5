"""What the programs of both packages share: a terminal that stops nothing, one-line errors, exit codes."""

import argparse
import errno
import importlib.metadata
import io
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TextIO

BUG, WRONG_USE, GUARD_STOPPED, INTERRUPTED = 1, 2, 3, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage in front."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def exit_code(
    body: Callable[[], None],
    program: Callable[[], str],
    debug: bool = False,
    at_a_fault: Callable[[Exception], None] = lambda error: None,
) -> int:
    """Runs a program's body and turns what it raises into one line on stderr and an exit code.

    Exit codes: 0 done; 1 a fault of this software, with a traceback and where to report it; 2 wrong use or input, or a
    machine that cannot do it; 3 stopped because something was not finite; 130 interrupted; what a SystemExit says.

    Args:
        program: its name in messages.
        debug: shows where errors come from, too.
        at_a_fault: called first when the software is at fault.
    """
    make_speakable()
    try:
        body()
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        if debug:
            traceback.print_exc()
        print(f"{program()}: {first_line(error)}", file=sys.stderr)
        return GUARD_STOPPED if isinstance(error, FloatingPointError) else WRONG_USE
    except Exception as error:
        at_a_fault(error)
        traceback.print_exc()
        print(f"{program()}: {report_to()}", file=sys.stderr)
        return BUG
    return 0


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def report_to() -> str:
    """The line below a traceback: whose fault it is, and who wants to know."""
    try:
        about = importlib.metadata.metadata("oddn_jax")
        version, addresses = (
            about["Version"],
            dict(line.split(", ", 1) for line in about.get_all("Project-URL") or ()),
        )
    except importlib.metadata.PackageNotFoundError:  # run from a folder without being installed
        version, addresses = "", {}
    address = addresses.get("Issues", "those you have this software from")
    return (
        f"this is a fault of oddn_jax {version}: please report the lines above, and the command, to {address}"
    )


def make_speakable() -> None:
    """Lets the program say anything to any terminal, and to none.

    What the terminal's encoding cannot show is escaped. A reader that has left (`| head`, a closed terminal) hears
    nothing more, and the program goes on to its end. Streams that somebody has replaced are left alone.
    """
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        sys.stdout = _speakable(sys.stdout)
    if sys.stderr is not None and sys.stderr is sys.__stderr__:
        sys.stderr = _speakable(sys.stderr)


class _Speech(io.FileIO):
    """A descriptor whose reader may have left; what goes to stdout are results, whose loss for want of room is told."""

    heard = True

    def write(self, words) -> int | None:
        try:
            return super().write(words) if self.heard else len(words)
        except OSError as error:
            self.heard = False
            if self.fileno() != 1 or error.errno in (errno.EPIPE, errno.EIO):
                return len(words)
            raise OSError(f"what it prints cannot be written: {error.strerror}") from error


def _speakable(stream: TextIO) -> TextIO:
    try:
        stream.flush()
        raw = getattr(stream.buffer, "raw", stream.buffer)  # the second with `python -u`
        if type(raw) is not io.FileIO:  # the console of Windows
            stream.reconfigure(errors="backslashreplace")
            return stream
    except (AttributeError, OSError, ValueError):  # connected to nothing
        return stream
    speech = _Speech(raw.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        speech if raw is stream.buffer else io.BufferedWriter(speech),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
