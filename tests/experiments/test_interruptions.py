"""Real runs, really killed."""

import json
import signal
import time

import pytest

from tests.conftest import PATIENCE

RUN = ("-m", "experiments.clevrer_pretrain", "--config=tests/experiments/tiny.py", "--config.log_every=1")


@pytest.fixture
def command(data_dir, tmp_path):
    def make(name, *options):
        return (*RUN, f"--config.data.data_dir={data_dir}", f"--workdir={tmp_path / name}", *options)

    return make


def read_meta(workdir, step):
    return json.loads((workdir / "checkpoints" / str(step) / "meta" / "metadata").read_text())


def logged_steps(workdir, split):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [row["step"] for row in rows if row["split"] == split]


def wait_until(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.output.read_text()
        assert time.monotonic() < deadline, process.output.read_text()
        time.sleep(0.002)


def test_three_steps_a_kill_and_three_steps_are_six(start_program, run_program, command, tmp_path):
    code, output = run_program(*command("whole"))
    assert code == 0, output

    third = str(tmp_path / "killed" / "checkpoints" / "3")
    moment = ("experiments.runs.logs:MetricLog.advance", "4", third, "SIGKILL", "process")
    killed = start_program("-m", "tests.stopped", *moment, *command("killed")[1:])
    assert killed.wait(timeout=PATIENCE) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoints" / "6").exists()
    assert not (tmp_path / "killed" / "figures").exists()

    code, output = run_program(*command("killed"))
    assert code == 0, output
    assert "weights: checkpoint 3 in" in output
    whole, resumed = (read_meta(tmp_path / name, 6) for name in ("whole", "killed"))
    assert whole == resumed
    assert whole["params_sha256"] != read_meta(tmp_path / "whole", 3)["params_sha256"]
    for name in ("whole", "killed"):
        assert logged_steps(tmp_path / name, "train") == [1, 2, 3, 4, 5, 6]
        assert len(list((tmp_path / name / "figures").glob("*.png"))) == 2

    # A finished run says so, and draws again only what is missing.
    drawing = tmp_path / "whole" / "figures" / "step_6_clip_00.png"
    before = drawing.stat().st_mtime_ns
    code, output = run_program(*command("whole"))
    assert code == 0 and "finished: " in output and "compiling" not in output
    assert drawing.stat().st_mtime_ns == before


OTHERS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.slow) for number in OTHERS)]
)
def test_a_signal_saves_and_ends_the_run(start_program, run_program, command, tmp_path, number):
    workdir = tmp_path / "run"
    forever = ("--config.num_steps=100000", "--config.save_every=100000", "--config.eval_every=100000")
    process = start_program(*command("run", *forever))
    wait_until(lambda: logged_steps(workdir, "train"), process)
    if (
        number == signal.SIGTERM
    ):  # a double submission: the second is refused, and the first goes on undisturbed
        code, output = run_program(*command("run"))
        assert code == 2 and output.count("\n") == 1, output
        assert output.startswith(f"clevrer_pretrain: {workdir} is in use by process {process.pid} on ")
    process.send_signal(number)
    assert process.wait(timeout=PATIENCE) == 128 + number
    output = process.output.read_text()
    (saved,) = (int(entry.name) for entry in (workdir / "checkpoints").iterdir())
    assert f"stopped by {signal.Signals(number).name} at step {saved}, saved" in output
    assert "Traceback" not in output and "Warning" not in output
    assert logged_steps(workdir, "train") == list(range(1, saved + 1))

    assert not (workdir / "in_use.json").exists()
    if number != signal.SIGTERM:
        return  # what follows does not depend on the signal
    code, output = run_program(*command("run", f"--config.num_steps={saved + 1}"))
    assert code == 0, output
    assert f"weights: checkpoint {saved} in" in output
    assert logged_steps(workdir, "train")[-1] == saved + 1
