"""What every program does at its end: words that any terminal takes, one line for an error, an exit code."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import pathlib, sys
from data_pipelines.command_line import exit_code
def body():
    {}
sys.exit(exit_code(body, lambda: "program"))
"""
LOUD = r"""
    name = "\u00e9\udcff"
    print("written:", name)
    print("warning:", name, file=sys.stderr)
    for _ in range(10000):
        print("a line that nobody reads")
    pathlib.Path(sys.argv[1]).touch()
"""


def run(body, *arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": os.environ} | options
    options["env"] = {name: value for name, value in options["env"].items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body.strip()), *map(str, arguments)], **options
    )


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "utf-8:strict", "latin-1:surrogateescape"])
def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path, encoding):
    outcome = run(LOUD, tmp_path / "done", env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (outcome.returncode, (tmp_path / "done").exists()) == (0, True)
    shown = {"a": rb"\xe9", "u": "é".encode(), "l": b"\xe9"}[encoding[0]] + rb"\udcff"
    assert outcome.stdout.splitlines()[0] == b"written: " + shown
    assert outcome.stderr == b"warning: " + shown + b"\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_reader_that_has_left_stops_nothing(tmp_path, stream):
    receiver, sender = os.pipe()
    os.close(receiver)
    streams = ("stdout", "stderr") if stream == "both" else (stream,)
    outcome = run(LOUD, tmp_path / "done", **dict.fromkeys(streams, sender))
    os.close(sender)
    assert (outcome.returncode, (tmp_path / "done").exists()) == (0, True)
    assert not outcome.stderr or (
        outcome.stderr.startswith(b"warning: ") and outcome.stderr.count(b"\n") == 1
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("lines", [1, 10000])
def test_results_that_a_full_disk_did_not_take_are_an_error_of_one_line(lines):
    with open("/dev/full", "w") as full:
        outcome = run(f"[print('result') for _ in range({lines})]", stdout=full)
    assert outcome.returncode == 2
    assert outcome.stderr == b"program: what it prints cannot be written: No space left on device\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_words_beside_the_results_may_get_lost(tmp_path):
    with open("/dev/full", "w") as full:
        assert run(LOUD, tmp_path / "done", stderr=full).returncode == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("missing", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_a_program_without_a_terminal_does_its_work(tmp_path, missing):
    command = f'"$0" -c "$1" "$2" {missing}'
    words = ["sh", "-c", command, sys.executable, PROGRAM.format(LOUD.strip()), str(tmp_path / "done")]
    assert subprocess.run(words, capture_output=True).returncode == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "error, code, said",
    [
        ("ValueError('one\\ntwo')", 2, b"program: one\n"),
        ("ValueError()", 2, b"program: ValueError\n"),
        ("ChildProcessError('one')", 2, b"program: one\n"),
        ("MemoryError()", 2, b"program: MemoryError\n"),
        ("FloatingPointError('one')", 3, b"program: one\n"),
        ("KeyboardInterrupt()", 130, b""),
        ("SystemExit(143)", 143, b""),
    ],
)
def test_exit_codes(error, code, said):
    outcome = run(f"raise {error}")
    assert (outcome.returncode, outcome.stderr) == (code, said)


def test_a_fault_of_ours_shows_where_and_says_where_to_report_it():
    outcome = run("raise KeyError('x')")
    assert outcome.returncode == 1
    first, *_, error, last = outcome.stderr.decode().splitlines()
    assert (first, error) == ("Traceback (most recent call last):", "KeyError: 'x'")
    assert last.startswith("program: this is a fault of oddn_jax 0.1.0: please report the lines above")
