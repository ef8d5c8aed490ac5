"""Kills a tiny run again and again, at random moments and in the middle of saves, and checks what is left each time.

    python -m tests.experiments.kill_loop FOLDER DATA_DIR [KILLS]

DATA_DIR holds the data set of `tiny.get_config()`. Prints its figures as JSON; raises AssertionError on any loss.
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

from experiments.runs import checkpoints

NUM_STEPS, SAVE_EVERY, KEEP = 300, 2, 3


def run_kill_loop(
    folder: pathlib.Path, data_dir: pathlib.Path, kills: int = 30, seed: int = 0
) -> dict[str, int]:
    """Trains once undisturbed and once with `kills` kills, half of them while a checkpoint is being written.

    Every checkpoint to keep that a kill leaves must have the sums of the undisturbed run at the same step, every
    restart must go on from the newest one without a warning, and both runs must end with the same bits.
    """
    generator = random.Random(seed)
    whole, killed = folder / "whole", folder / "killed"
    assert start(whole, data_dir, keep=NUM_STEPS).wait() == 0
    found = {"kills": 0, "during_a_save": 0, "resumed": 0, "checkpoints_compared": 0, "most_steps_lost": 0}
    newest = None
    while found["kills"] < kills:
        process = start(killed, data_dir)
        if found["kills"] % 2:
            wait_for_a_save(process, killed, after=(newest or 0) + generator.randint(1, 4))
        else:
            wait_for_a_step(process, killed, at_least=(newest or 0) + generator.randint(1, 6))
            time.sleep(generator.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
        found["kills"] += 1
        found["during_a_save"] += bool(being_written(killed))
        found["resumed"] += check_start(killed, newest)
        before, newest = newest, max(steps_of(killed), default=None)
        if newest is not None:
            assert before is None or newest >= before, "an older checkpoint was lost"
            found["most_steps_lost"] = max(found["most_steps_lost"], last_step(killed) - newest)
        # A kill may leave a checkpoint half deleted: one that was no longer to be kept.
        for step in sorted(steps_of(killed))[-KEEP:]:
            assert sums(killed, step) == sums(whole, step), (
                f"checkpoint {step} of {steps_of(killed)} is wrong"
            )
            found["checkpoints_compared"] += 1
    assert start(killed, data_dir).wait() == 0
    check_start(killed, newest)
    for step in (None, NUM_STEPS):
        assert checkpoints.digest(checkpoints.load_params(killed, step)) == sums(whole, NUM_STEPS)[0]
    assert sums(killed, NUM_STEPS) == sums(whole, NUM_STEPS)
    assert not (killed / "unreadable").exists()
    return found


def start(workdir: pathlib.Path, data_dir: pathlib.Path, keep: int = KEEP) -> subprocess.Popen:
    """Starts the run, in a process group of its own; what it says goes to a file beside its folder."""
    never = 10 * NUM_STEPS
    options = dict(
        num_steps=NUM_STEPS, save_every=SAVE_EVERY, log_every=1, eval_every=never, keep_checkpoints=keep
    )
    options["data.data_dir"] = data_dir
    with open(workdir.with_suffix(".out"), "w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.clevrer_pretrain", "--config=tests/experiments/tiny.py"]
            + [f"--config.{name}={value}" for name, value in options.items()]
            + [f"--workdir={workdir}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )


def check_start(workdir: pathlib.Path, newest: int | None) -> bool:
    """Whether the last start went on from a checkpoint; it was the newest."""
    said = workdir.with_suffix(".out").read_text()
    assert "WARNING" not in said and "Traceback" not in said, said
    weights = re.search(r"weights: (from scratch|checkpoint (\d+))", said)
    assert weights and weights[2] == (None if newest is None else str(newest)), said
    return newest is not None


def wait_for_a_step(process: subprocess.Popen, workdir: pathlib.Path, at_least: int) -> None:
    # Its log still tells of the steps that the last kill lost until it has said where it goes on.
    while not (has_weights(workdir) and last_step(workdir) >= at_least) and process.poll() is None:
        time.sleep(0.005)


def wait_for_a_save(process: subprocess.Popen, workdir: pathlib.Path, after: int) -> None:
    started = False
    while process.poll() is None:
        started = started or has_weights(workdir)  # what the last kill left half-written is gone by then
        if started and any(step > after for step in being_written(workdir)):
            return
        time.sleep(0.0005)


def has_weights(workdir: pathlib.Path) -> bool:
    return "compiling" in workdir.with_suffix(".out").read_text()


def last_step(workdir: pathlib.Path) -> int:
    path = workdir / "metrics.jsonl"
    found = re.findall(r'^\{"step": (\d+).*\}$', path.read_text() if path.exists() else "", re.MULTILINE)
    return int(found[-1]) if found else 0


def steps_of(workdir: pathlib.Path) -> list[int]:
    return [int(entry.name) for entry in workdir.glob("checkpoints/*") if entry.name.isdigit()]


def being_written(workdir: pathlib.Path) -> list[int]:
    return [int(entry.name.split(".")[0]) for entry in workdir.glob("checkpoints/*.orbax-checkpoint-tmp*")]


def sums(workdir: pathlib.Path, step: int) -> tuple[str, str]:
    meta = json.loads((workdir / "checkpoints" / str(step) / "meta" / "metadata").read_text())
    return meta["params_sha256"], meta["state_sha256"]


if __name__ == "__main__":
    figures = run_kill_loop(*map(pathlib.Path, sys.argv[1:3]), *map(int, sys.argv[3:]))
    print(json.dumps(figures))
