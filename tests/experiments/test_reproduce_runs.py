"""The paper's tables again: the runs, one by one, side by side, and killed."""

import csv
import functools
import json
import os
import re
import signal
import sys
import time

import numpy as np
import pytest

from data_pipelines import build, parallel
from experiments import reproduce
from experiments.configs import baselines
from experiments.reproduction import budgets, costs, running, sweep
from experiments.reproduction.targets import TARGETS
from experiments.runs import checkpoints
from experiments.runs.logs import say
from experiments.vqa import labels, symbolic
from oddn_jax.reasoning import ALOEConfig
from tests.experiments import small_reproduction
from tests.experiments.tiny import DATA_NAME, get_config


def test_time_left_for_the_whole(tmp_path):
    """What a run has not logged itself is taken from others of its kind."""
    entries = budgets.plan(TARGETS["table3"], budgets.BUDGETS["small"], tmp_path, 2)
    assert costs.seconds_left(entries) is None
    (first, *rest) = costs.trainings(entries)
    first.mkdir(parents=True)
    row = {"step": 10, "split": "train", "images_per_second": 100.0, "frames": 3, "coarseness": 1}
    (first / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    # 5,000 steps of two clips, of 3 frames until 3,000, of 5 until 4,000, then of 8: 44,000 pictures a run.
    assert len(rest) == 7 and costs.seconds_left(entries) == pytest.approx(8 * 440)


def test_a_line_a_run_and_the_rest_in_a_file(tmp_path, capsys):
    path = tmp_path / "runs" / "log.txt"
    with sweep.shown_as_line("1 of 2: table3, ODDN, seed 0", path, sys.stderr):
        say("train step 10/20: loss 1")
    with pytest.raises(SystemExit), sweep.shown_as_line("2 of 2", path, sys.stderr):
        say("stopped by SIGTERM")
        raise SystemExit(143)
    said = capsys.readouterr().err.splitlines()
    assert said == ["1 of 2: table3, ODDN, seed 0: 0 min 00 s", "2 of 2: stopped"]
    log = path.read_text()
    assert "ODDN, seed 0\ntrain step 10/20: loss 1\n" in log and log.endswith("2 of 2\nstopped by SIGTERM\n")
    # Beside others: nothing on the terminal, and each line tells whose it is, the last one without an end, too.
    with sweep.shown_as_line("3 of 4: table3, ODDN, seed 1", path, None):
        say("train step 10/20: loss 1")
        sys.stderr.write("half a line")
    assert capsys.readouterr().err == ""
    assert path.read_text().endswith("\n3 of 4: train step 10/20: loss 1\n3 of 4: half a line\n")


def test_runs_side_by_side_fail_alone(tmp_path, capsys):
    """Worker processes: the data are not there, which each says; the models are told apart."""
    entries = budgets.plan(
        TARGETS["table3"], budgets.BUDGETS["tiny"], tmp_path, 1, "clevrer/64x64", str(tmp_path)
    )
    entries = [entry for entry in entries if entry.row in ("IODINE", "PROVIDE")]
    plans = {"table3": entries, "figure7": entries[1:]}
    *_, (found, touched) = sweep.measure_all(plans, tmp_path, jobs=2)
    assert touched == {"table3", "figure7"} and not any(outcome.records for outcome in found.values())
    assert set(found["table3"].failed) == {("IODINE", 0), ("PROVIDE", 0)}
    assert set(found["figure7"].failed) == {("PROVIDE", 0)}
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["1 of 3", "2 of 3", "3 of 3"]
    assert all("failed: no data set" in line for line in lines), lines
    assert [[run.number for run in group] for group in sweep.by_model(plans)] == [[1], [2, 3]]


def test_motion_is_0_for_frames_that_are_all_the_same():
    video = np.random.default_rng(0).random((2, 5, 4, 4, 3))
    assert running.motion({"video": video, "predicted": video[:, 2:]})["mean"] == 1
    still = np.broadcast_to(video[:, 2:3], video[:, 2:].shape)
    assert running.motion({"video": video, "predicted": still})["mean"] == 0


def assigned(latents):
    frames, slots = latents.shape[:2]
    return np.broadcast_to(np.eye(16, k=-1) * (np.arange(16) < slots), (frames, 16, 16))


def test_a_row_of_answers_and_its_references(data_dir, tmp_path, monkeypatch, capsys):
    """Table 1 with one tiny model, a tiny reasoner, and questions about eight videos."""
    numbers = dict(num_train=5, num_validation=3)
    asked = build.make_config("simulated_clevrer_qa", "quickstart", **numbers)
    build.build("simulated_clevrer_qa", asked, data_dir, jobs=1, progress=False)
    answering = dict(
        videos=f"simulated_clevrer/{DATA_NAME}",
        questions=f"simulated_clevrer_qa/{asked.name}",
        model=ALOEConfig.preset("quickstart", num_layers=1),
        **dict(num_steps=2, batch_size=8, num_frames=4, log_every=1, eval_every=2, save_every=2),
    )
    monkeypatch.setattr(baselines, "get_config", lambda variant: get_config())
    monkeypatch.setitem(budgets.BUDGETS, "tiny", budgets.Budget(1, True, small_reproduction.STEPS, answering))
    target = TARGETS["table1"]
    by_programs = "ODDN + programs (ours)"
    rows = tuple(row for row in target.rows if row.name in ("MAC (V+)", "ODDN-ALOE", by_programs))
    monkeypatch.setitem(TARGETS, "table1", target._replace(rows=rows))
    # Two steps of training divide no scene: slot n is taken to show object n, whatever it holds.
    monkeypatch.setattr(labels, "make_overlap", lambda found: lambda latents, labels: assigned(latents))
    command = small_reproduction.options("table1", f"--data_dir={data_dir}", f"--workdir={tmp_path}")
    reproduce.main(command)
    said = capsys.readouterr().out
    assert (
        "*simulated*" in said and "2 steps of 4 clips of up to 3 frames, then 2 steps of 8 questions" in said
    )
    assert re.search(r"^  MAC \(V\+\) +86\.4   quoted$", said, re.MULTILINE)
    assert re.search(r"^  executor +-   100\.0 ± 0\.0$", said, re.MULTILINE)
    with open(tmp_path / "tiny-table1.csv") as file:
        lines = {
            line["row"]: line
            for line in csv.DictReader(file)
            if line["metric"] == "descriptive" and line["seed"] == "all"
        }
    assert set(lines) == {"MAC (V+)", "ODDN-ALOE", by_programs, "blind", "majority", "executor"}
    assert int(lines[by_programs]["n"]) == int(lines["blind"]["n"])
    assert 0 < float(lines[by_programs]["ours"]) < 100 and lines[by_programs]["paper"] == ""
    assert (lines["MAC (V+)"]["ours"], lines["MAC (V+)"]["paper"], lines["blind"]["paper"]) == (
        "",
        "86.4",
        "",
    )
    assert int(lines["ODDN-ALOE"]["n"]) == int(lines["blind"]["n"]) > 20

    # Once more: nothing is left to train or to answer.
    monkeypatch.setattr(running, "train_and_evaluate", None)
    monkeypatch.setattr(symbolic, "answer", None)
    reproduce.main(command)
    assert capsys.readouterr().out == said


def test_a_process_of_its_own_has_one_thread_of_xla_s():
    asked = functools.partial(os.getenv, "NPROC")
    assert list(parallel.ordered_map([asked] * 2, jobs=1, apart=True)) == ["1", "1"]


class Odd(ValueError):
    """An exception that does not survive the way between processes."""

    def __init__(self, *, path):
        super().__init__(f"{path} is odd")


def raise_odd():
    raise Odd(path="there")


def kill_oneself():
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_process_of_its_own_dies_of():
    with pytest.raises(ValueError, match=r"^there is odd"):
        list(parallel.ordered_map([raise_odd], jobs=1, apart=True))
    with pytest.raises(ChildProcessError, match=r"make room and give the same command again$"):
        list(parallel.ordered_map([kill_oneself], jobs=1, apart=True))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_runs_save_when_they_are_asked_to_stop(start_program, data_dir, tmp_path, monkeypatch, number):
    monkeypatch.setenv("SMALL_STEPS", "100000")
    command = ("-m", "tests.experiments.small_reproduction", "figure3", f"--data_dir={data_dir}", "--jobs=1")
    program = start_program(*command, f"--workdir={tmp_path}")
    log = tmp_path / "tiny" / sweep.LOG
    deadline = time.monotonic() + 300
    while not (log.exists() and "train step 2/" in log.read_text()):
        assert time.monotonic() < deadline and program.poll() is None, program.output.read_text()
        time.sleep(0.5)
    program.send_signal(number)
    assert program.wait() == 128 + number, program.output.read_text()
    assert "saved; the same command goes on from there" in log.read_text()


@pytest.mark.slow
def test_a_killed_reproduction_goes_on(start_program, run_program, data_dir, tmp_path):
    command = ("-m", "tests.experiments.small_reproduction", "figure3", f"--data_dir={data_dir}", "--jobs=0")
    command += (f"--workdir={tmp_path / 'runs'}",)
    folder = tmp_path / "runs" / "tiny" / f"simulated_clevrer-{DATA_NAME}"
    first, second = folder / "oddn" / "seed_0", folder / "no_relation" / "seed_0"
    # Each of the two runs saves at steps 1 and 2.
    moment = (
        "experiments.runs.checkpoints:save",
        "3",
        str(second / "checkpoints" / "1"),
        "SIGKILL",
        "process",
    )
    killed = start_program("-m", "tests.stopped", *moment, *command[1:])
    assert killed.wait() == -signal.SIGKILL, killed.output.read_text()
    assert not (second / "metrics.json").exists()
    with open(tmp_path / "runs" / "tiny-figure3.csv") as file:  # what is measured is written
        assert {line["row"] for line in csv.DictReader(file) if line["run"]} == {"ODDN"}
    kept = {name: (first / name).stat().st_mtime_ns for name in ("metrics.json", "predictions.npz")}

    code, output = run_program(*command)
    assert code == 0, output
    log = (tmp_path / "runs" / "tiny" / sweep.LOG).read_text()
    assert f"finished: {first} holds 2 of 2 steps" in log
    assert f"weights: checkpoint 1 in {second}" in log.replace("/checkpoints", "")
    assert "2 of 2: figure3, ODDN w/o relation, seed 0" in output
    assert kept == {name: (first / name).stat().st_mtime_ns for name in kept}
    with open(tmp_path / "runs" / "tiny-figure3.csv") as file:
        lines = [line for line in csv.DictReader(file) if line["seed"] == "0"]
    assert {(line["row"], line["metric"]) for line in lines} >= {
        (row, metric)
        for row in ("ODDN", "ODDN w/o relation")
        for metric in ("predicted_mse", "predicted_mse_6", "motion")
    }
    assert all(np.isfinite(float(line["ours"])) for line in lines)
    whole = [line for line in lines if line["run"]]  # the lines of single frames repeat no origin
    assert len(whole) == 4
    for line in whole:
        assert line["params_sha256"] == checkpoints.digest(checkpoints.load_params(line["run"]))
    assert "*simulated*" in output and "Traceback" not in output
    assert small_reproduction.picture_size(tmp_path / "runs" / "tiny-figure3.png")[1] > 300


@pytest.mark.slow
def test_the_digits_hang_on_no_number_of_jobs(run_program, data_dir, tmp_path):
    command = ("-m", "tests.experiments.small_reproduction", "figure3", f"--data_dir={data_dir}")
    digests = []
    for jobs in (1, 2):
        code, output = run_program(*command, f"--workdir={tmp_path / str(jobs)}", f"--jobs={jobs}")
        assert code == 0, output
        assert "2 of 2: figure3, ODDN w/o relation, seed 0" in output
        with open(tmp_path / str(jobs) / "tiny-figure3.csv") as file:
            lines = [line for line in csv.DictReader(file) if line["params_sha256"]]
        digests.append({line["row"]: line["params_sha256"] for line in lines})
    assert digests[0] == digests[1]
    assert digests[0].keys() == {"ODDN", "ODDN w/o relation"}
