"""Two processes on this machine train as one: the same numbers, one voice, one end."""

import json
import os
import re
import signal

import pytest

from experiments.machine import processes
from tests.conftest import PATIENCE
from tests.experiments.conftest import free_port
from tests.experiments.test_interruptions import logged_steps, wait_until

RUN = ("-m", "experiments.clevrer_pretrain", "--config=tests/experiments/tiny.py", "--config.log_every=1")
FOREVER = ("--config.num_steps=100000", "--config.save_every=100000", "--config.eval_every=100000")
LOST = "process {} of 2 has ended without saving: it was killed, or another process ended or was out of reach for 10 s"


def said(process) -> str:
    """What a process said after it had found the others."""
    waiting, *rest = process.output.read_text().splitlines(keepends=True)
    assert re.match(r"process \d of 2: waiting for process \d \(", waiting)
    return "".join(rest)


@pytest.fixture
def start_pair(start_program, data_dir, tmp_path, monkeypatch):
    """Starts a run in two processes with two devices each; they find each other by address."""
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")

    def start(name, *options):
        here = (f"--coordinator_address=127.0.0.1:{free_port()}", "--num_processes=2")
        where = (f"--config.data.data_dir={data_dir}", f"--workdir={tmp_path / name}")
        return [start_program(*RUN, *where, *here, f"--process_id={i}", *options) for i in (0, 1)]

    return start


@pytest.mark.slow
def test_a_signal_to_one_saves_and_stops_both(start_pair, run_program, data_dir, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    pair = start_pair("run", *FOREVER)
    wait_until(lambda: len(logged_steps(workdir, "train")) > 1, pair[0])
    pair[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=PATIENCE) for process in pair] == [0, 0], [
        p.output.read_text() for p in pair
    ]
    first, other = map(said, pair)
    (saved,) = (int(entry.name) for entry in (workdir / "checkpoints").iterdir())
    assert f"stopped by a signal to one of the processes at step {saved}, saved" in first
    assert logged_steps(workdir, "train") == list(range(1, saved + 1))
    # Only the first speaks; JAX's own note of the signal aside.
    assert [line for line in other.splitlines() if "SIGTERM caught" not in line] == []
    versions = json.loads((workdir / "versions.json").read_text())
    assert versions["processes"] == 2 and versions["devices"].startswith("4 x")

    # One process with one device goes on from what two with two each have saved.
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    where = (f"--config.data.data_dir={data_dir}", f"--workdir={workdir}", "--config.eval_every=100000")
    code, output = run_program(*RUN, *where, f"--config.num_steps={saved + 1}")
    assert code == 0, output
    assert f"weights: checkpoint {saved} in" in output
    assert logged_steps(workdir, "train")[-1] == saved + 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other(start_pair, tmp_path, victim):
    workdir = tmp_path / "run"
    pair = start_pair("run", *FOREVER, "--heartbeat_timeout=10")
    wait_until(lambda: logged_steps(workdir, "train"), pair[0])
    pair[victim].kill()
    left = pair[1 - victim]
    assert left.wait(timeout=PATIENCE) in (1, -signal.SIGABRT)
    pair[victim].wait()
    assert left.output.read_text().count(LOST.format(1 - victim)) == 1
    assert "Traceback" not in left.output.read_text()


@pytest.mark.slow
def test_slurm_tells_who_is_who(start_program, run_program, data_dir, tmp_path, monkeypatch):
    """A whole run of two SLURM tasks: the first draws and prints, and the numbers are those of one process."""
    where = (f"--config.data.data_dir={data_dir}", "--config.num_steps=5")
    code, output = run_program(*RUN, *where, f"--workdir={tmp_path / 'one'}")
    assert code == 0, output
    job = free_port() % 4096  # JAX makes the port of the number of the job
    step = {"JOB_ID": job, "STEP_NODELIST": "127.0.0.1", "STEP_NUM_NODES": 1, "NTASKS": 2}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    pair = []
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_PROCID", task)
        monkeypatch.setenv("SLURM_LOCALID", task)
        pair.append(start_program(*RUN, *where, f"--workdir={tmp_path / 'two'}"))
    assert [process.wait(timeout=PATIENCE) for process in pair] == [0, 0], [
        p.output.read_text() for p in pair
    ]
    first, other = map(said, pair)
    assert other == "" and first.count("trained 5 steps") == 1
    assert len(list((tmp_path / "two" / "figures").glob("*.png"))) == 2
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == 7
    for ours, theirs in zip(one, two, strict=True):
        assert (ours["step"], ours["split"]) == (theirs["step"], theirs["split"])
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


@pytest.mark.slow
def test_wrong_input_is_told_once(start_pair, tmp_path):
    pair = start_pair("run", "--config.model.image_height=32")
    assert [process.wait(timeout=PATIENCE) for process in pair] == [2, 2]
    first, other = map(said, pair)
    assert first.count("holds images of 16x16, the model sees 32x16") == 1 and other == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ("host:1234", None, 1, 100),
            "^--num_processes missing: --coordinator_address, --num_processes, --process",
        ),
        ((None, None, 1, 100), "^--coordinator_address and --num_processes missing"),
        (("host", 2, 1, 100), "^--coordinator_address=host is not HOST:PORT"),
        (("host:1234", 2, 2, 100), "^--process_id=2 is not from 0 to 1"),
        ((None, None, None, 0), "^--heartbeat_timeout is 0"),
    ],
)
def test_wrong_addresses_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments)


def test_one_process_joins_nobody(monkeypatch):
    alone = [(None, None, None), (None, 1, None), (None, 1, 0), ("host:1234", 1, 0)]
    assert [processes.join(*arguments, 100) for arguments in alone] == [""] * 4
    assert processes.first_then_others(os.getpid) == os.getpid()
    processes.leave(failed=True)
    os.write(2, b"")  # still open
