"""Who waits for other processes says so, for whom, and how to go on alone."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from experiments.machine import processes
from tests.experiments.conftest import free_port

JOIN = """
import sys
from experiments.machine import processes
processes.PATIENCE = int(sys.argv[1])
arguments = [None if word == "None" else word for word in sys.argv[2:5]]
processes.join(arguments[0], *(word and int(word) for word in arguments[1:]), 100)
"""
ALONE = "to train alone, give --num_processes=1"


@pytest.fixture
def slurm(monkeypatch):
    """The first task of an interactive step of two."""
    step = {"JOB_ID": free_port() % 4096, "STEP_NODELIST": "127.0.0.1", "STEP_NUM_NODES": 1, "NTASKS": 2}
    for name, value in (step | {"PROCID": 0, "LOCALID": 0}).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_who_never_come_are_named_at_once_and_at_the_end(slurm):
    first = start(1, None, None, None)
    other = start(1, f"127.0.0.1:{free_port()}", 3, 2)
    said, said_by_other = (process.communicate()[1].splitlines() for process in (first, other))
    assert first.returncode == other.returncode == -signal.SIGABRT
    step = "SLURM step of 2 tasks on 127.0.0.1"
    assert said == [
        f"process 0 of 2: waiting for process 1 ({step}); {ALONE}",
        f"process 0 of 2 has ended: process 1 did not come within 1 s, or the port is taken ({step}); {ALONE}",
    ]
    assert [line.partition(" (")[0] for line in said_by_other] == [
        "process 2 of 3: waiting for process 0",
        "process 2 of 3 has ended: process 0 did not come within 1 s, or the port is taken",
    ]


def test_ctrl_c_ends_the_wait(slurm):
    process = start(600, None, None, None)
    line = process.stderr.readline()
    assert "waiting for process 1" in line, line
    while process.poll() is None:  # again, because the first may come before the wait
        process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode in (-signal.SIGINT, 1)


def test_alone_needs_one_option_only(slurm, monkeypatch):
    assert processes.join(None, 1, None, 100) == ""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # the shell of `salloc --ntasks=2`
    assert processes.join(None, None, None, 100) == ""


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        with pytest.raises(
            ValueError, match=r"^--coordinator_address=\S+: this process cannot listen there \("
        ):
            processes.join(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0, 100)
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        processes.join("host:123456", 2, 0, 100)
