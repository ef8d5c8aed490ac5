"""Reads damaged files, thousands of them, and says where a reader does what its docstring does not promise.

A target says how its file is read, gives good files to begin with, and the errors that may come of bad ones. Hypothesis
damages the good files; what fails it makes as small as it can. Each target runs in a process of its own, which has a
limit of memory and of processor time for each file: a decoder that crashes, or eats all memory, fails a test and does
not end the tests. By hand:

    python -m tests.fuzz.fuzzing tests.fuzz.clevrer:ANNOTATION --seconds=60
"""

import argparse
import contextlib
import importlib
import json
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import hypothesis
from hypothesis import strategies as st

MEMORY = 2**30  # bytes that a file may take, above what reading the good ones took
PROCESSOR_SECONDS = 20  # that a file may take
ROUND = 100  # inputs between looks at the clock
NUMBERS = st.one_of(
    st.sampled_from([-1, 0.5, float("inf"), float("nan"), 2**31, 2**63, 2**70, -(2**70), 1e308]),
    st.integers(-300, 300),
    st.floats(),
)
TEXTS = st.sampled_from(["", "red", "x" * 5000, "0", "é\n\0", "\ud800"])
SCALARS = st.one_of(NUMBERS, TEXTS, st.sampled_from([True, False, None]))
VALUES = st.one_of(
    *[NUMBERS, TEXTS, SCALARS],  # more often than lists and objects
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
    ),
)


class Target(NamedTuple):
    """A reader of files that others have written."""

    read: Callable[[pathlib.Path], Any]
    write_seeds: Callable[[pathlib.Path], list[pathlib.Path]]  # good files, into a folder
    errors: tuple[type[Exception], ...]  # that the docstring promises for bad ones
    is_json: bool = False  # values are exchanged, not bytes alone
    names_file: bool = True  # a message must say which file it is about


class Unpromised(Exception):
    """A reader did what it does not promise."""


def check(target: str, seconds: float | None = None) -> None:
    """Runs a target, "package.module:NAME", in a process of its own: for a time, or (None) on some fixed inputs.

    Raises:
        AssertionError: it did what it does not promise; the message has the smallest input found.
    """
    command = [sys.executable, "-m", "tests.fuzz.fuzzing", target]
    command += [] if seconds is None else [f"--seconds={seconds}"]
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root)
    said = (result.stdout + result.stderr)[-6000:]
    assert result.returncode == 0, f"{target} ended with {result.returncode}\n{said}"


def main() -> None:
    """Runs one target in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, help="how long; some fixed inputs without")
    parser.add_argument("--seed", type=int, help="of the first round; drawn without")
    options = parser.parse_args()
    module, _, name = options.target.partition(":")
    target: Target = getattr(importlib.import_module(module), name)
    warnings.simplefilter("ignore")  # of codecs about what they meet
    signal.signal(signal.SIGPROF, _too_slow)
    with tempfile.TemporaryDirectory() as folder:
        seeds = target.write_seeds(pathlib.Path(folder))
        for path in seeds:
            target.read(path)  # else nothing but its first check is ever reached
        _limit_memory()
        number = options.seed if options.seed is not None else random.randrange(2**32)
        inputs, end = 0, time.monotonic() + (options.seconds or 0)
        while not inputs or time.monotonic() < end:
            _round(
                target, seeds, pathlib.Path(folder, "damaged"), None if options.seconds is None else number
            )
            inputs, number = inputs + ROUND, number + 1
    print(f"{options.target}: {inputs} inputs")


def _round(target: Target, seeds: list[pathlib.Path], damaged: pathlib.Path, number: int | None) -> None:
    contents = [path.read_bytes() for path in seeds]

    @hypothesis.settings(
        max_examples=ROUND,
        derandomize=number is None,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(st.integers(0, len(seeds) - 1), st.data())
    def read_one(which: int, data: st.DataObject) -> None:
        change = change_json if target.is_json and data.draw(st.booleans(), "values") else change_bytes
        # The end of the name often decides who reads it.
        path = damaged.with_name(f"damaged{seeds[which].suffix}")
        path.write_bytes(change(data, contents[which]))
        _read(target, path)

    (read_one if number is None else hypothesis.seed(number)(read_one))()


def _read(target: Target, path: pathlib.Path) -> None:
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    try:
        target.read(path)
    except target.errors as error:
        lines = str(error).strip().splitlines()
        if len(lines) != 1:
            raise Unpromised(f"{len(lines)} lines are said: {str(error)!r}") from error
        if target.names_file and path.name not in lines[0]:
            raise Unpromised(f"which file it is about is not said: {lines[0]!r}") from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def change_bytes(data: st.DataObject, content: bytes) -> bytes:
    """Bytes with some exchanged, taken out, repeated or added, or cut off."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6), "changes")):
        size = len(changed)
        # The beginning, where headers are, more often than the rest.
        start = data.draw(st.integers(0, min(size, 200)) | st.integers(0, size), "start")
        length = data.draw(st.integers(1, 8) | st.integers(1, max(1, size // 2)), "length")
        kind = data.draw(st.sampled_from(["exchange", "exchange", "flip", "remove", "repeat", "cut"]), "kind")
        part = changed[start : start + length]
        if kind == "exchange":
            changed[start : start + min(length, 8)] = data.draw(st.binary(max_size=8), "bytes")
        elif kind == "flip" and start < size:
            changed[start] ^= 1 << data.draw(st.integers(0, 7), "bit")
        elif kind == "remove":
            del changed[start : start + length]
        elif kind == "repeat":
            changed[start:start] = part
        elif kind == "cut":
            del changed[start:]
    return bytes(changed)


def change_json(data: st.DataObject, content: bytes) -> bytes:
    """JSON with some of its values exchanged, taken out or repeated; any value stands for the whole now and then."""
    value = json.loads(content)
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        value = _changed(data, value)
    return json.dumps(value).encode()


def _changed(data: st.DataObject, value: Any) -> Any:
    if not isinstance(value, list | dict) or not value or not data.draw(st.integers(0, 7), "deeper"):
        return data.draw(VALUES, "value")
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = data.draw(st.sampled_from(keys) if len(keys) < 50 else st.integers(0, len(keys) - 1), "key")
    if data.draw(st.integers(0, 9), "remove") == 0:
        del value[key]
    elif isinstance(value, list) and data.draw(st.integers(0, 9), "repeat") == 0:
        value.insert(key, value[key])
    else:
        value[key] = _changed(data, value[key])
    return value


def _limit_memory() -> None:
    with contextlib.suppress(OSError):  # no such file elsewhere than on Linux: without a limit there
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def _too_slow(number: int, frame: Any) -> None:
    raise Unpromised(f"more than {PROCESSOR_SECONDS} seconds of the processor's time")


if __name__ == "__main__":
    main()
