"""Runs a program that gets a signal at a set moment, however fast or busy this machine is.

    python -m tests.stopped MODULE:FUNCTION COUNT PATH SIGNAL WHO PROGRAM [ARGUMENTS...]

When FUNCTION has returned for the COUNT-th time and PATH exists ("" needs none), SIGNAL goes to WHO: the "process"
alone, or its "group", as Ctrl-C does.
"""

import importlib
import os
import pathlib
import runpy
import signal
import sys
import time


def main() -> None:
    where, count, path, name, who, program, *arguments = sys.argv[1:]
    module, _, function_name = where.partition(":")
    owner = importlib.import_module(module)
    *outer, function_name = function_name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function, calls, number = getattr(owner, function_name), 0, signal.Signals[name]

    def stopping(*positional, **named):
        nonlocal calls
        result = function(*positional, **named)
        calls += 1
        if calls == int(count):
            while path and not pathlib.Path(path).exists():
                time.sleep(0.001)
            os.kill(os.getpid(), number) if who == "process" else os.killpg(0, number)
        return result

    setattr(owner, function_name, stopping)
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
