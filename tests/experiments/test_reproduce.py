"""The paper's tables again: the program, and a command that is killed."""

import argparse
import csv
import functools
import json
import os
import re
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipelines import build, parallel
from experiments import reproduce
from experiments.configs import baselines
from experiments.reproduction import budgets, costs, running, sweep
from experiments.reproduction.targets import TARGETS
from experiments.runs import checkpoints
from experiments.runs.logs import say
from experiments.vqa import symbolic
from oddn_jax.reasoning import ALOEConfig
from tests.experiments import small_reproduction
from tests.experiments.tiny import DATA_NAME, get_config


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def options(*arguments):
    parser = argparse.ArgumentParser()
    reproduce.add_arguments(parser)
    return parser.parse_args(
        ["--jobs=0", *arguments]
    )  # in this process, where tests put their own in its place


def test_a_dry_run_touches_nothing(tmp_path, capsys):
    workdir, seed_1 = tmp_path / "runs", "tiny/simulated_clevrer-quickstart/iodine/seed_1"
    arguments = ("--dry_run", "--timed_steps=0", f"--workdir={workdir}", f"--data_dir={tmp_path / 'data'}")
    reproduce.main(options("table3", *arguments))
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out
    assert said.count("0 of 100   unknown: nothing was measured") == 4 and "4 runs of unknown cost" in said

    # Another seed of IODINE has logged 3 images a second: 100 steps of 2 clips of 3 frames are 200 seconds.
    (workdir / seed_1).mkdir(parents=True)
    row = {"step": 10, "split": "train", "images_per_second": 3.0, "frames": 3, "coarseness": 1}
    (workdir / seed_1 / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    before = sorted(tmp_path.rglob("*"))
    reproduce.main(options("table3", *arguments))
    assert f"200 (by the log of {workdir / seed_1})" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("table3", "--seeds=0"), "--seeds must be from 1 to 1000, not 0"),
        (("table3", "--seeds=4294967296", "--dry_run"), "--seeds must be from 1 to 1000, not 4294967296"),
        (("table3", "--jobs=-1"), "--jobs must be at least 0, not -1"),
        (
            ("table3", "--budget=full", "--jobs=2"),
            "--jobs=2: with the full budget or an accelerator a run needs all there is",
        ),
        (("table3", "--data=clevrer"), "--data 'clevrer' is no NAME/CONFIG of a data set"),
    ],
)
def test_wrong_use(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        reproduce.main(options(*arguments))


def test_missing_real_data_is_one_line(tmp_path):
    arguments = ("table3", "--budget=full", f"--data_dir={tmp_path}", f"--workdir={tmp_path / 'runs'}")
    with pytest.raises(FileNotFoundError, match=r"^no data set .*clevrer/64x64.* build it with"):
        reproduce.main(options(*arguments))
    assert not (tmp_path / "runs").exists()


def record_of(mse, simulated=True):
    one = {"mean": mse, "standard_error": 0.1, "n": 4}
    curve = {"mean": [mse, 2 * mse], "standard_error": [0.1, 0.1], "n": 4}
    names = ("predicted_mse", "copy_last_mse", "mean_frame_mse")
    facts = {"data": "some/data", "simulated": simulated, "split": "validation", "num_clips": 4}
    return facts | {
        "metrics": {name: one for name in ("mse", "ari", "fg_ari")} | dict.fromkeys(names, curve),
        "params_sha256": "00",
        "commit": "c0",
        "hardware": "cpu",
    }


def test_a_failed_run_has_its_line_and_the_table_goes_on(tmp_path, monkeypatch, capsys):
    def measure(entry, has_pictures):
        if entry.row == "PROVIDE":
            raise FloatingPointError("loss is not finite at steps 7\nmore")
        return record_of(1.0)

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(sweep, "check_data", lambda entries: None)
    with pytest.raises(
        ValueError, match=r"^1 of 4 runs failed, first PROVIDE, seed 0: loss is not finite at steps 7;"
    ):
        reproduce.main(options("table3", f"--workdir={tmp_path / 'runs'}"))
    said = capsys.readouterr()
    assert len(re.findall(r"^  PROVIDE +\S+ +failed$", said.out, re.MULTILINE)) == 4  # one for each metric
    assert "*simulated*" in said.out and "ODDN-l is trained as ODDN: clips of 3 frames" in said.out
    assert "failed: loss is not finite at steps 7\n" in said.err
    assert "unknown (0 of 6 pairs as in the paper, 3 too close, 3 unknown)" in said.out
    with open(tmp_path / "runs" / "tiny-table3.csv") as file:
        lines = list(csv.DictReader(file))
    assert {line["simulated"] for line in lines} == {"simulated"}
    assert [line["ours"] for line in lines if line["row"] == "PROVIDE"] == [""] * 4
    assert {
        (line["row"], line["paper"]) for line in lines if line["metric"] == "ari" and line["seed"] == "all"
    } == {
        ("IODINE", "0.096"),
        ("PROVIDE", "0.228"),
        ("ODDN", "0.156"),
        ("ODDN-l", "0.233"),
    }


def test_references_and_curves_of_figure_7(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "measure", lambda entry, _: record_of(2.0 - (entry.row == "ODDN"), False))
    monkeypatch.setattr(sweep, "check_data", lambda entries: None)
    reproduce.main(options("figure7", f"--workdir={tmp_path / 'runs'}", "--seeds=2"))
    said = capsys.readouterr().out
    assert "yes (4 of 4 pairs as in the paper)" in said and "simulated" not in said
    assert re.search(r"^  copy of the last frame +- +3\.0+ ± 0\.10+$", said, re.MULTILINE)
    with open(tmp_path / "runs" / "tiny-figure7.csv") as file:
        lines = list(csv.DictReader(file))
    curve = [line for line in lines if line["row"] == "ODDN" and line["seed"] == "all" and line["ours"]]
    assert [(line["metric"], float(line["ours"])) for line in curve] == [
        ("predicted_mse", 1.5),
        ("predicted_mse_1", 1.0),
        ("predicted_mse_2", 2.0),
    ]
    assert {line["simulated"] for line in lines} == {"real"}


def test_all_is_one_page_that_the_files_make_again(tmp_path, monkeypatch, capsys):
    """Every run once, the first seeds first; the page is rebuilt from the files to the same bytes."""
    measured, trained = [], set()

    def measure(entry, has_pictures):
        measured.append(entry)
        trained.update(stage.folder for stage in entry.stages)
        if entry.row in ("IODINE", "PROVIDE") and entry.seed == 1:
            raise FloatingPointError("loss is not finite at steps 7")
        if entry.stages[-1].folder.name.startswith("answers") or entry.row == "blind":
            facts = {"questions": "some/questions", "num_videos": 3, "references": {}}
            shares = {"n": 8, "per_question": 0.5}
            kept = {name: value for name, value in record_of(1.0).items() if name not in ("metrics", "data")}
            return kept | facts | {"scores": {"descriptive": shares}}
        return record_of(2.0 - (entry.row == "ODDN")) | {
            "motion": {"mean": 1.0, "standard_error": None, "n": 4}
        }

    picture = {"video": np.zeros((1, 4, 8, 8, 3)), "predicted": np.zeros((1, 2, 8, 8, 3))}
    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(running, "predictions", lambda stage: picture)
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    workdir = tmp_path / "runs"
    command = options("all", "--budget=small", f"--workdir={workdir}", "--seeds=2")
    with pytest.raises(
        ValueError, match=r"^\d+ of \d+ runs failed, first PROVIDE, seed 1: loss is not finite"
    ):
        reproduce.main(command)
    said = capsys.readouterr()
    assert [entry.seed for entry in measured] == sorted(entry.seed for entry in measured)
    assert said.err.startswith(f"1 of {len(measured)}: table1, ALOE, seed 0: ")
    assert len(re.findall(r"^\d+ of \d+: ", said.err, re.MULTILINE)) == len(measured)
    page = workdir / "small.md"
    assert f"all on one page: {page}" in said.out
    text = page.read_text()
    for target in TARGETS.values():
        assert f"## {target.title}" in text
    assert "*simulated*" in text and "Table 4" in text and "Not made yet" not in text
    assert "`python -m experiments.reproduce table3 --budget=small --only='ODDN-l, seed 0'`" in text
    for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert picture_size(workdir / link)[0] > 100

    # A fresh clone: the files alone.
    clone = tmp_path / "clone"
    clone.mkdir()
    for path in [*workdir.glob("*.csv"), *workdir.glob("*.png")]:
        (clone / path.name).write_bytes(path.read_bytes())
    reproduce.main(options("page", "--budget=small", f"--workdir={clone}"))
    assert (clone / "small.md").read_text() == text
    (clone / "small-figure8.csv").unlink()
    reproduce.main(options("page", "--budget=small", f"--workdir={clone}"))
    assert "Not made yet: figure8." in (clone / "small.md").read_text()
    with pytest.raises(FileNotFoundError, match=r"holds no results of the budget tiny"):
        reproduce.main(options("page", f"--workdir={clone}"))


def interrupted(entry, has_pictures):
    raise KeyboardInterrupt


def test_results_of_another_machine_stay(tmp_path, monkeypatch, capsys):
    """What stands in a CSV file is not made again where its run is not here, unless it was another recipe."""
    measured = []

    def measure(entry, has_pictures):
        measured.append(entry.label)
        if entry.seed == 0:  # as `measure` does, a folder
            entry.stages[-1].folder.mkdir(parents=True, exist_ok=True)
        return record_of(float(len(measured)))

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    there, here = tmp_path / "there", tmp_path / "here"
    here.mkdir()
    reproduce.main(options("figure7", f"--workdir={there}"))
    text = (there / "tiny-figure7.csv").read_text()
    (here / "tiny-figure7.csv").write_text(text)
    capsys.readouterr()

    # Nothing to do: the same table, to the byte.
    count = len(measured)
    reproduce.main(options("figure7", f"--workdir={here}"))
    assert len(measured) == count
    assert "6 results stand in the CSV files and have no run here: kept" in capsys.readouterr().err
    assert (here / "tiny-figure7.csv").read_text() == text
    reproduce.main(options("figure7", f"--workdir={here}", "--seeds=2", "--dry_run", "--timed_steps=0"))
    assert "seed 1\n" in (said := capsys.readouterr().out) and "seed_0" not in said
    # A second seed beside it; asked for one again, both stay.
    reproduce.main(options("figure7", f"--workdir={here}", "--seeds=2"))
    assert [label[-1] for label in measured[count:]] == ["1"] * 6
    text = (here / "tiny-figure7.csv").read_text()
    reproduce.main(options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == text and len(measured) == count + 6
    # Another recipe is another run; so is one that was begun here.
    monkeypatch.setitem(budgets.BUDGETS, "tiny", budgets.BUDGETS["tiny"]._replace(num_predicted=3))
    reproduce.main(options("figure7", f"--workdir={here}"))
    assert len(measured) == count + 12
    reproduce.main(options("figure7", f"--workdir={here}"))
    assert len(measured) == count + 18
    # Stopped before anything is scored again: nothing that stood there is gone.
    text = (here / "tiny-figure7.csv").read_text()
    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(running, "measure", interrupted)
        reproduce.main(options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == text
    # A file that is no table's.
    (here / "tiny-figure7.csv").write_text("target\nfigure7\n")
    with pytest.raises(ValueError, match=r"has no column 'budget': .*; delete it, and make the table again$"):
        reproduce.main(options("figure7", f"--workdir={here}"))
    assert (here / "tiny-figure7.csv").read_text() == "target\nfigure7\n"


def test_a_picture_of_runs_elsewhere_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(
        running,
        "measure",
        lambda entry, _: record_of(1.0) | {"motion": {"mean": 1.0, "standard_error": None, "n": 4}},
    )
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    picture = {"video": np.zeros((1, 4, 8, 8, 3)), "predicted": np.zeros((1, 2, 8, 8, 3))}
    monkeypatch.setattr(running, "predictions", lambda stage: picture)
    reproduce.main(options("figure8", f"--workdir={tmp_path}"))
    (tmp_path / "tiny-figure8.png").write_bytes(b"a picture")
    reproduce.main(options("figure8", f"--workdir={tmp_path}"))  # all results are the file's
    assert (tmp_path / "tiny-figure8.png").read_bytes() == b"a picture"
    reproduce.main(options("figure8", f"--workdir={tmp_path}", "--seeds=2"))  # a run of each system
    assert picture_size(tmp_path / "tiny-figure8.png")[1] > 100


def test_one_run_alone_writes_no_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(running, "measure", lambda entry, _: record_of(1.5))
    monkeypatch.setattr(sweep, "check_data", lambda plans: None)
    workdir = tmp_path / "runs"
    reproduce.main(options("table3", f"--workdir={workdir}", "--seeds=3", "--only=ODDN-l, seed 2"))
    said = capsys.readouterr()
    assert re.search(r"^  ODDN-l +0\.000103 +1\.500000 ± 0\.100000$", said.out, re.MULTILINE)
    assert "1 of 1: table3, ODDN-l, seed 2" in said.err
    assert not list(workdir.glob("*.csv"))
    with pytest.raises(
        ValueError, match=r"^--only='ODDN, seed 9' is no run of this table; there are IODINE, seed 0;"
    ):
        reproduce.main(options("table3", f"--workdir={workdir}", "--only=ODDN, seed 9"))


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
    monkeypatch.setattr(symbolic, "make_overlap", lambda found: lambda latents, labels: assigned(latents))
    command = options("table1", f"--data_dir={data_dir}", f"--workdir={tmp_path}")
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


# ------------------------------------------------------------------------------------------------ killed


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
    assert picture_size(tmp_path / "runs" / "tiny-figure3.png")[1] > 300


def test_a_process_of_its_own_has_one_thread_of_xla_s():
    asked = functools.partial(os.getenv, "NPROC")
    assert list(parallel.ordered_map([asked] * 2, jobs=1, apart=True)) == ["1", "1"]


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
