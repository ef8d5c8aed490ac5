"""The paper's tables again: plans, the program, and a command that is killed."""

import argparse
import csv
import json
import re
import signal

import numpy as np
import pytest
from PIL import Image

from data_pipelines import build
from experiments import config as configs
from experiments import reproduce
from experiments.config import TrainConfig
from experiments.configs import baselines
from experiments.reproduction import budgets, costs, running, sweep
from experiments.reproduction.targets import TARGETS
from experiments.runs import checkpoints
from experiments.vqa import config as vqa_config
from oddn_jax.reasoning import ALOEConfig
from tests.experiments import small_reproduction, toy_config
from tests.experiments.tiny import DATA_NAME, get_config

# ------------------------------------------------------------------------------------------------ plans


@pytest.mark.parametrize("budget", budgets.BUDGETS)
@pytest.mark.parametrize("name", TARGETS)
def test_plans_are_runs_with_equal_budgets(name, budget, tmp_path):
    entries = budgets.plan(TARGETS[name], budgets.BUDGETS[budget], tmp_path, 2)
    trained = {row.name for row in TARGETS[name].rows if row.variant}
    extra = {"blind"} & set(TARGETS[name].references)
    assert {(entry.row, entry.seed) for entry in entries} == {
        (row, s) for row in trained | extra for s in (0, 1)
    }
    by_folder, equal = {}, set()
    for entry in entries:
        for number, (folder, config) in enumerate(entry.stages):
            assert (
                by_folder.setdefault(folder, config) == config
            )  # rows share a folder only if they share the run
            assert config.seed == entry.seed
            if isinstance(config, TrainConfig):
                configs.check(config, 1)
                clips = (config.data, config.num_steps, config.batch_size, config.curriculum)
                equal.add((number, str(clips)))
            else:
                vqa_config.check(config)
    stages = 2 if budget == "full" and name != "figure8" else 1
    assert len(equal) == stages


def test_the_paper_s_sizes_in_the_full_budget(tmp_path):
    def sizes(name):
        entries = budgets.plan(TARGETS[name], budgets.BUDGETS["full"], tmp_path, 1)
        found = {entry.row: entry.stages[0].config for entry in entries}
        return {
            row: (
                config.data.name,
                config.data.config,
                config.model.image_width,
                getattr(config.model, "latent_size", 0),
            )
            for row, config in found.items()
            if isinstance(config, TrainConfig)
        }

    assert set(sizes("table3").values()) == {("clevrer", "64x64", 64, 64)}
    answers = sizes("table2")
    assert answers.pop("IODINE (20)") == ("clevrer", "64x96", 96, 20)
    assert set(answers.values()) == {("clevrer", "64x96", 96, 16)}
    assert {size[:3] for size in sizes("figure8").values()} == {("block_towers", "64x64", 64)}
    (first, second, _) = budgets.plan(TARGETS["table1"], budgets.BUDGETS["full"], tmp_path, 1)[1].stages
    assert second.config.init_from == str(first.folder) and second.config.data.clips == "collision"
    assert (first.config.num_steps, second.config.num_steps) == (100_000, 60_000)


# ------------------------------------------------------------------------------------------------ the program


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def options(*arguments):
    parser = argparse.ArgumentParser()
    reproduce.add_arguments(parser)
    return parser.parse_args(arguments)


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


def test_timed_steps_are_measured():
    rate = costs.timed_rate(toy_config.get_config(), num_steps=1)
    assert rate.seconds > 0 and rate.compile_seconds > 0 and "1 timed steps" in rate.source
    assert costs.work_left(get_config(), 4) == 2 * 4 * 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("table3", "--seeds=0"), "--seeds must be at least 1, not 0"),
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
    assert len(re.findall(r"^  PROVIDE +\S+ +failed$", said.out, re.MULTILINE)) == 3  # one for each metric
    assert "*simulated*" in said.out and "ODDN-l is trained as ODDN: clips of 3 frames" in said.out
    assert "failed: loss is not finite at steps 7\n" in said.err
    assert "unknown (0 of 6 pairs as in the paper, 3 too close, 3 unknown)" in said.out
    with open(tmp_path / "runs" / "tiny-table3.csv") as file:
        lines = list(csv.DictReader(file))
    assert {line["simulated"] for line in lines} == {"simulated"}
    assert [line["ours"] for line in lines if line["row"] == "PROVIDE"] == ["", "", ""]
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
    curve = [line for line in lines if line["row"] == "ODDN" and line["seed"] == "all"]
    assert [(line["metric"], float(line["ours"])) for line in curve] == [
        ("predicted_mse", 1.5),
        ("predicted_mse_1", 1.0),
        ("predicted_mse_2", 2.0),
    ]
    assert {line["simulated"] for line in lines} == {"real"}


def test_motion_is_0_for_frames_that_are_all_the_same():
    video = np.random.default_rng(0).random((2, 5, 4, 4, 3))
    assert running.motion({"video": video, "predicted": video[:, 2:]})["mean"] == 1
    still = np.broadcast_to(video[:, 2:3], video[:, 2:].shape)
    assert running.motion({"video": video, "predicted": still})["mean"] == 0


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
    rows = tuple(row for row in target.rows if row.name in ("MAC (V+)", "ODDN-ALOE"))
    monkeypatch.setitem(TARGETS, "table1", target._replace(rows=rows))
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
    assert set(lines) == {"MAC (V+)", "ODDN-ALOE", "blind", "majority", "executor"}
    assert (lines["MAC (V+)"]["ours"], lines["MAC (V+)"]["paper"], lines["blind"]["paper"]) == (
        "",
        "86.4",
        "",
    )
    assert int(lines["ODDN-ALOE"]["n"]) == int(lines["blind"]["n"]) > 20

    # Once more: nothing is left to train or to answer.
    monkeypatch.setattr(running, "train_and_evaluate", None)
    reproduce.main(command)
    assert capsys.readouterr().out == said


# ------------------------------------------------------------------------------------------------ killed


@pytest.mark.slow
def test_a_killed_reproduction_goes_on(start_program, run_program, data_dir, tmp_path):
    command = ("-m", "tests.experiments.small_reproduction", "figure3", f"--data_dir={data_dir}")
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
    assert not (second / "metrics.json").exists() and not list((tmp_path / "runs").glob("*.csv"))
    kept = {name: (first / name).stat().st_mtime_ns for name in ("metrics.json", "predictions.npz")}

    code, output = run_program(*command)
    assert code == 0, output
    assert f"finished: {first} holds 2 of 2 steps" in output
    assert f"weights: checkpoint 1 in {second}" in output.replace("/checkpoints", "")
    assert kept == {name: (first / name).stat().st_mtime_ns for name in kept}
    with open(tmp_path / "runs" / "tiny-figure3.csv") as file:
        lines = [line for line in csv.DictReader(file) if line["seed"] == "0"]
    assert {(line["row"], line["metric"]) for line in lines} >= {
        (row, metric)
        for row in ("ODDN", "ODDN w/o relation")
        for metric in ("predicted_mse", "predicted_mse_6", "motion")
    }
    for line in lines:
        assert line["params_sha256"] == checkpoints.digest(checkpoints.load_params(line["run"]))
        assert np.isfinite(float(line["ours"]))
    assert "*simulated*" in output and "Traceback" not in output
    assert picture_size(tmp_path / "runs" / "tiny-figure3.png")[1] > 300
